//! A run whose console is a terminal: keys, echo, ^C and ^D, and the user's terminal afterwards.
//!
//! The terminal is a pseudo-terminal. What is typed goes in at its one end; what a user would see comes
//! out there. At its other end is `cargo xtask run`.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use boot_tests::{Scratch, busybox, target, xtask};
use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize},
};

/// A run on a pseudo-terminal. Nothing here has a limit of its own: xtask ends a run that takes too long, which counts
/// what the host does not let it have, and then nothing comes any more.
struct Session {
    child: Child,
    keys: File,
    screen: Receiver<Vec<u8>>,
    /// All that was on the screen.
    seen: Vec<u8>,
    /// How much of it has been waited for.
    read: usize,
    before: Termios,
    log: PathBuf,
    _scratch: Scratch,
}

impl Session {
    /// Starts busybox with these words on a terminal of 33 rows and 101 columns.
    fn start(words: &[&str]) -> Self {
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&keys).and_then(|()| unlockpt(&keys)).expect("its other end");
        let name = ptsname(&keys, Vec::new()).expect("its name");
        let open = || -> OwnedFd { rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap() };
        tcsetwinsize(&keys, Winsize { ws_row: 33, ws_col: 101, ws_xpixel: 0, ws_ypixel: 0 }).expect("a size");
        let before = tcgetattr(&keys).expect("settings");
        let scratch = Scratch::new("terminal");
        let log = scratch.path().join("log");
        let mut command = Command::new(xtask());
        command.args(["run", "--up", "--no-build", "--timeout", "60", "--log"]).arg(&log);
        command.env("CARGO_TARGET_DIR", target()).arg("--").arg(busybox()).args(words);
        command.stdin(open()).stdout(open()).stderr(Stdio::null());
        let child = command.spawn().expect("xtask starts");
        let keys = File::from(keys);
        let mut from = keys.try_clone().expect("one more of it");
        let (sender, screen) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, keys, screen, seen: Vec::new(), read: 0, before, log, _scratch: scratch }
    }

    fn settings(&self) -> Termios {
        tcgetattr(&self.keys).expect("settings")
    }

    /// Waits until xtask has handed the terminal over: no echo of the host's.
    fn handed_over(self) -> Self {
        let mut session = self;
        while session.settings().local_modes.intersects(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG) {
            assert!(session.runs(), "the terminal was not handed over\n{session}");
            thread::sleep(Duration::from_millis(20));
        }
        session
    }

    fn runs(&mut self) -> bool {
        self.child.try_wait().expect("xtask can be waited for").is_none()
    }

    fn types(&mut self, text: &str) {
        self.keys.write_all(text.as_bytes()).expect("keys");
    }

    /// Waits until exactly this has come to the screen.
    #[track_caller]
    fn shows(&mut self, text: &str) {
        while self.seen.len() < self.read + text.len() {
            let Ok(bytes) = self.screen.recv() else { break };
            self.seen.extend(bytes);
        }
        let end = self.seen.len().min(self.read + text.len());
        let shown = String::from_utf8_lossy(&self.seen[self.read..end]).into_owned();
        assert_eq!(shown, text, "{self}");
        self.read = end;
    }

    /// Waits until this has come to the screen, whatever came before it.
    #[track_caller]
    fn comes_to(&mut self, text: &str) {
        loop {
            let new = &self.seen[self.read..];
            if let Some(at) = new.windows(text.len()).position(|part| part == text.as_bytes()) {
                self.read += at + text.len();
                return;
            }
            match self.screen.recv() {
                Ok(bytes) => self.seen.extend(bytes),
                Err(_) => panic!("{text:?} does not come\n{self}"),
            }
        }
    }

    /// Waits for the end; the status as a shell has it, and the log. Nothing more was shown, and the
    /// terminal is as it was before.
    #[track_caller]
    fn ends(mut self) -> (i32, String) {
        let status = self.child.wait().expect("xtask can be waited for");
        let (now, before) = (self.settings(), &self.before);
        assert_eq!(now.local_modes, before.local_modes, "{self}");
        assert_eq!(now.input_modes, before.input_modes, "{self}");
        assert_eq!(now.output_modes, before.output_modes, "{self}");
        assert_eq!(now.control_modes, before.control_modes, "{self}");
        while let Ok(bytes) = self.screen.recv_timeout(Duration::from_millis(100)) {
            self.seen.extend(bytes);
        }
        assert_eq!(self.seen.len(), self.read, "more than was expected\n{self}");
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        (status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)), log)
    }
}

impl std::fmt::Display for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        write!(f, "--- screen\n{}\n--- log\n{log}", String::from_utf8_lossy(&self.seen).escape_debug())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn lines_are_edited_and_echoed_and_control_d_ends_them() {
    let mut session = Session::start(&["cat"]).handed_over();
    // What is typed, echoed; then the line as `cat` has read it.
    session.types("hello\r");
    session.shows("hello\r\nhello\r\n");
    // Nothing is read before the line is complete, and the erased is not read.
    session.types("abX\x7fc");
    session.shows("abX\x08 \x08c");
    session.types("\r");
    session.shows("\r\nabc\r\n");
    // ^U takes the line back; ^D in a line hands over what is there.
    session.types("no\x15yes\x04");
    session.shows("no\x08 \x08\x08 \x08yesyes");
    session.types("\r\x04");
    session.shows("\r\n\r\n");
    let (status, log) = session.ends();
    assert_eq!(status, 0, "{log}");
}

#[test]
fn control_c_kills_the_program() {
    let mut session = Session::start(&["cat"]).handed_over();
    session.types("begun\r");
    session.shows("begun\r\nbegun\r\n");
    session.types("half a line\x03");
    session.shows("half a line^C");
    let (status, log) = session.ends();
    assert_eq!(status, 130, "{log}");
    let lines: Vec<_> = log.lines().filter(|line| line.contains("busybox (1) killed by SIGINT")).collect();
    assert_eq!(lines.len(), 1, "{log}");
}

/// What the shell asks the terminal behind its prompt.
const PROMPT: &str = "# \x1b[6n";

/// Answers a shell's prompt.
#[track_caller]
fn enters(session: &mut Session, line: &str) {
    session.comes_to(PROMPT);
    session.types(&format!("{line}\r"));
    session.shows(&format!("{line}\r\n"));
}

#[test]
fn a_shell_controls_its_jobs() {
    let mut session = Session::start(&["sh", "-i"]).handed_over();
    // ^Z stops the program in the foreground; in the background it is stopped again when it reads. What is
    // typed while the shell edits its line is not echoed.
    enters(&mut session, "echo go; cat");
    session.shows("go\r\n");
    session.types("one\r");
    session.shows("one\r\none\r\n");
    session.types("\x1a");
    session.shows("^Z[1]+  Stopped                    cat\r\n");
    enters(&mut session, "bg");
    session.shows("[1] cat\r\n");
    enters(&mut session, "wait; jobs");
    session.comes_to("[1]+  Stopped (tty input)        cat\r\n");
    // In the foreground it goes on, and ^C ends it and not the shell.
    enters(&mut session, "fg");
    session.shows("cat\r\n");
    session.types("two\r");
    session.shows("two\r\ntwo\r\n");
    session.types("\x03");
    session.shows("^C\r\n");
    enters(&mut session, "echo $?");
    session.shows("130\r\n");
    session.comes_to(PROMPT);
    session.types("exit 7\r");
    session.shows("exit 7\r\n");
    let (status, log) = session.ends();
    assert_eq!(status, 7, "{log}");
}

#[test]
fn a_shell_edits_its_lines_and_remembers_them() {
    let mut session = Session::start(&["sh", "-i"]).handed_over();
    // A letter is put before the last one.
    session.comes_to(PROMPT);
    session.types("echo xz\x1b[Dy\r");
    session.comes_to("\r\nxyz\r\n");
    enters(&mut session, "echo next");
    session.shows("next\r\n");
    // The line before the last.
    session.comes_to(PROMPT);
    session.types("\x1b[A\x1b[A\r");
    session.comes_to("\r\nxyz\r\n");
    enters(&mut session, "exit");
    assert_eq!(session.ends().0, 0);
}

#[test]
fn the_background_is_kept_from_the_terminal() {
    let mut session = Session::start(&["sh", "-i"]).handed_over();
    // With TOSTOP a process that writes in the background is stopped, and writes when it is in the foreground.
    enters(&mut session, "stty tostop; echo late & wait; jobs");
    session.comes_to("[1]+  Stopped (tty output)       echo late\r\n");
    enters(&mut session, "fg");
    session.shows("echo late\r\nlate\r\n");
    enters(&mut session, "stty -tostop");
    // ^\ quits.
    enters(&mut session, "echo go; cat");
    session.shows("go\r\n");
    session.types("begun\r");
    session.shows("begun\r\nbegun\r\n");
    session.types("\x1c");
    session.shows("^\\");
    enters(&mut session, "echo $?");
    session.shows("131\r\n");
    // A background process that no shell could continue is not stopped when it reads: the read fails.
    enters(&mut session, "w() { until [ -e /tmp/$1 ]; do usleep 9000; done; }");
    enters(&mut session, "( (w go; cat /dev/tty; echo it says $?; touch /tmp/gone) & )");
    enters(&mut session, "touch /tmp/go; w gone");
    session.comes_to("Input/output error\r\nit says 1\r\n");
    enters(&mut session, "exit 7");
    let (status, log) = session.ends();
    assert_eq!(status, 7, "{log}");
}

#[test]
fn the_program_sees_a_terminal_of_this_size() {
    let mut session = Session::start(&["stty", "size"]);
    session.shows("33 101\r\n");
    assert_eq!(session.ends().0, 0);
}

#[test]
fn the_leave_key_ends_the_machine() {
    let mut session = Session::start(&["cat"]).handed_over();
    session.types("begun\r");
    session.shows("begun\r\nbegun\r\n");
    session.types("\x1d");
    assert_eq!(session.ends().0, 130);
}

#[test]
fn xtask_killed_leaves_the_terminal_in_order() {
    let mut session = Session::start(&["cat"]).handed_over();
    session.types("begun\r");
    session.shows("begun\r\nbegun\r\n");
    session.child.kill().expect("kill");
    // A process that outlives xtask, and does nothing else, gives it back.
    while session.settings().local_modes != session.before.local_modes {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(session.ends().0, 128 + 9);
}

#[test]
fn a_signal_to_xtask_leaves_the_terminal_in_order() {
    let mut session = Session::start(&["cat"]).handed_over();
    session.types("begun\r");
    session.shows("begun\r\nbegun\r\n");
    let pid = session.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    assert_eq!(session.ends().0, 128 + 15);
}
