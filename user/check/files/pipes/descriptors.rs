//! Descriptors of pipes: flags, duplicates, and that an end lasts as long as any of its descriptors.

use super::*;

pub(crate) fn check() {
    flags();
    duplicates();
    replaced();
    by_path();
    sizes();
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

/// What is in a pipe: a call need not give all of it at once.
fn all(output: i32) -> Vec<u8> {
    std::iter::from_fn(|| read(output, 1 << 20).ok()).flatten().collect()
}

fn sizes() {
    const LARGEST: usize = 1 << 20;
    let [output, input] = pipe(O_NONBLOCK);
    let size = |bytes: usize| sys!(SYS_fcntl, input, F_SETPIPE_SZ, bytes);
    for (asked, got) in [(0, 4096), (4097, 8192), (LARGEST - 1, LARGEST), (4096, 4096)] {
        assert_eq!(size(asked), Ok(got as u64), "at least {asked}");
        assert_eq!(sys!(SYS_fcntl, output, F_GETPIPE_SZ), Ok(got as u64));
        let bytes = pattern(asked, LARGEST + 1);
        assert_eq!(write(input, &bytes), Ok(got as u64));
        assert_eq!(write(input, b"x"), Err(EAGAIN), "it is full");
        assert!(all(output) == bytes[..got], "what has gone into {got} bytes");
    }
    assert_eq!(size(u32::MAX as usize), Err(EINVAL));
    assert_eq!(sys!(SYS_fcntl, 0, F_SETPIPE_SZ, 4096), Err(EBADF), "no pipe");
    // What lies in it stays, and has to find room.
    let bytes = pattern(0, 8192);
    assert_eq!((size(8192), write(input, &bytes)), (Ok(8192), Ok(8192)));
    assert_eq!(size(4096), Err(EBUSY));
    assert_eq!((size(LARGEST), write(input, &bytes)), (Ok(LARGEST as u64), Ok(8192)));
    assert!(all(output) == [bytes.clone(), bytes].concat(), "both are there");
    // A writer that waits goes on.
    assert_eq!((size(4096), sys!(SYS_fcntl, input, F_SETFL, 0)), (Ok(4096), Ok(0)));
    let writer = std::thread::spawn(move || write(input, &[1; 8192]));
    while waiting(output) < 4096 {
        std::thread::yield_now();
    }
    assert_eq!(size(8192), Ok(8192));
    assert_eq!(writer.join().unwrap(), Ok(8192));
    [output, input].into_iter().for_each(close);
}
