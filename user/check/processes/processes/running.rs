//! `execve`: what becomes of a process, and what cannot be run.

use super::Check;
use libc::*;
use programs::children::*;
use programs::sys;
use programs::system::PAGE;
use std::ffi::{CStr, CString};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::{env, fs, ptr, thread};

pub(crate) const CHECKS: &[Check] = &[
    ("exec", plain),
    ("exec-in-vfork", in_vfork),
    ("what-exec-keeps", keeps),
    ("close-on-exec", close_on_exec),
    ("exec-of-threads", of_threads),
    ("scripts", scripts),
    ("what-cannot-run", refused),
    ("many-arguments", many_arguments),
    ("exec-of-a-descriptor", by_descriptor),
];

/// What this program does when a check has started it again.
pub(crate) fn play(role: &str, words: &[String]) -> i32 {
    let mut word = words.iter().skip(2);
    let mut number = || word.next().map_or(0, |word| word.parse::<u64>().unwrap());
    match role {
        "exit" => number() as i32,
        "again" => run(ME, &["me", "as:exit", &number().to_string()]),
        "abort" => sys!(SYS_kill, sys!(SYS_getpid).unwrap(), SIGKILL).map_or(1, |_| 2),
        "tell" => {
            println!("{}|{}", words[1..].join("|"), env::var("PROCESSES").unwrap_or_default());
            0
        }
        "pid" => i32::from(sys!(SYS_getpid) != Ok(number()) || sys!(SYS_gettid) != sys!(SYS_getpid)),
        // Which of the descriptors are open, a bit for each.
        "open" => (0..8).filter(|bit| sys!(SYS_fcntl, 10 + bit, F_GETFD).is_ok()).map(|bit| 1 << bit).sum(),
        "wait" => {
            give(number() as i32, 1);
            i32::from(take(number() as i32) != Some(1))
        }
        "deleted" => super::deleted::play(number()),
        "descend" => super::limits::play_descend(number()),
        "kept" => kept(number(), number()),
        "count" => {
            let bytes: usize = words.iter().map(String::len).sum();
            i32::from(words.len() as u64 != number() || bytes as u64 != number())
        }
        _ => panic!("no such role: {role}"),
    }
}

/// Runs this program in a role: `execve`, which returns only if it fails.
pub(crate) fn run(path: &CStr, words: &[&str]) -> i32 {
    let words: Vec<CString> = words.iter().map(|word| CString::new(*word).unwrap()).collect();
    let pointers: Vec<*const c_char> = words.iter().map(|word| word.as_ptr()).chain([ptr::null()]).collect();
    let environment = [c"PROCESSES=maybe".as_ptr(), ptr::null()];
    sys!(SYS_execve, path, pointers.as_ptr(), environment.as_ptr()).unwrap_err()
}

pub(crate) const ME: &CStr = c"/proc/self/exe";

/// Starts this program in that way.
pub(crate) fn run_as(words: &[&str]) -> i32 {
    run(ME, words)
}

/// The end of a child that runs this program in a role.
fn end_of_run(words: &[&str]) -> End {
    end_of(child(|| {
        run(ME, words);
        100
    }))
}

fn plain() {
    assert_eq!(end_of_run(&["me", "as:exit", "33"]), End::Exited(33));
    // The number stays.
    let pid = child(|| {
        let me = sys!(SYS_getpid).unwrap().to_string();
        run(ME, &["me", "as:pid", &me]);
        100
    });
    assert_eq!(end_of(pid), End::Exited(0));
    // And a parent waits for what its child has become.
    let [output, input] = pipe_ends();
    let pid = child(|| {
        sys!(SYS_dup2, input, 1).unwrap();
        run(ME, &["", "as:tell", "x"]);
        100
    });
    close_all(&[input]);
    let text: Vec<u8> = std::iter::from_fn(|| take(output)).collect();
    assert_eq!(String::from_utf8_lossy(&text), "as:tell|x|maybe\n");
    assert_eq!(end_of(pid), End::Exited(0));
    close_all(&[output]);
}

/// The parent of `vfork` goes on when the child has become another program; its memory is as it was.
fn in_vfork() {
    let words = [c"me".as_ptr(), c"as:exit".as_ptr(), c"21".as_ptr(), ptr::null()];
    let stack = programs::system::pages(4);
    for _ in 0..3 {
        // SAFETY: the child runs on a stack of its own and calls `execve` or ends, as `posix_spawn` does.
        let pid = unsafe {
            clone(spawn, stack.add(4 * 4096).cast(), CLONE_VM | CLONE_VFORK | SIGCHLD, words.as_ptr() as *mut c_void)
        };
        assert!(pid > 0);
        assert_eq!(end_of(pid), End::Exited(21));
    }
    sys!(SYS_munmap, stack, 4 * 4096).unwrap();
}

extern "C" fn spawn(words: *mut c_void) -> c_int {
    sys!(SYS_execve, ME, words, &[0u64]).unwrap_err()
}

/// Ignored signals stay ignored, handlers do not; the mask stays, and so do the directory and what else is
/// the process's.
fn keeps() {
    let pid = child(|| {
        let (ignore, handle) = ([SIG_IGN as u64, 0, 0, 0], [kept as *const () as u64, 0, 0, 0]);
        sys!(SYS_rt_sigaction, SIGUSR1, &ignore, 0, 8).unwrap();
        sys!(SYS_rt_sigaction, SIGUSR2, &handle, 0, 8).unwrap();
        let mask = 1u64 << (SIGHUP - 1);
        sys!(SYS_rt_sigprocmask, SIG_SETMASK, &mask, 0, 8).unwrap();
        sys!(SYS_chdir, c"/tmp").unwrap();
        sys!(SYS_umask, 0o31).unwrap();
        let stack = [0x10_0000u64, 0, 0x10000];
        let _ = sys!(SYS_sigaltstack, &stack, 0);
        run(ME, &["me", "as:kept", &mask.to_string(), &sys!(SYS_getppid).unwrap().to_string()]);
        100
    });
    assert_eq!(end_of(pid), End::Exited(0));
}

fn kept(mask: u64, parent: u64) -> i32 {
    let (mut action, mut blocked, mut there) = ([0u64; 4], 0u64, [0u8; 8]);
    let mut handler = |signal| {
        sys!(SYS_rt_sigaction, signal, 0, &mut action, 8).unwrap();
        action[0] as usize
    };
    assert_eq!((handler(SIGUSR1), handler(SIGUSR2)), (SIG_IGN, SIG_DFL));
    sys!(SYS_rt_sigprocmask, SIG_BLOCK, 0, &mut blocked, 8).unwrap();
    assert_eq!(blocked, mask);
    sys!(SYS_getcwd, there.as_mut_ptr(), 8).unwrap();
    assert_eq!(&there[..5], b"/tmp\0");
    assert_eq!((sys!(SYS_umask, 0), sys!(SYS_getppid)), (Ok(0o31), Ok(parent)));
    let comm = fs::read_to_string("/proc/self/comm").unwrap();
    assert_eq!(comm.trim_end(), "exe");
    let exe = fs::read_link("/proc/self/exe").unwrap();
    assert!(exe.is_absolute() && exe.file_name().is_some_and(|name| name == "processes"), "{exe:?}");
    0
}

fn close_on_exec() {
    let pid = child(|| {
        for (fd, flags) in [(10, 0), (11, O_CLOEXEC), (12, 0), (13, O_CLOEXEC), (15, O_CLOEXEC)] {
            sys!(SYS_dup3, 0, fd, flags).unwrap();
        }
        sys!(SYS_fcntl, 12, F_SETFD, FD_CLOEXEC).unwrap();
        sys!(SYS_fcntl, 15, F_SETFD, 0).unwrap();
        run(ME, &["me", "as:open"]);
        100
    });
    assert_eq!(end_of(pid), End::Exited(0b100001));
    // Closing it is an event for a thread that waits for it.
    let [output, input] = pipe_ends();
    let (still, go) = (pipe_ends(), pipe_ends());
    let pid = child(|| {
        // This one is not closed by `execve`.
        sys!(SYS_dup2, still[1], 20).unwrap();
        take(go[0]);
        run(ME, &["me", "as:exit", "0"]);
        100
    });
    close_all(&[input, still[1]]);
    give(go[1], 0);
    assert_eq!(take(output), None, "the pipe's last end was closed by execve");
    assert_eq!(take(still[0]), None);
    assert_eq!(end_of(pid), End::Exited(0));
    close_all(&[output, still[0], go[0], go[1]]);
}

/// One thread of several calls `execve`, the main one or another: the others are gone, and the process has
/// the number that it had.
fn of_threads() {
    for from_main in [true, false] {
        let pid = child(move || {
            let me = sys!(SYS_getpid).unwrap().to_string();
            let runs = move || {
                run(ME, &["me", "as:pid", &me]);
                leave(100)
            };
            for n in 0..4 {
                thread::spawn(move || {
                    loop {
                        match n % 3 {
                            0 => std::hint::spin_loop(),
                            1 => thread::yield_now(),
                            _ => thread::park(),
                        }
                    }
                });
            }
            match from_main {
                true => runs(),
                false => thread::spawn(runs).join().map_or(101, |never| never),
            }
        });
        assert_eq!(end_of(pid), End::Exited(0), "from the main thread: {from_main}");
    }
    // The main thread has ended before, and with it, on Linux, the way by `/proc/self`.
    let path = CString::new(env::current_exe().unwrap().into_os_string().into_encoded_bytes()).unwrap();
    let pid = child(|| {
        let me = sys!(SYS_getpid).unwrap().to_string();
        thread::spawn(move || {
            run(&path, &["me", "as:pid", &me]);
            leave(100)
        });
        let _ = sys!(SYS_exit, 0);
        101
    });
    assert_eq!(end_of(pid), End::Exited(0));
}

/// A file of this name and contents in `/tmp`.
pub(crate) fn file(name: &str, mode: u32, contents: &[u8]) -> CString {
    let path = format!("/tmp/processes.{name}");
    let _ = fs::remove_file(&path);
    fs::write(&path, contents).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    CString::new(path).unwrap()
}

/// What a script that is run by this program finds as its arguments.
fn told_by(path: &CStr, words: &[&str]) -> String {
    let [output, input] = pipe_ends();
    let pid = child(|| {
        sys!(SYS_dup2, input, 1).unwrap();
        run(path, words)
    });
    close_all(&[input]);
    let text: Vec<u8> = std::iter::from_fn(|| take(output)).collect();
    close_all(&[output]);
    assert_eq!(end_of(pid), End::Exited(0), "{path:?}: {}", String::from_utf8_lossy(&text));
    String::from_utf8(text).unwrap()
}

fn scripts() {
    let me = env::current_exe().unwrap();
    let me = me.to_str().unwrap();
    let script = file("script", 0o755, format!("#!{me} as:tell\nnothing\n").as_bytes());
    let name = script.to_str().unwrap();
    assert_eq!(told_by(&script, &["dropped", "x", "y z"]), format!("as:tell|{name}|x|y z|maybe\n"));
    assert_eq!(told_by(&script, &[]), format!("as:tell|{name}|maybe\n"));
    // One argument, blanks at its ends left out.
    let spaced = file("spaced", 0o755, format!("#!  \t{me} \t as:tell  \n").as_bytes());
    assert_eq!(told_by(&spaced, &["d"]), format!("as:tell|{}|maybe\n", spaced.to_str().unwrap()));
    // A script's interpreter may be a script.
    let nested = file("nested", 0o755, format!("#!{name} more of it\n").as_bytes());
    let nested_name = nested.to_str().unwrap();
    assert_eq!(told_by(&nested, &["d", "e"]), format!("as:tell|{name}|more of it|{nested_name}|e|maybe\n"));
    // But not for ever.
    let endless = file("endless", 0o755, b"#!/tmp/processes.endless\n");
    assert_eq!(run(&endless, &["d"]), ELOOP);
    let missing = file("missing", 0o755, b"#!/no/such/interpreter\n");
    assert_eq!(run(&missing, &["d"]), ENOENT);
    let empty = file("empty-line", 0o755, b"#!  \n");
    assert_eq!(run(&empty, &["d"]), ENOEXEC);
    let long = file("long", 0o755, format!("#!/{}\n", "x".repeat(300)).as_bytes());
    assert_eq!(run(&long, &["d"]), ENOEXEC);
}

fn refused() {
    let words = &["d"];
    assert_eq!(run(c"/no/such/program", words), ENOENT);
    assert_eq!(run(c"", words), ENOENT);
    assert_eq!(run(c"/tmp", words), EACCES);
    assert_eq!(run(c"/dev/null", words), EACCES);
    assert_eq!(run(c"/proc/self/exe/deeper", words), ENOTDIR);
    assert_eq!(run(&file("plain", 0o644, b"#!/bin/sh\n"), words), EACCES);
    assert_eq!(run(&file("garbage", 0o755, b"this is no program\n"), words), ENOEXEC);
    assert_eq!(run(&file("nothing", 0o755, b""), words), ENOEXEC);
    let mut cut = fs::read(env::current_exe().unwrap()).unwrap();
    cut.truncate(0x60);
    assert_eq!(run(&file("cut", 0o755, &cut), words), ENOEXEC);
    let _ = fs::remove_file("/tmp/processes.loop");
    symlink("/tmp/processes.loop", "/tmp/processes.loop").unwrap();
    assert_eq!(run(c"/tmp/processes.loop", words), ELOOP);
    // Open for writing.
    let path = file("busy", 0o755, &fs::read(env::current_exe().unwrap()).unwrap());
    let mut open = fs::OpenOptions::new().append(true).open(path.to_str().unwrap()).unwrap();
    open.write_all(b"").unwrap();
    assert_eq!(run(&path, words), ETXTBSY);
    drop(open);
    // Mapped by a process that can write to it, now or later.
    let map = |flags| {
        let fd = sys!(SYS_open, &*path, flags).unwrap() as i32;
        let rights = if flags == O_RDWR { PROT_READ | PROT_WRITE } else { PROT_READ };
        let place = sys!(SYS_mmap, 0, PAGE, rights, MAP_SHARED, fd, 0).unwrap();
        close_all(&[fd]);
        place
    };
    let (reader, writer) = (map(O_RDONLY), map(O_RDWR));
    assert_eq!(run(&path, words), ETXTBSY);
    assert_eq!(sys!(SYS_mprotect, writer, PAGE, PROT_READ), Ok(0));
    assert_eq!(run(&path, words), ETXTBSY);
    let pid = child(|| {
        assert_eq!(sys!(SYS_munmap, writer, PAGE), Ok(0));
        i32::from(run(&path, words) != ETXTBSY)
    });
    assert_eq!(end_of(pid), End::Exited(0), "its parent has it still");
    assert_eq!(sys!(SYS_munmap, writer, PAGE), Ok(0));
    let pid = child(|| run(&path, &["me", "as:exit", "7"]));
    assert_eq!(end_of(pid), End::Exited(7), "it can only be read");
    assert_eq!(sys!(SYS_munmap, reader, PAGE), Ok(0));
    let pid = child(|| run(&path, &["me", "as:exit", "8"]));
    assert_eq!(end_of(pid), End::Exited(8));
    // And no process writes to it while it runs.
    let (told, go) = (pipe_ends(), pipe_ends());
    let numbers = [told[1], go[0]].map(|end| sys!(SYS_dup, end).unwrap().to_string());
    let pid = child(|| run(&path, &["me", "as:wait", &numbers[0], &numbers[1]]));
    assert_eq!(take(told[0]), Some(1));
    for flags in [O_WRONLY, O_RDWR, O_WRONLY | O_TRUNC, O_RDONLY | O_TRUNC] {
        assert_eq!(sys!(SYS_open, &*path, flags | O_CREAT, 0o755), Err(ETXTBSY));
    }
    assert_eq!(sys!(SYS_truncate, &*path, 0), Err(ETXTBSY));
    close_all(&[sys!(SYS_open, &*path, O_RDONLY).unwrap() as i32]);
    give(go[1], 1);
    assert_eq!(end_of(pid), End::Exited(0));
    close_all(&[sys!(SYS_open, &*path, O_WRONLY | O_TRUNC).unwrap() as i32]);
    numbers.iter().for_each(|number| close_all(&[number.parse().unwrap()]));
    close_all(&[told, go].concat());
    // Addresses that are none.
    assert_eq!(sys!(SYS_execve, 8, 0, 0), Err(EFAULT));
    assert_eq!(sys!(SYS_execve, ME, 8, 0), Err(EFAULT));
    assert_eq!(sys!(SYS_execve, ME, 0, 8), Err(EFAULT));
    assert_eq!(sys!(SYS_execve, ME, &[8u64, 0], 0), Err(EFAULT));
    for name in ["script", "spaced", "nested", "endless", "missing", "empty-line", "long", "plain", "garbage"] {
        let _ = fs::remove_file(format!("/tmp/processes.{name}"));
    }
    for name in ["nothing", "cut", "loop", "busy", "shared"] {
        let _ = fs::remove_file(format!("/tmp/processes.{name}"));
    }
}

fn many_arguments() {
    // A quarter of 8 MiB of stack is enough for these.
    let word = "w".repeat(1000);
    let many: Vec<&str> = std::iter::repeat_n(&word[..], 1500).collect();
    let bytes = 2 + 8 + 4 + 7 + 1500 * 1000;
    let fixed = ["me", "as:count", "1504", &bytes.to_string()];
    let words: Vec<&str> = fixed.iter().copied().chain(many.iter().copied()).collect();
    assert_eq!(end_of_run(&words), End::Exited(0));
    // And these are too many, or too long.
    let all: Vec<&str> = many.iter().chain(&many).copied().collect();
    assert_eq!(run(ME, &all), E2BIG);
    let long = "l".repeat(128 << 10);
    assert_eq!(run(ME, &["d", &long]), E2BIG);
    let bytes = 2 + 8 + 1 + 6 + (128 << 10) - 1;
    assert_eq!(end_of_run(&["me", "as:count", "5", &bytes.to_string(), &long[1..]]), End::Exited(0));
    let empty: Vec<&str> = std::iter::repeat_n("", 400_000).collect();
    assert_eq!(run(ME, &empty), E2BIG);
}

fn by_descriptor() {
    let file = sys!(SYS_open, ME, O_RDONLY | O_CLOEXEC).unwrap();
    let pid = child(|| {
        // It finds itself, though nothing is known of its name.
        let words = [c"me".as_ptr(), c"as:again".as_ptr(), c"17".as_ptr(), ptr::null()];
        sys!(SYS_execveat, file, c"", words.as_ptr(), &[0u64], AT_EMPTY_PATH).unwrap_err()
    });
    assert_eq!(end_of(pid), End::Exited(17));
    assert_eq!(sys!(SYS_execveat, file, c"", &[0u64], &[0u64], 0), Err(ENOENT));
    assert_eq!(sys!(SYS_execveat, AT_FDCWD, ME, &[0u64], &[0u64], 0x8000_0000u64), Err(EINVAL));
    close_all(&[file as i32]);
}
