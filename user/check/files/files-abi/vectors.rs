//! readv, writev, preadv, pwritev.

use super::*;
use programs::system::{PAGE, pages};

pub(super) fn check() {
    let fd = file(c"file", b"");
    let vector =
        |parts: &[(u64, usize)]| -> Vec<[u64; 2]> { parts.iter().map(|part| [part.0, part.1 as u64]).collect() };
    let write = |parts: &[(u64, usize)]| {
        let vector = vector(parts);
        sys!(SYS_writev, fd, vector.as_ptr(), vector.len())
    };
    let (one, two) = (c"one ".as_ptr() as u64, c"two".as_ptr() as u64);
    assert_eq!(write(&[(one, 4), (0, 0), (two, 3)]), Ok(7));
    assert_eq!(std::fs::read("file").expect("the file"), b"one two");
    assert_eq!(write(&[]), Ok(0), "no parts");

    assert_eq!(sys!(SYS_lseek, fd, 0, SEEK_SET), Ok(0));
    let (mut first, mut second) = ([0u8; 3], [0u8; 10]);
    let read = vector(&[(first.as_mut_ptr() as u64, 3), (second.as_mut_ptr() as u64, 10)]);
    assert_eq!(sys!(SYS_readv, fd, read.as_ptr(), 2), Ok(7));
    assert_eq!((&first, &second[..4]), (b"one", &b" two"[..]));
    assert_eq!(sys!(SYS_preadv, fd, read.as_ptr(), 2, 4, 0), Ok(3));
    assert_eq!(&first, b"two");

    // What cannot be: wrong counts, wrong lengths, wrong places.
    assert_eq!(sys!(SYS_writev, fd, read.as_ptr(), -1), Err(EINVAL));
    assert_eq!(sys!(SYS_writev, fd, read.as_ptr(), 1025), Err(EINVAL), "1024 is the most");
    assert_eq!(write(&[(one, usize::MAX)]), Err(EINVAL), "a negative length");
    assert_eq!(sys!(SYS_writev, fd, NOWHERE, 1), Err(EFAULT));
    assert_eq!(sys!(SYS_writev, fd, KERNEL, 1), Err(EFAULT));
    assert_eq!(write(&[(NOWHERE, 4)]), Err(EFAULT));
    assert_eq!(write(&[(KERNEL, 4)]), Err(EFAULT));
    assert_eq!(sys!(SYS_ftruncate, fd, 0), Ok(0));
    assert_eq!(sys!(SYS_lseek, fd, 0, SEEK_SET), Ok(0));
    assert_eq!(write(&[(one, 4), (NOWHERE, 4), (two, 3)]), Ok(4), "up to the part that is nowhere");

    // The vector itself runs over the end of what is mapped.
    let page = pages(2);
    assert_eq!(sys!(SYS_munmap, page as u64 + PAGE as u64, PAGE), Ok(0));
    assert_eq!(sys!(SYS_writev, fd, page as u64 + PAGE as u64 - 16, 2), Err(EFAULT), "half a vector");
    assert_eq!(sys!(SYS_munmap, page, PAGE), Ok(0));

    // A thousand parts, in order.
    let digits: Vec<u8> = (0..1000).map(|n| b'0' + (n % 10) as u8).collect();
    let parts: Vec<_> = digits.iter().map(|digit| (&raw const *digit as u64, 1)).collect();
    assert_eq!(sys!(SYS_ftruncate, fd, 0), Ok(0));
    assert_eq!(sys!(SYS_lseek, fd, 0, SEEK_SET), Ok(0));
    assert_eq!(write(&parts), Ok(1000));
    assert_eq!(std::fs::read("file").expect("the file"), digits);
    let last = vector(&[(two, 3)]);
    assert_eq!(sys!(SYS_pwritev, fd, last.as_ptr(), 1, 2, 0), Ok(3));
    assert_eq!(&std::fs::read("file").expect("the file")[..6], b"01two5");
    close(fd);
    unlink(c"file");
}
