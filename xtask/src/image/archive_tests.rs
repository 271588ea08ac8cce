//! What the writer writes, read back by the crate's reader.

use std::{io::Read, os::unix::fs::symlink};

use cpio::newc::Reader;

use super::*;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("xtask-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn read_back(archive: &Archive, scratch: &Scratch) -> Vec<(String, u32, Vec<u8>)> {
    let path = scratch.0.join("archive.cpio");
    archive.write(&path).unwrap();
    let mut rest: Box<dyn Read> = Box::new(File::open(&path).unwrap());
    let mut all = Vec::new();
    loop {
        let mut reader = Reader::new(rest).unwrap();
        if reader.entry().is_trailer() {
            return all;
        }
        let (name, mode) = (reader.entry().name().to_owned(), reader.entry().mode());
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        all.push((name, mode, bytes));
        rest = reader.finish().unwrap();
    }
}

#[test]
fn parents_are_made_and_come_first() {
    let mut archive = Archive::default();
    archive.bytes("etc/jotun/argv", b"/bin/x\0x\0".to_vec());
    archive.directory("tmp", 0o1777);
    let read = read_back(&archive, &Scratch::new("parents"));
    let expected: [(&str, u32, &[u8]); 4] = [
        ("etc", 0o040_755, b""),
        ("etc/jotun", 0o040_755, b""),
        ("etc/jotun/argv", 0o100_644, b"/bin/x\0x\0"),
        ("tmp", 0o041_777, b""),
    ];
    let read: Vec<_> = read.iter().map(|(name, mode, bytes)| (&**name, *mode, &**bytes)).collect();
    assert_eq!(read, expected);
}

#[test]
fn a_tree_comes_with_its_modes_and_links() {
    let scratch = Scratch::new("tree");
    let root = scratch.0.join("root");
    fs::create_dir_all(root.join("a/b")).unwrap();
    // 1 MiB and a bit: longer than any buffer, and not a multiple of four.
    let large: Vec<u8> = (0..(1 << 20) + 3).map(|n| n as u8).collect();
    fs::write(root.join("a/large"), &large).unwrap();
    fs::set_permissions(root.join("a/large"), std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    symlink("../a/large", root.join("a/b/link")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap());
    let mut archive = Archive::default();
    archive.tree(&root).unwrap();
    assert_eq!(archive.paths().collect::<Vec<_>>(), ["a", "a/b", "a/b/link", "a/large"]);
    let read = read_back(&archive, &scratch);
    assert_eq!(read[2], ("a/b/link".into(), 0o120_777, b"../a/large".to_vec()));
    assert_eq!(read[3], ("a/large".into(), 0o100_640, large));
}

#[test]
fn what_is_laid_over_replaces() {
    let mut archive = Archive::default();
    archive.bytes("bin/x", b"old".to_vec());
    archive.bytes("bin/x", b"new".to_vec());
    archive.directory("bin", 0o700);
    let read = read_back(&archive, &Scratch::new("replace"));
    assert_eq!(read, [("bin".into(), 0o040_755, vec![]), ("bin/x".into(), 0o100_644, b"new".to_vec())]);
}

#[test]
fn a_missing_directory_is_named() {
    let error = Archive::default().tree(Path::new("/no/such/dir")).unwrap_err();
    assert_eq!(error.to_string(), "/no/such/dir is not a directory");
}

#[test]
fn length_is_limited() {
    assert!(length(u64::from(u32::MAX), "x").is_ok());
    assert!(length(1 << 32, "big").unwrap_err().to_string().contains("big"));
}
