//! Archives in cpio's "newc" format: the image's file system before the kernel unpacks it.
//!
//! File contents are streamed from the host's files. Hard links become files of their own; sockets,
//! pipes and devices are left out and named.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use cpio::newc::{Builder, Writer, trailer};

use crate::notes::note;

const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;
const S_IFLNK: u32 = 0o120_000;

/// What stands under one path of the archive.
enum Content {
    Directory,
    File(PathBuf),
    Bytes(Vec<u8>),
    Link(PathBuf),
}

struct Entry {
    content: Content,
    /// Permission bits, owner, group, time of modification in seconds.
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: u32,
}

/// An archive being put together. Paths are those of the image, without the leading `/`.
#[derive(Default)]
pub(crate) struct Archive {
    // Sorted: a directory stands before what is in it, and the same input gives the same bytes.
    entries: BTreeMap<String, Entry>,
}

impl Archive {
    /// An empty directory, or one that is there already.
    pub(crate) fn directory(&mut self, path: &str, mode: u32) {
        let entry = Entry { content: Content::Directory, mode, uid: 0, gid: 0, mtime: 0 };
        self.entries.entry(path.to_owned()).or_insert(entry);
    }

    /// An executable file with what the host's file holds. Belongs to root.
    pub(crate) fn program(&mut self, path: &str, host: &Path) -> Result<()> {
        let metadata = readable(host)?;
        let content = Content::File(host.to_path_buf());
        let entry = Entry { content, mode: 0o755, uid: 0, gid: 0, mtime: seconds(&metadata) };
        self.insert(path, entry);
        Ok(())
    }

    /// A file of the given bytes.
    pub(crate) fn bytes(&mut self, path: &str, bytes: Vec<u8>) {
        let content = Content::Bytes(bytes);
        self.insert(path, Entry { content, mode: 0o644, uid: 0, gid: 0, mtime: 0 });
    }

    /// A symbolic link.
    pub(crate) fn link(&mut self, path: &str, target: &str) {
        self.insert(path, Entry { content: Content::Link(target.into()), mode: 0o777, uid: 0, gid: 0, mtime: 0 });
    }

    /// All that lies below a directory of the host, owners, modes and times as they are.
    pub(crate) fn tree(&mut self, dir: &Path) -> Result<()> {
        if !dir.is_dir() {
            bail!("{} is not a directory", dir.display());
        }
        self.tree_below(dir, "")
    }

    fn tree_below(&mut self, dir: &Path, prefix: &str) -> Result<()> {
        for child in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
            let host = child.with_context(|| format!("cannot read {}", dir.display()))?.path();
            let name = host.file_name().unwrap_or_default();
            let name = name.to_str().with_context(|| format!("not UTF-8: {}", host.display()))?;
            let path = format!("{prefix}{name}");
            let metadata = host.symlink_metadata().with_context(|| host.display().to_string())?;
            let content = if metadata.is_dir() {
                self.tree_below(&host, &format!("{path}/"))?;
                Content::Directory
            } else if metadata.is_symlink() {
                Content::Link(fs::read_link(&host).with_context(|| host.display().to_string())?)
            } else if metadata.is_file() {
                readable(&host)?;
                Content::File(host)
            } else {
                note(format_args!("left out, neither file nor directory nor link: {}", host.display()));
                continue;
            };
            let (mode, mtime) = (metadata.mode() & 0o7777, seconds(&metadata));
            self.insert(&path, Entry { content, mode, uid: metadata.uid(), gid: metadata.gid(), mtime });
        }
        Ok(())
    }

    fn insert(&mut self, path: &str, entry: Entry) {
        let mut parent = path;
        while let Some((above, _)) = parent.rsplit_once('/') {
            self.directory(above, 0o755);
            parent = above;
        }
        self.entries.insert(path.to_owned(), entry);
    }

    /// The paths that are in it.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Whether there is something of this path.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.entries.contains_key(path)
    }

    /// Writes the archive to a file; the file is there whole or not at all, for readers that come
    /// at any time.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let new = path.with_extension(format!("new-{}", std::process::id()));
        let written = self.write_new(&new);
        let done = written.and_then(|()| fs::rename(&new, path).map_err(Into::into));
        if done.is_err() {
            let _ = fs::remove_file(&new);
        }
        done.with_context(|| format!("cannot write the archive {}", path.display()))
    }

    fn write_new(&self, path: &Path) -> Result<()> {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
        for (number, (name, entry)) in self.entries.iter().enumerate() {
            entry.write(name, number as u32 + 1, &mut out)?;
        }
        trailer(&mut out)?;
        out.flush()?;
        Ok(())
    }
}

impl Entry {
    fn write(&self, name: &str, inode: u32, out: &mut impl Write) -> Result<()> {
        let kind = match self.content {
            Content::Directory => S_IFDIR,
            Content::Link(_) => S_IFLNK,
            _ => S_IFREG,
        };
        let header = Builder::new(name)
            .ino(inode)
            .mode(kind | self.mode)
            .uid(self.uid)
            .gid(self.gid)
            .nlink(if kind == S_IFDIR { 2 } else { 1 })
            .mtime(self.mtime);
        let bytes: &[u8] = match &self.content {
            Content::File(path) => return stream(path, name, header, out),
            Content::Directory => &[],
            Content::Bytes(bytes) => bytes,
            Content::Link(target) => target.as_os_str().as_bytes(),
        };
        let mut entry: Writer<_> = header.write(out, length(bytes.len() as u64, name)?);
        entry.write_all(bytes)?;
        entry.finish()?;
        Ok(())
    }
}

fn stream(path: &Path, name: &str, header: Builder, out: &mut impl Write) -> Result<()> {
    let cannot = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(cannot)?;
    let expected = file.metadata().with_context(cannot)?.len();
    let mut entry = header.write(out, length(expected, name)?);
    let copied = io::copy(&mut io::Read::take(&mut file, expected), &mut entry).with_context(cannot)?;
    if copied != expected {
        bail!("{} became shorter while it was read", path.display());
    }
    entry.finish()?;
    Ok(())
}

fn length(bytes: u64, name: &str) -> Result<u32> {
    u32::try_from(bytes).with_context(|| format!("{name} is {bytes} bytes long; a cpio archive takes less than 4 GiB"))
}

fn readable(path: &Path) -> Result<fs::Metadata> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    file.metadata().with_context(|| format!("cannot read {}", path.display()))
}

fn seconds(metadata: &fs::Metadata) -> u32 {
    u32::try_from(metadata.mtime()).unwrap_or(0)
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
