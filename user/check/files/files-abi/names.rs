//! link, unlink, symlink, readlink, rename.

use super::*;

pub(super) fn check() {
    links();
    symbolic_links();
    renaming();
    renaming_directories();
    refused();
}

fn links() {
    close(file(c"file", b"contents"));
    assert_eq!(sys!(SYS_link, c"file", c"second"), Ok(0));
    let stat = stat_of(c"second").expect("it is there");
    assert_eq!((stat.st_nlink, stat.st_ino), (2, stat_of(c"file").expect("it is there").st_ino));
    assert_eq!(sys!(SYS_link, c"file", c"second"), Err(EEXIST));
    assert_eq!(sys!(SYS_link, c"none", c"third"), Err(ENOENT));
    assert_eq!(sys!(SYS_link, c".", c"third"), Err(EPERM), "directories have one name");
    unlink(c"file");
    assert_eq!(std::fs::read("second").expect("the other name"), b"contents");
    unlink(c"second");
    assert_eq!(sys!(SYS_unlink, c"second"), Err(ENOENT));
    assert_eq!(sys!(SYS_unlink, c"second/"), Err(ENOENT));
    assert_eq!(sys!(SYS_unlinkat, AT_FDCWD, c"second", 0x40), Err(EINVAL), "no such flag");
}

fn symbolic_links() {
    assert_eq!(sys!(SYS_symlink, c"some/where", c"link"), Ok(0));
    assert_eq!(sys!(SYS_symlink, c"else", c"link"), Err(EEXIST));
    assert_eq!(sys!(SYS_symlink, c"", c"other"), Err(ENOENT));
    let mut buffer = [b'#'; 20];
    assert_eq!(sys!(SYS_readlink, c"link", buffer.as_mut_ptr(), 20), Ok(10));
    assert_eq!(&buffer[..11], b"some/where#", "without a zero");
    assert_eq!(sys!(SYS_readlink, c"link", buffer.as_mut_ptr(), 4), Ok(4), "as much as fits");
    assert_eq!(sys!(SYS_readlinkat, AT_FDCWD, c"link", buffer.as_mut_ptr(), 20), Ok(10));
    assert_eq!(sys!(SYS_readlink, c"link", buffer.as_mut_ptr(), 0), Err(EINVAL));
    assert_eq!(sys!(SYS_readlink, c".", buffer.as_mut_ptr(), 20), Err(EINVAL), "no link");
    assert_eq!(sys!(SYS_readlink, c"none", buffer.as_mut_ptr(), 20), Err(ENOENT));
    assert_eq!(sys!(SYS_readlink, c"link", NOWHERE, 20), Err(EFAULT));
    unlink(c"link");

    // A link to a directory, in the midst of a path.
    mkdir(c"directory");
    assert_eq!(sys!(SYS_symlink, c"directory", c"link"), Ok(0));
    close(file(c"link/file", b""));
    assert!(stat_of(c"directory/file").is_ok());
    assert_eq!(sys!(SYS_rmdir, c"link"), Err(ENOTDIR), "the link itself");
    unlink(c"link/file");
    unlink(c"link");
    rmdir(c"directory");
}

fn rename(from: &CStr, to: &CStr) -> Result {
    sys!(SYS_rename, from, to)
}

fn renaming() {
    close(file(c"one", b"1"));
    close(file(c"two", b"2"));
    let replaced = open(c"two", O_RDONLY).expect("the second file");
    assert_eq!(rename(c"one", c"two"), Ok(0));
    assert_eq!(std::fs::read("two").expect("the file"), b"1");
    assert_eq!(stat_of(c"one").map(drop), Err(ENOENT));
    assert_eq!(read(replaced, 9), Ok(b"2".to_vec()), "what was replaced stays for who has it open");
    close(replaced);
    assert_eq!(rename(c"two", c"two"), Ok(0), "onto itself");
    assert_eq!(sys!(SYS_link, c"two", c"alias"), Ok(0));
    assert_eq!(rename(c"two", c"alias"), Ok(0), "onto another name of itself");
    assert!(stat_of(c"two").is_ok(), "which changes nothing");
    unlink(c"alias");

    const NO_REPLACE: u32 = 1;
    close(file(c"three", b"3"));
    let rename2 = |flags: u32| sys!(SYS_renameat2, AT_FDCWD, c"two", AT_FDCWD, c"three", flags);
    assert_eq!(rename2(NO_REPLACE), Err(EEXIST));
    assert_eq!(rename2(1 << 20), Err(EINVAL), "no such flag");
    assert_eq!(rename2(0), Ok(0));
    assert_eq!(sys!(SYS_renameat, AT_FDCWD, c"three", AT_FDCWD, c"one"), Ok(0));
    assert_eq!(std::fs::read("one").expect("the file"), b"1");
    unlink(c"one");
}

fn renaming_directories() {
    mkdir(c"outer");
    mkdir(c"outer/inner");
    mkdir(c"empty");
    close(file(c"file", b""));
    assert_eq!(rename(c"outer", c"outer/inner/below"), Err(EINVAL), "into itself");
    assert_eq!(rename(c"outer", c"file"), Err(ENOTDIR));
    assert_eq!(rename(c"file", c"outer"), Err(EISDIR));
    assert_eq!(rename(c"empty", c"outer"), Err(ENOTEMPTY));
    assert_eq!(rename(c"outer", c"empty"), Ok(0), "over an empty one");
    assert!(stat_of(c"empty/inner").is_ok() && stat_of(c"outer").is_err());
    assert_eq!(rename(c"empty/inner", c"inner"), Ok(0));
    let parent = stat_of(c"inner/..").expect("its parent").st_ino;
    assert_eq!(parent, stat_of(c".").expect("where we are").st_ino, "`..` follows");
    assert_eq!(rename(c"file", c"inner/file"), Ok(0), "into a directory");
    assert_eq!(rename(c"inner/file", c"inner/file/"), Err(ENOTDIR));
    unlink(c"inner/file");
    rmdir(c"inner");
    rmdir(c"empty");
}

fn refused() {
    assert_eq!(rename(c"none", c"other"), Err(ENOENT));
    assert_eq!(rename(c"", c"other"), Err(ENOENT));
    mkdir(c"directory");
    assert_eq!(rename(c"directory", c"none/other"), Err(ENOENT));
    assert_eq!(rename(c"directory/.", c"other"), Err(EBUSY));
    assert_eq!(rename(c"directory", &long_name()), Err(ENAMETOOLONG));
    assert_eq!(sys!(SYS_rename, NOWHERE, c"other"), Err(EFAULT));
    assert_eq!(sys!(SYS_rename, c"directory", KERNEL), Err(EFAULT));
    rmdir(c"directory");
}
