//! How much memory one operation asks for: the kernel promises 64 KiB, no piece above 32 KiB.
// Under Miri the counts are equal, but take minutes.
#![cfg(not(miri))]

use files::tree::INODES_MAX;
use files::tty::WindowSize;
use files::{Descriptors, New, OpenFile, OpenFiles, OpenFlags, Tree, Tty, Walk};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Bytes asked for, and the largest piece, since the last reset.
    static ASKED: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; the count is plain thread-local data.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.with(|asked| {
            let (total, largest) = asked.get();
            asked.set((total + layout.size(), largest.max(layout.size())));
        });
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs one operation and checks what it asked for.
fn little<T>(operation: impl FnOnce() -> T) -> T {
    ASKED.set((0, 0));
    let result = operation();
    let (total, largest) = ASKED.get();
    assert!(total <= 64 << 10 && largest <= 32 << 10, "{total} bytes, {largest} in one piece");
    result
}

#[test]
fn a_tree_grows_and_shrinks_by_little() {
    let mut tree = Tree::new(0);
    let root = tree.root();
    let name = |n: usize| format!("{n:0>255}").into_bytes();
    for n in 1..INODES_MAX {
        let name = name(n);
        little(|| tree.add(root, &name, New::Regular(n), 0o644, 0)).unwrap();
    }
    for n in 1..INODES_MAX {
        let name = name(n);
        let _ = little(|| tree.unlink(root, &name, 0)).unwrap();
    }
}

#[test]
fn long_paths_and_links_take_little() {
    let mut tree = Tree::<u32>::new(0);
    let mut walk = Walk { root: tree.root(), start: tree.root(), own: None, revealed: true };
    for _ in 0..15 {
        walk.start = little(|| tree.mkdir_at(&walk, &[b'd'; 255], 0o755, 0)).unwrap();
    }
    let path = [b"/".repeat(3839), vec![b'l'; 255]].concat();
    little(|| tree.symlink_at(&walk, &path, &b"/".repeat(4095), 0)).unwrap();
    assert_eq!(little(|| tree.path_of(walk.root, walk.start)).unwrap().len(), 15 * 256);
    little(|| tree.locate(&walk, b".")).unwrap();
    little(|| tree.rename_at((&walk, &path), (&walk, &[b'm'; 255]), false, 0)).map(|_| ()).unwrap();
}

#[test]
fn descriptors_and_open_files_grow_by_little() {
    let (mut files, mut table) = (OpenFiles::new(262_144), Descriptors::new(u32::MAX));
    let inode = Tree::<u32>::new(0).root();
    let mut open = || little(|| files.insert(OpenFile::new(inode, OpenFlags::empty())));
    let first = open().unwrap();
    let mut opened = 1;
    while open().is_ok() {
        opened += 1;
    }
    assert_eq!(opened, 262_144);
    assert_eq!(little(|| table.insert(first, false, &mut files)), Ok(0));
    little(|| table.duplicate_to(0, table_end(), false, &mut files)).unwrap();
    while little(|| table.duplicate(0, 0, false, &mut files)).is_ok() {}
    let mut copy = little(|| table.share());
    assert_eq!(little(|| copy.close(0, &mut files)), Ok(first));
    assert_eq!((copy.len(), table.len()), (table_end(), files::descriptors::DESCRIPTORS_MAX));
}

fn table_end() -> u32 {
    files::descriptors::DESCRIPTORS_MAX - 1
}

#[test]
fn a_terminal_takes_its_queue_at_the_start() {
    let mut tty = little(|| Tty::new(true, WindowSize::default()));
    ASKED.set((0, 0));
    for byte in (0..=255).cycle().take(20_000) {
        let _ = tty.input(byte, &mut |_| {});
        let _ = tty.read(&mut [0; 3]);
    }
    assert_eq!(ASKED.get(), (0, 0));
}
