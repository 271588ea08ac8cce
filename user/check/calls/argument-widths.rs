//! Arguments that are narrower than a register: a call looks at what C passes, and the register's upper half means
//! nothing. Every call is made with bits in that half. It passes on Linux as well.
//!
//! Run by: `tests/tests/boot/programs.rs`.

use libc::*;
use programs::sys;
use programs::system::{PAGE, pages};
use std::ffi::CStr;

const PATH: &CStr = c"/tmp/argument-widths";
const OTHER: &CStr = c"/tmp/argument-widths.other";

/// An `int` in a register whose upper half has bits too.
fn wide(int: impl Into<i64>) -> u64 {
    0x5a5a_a5a5 << 32 | int.into() as u64 & 0xffff_ffff
}

fn main() {
    let fd = sys!(SYS_openat, wide(AT_FDCWD), PATH, wide(O_RDWR | O_CREAT | O_TRUNC), wide(0o644)).expect("a file");
    let fd = fd as i32;
    bytes(fd);
    descriptors(fd);
    names();
    waiting();
    memory();
    processes();
    limits();
    println!("ok argument-widths");
}

fn bytes(fd: i32) {
    let text = b"text";
    assert_eq!(sys!(SYS_write, wide(fd), text.as_ptr(), 4), Ok(4));
    assert_eq!(sys!(SYS_lseek, wide(fd), -1_i64, wide(SEEK_CUR)), Ok(3));
    assert_eq!(sys!(SYS_fallocate, wide(fd), wide(FALLOC_FL_KEEP_SIZE), 0, PAGE), Ok(0));
    assert_eq!(sys!(SYS_fadvise64, wide(fd), 0, 4, wide(POSIX_FADV_NORMAL)), Ok(0));
    let mut random = [0_u8; 8];
    assert_eq!(sys!(SYS_getrandom, &mut random, 8, wide(GRND_NONBLOCK as i32)), Ok(8));
}

fn descriptors(fd: i32) {
    assert_eq!(sys!(SYS_fcntl, wide(fd), wide(F_GETFD)), Ok(0));
    assert_eq!(sys!(SYS_flock, wide(fd), wide(LOCK_EX | LOCK_NB)), Ok(0));
    let copy = sys!(SYS_dup3, wide(fd), wide(fd + 50), wide(O_CLOEXEC)).expect("a copy") as i32;
    assert_eq!((copy, sys!(SYS_fcntl, copy, F_GETFD)), (fd + 50, Ok(1)));
    assert_eq!(sys!(SYS_close_range, wide(copy), wide(copy), wide(0)), Ok(0));
    assert_eq!(sys!(SYS_close, wide(copy)), Err(EBADF));
    for made in [sys!(SYS_eventfd2, wide(3), wide(EFD_NONBLOCK)), sys!(SYS_epoll_create1, wide(EPOLL_CLOEXEC))] {
        assert_eq!(made.map(|fd| sys!(SYS_close, wide(fd as i32))), Ok(Ok(0)));
    }
}

fn names() {
    // SAFETY: any bytes are a `stat`.
    let mut about: stat = unsafe { std::mem::zeroed() };
    assert_eq!(sys!(SYS_newfstatat, wide(AT_FDCWD), PATH, &mut about, wide(AT_SYMLINK_NOFOLLOW)), Ok(0));
    assert_eq!((about.st_size, about.st_mode), (4, S_IFREG | 0o644));
    assert_eq!(sys!(SYS_faccessat2, wide(AT_FDCWD), PATH, wide(R_OK), wide(AT_EACCESS)), Ok(0));
    assert_eq!(sys!(SYS_fchmodat, wide(AT_FDCWD), PATH, wide(0o600)), Ok(0));
    assert_eq!(sys!(SYS_fchownat, wide(AT_FDCWD), PATH, wide(-1), wide(-1), wide(0)), Ok(0));
    assert_eq!(sys!(SYS_linkat, wide(AT_FDCWD), PATH, wide(AT_FDCWD), OTHER, wide(AT_SYMLINK_FOLLOW)), Ok(0));
    let replaced = sys!(SYS_renameat2, wide(AT_FDCWD), PATH, wide(AT_FDCWD), OTHER, wide(RENAME_NOREPLACE as i32));
    assert_eq!(replaced, Err(EEXIST));
    assert_eq!(sys!(SYS_unlinkat, wide(AT_FDCWD), OTHER, wide(0)), Ok(0));
    assert_eq!(sys!(SYS_unlinkat, wide(AT_FDCWD), PATH, wide(AT_REMOVEDIR)), Err(ENOTDIR));
    assert_eq!(sys!(SYS_unlinkat, wide(AT_FDCWD), PATH, wide(0)), Ok(0));
}

fn waiting() {
    let mut nothing = pollfd { fd: -1, events: POLLIN, revents: 0 };
    assert_eq!(sys!(SYS_poll, &mut nothing, wide(1), wide(0)), Ok(0));
    let past = timespec { tv_sec: 0, tv_nsec: 1 };
    let until = sys!(SYS_clock_nanosleep, wide(CLOCK_MONOTONIC), wide(TIMER_ABSTIME), &raw const past, 0);
    assert_eq!(until, Ok(0), "a time that has passed");
    let mut word = 7_u32;
    let word = &raw mut word;
    assert_eq!(sys!(SYS_futex, word, wide(FUTEX_WAIT | FUTEX_PRIVATE_FLAG), wide(8), 0, 0, 0), Err(EAGAIN));
    let short = timespec { tv_sec: 0, tv_nsec: 1000 };
    let waited = sys!(SYS_futex, word, wide(FUTEX_WAIT | FUTEX_PRIVATE_FLAG), wide(7), &raw const short, 0, 0);
    assert_eq!(waited, Err(ETIMEDOUT), "the word has the value");
    assert_eq!(sys!(SYS_futex, word, wide(FUTEX_WAKE), wide(1), 0, 0, 0), Ok(0));
}

fn memory() {
    let page = pages(1);
    assert_eq!(sys!(SYS_madvise, page, PAGE, wide(MADV_DONTNEED)), Ok(0));
    assert_eq!(sys!(SYS_msync, page, PAGE, wide(MS_ASYNC)), Ok(0));
    assert_eq!(sys!(SYS_munmap, page, PAGE), Ok(0));
}

fn processes() {
    let own = sys!(SYS_getpid).expect("a number") as i32;
    assert_eq!(sys!(SYS_kill, wide(own), wide(0)), Ok(0));
    assert_eq!(sys!(SYS_wait4, wide(-1), 0, wide(WNOHANG), 0), Err(ECHILD));
    assert_eq!(sys!(SYS_waitid, wide(P_ALL as i32), wide(0), 0, wide(WNOHANG | WEXITED), 0), Err(ECHILD));
    assert_eq!(sys!(SYS_getpriority, wide(PRIO_PROCESS), wide(0)), Ok(20));
    assert_eq!(sys!(SYS_sched_getscheduler, wide(0)), Ok(0));
    let mut before = 0_u64;
    assert_eq!(sys!(SYS_rt_sigprocmask, wide(SIG_BLOCK), 0, &mut before, 8), Ok(0));
}

/// The order of Linux's checks: a limit that is given is read before the resource is looked at, one that is asked for
/// is written last.
fn limits() {
    let mut limit = [0_u64; 2];
    assert_eq!(sys!(SYS_getrlimit, wide(RLIMIT_NOFILE), &mut limit), Ok(0));
    assert_eq!(sys!(SYS_prlimit64, wide(0), wide(RLIMIT_NOFILE), &mut limit, 0), Ok(0));
    assert_eq!(sys!(SYS_setrlimit, 99, 0), Err(EFAULT));
    assert_eq!(sys!(SYS_setrlimit, 99, &mut limit), Err(EINVAL));
    assert_eq!(sys!(SYS_getrlimit, 99, 0), Err(EINVAL));
    assert_eq!(sys!(SYS_getrlimit, RLIMIT_NOFILE, 0), Err(EFAULT));
    assert_eq!(sys!(SYS_prlimit64, 0, 99, 8, 0), Err(EFAULT));
}
