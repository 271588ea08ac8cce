//! QEMU's monitor, for tests that look at a machine from outside.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How long QEMU may take to answer.
const PATIENCE: Duration = Duration::from_secs(40);

/// QEMU's monitor for people.
pub struct Monitor(UnixStream);

impl Monitor {
    /// The option that makes QEMU listen at a path, which must be short, and the path.
    pub fn options(name: &str) -> ([String; 2], PathBuf) {
        let directory = std::env::temp_dir().join(format!("jotun-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let socket = directory.join(name);
        (["--qemu=-monitor".into(), format!("--qemu=unix:{},server,nowait", socket.display())], socket)
    }

    /// Connects as soon as QEMU listens.
    pub fn connect(socket: &Path) -> Self {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Ok(stream) = UnixStream::connect(socket) {
                stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
                let mut monitor = Self(stream);
                monitor.answer();
                return monitor;
            }
            assert!(Instant::now() < until, "no monitor");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// What comes until the next prompt.
    fn answer(&mut self) -> String {
        let mut all = Vec::new();
        let mut buffer = [0; 1 << 16];
        while !all.ends_with(b"(qemu) ") {
            let length = self.0.read(&mut buffer).expect("the monitor answers");
            assert!(length > 0, "the machine ended: {}", String::from_utf8_lossy(&all));
            all.extend(&buffer[..length]);
        }
        String::from_utf8_lossy(&all).into_owned()
    }

    /// What the monitor says to a command.
    pub fn ask(&mut self, command: &str) -> String {
        writeln!(self.0, "{command}").expect("the monitor listens");
        self.answer()
    }

    /// Ends the machine.
    pub fn quit(mut self) {
        writeln!(self.0, "quit").expect("the monitor listens");
    }
}
