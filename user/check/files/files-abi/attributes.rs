//! stat and its kin, statx, chmod, umask, times, links' counts.

use super::*;

pub(super) fn check() {
    kinds();
    agreement();
    modes();
    times();
    refused();
}

fn kinds() {
    close(file(c"file", b"12345"));
    mkdir(c"directory");
    assert_eq!(sys!(SYS_symlink, c"file", c"link"), Ok(0));
    let of = |path| stat_of(path).expect("it is there");
    let file = of(c"file");
    assert_eq!((file.st_mode, file.st_nlink, file.st_size), (S_IFREG | 0o644, 1, 5));
    assert_eq!(of(c"directory").st_mode, S_IFDIR | 0o755);
    assert_eq!(of(c"directory").st_nlink, 2, "its name and its own `.`");
    assert_eq!(of(c"link").st_ino, file.st_ino, "what the link leads to");
    let link = stat_by(|stat| sys!(SYS_lstat, c"link", stat)).expect("the link");
    assert_eq!((link.st_mode & S_IFMT, link.st_size), (S_IFLNK, 4), "the link itself");
    assert_eq!(of(c"/dev/null").st_mode & S_IFMT, S_IFCHR);
    assert!(file.st_blksize > 0);
    assert_eq!(of(c"directory").st_dev, file.st_dev, "one file system");
    unlink(c"link");
    unlink(c"file");
    rmdir(c"directory");
}

/// All ways of asking have the same answer.
fn agreement() {
    let fd = file(c"file", b"12345");
    let stat = stat_of(c"file").expect("it is there");
    let ways = [
        stat_by(|stat| sys!(SYS_fstat, fd, stat)),
        stat_by(|stat| sys!(SYS_lstat, c"file", stat)),
        stat_by(|stat| sys!(SYS_newfstatat, AT_FDCWD, c"file", stat, 0)),
        stat_by(|stat| sys!(SYS_newfstatat, AT_FDCWD, c"file", stat, AT_SYMLINK_NOFOLLOW)),
        stat_by(|stat| sys!(SYS_newfstatat, fd, c"", stat, AT_EMPTY_PATH)),
    ];
    for (index, other) in ways.into_iter().enumerate() {
        let other = other.expect("it is there");
        let all =
            |stat: &stat| (stat.st_ino, stat.st_mode, stat.st_nlink, stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
        assert_eq!(all(&other), all(&stat), "way {index}");
    }
    let mut x = [0u8; 256];
    for (directory, path, flags) in [(AT_FDCWD, c"file", 0), (fd as i32, c"", AT_EMPTY_PATH)] {
        x.fill(0);
        assert_eq!(sys!(SYS_statx, directory, path, flags, 0x7ff, x.as_mut_ptr()), Ok(0));
        let word = |at: usize| u32::from_le_bytes(x[at..at + 4].try_into().expect("four bytes"));
        let long = |at: usize| u64::from_le_bytes(x[at..at + 8].try_into().expect("eight bytes"));
        assert_eq!(word(0) & 0x200, 0x200, "the size is among what is known");
        assert_eq!((word(16), u32::from(u16::from_le_bytes([x[28], x[29]]))), (1, stat.st_mode), "links, mode");
        assert_eq!((long(32), long(40)), (stat.st_ino, 5), "number, size");
        assert_eq!(long(112) as i64, stat.st_mtime, "time of the last change");
    }
    close(fd);
    unlink(c"file");
}

fn modes() {
    let old = sys!(SYS_umask, 0o027).expect("umask");
    close(sys!(SYS_open, c"file", O_RDWR | O_CREAT, 0o666).expect("a file"));
    assert_eq!(sys!(SYS_umask, old), Ok(0o027));
    let mode = || stat_of(c"file").expect("it is there").st_mode & 0o7777;
    assert_eq!(mode(), 0o640, "the mask took some");
    assert_eq!(sys!(SYS_chmod, c"file", 0o751), Ok(0));
    assert_eq!(mode(), 0o751);
    assert_eq!(sys!(SYS_fchmodat, AT_FDCWD, c"file", 0o600), Ok(0));
    assert_eq!(mode(), 0o600);
    let fd = open(c"file", O_RDONLY).expect("the file");
    assert_eq!(sys!(SYS_fchmod, fd, 0o644), Ok(0));
    assert_eq!(mode(), 0o644);
    assert_eq!(sys!(SYS_fchmod, 999, 0o644), Err(EBADF));
    assert_eq!(sys!(SYS_chmod, c"none", 0o644), Err(ENOENT));
    close(fd);
    unlink(c"file");
}

fn times() {
    let fd = file(c"file", b"");
    let pair = [timespec { tv_sec: 1_000_000_000, tv_nsec: 5 }, timespec { tv_sec: 1_100_000_000, tv_nsec: 7 }];
    assert_eq!(sys!(SYS_utimensat, AT_FDCWD, c"file", &pair, 0), Ok(0));
    let stat = stat_of(c"file").expect("it is there");
    assert_eq!((stat.st_atime, stat.st_mtime, stat.st_mtime_nsec), (1_000_000_000, 1_100_000_000, 7));
    let keep = [timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, timespec { tv_sec: 0, tv_nsec: UTIME_NOW }];
    assert_eq!(sys!(SYS_utimensat, fd, 0, &keep, 0), Ok(0), "by descriptor");
    let stat = stat_of(c"file").expect("it is there");
    assert_eq!(stat.st_atime, 1_000_000_000, "left alone");
    assert!(stat.st_mtime > 1_700_000_000, "now");
    let wrong = [timespec { tv_sec: 0, tv_nsec: 2_000_000_000 }; 2];
    assert_eq!(sys!(SYS_utimensat, AT_FDCWD, c"file", &wrong, 0), Err(EINVAL));
    assert_eq!(sys!(SYS_utimensat, AT_FDCWD, c"none", &pair, 0), Err(ENOENT));

    // A write is a change.
    assert_eq!(sys!(SYS_utimensat, AT_FDCWD, c"file", &pair, 0), Ok(0));
    assert_eq!(sys!(SYS_write, fd, c"x", 1), Ok(1));
    assert!(stat_of(c"file").expect("it is there").st_mtime > 1_700_000_000, "the write's time");
    close(fd);
    unlink(c"file");
}

fn refused() {
    let mut stat = [0u64; 18];
    assert_eq!(sys!(SYS_stat, c"none", &mut stat), Err(ENOENT));
    assert_eq!(sys!(SYS_stat, c"", &mut stat), Err(ENOENT));
    assert_eq!(sys!(SYS_stat, NOWHERE, &mut stat), Err(EFAULT));
    assert_eq!(sys!(SYS_stat, c".", NOWHERE), Err(EFAULT));
    assert_eq!(sys!(SYS_stat, c".", KERNEL), Err(EFAULT));
    assert_eq!(sys!(SYS_fstat, 999, &mut stat), Err(EBADF));
    assert_eq!(sys!(SYS_newfstatat, AT_FDCWD, c"", &mut stat, 0), Err(ENOENT));
    assert_eq!(sys!(SYS_newfstatat, AT_FDCWD, c".", &mut stat, 0x10_0000), Err(EINVAL), "no such flag");
    assert_eq!(sys!(SYS_statx, AT_FDCWD, c".", 0, 0x7ff, NOWHERE), Err(EFAULT));
}
