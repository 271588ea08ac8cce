//! Archives: well made, overlaid, truncated, damaged, hostile.

use files::cpio::{Entry, Error, Reader};
use files::unpack::{self, Store, Unpacked, unpack};
use files::{Device, Errno, InodeId, Kind, Result, Tree, Walk};
use proptest::prelude::*;
use std::collections::BTreeSet;

#[derive(Clone)]
struct File<'a> {
    name: &'a str,
    mode: u32,
    links: u32,
    inode: u32,
    device: (u32, u32),
    data: &'a [u8],
}

const DIRECTORY: u32 = 0o040_755;
const REGULAR: u32 = 0o100_644;
const SYMLINK: u32 = 0o120_777;

fn file<'a>(name: &'a str, mode: u32, data: &'a [u8]) -> File<'a> {
    File { name, mode, links: 1, inode: 0, device: (0, 0), data }
}

fn archive(files: &[File]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for File { name, mode, links, inode, device, data } in files.iter().chain(&[file("TRAILER!!!", 0, b"")]) {
        bytes.extend_from_slice(b"070701");
        let (size, name_size) = (data.len() as u32, name.len() as u32 + 1);
        let numbers = [*inode, *mode, 3, 4, *links, 1000, size, 8, 1, device.0, device.1, name_size, 0];
        numbers.into_iter().for_each(|number| bytes.extend_from_slice(format!("{number:08X}").as_bytes()));
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

/// Contents are indices into a list that keeps all bytes; a content freed twice is a panic.
#[derive(Default)]
struct Contents {
    bytes: Vec<Vec<u8>>,
    freed: BTreeSet<usize>,
}

impl Store<usize> for Contents {
    fn make(&mut self, bytes: &[u8]) -> Result<usize> {
        self.bytes.push(bytes.into());
        Ok(self.bytes.len() - 1)
    }

    fn free(&mut self, content: usize) {
        assert!(self.freed.insert(content));
    }
}

#[derive(Default)]
struct System {
    tree: Option<Tree<usize>>,
    contents: Contents,
}

impl System {
    fn with(files: &[File]) -> System {
        let mut system = System::default();
        system.lay(files).unwrap();
        system
    }

    fn lay(&mut self, files: &[File]) -> std::result::Result<Unpacked, unpack::Error> {
        unpack(self.tree.get_or_insert_with(|| Tree::new(0)), &archive(files), &mut self.contents, 0)
    }

    fn tree(&self) -> &Tree<usize> {
        self.tree.as_ref().unwrap()
    }

    fn find(&self, path: &str, follow: bool) -> Result<InodeId> {
        let root = self.tree().root();
        self.tree().resolve(&Walk { root, start: root, own: None, revealed: true }, path.as_bytes(), follow)
    }

    fn read(&self, path: &str) -> Result<&[u8]> {
        match self.tree().get(self.find(path, true)?)?.kind {
            Kind::Regular { content, size } => {
                let bytes = &self.contents.bytes[content];
                assert!(bytes.len() as u64 == size && !self.contents.freed.contains(&content));
                Ok(bytes)
            }
            _ => Err(Errno::EINVAL),
        }
    }
}

#[test]
fn entries_come_as_they_were_written() {
    let bytes = archive(&[file("a", DIRECTORY, b""), file("a/b", REGULAR, b"hello"), file("l", SYMLINK, b"a/b")]);
    let entries: Vec<Entry> = Reader::new(&bytes).map(|entry| entry.unwrap()).collect();
    let seen: Vec<_> = entries.iter().map(|e| (e.name, e.mode, e.data)).collect();
    let expected: [(&[u8], u32, &[u8]); 3] =
        [(b"a", DIRECTORY, b""), (b"a/b", REGULAR, b"hello"), (b"l", SYMLINK, b"a/b")];
    assert_eq!(seen, expected);
    assert_eq!((entries[1].uid, entries[1].gid, entries[1].mtime, entries[1].identity), (3, 4, 1000, (8, 1, 0)));
}

#[test]
fn each_kind_of_damage_has_its_sentence() {
    let good = archive(&[file("f", REGULAR, b"12345678")]);
    let error = |bytes: &[u8]| Reader::new(bytes).find_map(|entry| entry.err()).unwrap();
    let change = |at: usize, new: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + new.len()].copy_from_slice(new);
        error(&bytes)
    };
    assert_eq!(error(b""), Error::NoTrailer);
    assert_eq!(error(&good[..120]), Error::NoTrailer);
    assert_eq!(error(&good[..119]), Error::Truncated(0));
    assert_eq!(error(&good[..130]), Error::Truncated(120));
    assert_eq!(change(5, b"7"), Error::Magic(0));
    assert_eq!(change(6, b"+1"), Error::Number(0));
    assert_eq!(change(6 + 6 * 8, b"FFFFFFFF"), Error::Truncated(0));
    assert_eq!(change(6 + 11 * 8, b"FFFFFFFF"), Error::Name(0));
    assert_eq!(change(6 + 11 * 8, b"00000000"), Error::Name(0));
    assert_eq!(change(6 + 11 * 8, b"00000001"), Error::Name(0));
    assert_eq!(change(110, b"\0"), Error::Name(0));
    assert_eq!(change(5, b"2"), Error::Checksum(0));
    for error in [Error::Truncated(7), Error::Magic(7), Error::Number(7), Error::Name(7), Error::Checksum(7)] {
        assert!(error.to_string().contains("byte 7"), "{error}");
    }
    assert_eq!(Error::NoTrailer.to_string(), "the archive ends without its trailer");
    let mut reader = Reader::new(b"nonsense");
    assert_eq!((reader.next(), reader.next()), (Some(Err(Error::Truncated(0))), None));
}

#[test]
fn a_tree_is_laid_out_with_missing_directories_made() {
    let mut device = file("dev/null", 0o020_666, b"");
    device.device = (1, 3);
    let mut unknown = file("dev/sda", 0o060_660, b"");
    unknown.device = (8, 0);
    let fifo = file("fifo", 0o010_644, b"");
    let files = [file("x/y/z", 0o100_751, b"deep"), file("l", SYMLINK, b"x/y\0"), device, unknown, fifo];
    let mut system = System::default();
    assert_eq!(system.lay(&files), Ok(Unpacked { entries: 3, skipped: 2 }));
    assert_eq!(system.read("/l/z"), Ok(&b"deep"[..]));
    let found = system.tree().attributes(system.find("/x/y/z", true).unwrap()).unwrap();
    assert_eq!((found.mode, found.uid, found.gid, found.mtime), (0o100_751, 3, 4, 1_000_000_000_000));
    assert_eq!(system.tree().attributes(system.find("/x", true).unwrap()).unwrap().mode, DIRECTORY);
    let null = system.find("/dev/null", true).unwrap();
    assert!(matches!(system.tree().get(null).unwrap().kind, Kind::Device(Device::Null)));
}

#[test]
fn names_cannot_lead_out_of_the_tree() {
    let system = System::with(&[
        file("/abs", REGULAR, b"1"),
        file("../../up", REGULAR, b"2"),
        file("./d//./e/../f", REGULAR, b"3"),
        file(".", 0o040_700, b""),
    ]);
    assert_eq!(
        (system.read("/abs"), system.read("/up"), system.read("/d/f")),
        (Ok(&b"1"[..]), Ok(&b"2"[..]), Ok(&b"3"[..]))
    );
    assert_eq!(system.find("/d/e", true), Err(Errno::ENOENT));
    assert_eq!(system.tree().attributes(system.tree().root()).unwrap().mode, 0o040_700);
}

#[test]
fn a_second_archive_overrides_the_first() {
    let mut system = System::with(&[
        file("usr/bin", DIRECTORY, b""),
        file("bin", SYMLINK, b"usr/bin"),
        file("bin/sh", REGULAR, b"old"),
        file("etc/link", SYMLINK, b"/bin/sh"),
        file("empty", DIRECTORY, b""),
        file("file", REGULAR, b"file"),
    ]);
    let over = [
        file("bin", DIRECTORY, b""),
        file("bin/sh", REGULAR, b"new"),
        file("etc/link", REGULAR, b"no link"),
        file("empty", REGULAR, b"full"),
        file("file", DIRECTORY, b""),
    ];
    assert_eq!(system.lay(&over), Ok(Unpacked { entries: 5, skipped: 0 }));
    assert_eq!((system.read("/usr/bin/sh"), system.read("/etc/link")), (Ok(&b"new"[..]), Ok(&b"no link"[..])));
    assert_eq!((system.read("/empty"), system.find("/file/.", true).is_ok()), (Ok(&b"full"[..]), true));
    assert_eq!(system.contents.freed.len(), 2);
}

#[test]
fn what_cannot_be_placed_is_named() {
    let mut system = System::with(&[file("d/f", REGULAR, b"")]);
    let refused = |name: &str, error| Err(unpack::Error::Entry(name.as_bytes().into(), error));
    assert_eq!(system.lay(&[file("d", REGULAR, b"")]), refused("d", Errno::ENOTEMPTY));
    assert_eq!(system.lay(&[file("d/f/g", REGULAR, b"")]), refused("d/f/g", Errno::ENOTDIR));
    let long = "n".repeat(256);
    assert_eq!(system.lay(&[file(&long, REGULAR, b"")]), refused(&long, Errno::ENAMETOOLONG));
    let message = system.lay(&[file("d/f/\u{1b}", DIRECTORY, b"")]).unwrap_err().to_string();
    assert_eq!(message, "the archive's entry \"d/f/\\x1b\" cannot be unpacked: Not a directory");
    // Every content is in the tree or has been given back.
    assert_eq!(system.contents.bytes.len() - system.contents.freed.len(), 1);
}

#[test]
fn hard_links_share_their_bytes_wherever_the_writer_put_them() {
    let name = |name, inode, data| File { links: 2, inode, ..file(name, REGULAR, data) };
    let system = System::with(&[
        name("last1", 5, b""),
        name("first1", 6, b"first"),
        name("last2", 5, b"last"),
        name("first2", 6, b""),
    ]);
    for (path, other, bytes) in [("/last1", "/last2", &b"last"[..]), ("/first2", "/first1", b"first")] {
        assert_eq!(system.read(path), Ok(bytes));
        assert_eq!(system.find(path, true), system.find(other, true));
        assert_eq!(system.tree().attributes(system.find(path, true).unwrap()).unwrap().links, 2);
    }
}

#[test]
fn a_first_name_replaced_does_not_confuse_the_next() {
    let name = |name, data| File { links: 3, inode: 5, ..file(name, REGULAR, data) };
    let system = System::with(&[name("a", b"1"), name("a", b"2"), name("b", b"")]);
    assert_eq!(system.read("/a"), Ok(&b"2"[..]));
}

fn any_file() -> impl Strategy<Value = (String, u32, u32, Vec<u8>)> {
    let name = "(/|\\.\\./|\\./)?[ab](/[abc.]{1,2}){0,2}";
    let mode = prop::sample::select(vec![DIRECTORY, REGULAR, REGULAR, SYMLINK, 0o020_666]);
    (name, mode, 0..3u32, prop::collection::vec(prop::sample::select(b"ab/.".to_vec()), 0..6))
}

proptest! {
    #[test]
    fn no_archive_makes_a_panic(
        files in prop::collection::vec(any_file(), 0..8),
        cut in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let files = files.iter().map(|(name, mode, inode, data)| {
            File { links: 2, inode: *inode, ..file(name, *mode, data) }
        });
        let mut bytes = archive(&files.collect::<Vec<_>>());
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        let (mut tree, mut contents) = (Tree::new(0), Contents::default());
        // Twice, so that everything is there already.
        for _ in 0..2 {
            let unpacked = unpack(&mut tree, &bytes, &mut contents, 0);
            prop_assert!(unpacked.is_ok() || !unpacked.unwrap_err().to_string().is_empty());
        }
    }

    #[test]
    fn no_bytes_make_a_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..400), magic in any::<bool>()) {
        if magic && bytes.len() > 6 {
            bytes[..6].copy_from_slice(b"070701");
        }
        prop_assert!(Reader::new(&bytes).count() <= 4);
    }

    #[test]
    fn every_truncation_is_an_error(cut in any::<prop::sample::Index>()) {
        let bytes = archive(&[file("a", DIRECTORY, b""), file("a/b", REGULAR, b"hello")]);
        // The trailer is an entry like the others: all of its name must be there.
        let needed = bytes.len() - 3;
        let cut = cut.index(needed);
        prop_assert!(Reader::new(&bytes[..cut]).any(|entry| entry.is_err()), "{cut}");
    }
}
