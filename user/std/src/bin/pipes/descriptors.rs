//! Descriptors of pipes: flags, duplicates, and that an end lasts as long as any of its descriptors.

use super::*;

pub(crate) fn check() {
    flags();
    duplicates();
    replaced();
    by_path();
}

fn flags() {
    let [output, input] = pipe(O_CLOEXEC | O_NONBLOCK);
    for (fd, access) in [(output, O_RDONLY), (input, O_WRONLY)] {
        assert_eq!(sys!(SYS_fcntl, fd, F_GETFD), Ok(FD_CLOEXEC as u64));
        assert_eq!(sys!(SYS_fcntl, fd, F_GETFL).map(|flags| flags as i32 & !0o100_000), Ok(access | O_NONBLOCK));
        assert_eq!(sys!(SYS_fcntl, fd, F_SETFD, 0), Ok(0));
        assert_eq!(sys!(SYS_fcntl, fd, F_GETFD), Ok(0));
    }
    // The status flags are the open file's: a duplicate has them too, the other end has its own.
    let twin = sys!(SYS_fcntl, output, F_DUPFD_CLOEXEC, 100).expect("a duplicate") as i32;
    assert!(twin >= 100);
    assert_eq!(sys!(SYS_fcntl, twin, F_GETFD), Ok(FD_CLOEXEC as u64));
    assert_eq!(sys!(SYS_fcntl, twin, F_SETFL, 0), Ok(0));
    assert_eq!(sys!(SYS_fcntl, output, F_GETFL).map(|flags| flags as i32 & O_NONBLOCK), Ok(0));
    assert_eq!(sys!(SYS_fcntl, input, F_GETFL).map(|flags| flags as i32 & O_NONBLOCK), Ok(O_NONBLOCK));
    assert_eq!(sys!(SYS_ioctl, output, FIONBIO, &1), Ok(0));
    assert_eq!(read(twin, 1), Err(EAGAIN));
    [output, input, twin].into_iter().for_each(close);
}

fn duplicates() {
    let [output, input] = pipe(O_NONBLOCK);
    let twin = sys!(SYS_dup, input).expect("a duplicate") as i32;
    close(input);
    assert_eq!(read(output, 1), Err(EAGAIN), "somebody can still write");
    assert_eq!(write(twin, b"x"), Ok(1));
    close(twin);
    assert_eq!(read(output, 2), Ok(b"x".to_vec()));
    assert_eq!(read(output, 2), Ok(Vec::new()));
    close(output);
}

fn replaced() {
    let [output, input] = pipe(O_NONBLOCK);
    let [other, other_input] = pipe(O_NONBLOCK);
    assert_eq!(sys!(SYS_dup2, other, output), Ok(output as u64), "the first pipe's end is closed by it");
    assert_eq!(write(input, b"x"), Err(EPIPE));
    assert_eq!(sys!(SYS_dup3, other_input, input, O_CLOEXEC), Ok(input as u64));
    assert_eq!(write(input, b"x"), Ok(1));
    assert_eq!(read(output, 1), Ok(b"x".to_vec()));
    assert_eq!(sys!(SYS_dup2, output, output), Ok(output as u64));
    assert_eq!(sys!(SYS_dup3, output, output, 0), Err(EINVAL));
    assert_eq!(sys!(SYS_dup2, 999, output), Err(EBADF));
    assert_eq!(sys!(SYS_dup2, output, -1), Err(EBADF));
    assert_eq!(read(output, 1), Err(EAGAIN), "and it is as it was");
    let [first, last] = [other.min(other_input), other.max(other_input)];
    assert_eq!(sys!(SYS_close_range, first, last, 0), Ok(0));
    close(input);
    assert_eq!(read(output, 1), Ok(Vec::new()));
    close(output);
}

/// `/dev/fd` opens an end anew.
fn by_path() {
    let [output, input] = pipe(O_NONBLOCK);
    for home in ["/dev/fd", "/proc/self/fd"] {
        let path = std::ffi::CString::new(format!("{home}/{input}")).expect("no zero in it");
        let again = sys!(SYS_open, &*path, O_WRONLY | O_CREAT | O_TRUNC, 0o600).expect("it opens") as i32;
        assert_eq!(write(again, b"x"), Ok(1));
        close(again);
        assert_eq!(read(output, 9), Ok(b"x".to_vec()));
        let mut target = [0_u8; 64];
        let length = sys!(SYS_readlink, &*path, target.as_mut_ptr(), 64).expect("a link") as usize;
        // SAFETY: zeroes are a valid `stat`.
        let mut stat: stat = unsafe { std::mem::zeroed() };
        assert_eq!(sys!(SYS_stat, &*path, &mut stat), Ok(0));
        assert_eq!((stat.st_mode & S_IFMT, &target[..length]), (S_IFIFO, format!("pipe:[{}]", stat.st_ino).as_bytes()));
    }
    close(input);
    assert_eq!(read(output, 1), Ok(Vec::new()), "nobody writes any more");
    assert_eq!(sys!(SYS_open, c"/dev/fd/999", O_RDONLY), Err(ENOENT));
    close(output);
}
