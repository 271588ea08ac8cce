//! Random operations on the tree and on the host's file system must have equal results.
//!
//! The host's kernel is the specification: every result, each error number included, and in the end
//! every name, kind and link count are compared.
// Miri does not have all of these calls of the host.
#![cfg(all(target_os = "linux", not(miri)))]

use files::attributes::file_type;
use files::{Errno, InodeId, OpenFlags, Tree, Walk};
use proptest::prelude::*;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Levels between the top of the host's scratch directory and where paths start: more than a path
/// has `..`, so that nothing outside is ever reached.
const DEPTH: usize = 6;

#[derive(Clone, Debug)]
enum Operation {
    Mkdir(String),
    Rmdir(String),
    Unlink(String),
    Symlink(String, String),
    Link(String, String),
    Rename(String, String),
    Open(String, u32),
    Stat(String, bool),
    Readlink(String),
    Locate(String),
}

fn path() -> impl Strategy<Value = String> {
    let component = prop_oneof![4 => "[abc]", 1 => Just(".".into()), 1 => Just("..".into())];
    let components = prop::collection::vec(component, 1..=3);
    (components, prop_oneof![Just("/"), Just("/"), Just("//")], prop::bool::weighted(0.2))
        .prop_map(|(components, separator, slash)| components.join(separator) + if slash { "/" } else { "" })
}

fn target() -> impl Strategy<Value = String> {
    "[abc](/[abc.])?/?"
}

fn flags() -> impl Strategy<Value = u32> {
    let bits = [
        OpenFlags::WRITE_ONLY,
        OpenFlags::CREATE,
        OpenFlags::CREATE,
        OpenFlags::EXCLUSIVE,
        OpenFlags::TRUNCATE,
        OpenFlags::DIRECTORY,
        OpenFlags::NO_FOLLOW,
        OpenFlags::PATH,
    ];
    prop::collection::vec(prop::sample::select(bits.to_vec()), 0..4)
        .prop_map(|flags| flags.into_iter().fold(0, |all, flag| all | flag.bits()))
        // What Linux says to these two together has changed with its versions.
        .prop_filter("create and directory", |flags| flags & 0o200_100 != 0o200_100)
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => path().prop_map(Operation::Mkdir),
        2 => path().prop_map(Operation::Rmdir),
        2 => path().prop_map(Operation::Unlink),
        3 => (target(), path()).prop_map(|(to, at)| Operation::Symlink(to, at)),
        2 => (path(), path()).prop_map(|(from, to)| Operation::Link(from, to)),
        4 => (path(), path()).prop_map(|(from, to)| Operation::Rename(from, to)),
        5 => (path(), flags()).prop_map(|(path, flags)| Operation::Open(path, flags)),
        2 => (path(), any::<bool>()).prop_map(|(path, follow)| Operation::Stat(path, follow)),
        1 => path().prop_map(Operation::Readlink),
        1 => path().prop_map(Operation::Locate),
    ]
}

/// What every run starts with, lest most operations find nothing: directories, files, and links to
/// a directory, to a file and to nothing.
fn beginning() -> Vec<Operation> {
    let create = OpenFlags::CREATE.bits();
    vec![
        Operation::Mkdir("a".into()),
        Operation::Mkdir("a/b".into()),
        Operation::Mkdir("a/b/a".into()),
        Operation::Open("a/a".into(), create),
        Operation::Open("b".into(), create),
        Operation::Symlink("a/b".into(), "c".into()),
        Operation::Symlink("a".into(), "a/c".into()),
        Operation::Symlink("c".into(), "a/b/b".into()),
    ]
}

/// A scratch directory on the host, on tmpfs if there is one, and the start of all paths in it.
struct Host {
    top: PathBuf,
    start: String,
}

impl Host {
    fn new() -> Host {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let shared = Path::new("/dev/shm");
        let scratch = if shared.is_dir() { shared.into() } else { std::env::temp_dir() };
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let top = scratch.join(format!("files-test-{}-{count}", std::process::id()));
        let start = top.join("d/".repeat(DEPTH));
        fs::create_dir_all(&start).unwrap();
        let top = top.canonicalize().unwrap();
        Host { start: start.to_str().unwrap().into(), top }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.start)
    }

    fn run(&self, operation: &Operation) -> Result<String, i32> {
        let done = |result: io::Result<()>| result.map(|()| String::new());
        let result = match operation {
            Operation::Mkdir(path) => done(fs::create_dir(self.at(path))),
            Operation::Rmdir(path) => done(fs::remove_dir(self.at(path))),
            Operation::Unlink(path) => done(fs::remove_file(self.at(path))),
            Operation::Symlink(to, path) => done(symlink(to, self.at(path))),
            Operation::Link(from, to) => done(fs::hard_link(self.at(from), self.at(to))),
            Operation::Rename(from, to) => done(fs::rename(self.at(from), self.at(to))),
            Operation::Open(path, flags) => {
                let write = OpenFlags::from_bits_retain(*flags).contains(OpenFlags::WRITE_ONLY);
                let mut options = fs::OpenOptions::new();
                options.read(!write).write(write).custom_flags(*flags as i32);
                options.open(self.at(path)).map(|_| String::new())
            }
            Operation::Stat(path, true) => fs::metadata(self.at(path)).map(describe),
            Operation::Stat(path, false) => fs::symlink_metadata(self.at(path)).map(describe),
            Operation::Readlink(path) => fs::read_link(self.at(path)).map(|to| to.to_str().unwrap().into()),
            Operation::Locate(path) => fs::canonicalize(self.at(path))
                .map(|found| format!("/{}", found.strip_prefix(&self.top).unwrap().to_str().unwrap())),
        };
        result.map_err(|error| error.raw_os_error().unwrap())
    }

    fn list(&self, directory: &Path, lines: &mut Vec<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            let name = path.strip_prefix(&self.top).unwrap().display().to_string();
            let metadata = entry.metadata().unwrap();
            let target = fs::read_link(&path).unwrap_or_default().display().to_string();
            lines.push(format!("/{name} {target} {}", describe(metadata.clone())));
            if metadata.is_dir() {
                self.list(&path, lines);
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.top);
    }
}

fn describe(metadata: fs::Metadata) -> String {
    shape(metadata.mode(), metadata.nlink(), metadata.len())
}

/// What must agree. A directory's size, and on some file systems its links, are the file system's own.
fn shape(mode: u32, links: u64, size: u64) -> String {
    match mode & file_type::MASK {
        file_type::DIRECTORY => "directory".into(),
        kind => format!("{kind:o} {links} {size}"),
    }
}

struct Ours {
    tree: Tree<u32>,
    start: InodeId,
}

impl Ours {
    fn new() -> Ours {
        let mut tree = Tree::new(0);
        let root = tree.root();
        let start = (0..DEPTH).fold(root, |start, _| {
            tree.mkdir_at(&Walk { root, start, own: None, revealed: true }, b"d", 0o755, 0).unwrap()
        });
        Ours { tree, start }
    }

    fn run(&mut self, operation: &Operation) -> Result<String, Errno> {
        let Ours { tree, start } = self;
        let walk = &Walk { root: tree.root(), start: *start, own: None, revealed: true };
        let empty = String::new();
        match operation {
            Operation::Mkdir(path) => tree.mkdir_at(walk, path.as_bytes(), 0o755, 0).map(|_| empty),
            Operation::Rmdir(path) => tree.rmdir_at(walk, path.as_bytes(), 0).map(|()| empty),
            Operation::Unlink(path) => tree.unlink_at(walk, path.as_bytes(), 0).map(|_| empty),
            Operation::Symlink(to, path) => tree.symlink_at(walk, path.as_bytes(), to.as_bytes(), 0).map(|_| empty),
            Operation::Link(from, to) => {
                let id = tree.resolve(walk, from.as_bytes(), false)?;
                tree.link_at(walk, to.as_bytes(), id, 0).map(|()| empty)
            }
            Operation::Rename(from, to) => {
                let (from, to) = ((walk, from.as_bytes()), (walk, to.as_bytes()));
                tree.rename_at(from, to, false, 0).map(|_| empty)
            }
            Operation::Open(path, flags) => {
                let flags = OpenFlags::from_bits_retain(*flags);
                let opened = tree.open(walk, path.as_bytes(), flags, 0o644, || Ok((0, 0)))?;
                let _ = tree.release(opened.inode);
                Ok(empty)
            }
            Operation::Stat(path, follow) => {
                let id = tree.resolve(walk, path.as_bytes(), *follow)?;
                let found = tree.attributes(id)?;
                Ok(shape(found.mode, found.links.into(), found.size))
            }
            Operation::Readlink(path) => {
                tree.link_target(walk.own, tree.resolve(walk, path.as_bytes(), false)?).map(|to| text(&to).into())
            }
            Operation::Locate(path) => tree.locate(walk, path.as_bytes()).map(|(_, found)| text(&found).into()),
        }
    }

    fn list(&self, id: InodeId, above: &str, lines: &mut Vec<String>) {
        let walk = Walk { root: self.tree.root(), start: id, own: None, revealed: true };
        for entry in self.tree.list(id, 0).unwrap().skip(2) {
            let id = self.tree.lookup(id, entry.name).unwrap();
            let found = self.tree.attributes(id).unwrap();
            let target = self.tree.link_target(walk.own, id).unwrap_or_default();
            let name = format!("{above}/{}", text(entry.name));
            let shape = shape(found.mode, found.links.into(), found.size);
            lines.push(format!("{name} {} {shape}", text(&target)));
            if found.mode & file_type::MASK == file_type::DIRECTORY {
                self.list(id, &name, lines);
            }
        }
    }
}

fn text(bytes: &[u8]) -> &str {
    std::ffi::OsStr::from_bytes(bytes).to_str().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_tree_does_what_the_host_does(operations in prop::collection::vec(operation(), 1..60)) {
        let (host, mut ours) = (Host::new(), Ours::new());
        for operation in beginning().iter().chain(&operations) {
            let (expected, found) = (host.run(operation), ours.run(operation));
            match operation {
                // realpath(3) walks by itself, and names another error at times.
                Operation::Locate(_) => prop_assert_eq!(found.ok(), expected.ok(), "{:?}", operation),
                _ => {
                    let found = found.map_err(Errno::into_raw);
                    prop_assert_eq!(found, expected, "{:?}", operation)
                }
            }
        }
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        host.list(&host.top, &mut expected);
        ours.list(ours.tree.root(), "", &mut found);
        expected.sort();
        found.sort();
        prop_assert_eq!(found, expected);
    }
}
