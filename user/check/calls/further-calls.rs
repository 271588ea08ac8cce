//! Calls that no other program checks, made once or twice each. It passes on Linux for root as well.
//!
//! Run by: `tests/tests/boot/programs.rs`.

use libc::*;
use programs::children::{End, child, close_all, end_of, pipe_ends};
use programs::sys;
use programs::system::{PAGE, Result, pages};
use std::ffi::CStr;

const PATH: &CStr = c"/tmp/further-calls";
const LINK: &CStr = c"/tmp/further-calls.link";

fn main() {
    memory();
    identity();
    groups();
    scheduling();
    system();
    let fd = sys!(SYS_open, PATH, O_RDWR | O_CREAT | O_TRUNC, 0o644).expect("a file can be made");
    bytes(fd);
    kinds(fd);
    names();
    owners(fd);
    times(fd);
    space(fd);
    assert_eq!(sys!(SYS_unlink, PATH), Ok(0));
    println!("ok further-calls");
}

fn memory() {
    let two = pages(2);
    assert_eq!((sys!(SYS_mlock, two, PAGE), sys!(SYS_munlock, two, PAGE)), (Ok(0), Ok(0)));
    assert_eq!(sys!(SYS_mlock, 0x1000, PAGE), Err(ENOMEM));
    let mut there = [0xff_u8; 2];
    // SAFETY: the page has just been mapped.
    unsafe { two.write(1) };
    assert_eq!(sys!(SYS_mincore, two, 2 * PAGE, &mut there), Ok(0));
    assert_eq!(there[0] & 1, 1, "what was written is there");
    assert_eq!(sys!(SYS_mincore, two.wrapping_add(1), PAGE, &mut there), Err(EINVAL));
    assert_eq!(sys!(SYS_munmap, two, 2 * PAGE), Ok(0));
}

fn identity() {
    for call in [SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid] {
        assert_eq!(sys!(call), Ok(0), "call {call}");
    }
    for call in [SYS_getresuid, SYS_getresgid] {
        let mut numbers = [1_u32; 3];
        let [real, effective, saved] = &mut numbers;
        assert_eq!(sys!(call, real, effective, saved), Ok(0));
        assert_eq!(numbers, [0; 3]);
    }
    for call in [SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid] {
        assert_eq!(sys!(call, 0, 0, 0), Ok(0), "call {call}");
    }
    for call in [SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid] {
        for ids in [[-1, -1, -1], [-1, 0, -1], [0, -1, 0]] {
            assert_eq!(sys!(call, ids[0], ids[1], ids[2]), Ok(0), "call {call}: -1 leaves an id as it is");
        }
    }
    assert_eq!([SYS_setuid, SYS_setgid].map(|call| sys!(call, -1)), [Err(EINVAL); 2]);
    assert_eq!([SYS_setfsuid, SYS_setfsgid].map(|call| sys!(call, -1)), [Ok(0); 2]);
    assert_eq!((sys!(SYS_setgroups, 0, 0), sys!(SYS_setgroups, -1, 0)), (Ok(0), Err(EINVAL)));
    // Another id is had or refused: no success changes nothing.
    let changes = || {
        let changed = sys!(SYS_setresuid, 0, 1000, 1000);
        let mut numbers = [1_u32; 3];
        let [real, effective, saved] = &mut numbers;
        let told = sys!(SYS_getresuid, real, effective, saved);
        let holds = if changed.is_ok() { numbers == [0, 1000, 1000] } else { numbers == [0; 3] };
        i32::from(told == Ok(0) && holds && changed.map_or_else(|error| error == EPERM, |_| true))
    };
    assert_eq!(end_of(child(changes)), End::Exited(1));
    assert!(sys!(SYS_getgroups, 0, 0).is_ok());
    let mut name = [0xff_u8; 16];
    assert_eq!(sys!(SYS_prctl, PR_SET_NAME, c"a name that is cut"), Ok(0));
    assert_eq!(sys!(SYS_prctl, PR_GET_NAME, &mut name), Ok(0));
    assert_eq!(&name, b"a name that is \0");
    assert_eq!(sys!(SYS_prctl, 12345), Err(EINVAL));
}

fn groups() {
    let me = u64::from(std::process::id());
    let group = sys!(SYS_getpgrp).expect("a group");
    assert_eq!(sys!(SYS_getpgid, 0), Ok(group));
    let session = sys!(SYS_getsid, 0).expect("a session");
    assert_eq!(sys!(SYS_getsid, me), Ok(session));
    assert_eq!(sys!(SYS_getsid, 999_999_999), Err(ESRCH));
    // SAFETY: there is one thread.
    match unsafe { fork() } {
        0 => {
            let own = u64::from(std::process::id());
            assert_eq!((sys!(SYS_getpgrp), sys!(SYS_getsid, 0)), (Ok(group), Ok(session)));
            assert_eq!(sys!(SYS_setsid), Ok(own));
            assert_eq!((sys!(SYS_getpgrp), sys!(SYS_getsid, 0)), (Ok(own), Ok(own)));
            assert_eq!(sys!(SYS_setsid), Err(EPERM), "a leader cannot");
            std::process::exit(0);
        }
        child => {
            let mut status = -1;
            // SAFETY: the status outlives the call.
            assert_eq!(unsafe { waitpid(child, &mut status, 0) }, child);
            assert_eq!(status, 0);
        }
    }
}

fn scheduling() {
    assert_eq!(sys!(SYS_sched_getscheduler, 0), Ok(SCHED_OTHER as u64));
    let mut priority = -1;
    assert_eq!(sys!(SYS_sched_getparam, 0, &mut priority), Ok(0));
    assert_eq!(priority, 0);
    for call in [SYS_sched_get_priority_min, SYS_sched_get_priority_max] {
        assert_eq!(sys!(call, SCHED_OTHER), Ok(0));
    }
    assert_eq!(sys!(SYS_sched_get_priority_min, SCHED_FIFO), Ok(1));
    assert_eq!(sys!(SYS_sched_get_priority_max, SCHED_RR), Ok(99));
    assert_eq!(sys!(SYS_sched_get_priority_max, 1000), Err(EINVAL));
    assert_eq!(sys!(SYS_getpriority, PRIO_PROCESS, 0), Ok(20), "20 less the nice value");
    for (which, who, error) in
        [(-1, 0, EINVAL), (3, 0, EINVAL), (0, -1, ESRCH), (0, 999_999, ESRCH), (1, 999_999, ESRCH)]
    {
        assert_eq!(sys!(SYS_getpriority, which, who), Err(error), "{which} {who}");
    }
    assert_eq!([SYS_sched_getscheduler].map(|call| sys!(call, 999_999)), [Err(ESRCH)]);
    assert_eq!(sys!(SYS_sched_getscheduler, -1), Err(EINVAL));
    let (mut cpu, mut node) = (u32::MAX, u32::MAX);
    assert_eq!(sys!(SYS_getcpu, &mut cpu, &mut node, 0), Ok(0));
    assert!(cpu < 4096 && node == 0, "CPU {cpu} of node {node}");
}

fn system() {
    let mut names = [0_u8; 6 * 65];
    assert_eq!(sys!(SYS_uname, &mut names), Ok(0));
    assert!(names[4 * 65..].starts_with(b"x86_64\0"));
    // SAFETY: a structure of integers.
    let mut info: sysinfo = unsafe { std::mem::zeroed() };
    assert_eq!(sys!(SYS_sysinfo, &mut info), Ok(0));
    assert!(info.totalram > info.freeram && info.procs > 0 && info.mem_unit > 0);
    let mut random = [[0_u8; 32]; 2];
    for bytes in &mut random {
        assert_eq!(sys!(SYS_getrandom, bytes, 32, 0), Ok(32));
    }
    assert_ne!(random[0], random[1]);
    assert_eq!(sys!(SYS_getrandom, &mut random, 32, 0x100), Err(EINVAL));
    assert_eq!(sys!(SYS_sync), Ok(0));
}

fn bytes(fd: u64) {
    let part = |bytes: &[u8]| iovec { iov_base: bytes.as_ptr() as *mut c_void, iov_len: bytes.len() };
    let parts = [part(b"one "), part(b"two")];
    assert_eq!(sys!(SYS_pwritev2, fd, &parts, 2, 3, 0, 0), Ok(7));
    assert_eq!(sys!(SYS_lseek, fd, 0, SEEK_CUR), Ok(0), "the offset has stayed");
    // −1 is the offset, which moves.
    assert_eq!(sys!(SYS_pwritev2, fd, &parts, 1, -1_i64, 0, 0), Ok(4));
    assert_eq!(sys!(SYS_lseek, fd, 0, SEEK_CUR), Ok(4));
    let mut text = [0_u8; 16];
    let into = [iovec { iov_base: text.as_mut_ptr().cast(), iov_len: 16 }];
    assert_eq!(sys!(SYS_preadv2, fd, &into, 1, 0, 0, 0), Ok(10));
    assert_eq!(&text[..10], b"one ne two");
    assert_eq!(sys!(SYS_preadv2, fd, &into, 1, 0, 0, 0x4000_0000), Err(EOPNOTSUPP));

    let mut from = 4_u64;
    assert_eq!(sys!(SYS_lseek, fd, 0, SEEK_END), Ok(10));
    assert_eq!(sys!(SYS_copy_file_range, fd, &mut from, fd, 0, 3, 0), Ok(3));
    assert_eq!(from, 7);
    assert_eq!(sys!(SYS_pread64, fd, &mut text, 16, 0), Ok(13));
    assert_eq!(&text[..13], b"one ne twone ");
    assert_eq!(sys!(SYS_copy_file_range, fd, &mut from, fd, 0, 3, 1), Err(EINVAL));
    for advice in [POSIX_FADV_SEQUENTIAL, POSIX_FADV_WILLNEED] {
        assert_eq!(sys!(SYS_fadvise64, fd, 0, 0, advice), Ok(0));
    }
    assert_eq!(sys!(SYS_fadvise64, 999, 0, 0, POSIX_FADV_NORMAL), Err(EBADF));
    assert_eq!([(0, 99), (-1, 0)].map(|(length, advice)| sys!(SYS_fadvise64, fd, 0, length, advice)), [Err(EINVAL); 2]);
}

/// What cannot be done with a kind of file says so in Linux's order.
fn kinds(fd: u64) {
    let [output, input] = pipe_ends();
    let null = sys!(SYS_open, c"/dev/null", O_RDWR).expect("it is there");
    for call in [SYS_fsync, SYS_fdatasync] {
        assert_eq!([fd, null, output as u64].map(|fd| sys!(call, fd)), [Ok(0), Err(EINVAL), Err(EINVAL)]);
    }
    let mut byte = 0_u8;
    for end in [output, input] {
        assert_eq!(sys!(SYS_pread64, end, &mut byte, 1, 0), Err(ESPIPE));
        assert_eq!(sys!(SYS_pwrite64, end, &byte, 1, 0), Err(ESPIPE), "whether it can be written or not");
    }
    assert_eq!(sys!(SYS_fadvise64, output, 0, 0, POSIX_FADV_NORMAL), Err(ESPIPE));
    close_all(&[output, input, null as i32]);
    const F_GETSIG: i32 = 11;
    let name = sys!(SYS_open, PATH, O_PATH).expect("its name");
    let attribute = c"user.none";
    for call in [SYS_fgetxattr, SYS_fsetxattr, SYS_fremovexattr] {
        assert_eq!([name, 999].map(|fd| sys!(call, fd, attribute, 0, 0)), [Err(EBADF); 2], "call {call}");
    }
    for call in [SYS_getxattr, SYS_setxattr, SYS_removexattr, SYS_listxattr] {
        assert_eq!(sys!(call, c"/nowhere", attribute, 0, 0), Err(ENOENT), "call {call}");
    }
    for call in [SYS_lgetxattr, SYS_lsetxattr, SYS_lremovexattr, SYS_llistxattr] {
        assert_eq!(sys!(call, c"/nowhere", attribute, 0, 0), Err(ENOENT), "call {call}");
    }
    let none = sys!(SYS_getxattr, PATH, attribute, 0, 0);
    assert!([Err(EOPNOTSUPP), Err(ENODATA)].contains(&none), "{none:?}");
    assert_eq!((sys!(SYS_listxattr, PATH, 0, 0), sys!(SYS_flistxattr, fd, 0, 0)), (Ok(0), Ok(0)));
    assert_eq!((sys!(SYS_fcntl, fd, F_GETLEASE), sys!(SYS_fcntl, fd, F_GETSIG)), (Ok(F_UNLCK as u64), Ok(0)));
    close_all(&[name as i32]);
}

/// A file's inode number and links.
fn inode(path: &CStr) -> std::result::Result<(u64, u64), i32> {
    // SAFETY: a structure of integers.
    let mut stat: stat = unsafe { std::mem::zeroed() };
    sys!(SYS_lstat, path, &mut stat).map(|_| (stat.st_ino, stat.st_nlink))
}

fn names() {
    let linkat = |old: &CStr, flags| sys!(SYS_linkat, AT_FDCWD, old, AT_FDCWD, LINK, flags);
    assert_eq!(linkat(PATH, 0), Ok(0));
    let (file, _) = inode(PATH).expect("it is there");
    assert_eq!(inode(LINK), Ok((file, 2)));
    assert_eq!(linkat(PATH, 0), Err(EEXIST));
    assert_eq!(sys!(SYS_unlink, LINK), Ok(0));

    assert_eq!(sys!(SYS_symlinkat, PATH, AT_FDCWD, c"/tmp/further-calls.symbolic"), Ok(0));
    assert_eq!(linkat(c"/tmp/further-calls.symbolic", AT_SYMLINK_FOLLOW), Ok(0));
    assert_eq!(inode(LINK), Ok((file, 2)), "the link's end");
    assert_eq!(sys!(SYS_unlink, LINK), Ok(0));
    assert_eq!(linkat(c"/tmp/further-calls.symbolic", 0), Ok(0));
    assert_ne!(inode(LINK).map(|it| it.0), Ok(file), "the link itself");
    for path in [LINK, c"/tmp/further-calls.symbolic"] {
        assert_eq!(sys!(SYS_unlink, path), Ok(0));
    }
    assert_eq!(sys!(SYS_symlinkat, c"", AT_FDCWD, LINK), Err(ENOENT));
    assert_eq!(linkat(c"/tmp", 0), Err(EPERM));
}

fn owners(fd: u64) {
    let owner = || {
        // SAFETY: a structure of integers.
        let mut stat: stat = unsafe { std::mem::zeroed() };
        assert_eq!(sys!(SYS_fstat, fd, &mut stat), Ok(0));
        (stat.st_uid, stat.st_gid)
    };
    assert_eq!(sys!(SYS_chown, PATH, 7, 8), Ok(0));
    assert_eq!(owner(), (7, 8));
    assert_eq!(sys!(SYS_fchown, fd, -1, 9), Ok(0));
    assert_eq!(owner(), (7, 9));
    assert_eq!(sys!(SYS_fchownat, AT_FDCWD, PATH, 10, -1, 0), Ok(0));
    assert_eq!(owner(), (10, 9));
    assert_eq!(sys!(SYS_symlink, PATH, LINK), Ok(0));
    assert_eq!(sys!(SYS_lchown, LINK, 1, 1), Ok(0));
    assert_eq!(owner(), (10, 9), "that was the link");
    assert_eq!(sys!(SYS_unlink, LINK), Ok(0));
    let mode = || {
        // SAFETY: a structure of integers.
        let mut stat: stat = unsafe { std::mem::zeroed() };
        assert_eq!(sys!(SYS_fstat, fd, &mut stat), Ok(0));
        stat.st_mode & 0o7777
    };
    for (before, after) in [(0o6755, 0o755), (0o6745, 0o2745), (0o1644, 0o1644)] {
        assert_eq!(sys!(SYS_chmod, PATH, before), Ok(0));
        assert_eq!(sys!(SYS_fchown, fd, -1, -1), Ok(0));
        assert_eq!(mode(), after, "who has another owner does not run as that: {before:o}");
    }
    assert_eq!(sys!(SYS_chown, PATH, 0, 0), Ok(0));
}

fn times(fd: u64) {
    let times: [[i64; 2]; 2] = [[1, 2], [1_000_000_000, 999_999]];
    assert_eq!(sys!(SYS_utimes, PATH, &times), Ok(0));
    // SAFETY: a structure of integers.
    let mut stat: stat = unsafe { std::mem::zeroed() };
    assert_eq!(sys!(SYS_fstat, fd, &mut stat), Ok(0));
    assert_eq!((stat.st_atime, stat.st_atime_nsec), (1, 2_000));
    assert_eq!((stat.st_mtime, stat.st_mtime_nsec), (1_000_000_000, 999_999_000));
    assert_eq!(sys!(SYS_utimes, PATH, &[[1_i64, 1_000_000], [1, 1]]), Err(EINVAL));
}

fn space(fd: u64) {
    // SAFETY: a structure of integers.
    let zeroed = || -> statfs { unsafe { std::mem::zeroed() } };
    let (mut by_path, mut by_fd) = (zeroed(), zeroed());
    let results: [Result; 2] = [sys!(SYS_statfs, PATH, &mut by_path), sys!(SYS_fstatfs, fd, &mut by_fd)];
    assert_eq!(results, [Ok(0), Ok(0)]);
    assert_eq!((by_path.f_type, by_path.f_namelen), (by_fd.f_type, by_fd.f_namelen));
    assert!(by_path.f_blocks > by_path.f_bfree && by_path.f_bsize > 0 && by_path.f_namelen >= 255);
    assert_eq!(sys!(SYS_statfs, c"/nowhere", &mut by_path), Err(ENOENT));
}
