//! dup, dup2, dup3, fcntl, ioctl, poll, the limit of descriptors.

use super::*;

pub(super) fn check() {
    duplicates();
    control();
    polling();
    limit();
    many();
}

fn duplicates() {
    let fd = file(c"file", b"0123456789");
    let copy = sys!(SYS_dup, fd).expect("dup");
    assert_eq!(copy, fd + 1, "the lowest free number");
    assert_eq!(sys!(SYS_lseek, fd, 4, SEEK_SET), Ok(4));
    assert_eq!(sys!(SYS_lseek, copy, 0, SEEK_CUR), Ok(4), "one position for both");
    close(fd);
    assert_eq!(read(copy, 2), Ok(b"45".to_vec()), "the other one stays");
    assert_eq!(sys!(SYS_dup2, copy, 50), Ok(50));
    assert_eq!(sys!(SYS_dup2, copy, copy), Ok(copy), "onto itself: nothing happens");
    assert_eq!(sys!(SYS_dup3, copy, copy, 0), Err(EINVAL), "dup3 does not");
    assert_eq!(sys!(SYS_dup3, copy, 51, O_CLOEXEC), Ok(51));
    assert_eq!(sys!(SYS_dup3, copy, 52, 1), Err(EINVAL), "no such flag");
    assert_eq!(sys!(SYS_fcntl, 51, F_GETFD), Ok(FD_CLOEXEC as u64));
    assert_eq!(sys!(SYS_fcntl, 50, F_GETFD), Ok(0));
    let other = file(c"other", b"");
    assert_eq!(sys!(SYS_dup2, copy, other), Ok(other), "what was there is closed");
    assert_eq!(
        stat_of(c"file").map(|stat| stat.st_ino),
        stat_by(|stat| sys!(SYS_fstat, other, stat)).map(|stat| stat.st_ino)
    );
    assert_eq!(sys!(SYS_dup, 999), Err(EBADF));
    assert_eq!(sys!(SYS_dup2, 999, 3), Err(EBADF));
    assert_eq!(sys!(SYS_dup2, copy, -1), Err(EBADF));
    assert_eq!(sys!(SYS_dup2, copy, 1 << 30), Err(EBADF), "above the limit");
    [copy, 50, 51, other].into_iter().for_each(close);
    unlink(c"file");
    unlink(c"other");
}

fn control() {
    let fd = file(c"file", b"");
    let fcntl = |command: i32, argument: u64| sys!(SYS_fcntl, fd, command, argument);
    assert_eq!(fcntl(F_DUPFD, 40), Ok(40));
    assert_eq!(fcntl(F_DUPFD_CLOEXEC, 40), Ok(41), "the lowest free one from there");
    assert_eq!(sys!(SYS_fcntl, 41, F_GETFD), Ok(FD_CLOEXEC as u64));
    assert_eq!(fcntl(F_DUPFD, 1 << 30), Err(EINVAL), "above the limit");
    assert_eq!(fcntl(F_SETFD, FD_CLOEXEC as u64), Ok(0));
    assert_eq!(fcntl(F_GETFD, 0), Ok(FD_CLOEXEC as u64));
    let flags = fcntl(F_GETFL, 0).expect("its flags") as i32;
    assert_eq!(flags & (O_ACCMODE | O_APPEND), O_RDWR);
    assert_eq!(fcntl(F_SETFL, (O_APPEND | O_NONBLOCK) as u64), Ok(0));
    let flags = fcntl(F_GETFL, 0).expect("its flags") as i32;
    assert_eq!(flags & (O_ACCMODE | O_APPEND | O_NONBLOCK), O_RDWR | O_APPEND | O_NONBLOCK);
    assert_eq!(sys!(SYS_fcntl, 40, F_GETFL).map(|flags| flags as i32), Ok(flags), "of the open file, not the number");
    assert_eq!(fcntl(9999, 0), Err(EINVAL), "no such command");
    assert_eq!(sys!(SYS_fcntl, 999, F_GETFD), Err(EBADF));
    let mut size = [0u16; 4];
    assert_eq!(sys!(SYS_ioctl, fd, TIOCGWINSZ, &mut size), Err(ENOTTY), "no terminal");
    assert_eq!(sys!(SYS_ioctl, fd, TCGETS, NOWHERE), Err(ENOTTY));
    assert_eq!(sys!(SYS_ioctl, 999, TIOCGWINSZ, &mut size), Err(EBADF));
    assert_eq!(sys!(SYS_fsync, fd), Ok(0));
    assert_eq!(sys!(SYS_fdatasync, fd), Ok(0));
    assert_eq!(sys!(SYS_fsync, 999), Err(EBADF));
    [fd, 40, 41].into_iter().for_each(close);
    unlink(c"file");
}

fn polling() {
    let fd = file(c"file", b"") as i32;
    let mut set =
        [(fd, POLLIN | POLLOUT), (999, POLLIN), (-1, POLLIN)].map(|(fd, events)| pollfd { fd, events, revents: 9 });
    assert_eq!(sys!(SYS_poll, set.as_mut_ptr(), 3, 1000), Ok(2));
    assert_eq!(set.map(|entry| entry.revents), [POLLIN | POLLOUT, POLLNVAL, 0], "files are always ready");
    assert_eq!(sys!(SYS_poll, 0, 0, 5), Ok(0), "nothing but a time-out");
    assert_eq!(sys!(SYS_poll, NOWHERE, 1, 0), Err(EFAULT));
    assert_eq!(sys!(SYS_poll, set.as_mut_ptr(), 1 << 30, 0), Err(EINVAL), "too many");
    let no_time = timespec { tv_sec: 0, tv_nsec: 0 };
    assert_eq!(sys!(SYS_ppoll, set.as_mut_ptr(), 1, &no_time, 0, 8), Ok(1));
    close(fd as u64);
    unlink(c"file");
}

/// The soft limit counts, and can be set.
fn limit() {
    let mut old = rlimit { rlim_cur: 0, rlim_max: 0 };
    assert_eq!(sys!(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &mut old), Ok(0));
    let new = rlimit { rlim_cur: 20, ..old };
    assert_eq!(sys!(SYS_prlimit64, 0, RLIMIT_NOFILE, &new, 0), Ok(0));
    let mut opened = Vec::new();
    let error = loop {
        match open(c".", O_RDONLY) {
            Ok(fd) => opened.push(fd),
            Err(error) => break error,
        }
    };
    assert_eq!((error, opened.last()), (EMFILE, Some(&19)), "numbers below the limit");
    assert_eq!(sys!(SYS_dup, opened[0]), Err(EMFILE));
    assert_eq!(sys!(SYS_dup2, opened[0], 20), Err(EBADF));
    assert_eq!(sys!(SYS_fcntl, opened[0], F_DUPFD, 20), Err(EINVAL));
    opened.into_iter().for_each(close);
    assert_eq!(sys!(SYS_prlimit64, 0, RLIMIT_NOFILE, &old, 0), Ok(0));
    let wrong = rlimit { rlim_cur: 30, rlim_max: 20 };
    assert_eq!(sys!(SYS_prlimit64, 0, RLIMIT_NOFILE, &wrong, 0), Err(EINVAL), "soft above hard");
    assert_eq!(sys!(SYS_prlimit64, 0, 99, 0, &mut old), Err(EINVAL), "no such resource");
    assert_eq!(sys!(SYS_prlimit64, 0, RLIMIT_NOFILE, NOWHERE, 0), Err(EFAULT));
}

/// As many descriptors as the hard limit of a process allows by default, or 65,536 if it allows more.
fn many() {
    let mut old = rlimit { rlim_cur: 0, rlim_max: 0 };
    assert_eq!(sys!(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &mut old), Ok(0));
    let most = old.rlim_max.min(65_536);
    let set = |soft, hard| sys!(SYS_prlimit64, 0, RLIMIT_NOFILE, &rlimit { rlim_cur: soft, rlim_max: hard }, 0);
    assert_eq!(set(most, old.rlim_max), Ok(0));
    assert_eq!(set(old.rlim_cur, RLIM_INFINITY), Err(EPERM), "more than the system ever allows");
    let fd = file(c"file", b"");
    assert_eq!(sys!(SYS_dup2, fd, most - 1), Ok(most - 1));
    assert_eq!(sys!(SYS_dup2, fd, most), Err(EBADF));
    assert_eq!(sys!(SYS_fcntl, fd, F_DUPFD, most - 1), Err(EMFILE), "the last one is taken");
    assert_eq!(sys!(SYS_fcntl, fd, F_DUPFD, most), Err(EINVAL));
    assert_eq!(sys!(SYS_fcntl, fd, F_DUPFD_CLOEXEC, most - 3), Ok(most - 3));
    let mut set_of_last = vec![0_u64; most.div_ceil(64) as usize];
    set_of_last[(most - 1) as usize / 64] = 1 << ((most - 1) % 64);
    let time = timespec { tv_sec: 0, tv_nsec: 0 };
    assert_eq!(
        sys!(SYS_pselect6, most, set_of_last.as_mut_ptr(), 0, 0, &time, 0),
        Ok(1),
        "no matter what FD_SETSIZE is"
    );
    // All in between; then the table is full but for one in the middle, for the process and for a child of its own.
    while sys!(SYS_dup, fd).is_ok() {}
    assert_eq!(sys!(SYS_dup, fd), Err(EMFILE));
    close(most / 2);
    let child = programs::children::child(|| {
        assert_eq!(sys!(SYS_dup, fd), Ok(most / 2));
        assert_eq!(sys!(SYS_close_range, 3, most - 2, 0), Ok(0));
        i32::from(sys!(SYS_fcntl, most - 1, F_GETFD) != Ok(0) || sys!(SYS_fcntl, most - 3, F_GETFD) != Err(EBADF))
    });
    assert_eq!(programs::children::end_of(child).status(), 0);
    assert_eq!(sys!(SYS_fcntl, most - 3, F_GETFD), Ok(FD_CLOEXEC as u64), "the child's is its own");
    // What is above a lower limit stays, and can be used and closed.
    assert_eq!(set(100, old.rlim_max), Ok(0));
    assert_eq!(sys!(SYS_write, most - 1, b"x".as_ptr(), 1), Ok(1));
    assert_eq!(sys!(SYS_dup2, fd, most - 1), Err(EBADF));
    assert_eq!(sys!(SYS_close_range, 3, u32::MAX, 0), Ok(0));
    assert_eq!(sys!(SYS_fcntl, most - 1, F_GETFD), Err(EBADF));
    assert_eq!(set(old.rlim_cur, old.rlim_max), Ok(0));
    unlink(c"file");
}
