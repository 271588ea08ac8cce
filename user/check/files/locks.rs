//! Advisory locks between processes, open files and descriptors. It passes on Linux as well.
//!
//! Run by: `tests/tests/boot/programs.rs`.

use libc::*;
use programs::sys;
use std::ffi::CStr;

const PATH: &CStr = c"/tmp/locks";

fn open() -> i32 {
    sys!(SYS_open, PATH, O_RDWR | O_CREAT, 0o644).expect("the file can be opened") as i32
}

fn request(kind: c_int, start: i64, len: i64) -> flock {
    // SAFETY: a structure of integers.
    let zero: flock = unsafe { std::mem::zeroed() };
    flock { l_type: kind as i16, l_whence: SEEK_SET as i16, l_start: start, l_len: len, ..zero }
}

fn fcntl(fd: i32, command: c_int, request: &mut flock) -> Result<(), i32> {
    sys!(SYS_fcntl, fd, command, std::ptr::from_mut(request).expose_provenance()).map(drop)
}

fn lock(fd: i32, command: c_int, kind: c_int, start: i64, len: i64) -> Result<(), i32> {
    fcntl(fd, command, &mut request(kind, start, len))
}

/// The conflicting lock: kind, start, length, process.
fn obstacle(fd: i32, command: c_int, kind: c_int, start: i64, len: i64) -> Option<(c_int, i64, i64, i32)> {
    let mut request = request(kind, start, len);
    fcntl(fd, command, &mut request).expect("an answer");
    let kind = c_int::from(request.l_type);
    (kind != F_UNLCK).then_some((kind, request.l_start, request.l_len, request.l_pid))
}

/// Runs something in a child process, to its end.
fn in_child(what: impl FnOnce()) {
    end(start(what));
}

fn start(what: impl FnOnce()) -> i32 {
    // SAFETY: there is one thread.
    match unsafe { fork() } {
        0 => {
            what();
            std::process::exit(0);
        }
        child => child,
    }
}

fn end(child: i32) {
    let mut status = -1;
    // SAFETY: the status outlives the call.
    assert_eq!(unsafe { waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0, "the child has failed");
}

fn main() {
    let me = std::process::id() as i32;
    let (fd, other) = (open(), open());

    // Between processes, by ranges.
    assert_eq!(lock(fd, F_SETLK, F_WRLCK, 0, 10), Ok(()));
    assert_eq!(lock(fd, F_SETLK, F_RDLCK, 20, 0), Ok(()));
    assert_eq!(lock(other, F_SETLK, F_WRLCK, 5, 1), Ok(()), "a process is not in its own way");
    in_child(|| {
        assert_eq!(lock(fd, F_SETLK, F_RDLCK, 9, 1), Err(EAGAIN));
        assert_eq!(lock(fd, F_SETLK, F_WRLCK, 1000, 1), Err(EAGAIN));
        assert_eq!(lock(fd, F_SETLK, F_RDLCK, 1000, 1), Ok(()));
        assert_eq!(lock(fd, F_SETLK, F_WRLCK, 10, 10), Ok(()));
        assert_eq!(obstacle(fd, F_GETLK, F_RDLCK, 0, 0), Some((F_WRLCK, 0, 10, me)));
        assert_eq!(obstacle(fd, F_GETLK, F_WRLCK, 15, 6), Some((F_RDLCK, 20, 0, me)));
        assert_eq!(obstacle(fd, F_GETLK, F_RDLCK, 15, 6), None);
    });
    assert_eq!(obstacle(fd, F_GETLK, F_WRLCK, 0, 0), None, "the child's locks ended with it");
    assert_eq!(lock(fd, F_SETLK, F_UNLCK, 3, 2), Ok(()));
    in_child(|| {
        assert_eq!(obstacle(fd, F_GETLK, F_WRLCK, 0, 0), Some((F_WRLCK, 0, 3, me)));
        assert_eq!(obstacle(fd, F_GETLK, F_WRLCK, 3, 0), Some((F_WRLCK, 5, 5, me)));
    });
    // Closing any descriptor of the file gives all of them up.
    assert_eq!(sys!(SYS_close, other), Ok(0));
    in_child(|| assert_eq!(obstacle(fd, F_GETLK, F_WRLCK, 0, 0), None));

    waiting(fd);

    // Of open files: a process can be in its own way.
    let other = open();
    let dup = sys!(SYS_dup, fd).expect("a duplicate") as i32;
    assert_eq!(lock(fd, F_OFD_SETLK, F_WRLCK, 0, 0), Ok(()));
    assert_eq!(lock(other, F_OFD_SETLK, F_RDLCK, 7, 1), Err(EAGAIN));
    assert_eq!(lock(other, F_SETLK, F_RDLCK, 7, 1), Err(EAGAIN));
    assert_eq!(obstacle(other, F_OFD_GETLK, F_RDLCK, 7, 1), Some((F_WRLCK, 0, 0, -1)));
    in_child(|| assert_eq!(lock(fd, F_OFD_SETLK, F_UNLCK, 0, 1), Ok(())));
    assert_eq!(lock(other, F_OFD_SETLK, F_WRLCK, 0, 1), Ok(()), "the child had the same open file");
    assert_eq!(sys!(SYS_close, fd), Ok(0));
    assert_eq!(lock(other, F_OFD_SETLK, F_WRLCK, 1, 1), Err(EAGAIN), "there is another descriptor of it");
    assert_eq!(sys!(SYS_close, dup), Ok(0));
    assert_eq!(lock(other, F_OFD_SETLK, F_WRLCK, 1, 1), Ok(()));

    // On whole files.
    let fd = open();
    assert_eq!(sys!(SYS_flock, fd, LOCK_SH | LOCK_NB), Ok(0));
    assert_eq!(sys!(SYS_flock, other, LOCK_SH | LOCK_NB), Ok(0));
    assert_eq!(sys!(SYS_flock, other, LOCK_EX | LOCK_NB), Err(EAGAIN));
    assert_eq!(sys!(SYS_flock, fd, LOCK_UN), Ok(0));
    assert_eq!(sys!(SYS_flock, other, LOCK_EX | LOCK_NB), Ok(0));
    assert_eq!(sys!(SYS_flock, fd, LOCK_SH | LOCK_NB), Err(EAGAIN));
    let child = start(|| {
        assert_eq!(sys!(SYS_flock, open(), LOCK_EX), Ok(0));
        let mut byte = 0_u8;
        assert_eq!(sys!(SYS_pread64, fd, &raw mut byte, 1, 100), Ok(1));
        assert_eq!(byte, b'y', "the parent has written before it gave the lock up");
    });
    assert_eq!(sys!(SYS_pwrite64, fd, c"y", 1, 100), Ok(1));
    assert_eq!(sys!(SYS_flock, other, LOCK_UN), Ok(0));
    end(child);

    // Requests that make no sense.
    assert_eq!(lock(fd, F_SETLK, 3, 0, 0), Err(EINVAL));
    assert_eq!(lock(fd, F_SETLK, F_RDLCK, -1, 0), Err(EINVAL));
    assert_eq!(lock(fd, F_SETLK, F_RDLCK, 3, -4), Err(EINVAL));
    assert_eq!(lock(fd, F_SETLK, F_RDLCK, 33, -3), Ok(()));
    assert_eq!(lock(fd, F_SETLK, F_RDLCK, i64::MAX, 2), Err(EOVERFLOW));
    assert_eq!(obstacle(other, F_OFD_GETLK, F_WRLCK, 0, 0), Some((F_RDLCK, 30, 3, me)));
    let readable = sys!(SYS_open, PATH, O_RDONLY, 0).expect("it can be read") as i32;
    assert_eq!(lock(readable, F_SETLK, F_WRLCK, 50, 1), Err(EBADF));
    assert_eq!(sys!(SYS_fcntl, readable, F_SETLK, 8), Err(EFAULT));
    assert_eq!(sys!(SYS_flock, readable, 0), Err(EINVAL));
    assert_eq!(sys!(SYS_flock, 99, LOCK_SH), Err(EBADF));
    assert_eq!(sys!(SYS_unlink, PATH), Ok(0));
    println!("ok locks");
}

/// Several processes add to one counter, each under the lock.
fn waiting(fd: i32) {
    const PROCESSES: u64 = 4;
    const TIMES: u64 = 50;
    assert_eq!(sys!(SYS_pwrite64, fd, &0_u64, 8, 0), Ok(8));
    let add = || {
        for _ in 0..TIMES {
            assert_eq!(lock(fd, F_SETLKW, F_WRLCK, 0, 8), Ok(()));
            let mut count = 0_u64;
            assert_eq!(sys!(SYS_pread64, fd, &raw mut count, 8, 0), Ok(8));
            sys!(SYS_sched_yield).expect("others may go on");
            count += 1;
            assert_eq!(sys!(SYS_pwrite64, fd, &raw const count, 8, 0), Ok(8));
            assert_eq!(lock(fd, F_SETLKW, F_UNLCK, 0, 8), Ok(()));
        }
    };
    let children: Vec<i32> = (0..PROCESSES).map(|_| start(add)).collect();
    children.into_iter().for_each(end);
    let mut count = 0_u64;
    assert_eq!(sys!(SYS_pread64, fd, &raw mut count, 8, 0), Ok(8));
    assert_eq!(count, PROCESSES * TIMES);
}
