//! open, openat, creat, close, access.

use super::*;

pub(super) fn check() {
    plain();
    flags();
    paths();
    trailing_slashes();
    relative();
    permitted();
}

fn plain() {
    assert_eq!(open(c"none", O_RDONLY), Err(ENOENT));
    assert_eq!(open(c"none/none", O_RDONLY | O_CREAT), Err(ENOENT));
    assert_eq!(open(c"", O_RDONLY), Err(ENOENT), "the empty path");
    let first = file(c"file", b"contents");
    let second = open(c"file", O_RDONLY).expect("the file");
    assert_eq!(second, first + 1, "the lowest free number");
    close(first);
    assert_eq!(open(c"file", O_RDONLY), Ok(first), "the lowest free number again");
    close(first);
    close(second);
    assert_eq!(sys!(SYS_close, second), Err(EBADF), "closed twice");
    assert_eq!(sys!(SYS_close, -1), Err(EBADF));
    assert_eq!(sys!(SYS_close, u64::MAX >> 1), Err(EBADF));
    assert_eq!(read(second, 1), Err(EBADF));
    unlink(c"file");
}

fn flags() {
    close(file(c"file", b"contents"));
    assert_eq!(open(c"file", O_RDWR | O_CREAT | O_EXCL), Err(EEXIST));
    let fd = open(c"file", O_RDONLY).expect("the file");
    assert_eq!(sys!(SYS_write, fd, c"x", 1), Err(EBADF), "read only");
    close(fd);
    let fd = open(c"file", O_WRONLY).expect("the file");
    assert_eq!(read(fd, 1), Err(EBADF), "write only");
    close(fd);
    let fd = open(c"file", O_WRONLY | O_APPEND).expect("the file");
    assert_eq!(sys!(SYS_write, fd, c"!", 1), Ok(1));
    assert_eq!(sys!(SYS_lseek, fd, 0, SEEK_SET), Ok(0));
    assert_eq!(sys!(SYS_write, fd, c"?", 1), Ok(1), "at the end in spite of lseek");
    assert_eq!(sys!(SYS_lseek, fd, 0, SEEK_CUR), Ok(10));
    close(fd);
    assert_eq!(std::fs::read("file").expect("the file"), b"contents!?");
    close(open(c"file", O_WRONLY | O_TRUNC).expect("the file"));
    assert_eq!(stat_of(c"file").map(|stat| stat.st_size), Ok(0), "cut off");

    mkdir(c"directory");
    assert_eq!(open(c"directory", O_WRONLY), Err(EISDIR));
    assert_eq!(open(c"directory", O_RDWR), Err(EISDIR));
    assert_eq!(open(c"directory", O_RDONLY | O_CREAT), Err(EISDIR));
    assert_eq!(open(c"file", O_RDONLY | O_DIRECTORY), Err(ENOTDIR));
    let fd = open(c"directory", O_RDONLY | O_DIRECTORY).expect("the directory");
    assert_eq!(read(fd, 1), Err(EISDIR));
    assert_eq!(sys!(SYS_write, fd, c"x", 1), Err(EBADF));
    close(fd);

    assert_eq!(sys!(SYS_symlink, c"file", c"link"), Ok(0));
    assert_eq!(open(c"link", O_RDONLY | O_NOFOLLOW), Err(ELOOP));
    assert_eq!(open(c"link", O_RDWR | O_CREAT | O_EXCL), Err(EEXIST), "a link counts as being there");
    close(open(c"link", O_RDONLY).expect("the file behind the link"));
    unlink(c"link");
    assert_eq!(sys!(SYS_symlink, c"made", c"link"), Ok(0));
    assert_eq!(open(c"link", O_RDONLY), Err(ENOENT), "a link to nothing");
    close(open(c"link", O_RDWR | O_CREAT).expect("makes what the link says"));
    unlink(c"made");
    unlink(c"link");
    rmdir(c"directory");

    let fd = sys!(SYS_creat, c"file", 0o600).expect("creat");
    assert_eq!(read(fd, 1), Err(EBADF), "creat opens for writing");
    close(fd);
    unlink(c"file");
}

fn paths() {
    close(file(c"file", b""));
    assert_eq!(open(c"file/below", O_RDONLY), Err(ENOTDIR));
    assert_eq!(open(&long_name(), O_RDONLY), Err(ENAMETOOLONG));
    assert_eq!(open(&long_path(), O_RDONLY), Err(ENAMETOOLONG));
    let longest = std::ffi::CString::new(vec![b'a'; 255]).expect("no zero in it");
    close(open(&longest, O_RDWR | O_CREAT).expect("255 bytes are a name"));
    unlink(&longest);
    for nowhere in [0, NOWHERE, KERNEL, u64::MAX] {
        assert_eq!(sys!(SYS_open, nowhere, O_RDONLY), Err(EFAULT), "a path at {nowhere:#x}");
    }
    let directory = std::env::current_dir().expect("there is one");
    let name = directory.file_name().expect("it has a name").to_str().expect("text");
    for way in ["./file", ".//./file", &format!("../{name}/file"), &format!("{}/file", directory.display())] {
        let way = std::ffi::CString::new(way).expect("no zero in it");
        close(open(&way, O_RDONLY).unwrap_or_else(|error| panic!("{way:?}: {error}")));
    }
    close(open(c"/../../tmp", O_RDONLY).expect("the root is its own parent"));

    assert_eq!(sys!(SYS_symlink, c"loop", c"loop"), Ok(0));
    assert_eq!(open(c"loop", O_RDONLY), Err(ELOOP));
    assert_eq!(open(c"loop/file", O_RDONLY), Err(ELOOP));
    unlink(c"loop");
    // Forty links in a row are followed, one more is a loop.
    let name = |n: i32| std::ffi::CString::new(format!("link{n}")).expect("no zero in it");
    assert_eq!(sys!(SYS_symlink, c"file", &*name(0)), Ok(0));
    for n in 1..=40 {
        assert_eq!(sys!(SYS_symlink, &*name(n - 1), &*name(n)), Ok(0));
    }
    close(open(&name(39), O_RDONLY).expect("40 links"));
    assert_eq!(open(&name(40), O_RDONLY), Err(ELOOP), "41 links");
    (0..=40).for_each(|n| unlink(&name(n)));
    unlink(c"file");
}

fn trailing_slashes() {
    close(file(c"file", b""));
    mkdir(c"directory");
    assert_eq!(open(c"file/", O_RDONLY), Err(ENOTDIR));
    assert_eq!(open(c"new/", O_RDWR | O_CREAT), Err(EISDIR));
    close(open(c"directory/", O_RDONLY).expect("a directory may have one"));
    assert_eq!(sys!(SYS_symlink, c"file", c"link"), Ok(0));
    assert_eq!(open(c"link/", O_RDONLY), Err(ENOTDIR));
    unlink(c"link");
    unlink(c"file");
    rmdir(c"directory");
}

fn relative() {
    mkdir(c"directory");
    let fd = open(c"directory", O_RDONLY).expect("the directory");
    let new = sys!(SYS_openat, fd, c"file", O_RDWR | O_CREAT, 0o644).expect("a file in it");
    assert_eq!(sys!(SYS_openat, new, c"file", O_RDONLY), Err(ENOTDIR), "relative to a file");
    assert_eq!(sys!(SYS_openat, 999, c"file", O_RDONLY), Err(EBADF), "relative to nothing");
    close(sys!(SYS_openat, 999, c"/tmp", O_RDONLY).expect("an absolute path needs no start"));
    close(sys!(SYS_openat, AT_FDCWD, c"directory/file", O_RDONLY).expect("relative to where we are"));
    assert_eq!(sys!(SYS_unlinkat, fd, c"file", 0), Ok(0));
    assert_eq!(stat_by(|stat| sys!(SYS_fstat, new, stat)).map(|stat| stat.st_nlink), Ok(0), "open without a name");
    assert_eq!(sys!(SYS_write, new, c"still", 5), Ok(5), "and of use");
    close(new);
    close(fd);
    rmdir(c"directory");
}

fn permitted() {
    close(file(c"file", b""));
    assert_eq!(sys!(SYS_access, c"file", F_OK), Ok(0));
    assert_eq!(sys!(SYS_access, c"file", R_OK | W_OK), Ok(0));
    assert_eq!(sys!(SYS_access, c"file", X_OK), Err(EACCES), "nobody may execute it");
    assert_eq!(sys!(SYS_access, c"none", F_OK), Err(ENOENT));
    assert_eq!(sys!(SYS_access, c"file", 99), Err(EINVAL));
    assert_eq!(sys!(SYS_faccessat, AT_FDCWD, c"file", R_OK), Ok(0));
    assert_eq!(sys!(SYS_faccessat2, AT_FDCWD, c"file", R_OK, AT_EACCESS), Ok(0));
    assert_eq!(sys!(SYS_chmod, c"file", 0o755), Ok(0));
    assert_eq!(sys!(SYS_access, c"file", X_OK), Ok(0));
    unlink(c"file");
}
