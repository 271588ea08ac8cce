//! One thread: what goes in comes out, and what a pipe refuses.

use super::*;
use programs::system::pages;

pub(crate) fn check() {
    bytes();
    ends();
    capacity();
    around();
    vectors();
    no_reader();
    sendfile();
}

fn bytes() {
    let mut ends = [-1; 2];
    assert_eq!(sys!(SYS_pipe, &mut ends), Ok(0));
    let [output, input] = ends;
    assert_eq!(write(input, b"one"), Ok(3));
    assert_eq!(write(input, b"two"), Ok(3));
    assert_eq!(waiting(output), 6);
    assert_eq!(read(output, 4), Ok(b"onet".to_vec()));
    assert_eq!(sys!(SYS_read, output, 0, 0), Ok(0), "nothing asked for");
    assert_eq!(read(output, 100), Ok(b"wo".to_vec()));
    assert_eq!(write(input, b"end"), Ok(3));
    close(input);
    assert_eq!(read(output, 100), Ok(b"end".to_vec()), "what was written stays");
    assert_eq!(read(output, 100), Ok(Vec::new()), "the end");
    close(output);
}

fn ends() {
    let [output, input] = pipe(0);
    assert_eq!(read(input, 1), Err(EBADF), "reading the end to be written");
    assert_eq!(write(output, b"x"), Err(EBADF), "writing the end to be read");
    for fd in [output, input] {
        assert_eq!(sys!(SYS_lseek, fd, 0, SEEK_CUR), Err(ESPIPE));
        assert_eq!(sys!(SYS_ftruncate, fd, 0), Err(EINVAL));
        assert_eq!(sys!(SYS_fsync, fd), Err(EINVAL));
        assert_eq!(
            sys!(SYS_mmap, 0, 4096, PROT_READ, MAP_PRIVATE, fd, 0),
            Err(if fd == output { ENODEV } else { EACCES })
        );
        assert_eq!(sys!(SYS_ioctl, fd, TCGETS, pages(1)), Err(ENOTTY));
        assert_eq!(sys!(SYS_getdents64, fd, pages(1), 4096), Err(ENOTDIR));
        assert_eq!(sys!(SYS_fchdir, fd), Err(ENOTDIR));
        assert_eq!(sys!(SYS_fcntl, fd, F_GETPIPE_SZ), Ok(CAPACITY as u64));
        // SAFETY: zeroes are a valid `stat`.
        let mut stat: stat = unsafe { std::mem::zeroed() };
        assert_eq!(sys!(SYS_fstat, fd, &mut stat), Ok(0));
        assert_eq!((stat.st_mode, stat.st_size, stat.st_nlink), (S_IFIFO | 0o600, 0, 1));
    }
    assert_eq!(sys!(SYS_pread64, output, pages(1), 1, 0), Err(ESPIPE));
    assert_eq!(sys!(SYS_pwrite64, input, pages(1), 1, 0), Err(ESPIPE));
    assert_eq!(sys!(SYS_fallocate, input, 0, 0, 1), Err(ESPIPE));
    let (mut there, mut here) = (0, 0);
    for (fd, number) in [(output, &mut there), (input, &mut here)] {
        // SAFETY: as above.
        let mut stat: stat = unsafe { std::mem::zeroed() };
        assert_eq!(sys!(SYS_fstat, fd, &mut stat), Ok(0));
        *number = stat.st_ino;
    }
    assert_eq!(here, there, "both ends are one file");
    close(output);
    close(input);
    assert_eq!(sys!(SYS_pipe2, &mut [0; 2], 0x1), Err(EINVAL), "no such flag");
    assert_eq!(sys!(SYS_fcntl, 0, F_GETPIPE_SZ), Err(EBADF), "no pipe");
}

fn capacity() {
    let [output, input] = pipe(O_NONBLOCK);
    assert_eq!(read(output, 1), Err(EAGAIN), "nothing there");
    let mut written = 0;
    while let Ok(count) = write(input, &pattern(written, ATOMIC)) {
        written += count as usize;
    }
    assert_eq!((written, waiting(input)), (CAPACITY, CAPACITY as i32));
    assert_eq!(write(input, b"x"), Err(EAGAIN), "full");
    assert_eq!(read(output, ATOMIC), Ok(pattern(0, ATOMIC)));
    assert_eq!(write(input, &pattern(written, 5000)), Ok(ATOMIC as u64), "what there is room for");
    assert_eq!(write(input, &pattern(0, ATOMIC)), Err(EAGAIN), "all or nothing");
    assert_eq!(read(output, 2 * CAPACITY), Ok(pattern(ATOMIC, CAPACITY)));
    // Longer than the pipe is: as much as it holds.
    assert_eq!(write(input, &pattern(0, 3 * CAPACITY)), Ok(CAPACITY as u64));
    close(input);
    assert_eq!(read(output, 3 * CAPACITY), Ok(pattern(0, CAPACITY)));
    assert_eq!(read(output, 1), Ok(Vec::new()), "the end, not EAGAIN");
    close(output);
}

/// Pieces of odd lengths, many times around.
fn around() {
    let [output, input] = pipe(O_NONBLOCK);
    let (mut written, mut seen) = (0, 0);
    for length in (1..4000).step_by(37).cycle().take(2000) {
        // How small pieces add up is the system's affair: it is read when there is no more room.
        while let Err(error) = write(input, &pattern(written, length)) {
            assert_eq!(error, EAGAIN);
            let bytes = read(output, 3001).expect("bytes");
            assert_eq!(bytes, pattern(seen, bytes.len()), "at {seen}");
            seen += bytes.len();
        }
        written += length;
    }
    close(input);
    let rest = read(output, CAPACITY).expect("the rest");
    assert_eq!((rest.len(), &rest), (written - seen, &pattern(seen, rest.len())));
    println!("{written} bytes went through");
    close(output);
}

fn vectors() {
    let [output, input] = pipe(O_NONBLOCK);
    let part = |bytes: &[u8]| iovec { iov_base: bytes.as_ptr() as *mut c_void, iov_len: bytes.len() };
    let words = [part(b"ab"), part(b""), part(b"cde")];
    assert_eq!(sys!(SYS_writev, input, words.as_ptr(), 3), Ok(5));
    let (mut one, mut two) = ([0_u8; 4], [0_u8; 4]);
    let into = [one.as_mut_ptr(), two.as_mut_ptr()].map(|at| iovec { iov_base: at.cast(), iov_len: 4 });
    assert_eq!(sys!(SYS_readv, output, into.as_ptr(), 2), Ok(5));
    assert_eq!((&one, two[0]), (b"abcd", b'e'));
    // Together no more than PIPE_BUF: all or nothing.
    assert_eq!(write(input, &pattern(0, CAPACITY - ATOMIC)), Ok((CAPACITY - ATOMIC) as u64));
    assert_eq!(write(input, &pattern(0, ATOMIC)), Ok(ATOMIC as u64));
    let half = pattern(0, ATOMIC / 2);
    assert_eq!(sys!(SYS_writev, input, [part(&half), part(&half)].as_ptr(), 2), Err(EAGAIN));
    assert_eq!(waiting(output), CAPACITY as i32);
    close(output);
    close(input);
}

fn no_reader() {
    let [output, input] = pipe(0);
    close(output);
    assert_eq!(sys!(SYS_write, input, 0, 0), Ok(0), "nothing to write is no reason");
    assert_eq!(write(input, b"x"), Err(EPIPE));
    catch(SIGPIPE, 0);
    assert_eq!(write(input, b"x"), Err(EPIPE));
    assert_eq!(write(input, &pattern(0, 2 * CAPACITY)), Err(EPIPE));
    assert_eq!(CAUGHT.load(SeqCst), 2, "a signal each time");
    ignore(SIGPIPE);
    close(input);
}

fn sendfile() {
    let [output, input] = pipe(O_NONBLOCK);
    let path = c"/tmp/pipes-sendfile";
    let file = sys!(SYS_open, path, O_RDWR | O_CREAT | O_TRUNC, 0o600).expect("a file") as i32;
    assert_eq!(write(file, &pattern(0, 10_000)), Ok(10_000));
    assert_eq!(sys!(SYS_lseek, file, 0, SEEK_SET), Ok(0));
    let mut sent = 0;
    while let Ok(count @ 1..) = sys!(SYS_sendfile, input, file, 0, 10_000) {
        sent += count;
    }
    assert_eq!((sent, read(output, CAPACITY)), (10_000, Ok(pattern(0, 10_000))));
    assert_eq!(sys!(SYS_sendfile, file, output, 0, 1), Err(EINVAL), "from a pipe");
    close(output);
    assert_eq!(sys!(SYS_lseek, file, 0, SEEK_SET), Ok(0));
    assert_eq!(sys!(SYS_sendfile, input, file, 0, 1), Err(EPIPE));
    [file, input].into_iter().for_each(close);
    assert_eq!(sys!(SYS_unlink, path), Ok(0));
}
