//! mkdir, rmdir, chdir, getcwd, getdents64.

use super::*;
use std::collections::BTreeSet;

pub(super) fn check(home: &str) {
    making();
    working(home);
    listing();
    changing_while_listing();
}

fn making() {
    mkdir(c"one");
    assert_eq!(sys!(SYS_mkdir, c"one", 0o755), Err(EEXIST));
    assert_eq!(sys!(SYS_mkdir, c"none/two", 0o755), Err(ENOENT));
    assert_eq!(sys!(SYS_mkdir, c"", 0o755), Err(ENOENT));
    assert_eq!(sys!(SYS_mkdir, c"/", 0o755), Err(EEXIST));
    assert_eq!(sys!(SYS_mkdir, &*long_name(), 0o755), Err(ENAMETOOLONG));
    mkdir(c"one/two/");
    assert_eq!(stat_of(c"one").map(|stat| stat.st_nlink).map(|count| count == 3 || count == 1), Ok(true));
    assert_eq!(sys!(SYS_rmdir, c"one"), Err(ENOTEMPTY));
    assert_eq!(sys!(SYS_rmdir, c"one/two/."), Err(EINVAL));
    assert_eq!(sys!(SYS_rmdir, c"one/two/.."), Err(ENOTEMPTY));
    assert_eq!(sys!(SYS_unlink, c"one/two"), Err(EISDIR));
    assert_eq!(sys!(SYS_unlinkat, AT_FDCWD, c"one/two", AT_REMOVEDIR), Ok(0));
    close(file(c"one/file", b""));
    assert_eq!(sys!(SYS_mkdir, c"one/file", 0o755), Err(EEXIST));
    assert_eq!(sys!(SYS_mkdir, c"one/file/below", 0o755), Err(ENOTDIR));
    assert_eq!(sys!(SYS_rmdir, c"one/file"), Err(ENOTDIR));
    assert_eq!(sys!(SYS_unlinkat, AT_FDCWD, c"one/file", AT_REMOVEDIR), Err(ENOTDIR));
    unlink(c"one/file");
    rmdir(c"one");
    assert_eq!(sys!(SYS_rmdir, c"one"), Err(ENOENT));
    let fd = open(c".", O_RDONLY).expect("where we are");
    assert_eq!(sys!(SYS_mkdirat, fd, c"below", 0o700), Ok(0));
    assert_eq!(stat_of(c"below").map(|stat| stat.st_mode), Ok(S_IFDIR | 0o700));
    close(fd);
    rmdir(c"below");
}

fn working(home: &str) {
    let mut buffer = [0u8; 300];
    let length = sys!(SYS_getcwd, buffer.as_mut_ptr(), buffer.len()).expect("getcwd") as usize;
    assert_eq!(buffer[..length].strip_suffix(&[0]), Some(home.as_bytes()), "with its zero");
    assert_eq!(sys!(SYS_getcwd, buffer.as_mut_ptr(), home.len()), Err(ERANGE), "no room for the zero");
    assert_eq!(sys!(SYS_getcwd, NOWHERE, 300), Err(EFAULT));
    mkdir(c"place");
    assert_eq!(sys!(SYS_chdir, c"place"), Ok(0));
    close(file(c"file", b""));
    assert_eq!(sys!(SYS_chdir, c"file"), Err(ENOTDIR));
    assert_eq!(sys!(SYS_chdir, c"none"), Err(ENOENT));
    let fd = open(c"..", O_RDONLY).expect("above");
    unlink(c"file");

    // The directory under our feet is removed.
    assert_eq!(sys!(SYS_rmdir, c"../place"), Ok(0));
    assert_eq!(sys!(SYS_getcwd, buffer.as_mut_ptr(), buffer.len()), Err(ENOENT));
    assert_eq!(open(c"new", O_RDWR | O_CREAT), Err(ENOENT), "nothing can be made in it");
    assert_eq!(sys!(SYS_mkdir, c"new", 0o755), Err(ENOENT));
    assert_eq!(sys!(SYS_fchdir, fd), Ok(0));
    assert_eq!(std::env::current_dir().expect("there is one").to_str(), Some(home));
    close(fd);
    assert_eq!(sys!(SYS_fchdir, 999), Err(EBADF));
}

/// What one call of getdents64 says: names and kinds.
fn entries(fd: u64, room: usize) -> std::result::Result<Vec<(String, u8)>, i32> {
    let mut buffer = vec![0u8; room];
    let length = sys!(SYS_getdents64, fd, buffer.as_mut_ptr(), room)?;
    let mut left = &buffer[..length as usize];
    let mut names = Vec::new();
    while !left.is_empty() {
        let length = u16::from_le_bytes([left[16], left[17]]) as usize;
        assert!(length.is_multiple_of(8) && length <= left.len(), "an entry's length is {length}");
        let name = CStr::from_bytes_until_nul(&left[19..length]).expect("a zero at the end");
        names.push((name.to_str().expect("text").to_owned(), left[18]));
        left = &left[length..];
    }
    Ok(names)
}

/// All entries from where the descriptor stands.
fn all(fd: u64, room: usize) -> Vec<(String, u8)> {
    let mut names = Vec::new();
    loop {
        match entries(fd, room).expect("entries") {
            some if some.is_empty() => return names,
            some => names.extend(some),
        }
    }
}

fn listing() {
    mkdir(c"many");
    let expected: BTreeSet<_> = (0..300).map(|n| format!("file-{n}")).collect();
    for name in &expected {
        std::fs::write(format!("many/{name}"), "").expect("a file");
    }
    mkdir(c"many/directory");
    assert_eq!(sys!(SYS_symlink, c"none", c"many/link"), Ok(0));
    let fd = open(c"many", O_RDONLY | O_DIRECTORY).expect("the directory");
    let mut names = all(fd, 512);
    let mut kind = |name: &str| {
        let index = names.iter().position(|entry| entry.0 == name).unwrap_or_else(|| panic!("no {name}"));
        names.swap_remove(index).1
    };
    assert_eq!([".", "..", "directory", "link"].map(&mut kind), [DT_DIR, DT_DIR, DT_DIR, DT_LNK]);
    assert!(names.iter().all(|entry| entry.1 == DT_REG), "the rest are files");
    assert_eq!(names.len(), 300, "each once");
    assert_eq!(names.into_iter().map(|entry| entry.0).collect::<BTreeSet<_>>(), expected);
    assert_eq!(entries(fd, 512), Ok(vec![]), "still at the end");
    assert_eq!(sys!(SYS_lseek, fd, 0, SEEK_SET), Ok(0));
    assert_eq!(all(fd, 4096).len(), 304, "again from the start");

    assert_eq!(sys!(SYS_lseek, fd, 0, SEEK_SET), Ok(0));
    assert_eq!(entries(fd, 10), Err(EINVAL), "no room for one entry");
    assert_eq!(sys!(SYS_getdents64, fd, NOWHERE, 512), Err(EFAULT));
    let other = file(c"file", b"");
    assert_eq!(entries(other, 512), Err(ENOTDIR));
    assert_eq!(entries(999, 512), Err(EBADF));
    close(other);
    unlink(c"file");
    close(fd);
    std::fs::remove_dir_all("many").expect("it can be removed");
}

/// Entries that stay are seen once, whatever comes and goes meanwhile.
fn changing_while_listing() {
    mkdir(c"many");
    for n in 0..100 {
        std::fs::write(format!("many/stays-{n}"), "").expect("a file");
        std::fs::write(format!("many/goes-{n}"), "").expect("a file");
    }
    let fd = open(c"many", O_RDONLY | O_DIRECTORY).expect("the directory");
    let mut seen = entries(fd, 1024).expect("the first entries");
    for n in 0..100 {
        std::fs::remove_file(format!("many/goes-{n}")).expect("it goes");
        std::fs::write(format!("many/comes-{n}"), "").expect("it comes");
    }
    seen.extend(all(fd, 1024));
    let mut stayed: Vec<_> = seen.iter().filter(|entry| entry.0.starts_with("stays-")).collect();
    assert_eq!(stayed.len(), 100, "all that stayed");
    stayed.sort();
    stayed.dedup();
    assert_eq!(stayed.len(), 100, "each once");
    close(fd);
    std::fs::remove_dir_all("many").expect("it can be removed");
}
