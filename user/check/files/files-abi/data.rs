//! read, write, pread64, pwrite64, lseek, ftruncate, truncate.

use super::*;

pub(super) fn check() {
    reading();
    positions();
    holes();
    truncation();
    addresses();
    large();
}

fn reading() {
    let fd = file(c"file", b"0123456789");
    assert_eq!(read(fd, 5), Ok(vec![]), "at the end");
    assert_eq!(sys!(SYS_lseek, fd, 7, SEEK_SET), Ok(7));
    assert_eq!(read(fd, 5), Ok(b"789".to_vec()), "as much as there is");
    assert_eq!(read(fd, 0), Ok(vec![]));
    let mut bytes = [0; 4];
    assert_eq!(sys!(SYS_pread64, fd, bytes.as_mut_ptr(), 4, 2), Ok(4));
    assert_eq!(&bytes, b"2345");
    assert_eq!(sys!(SYS_lseek, fd, 0, SEEK_CUR), Ok(10), "pread does not move");
    assert_eq!(sys!(SYS_pread64, fd, bytes.as_mut_ptr(), 4, 100), Ok(0), "behind the end");
    assert_eq!(sys!(SYS_pread64, fd, bytes.as_mut_ptr(), 4, -1), Err(EINVAL));
    assert_eq!(sys!(SYS_pwrite64, fd, c"xy", 2, 1), Ok(2));
    assert_eq!(sys!(SYS_pwrite64, fd, c"xy", 2, -1), Err(EINVAL));
    assert_eq!(std::fs::read("file").expect("the file"), b"0xy3456789");
    close(fd);
    unlink(c"file");
}

fn positions() {
    let fd = file(c"file", b"0123456789");
    let seek = |offset: i64, whence: i32| sys!(SYS_lseek, fd, offset, whence);
    assert_eq!(seek(-3, SEEK_END), Ok(7));
    assert_eq!(seek(-3, SEEK_CUR), Ok(4));
    assert_eq!(seek(-5, SEEK_CUR), Err(EINVAL), "before the start");
    assert_eq!(seek(0, SEEK_CUR), Ok(4), "unchanged");
    assert_eq!(seek(1000, SEEK_SET), Ok(1000), "behind the end");
    assert_eq!(read(fd, 1), Ok(vec![]));
    assert_eq!(seek(0, 99), Err(EINVAL), "no such start");
    assert_eq!(sys!(SYS_lseek, 999, 0, SEEK_SET), Err(EBADF));
    close(fd);
    unlink(c"file");
}

fn holes() {
    let fd = file(c"file", b"start");
    assert_eq!(sys!(SYS_pwrite64, fd, c"end", 3, 20_000), Ok(3));
    assert_eq!(stat_by(|stat| sys!(SYS_fstat, fd, stat)).map(|stat| stat.st_size), Ok(20_003));
    assert_eq!(sys!(SYS_lseek, fd, 0, SEEK_SET), Ok(0));
    let contents = read(fd, 30_000).expect("the file");
    assert_eq!((contents.len(), &contents[..5], &contents[20_000..]), (20_003, &b"start"[..], &b"end"[..]));
    assert!(contents[5..20_000].iter().all(|byte| *byte == 0), "zeroes between");
    close(fd);
    unlink(c"file");
}

fn truncation() {
    let fd = file(c"file", &[b'x'; 10_000]);
    assert_eq!(sys!(SYS_ftruncate, fd, 5000), Ok(0));
    assert_eq!(sys!(SYS_ftruncate, fd, 10_000), Ok(0));
    let contents = std::fs::read("file").expect("the file");
    assert!(contents[..5000].iter().all(|byte| *byte == b'x'), "what was kept");
    assert_eq!(contents[5000..], [0; 5000], "what was cut off does not come back");
    assert_eq!(sys!(SYS_ftruncate, fd, -1), Err(EINVAL));
    assert_eq!(sys!(SYS_lseek, fd, 0, SEEK_CUR), Ok(10_000), "the position stays");
    assert_eq!(sys!(SYS_truncate, c"file", 3), Ok(0));
    assert_eq!(std::fs::read("file").expect("the file"), b"xxx");
    assert_eq!(sys!(SYS_truncate, c"none", 3), Err(ENOENT));
    assert_eq!(sys!(SYS_truncate, c".", 3), Err(EISDIR));
    close(fd);
    let fd = open(c"file", O_RDONLY).expect("the file");
    assert_eq!(sys!(SYS_ftruncate, fd, 0), Err(EINVAL), "read only");
    close(fd);
    assert_eq!(sys!(SYS_ftruncate, fd, 0), Err(EBADF));
    unlink(c"file");
}

fn addresses() {
    let fd = file(c"file", b"0123456789");
    for nowhere in [0, NOWHERE, KERNEL, 0x8000_0000_0000_0000] {
        assert_eq!(sys!(SYS_write, fd, nowhere, 5), Err(EFAULT), "writing from {nowhere:#x}");
        assert_eq!(sys!(SYS_pread64, fd, nowhere, 5, 0), Err(EFAULT), "reading to {nowhere:#x}");
        assert_eq!(sys!(SYS_pwrite64, fd, nowhere, 5, 0), Err(EFAULT), "writing from {nowhere:#x}");
    }
    assert_eq!(std::fs::read("file").expect("the file"), b"0123456789", "nothing was written");
    close(fd);
    unlink(c"file");
}

/// Sizes that a page, a table or a message does not hold.
fn large() {
    let contents: Vec<u8> = (0..3_000_000u32).map(|n| (n ^ (n >> 9)) as u8).collect();
    let fd = file(c"file", &contents);
    assert_eq!(sys!(SYS_lseek, fd, 0, SEEK_SET), Ok(0));
    let mut back = Vec::new();
    while let Ok(part @ [_, ..]) = read(fd, 99_991).as_deref() {
        back.extend_from_slice(part);
    }
    assert!(back == contents, "three million bytes, read in odd pieces");
    close(fd);
    unlink(c"file");
}
