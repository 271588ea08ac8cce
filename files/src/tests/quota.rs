//! The quota of names, compared with a recount after each of random operations on names.

use super::{NameQuota, UNIT};
use crate::{Errno, Freed, InodeId, New, OpenFlags, Tree, Walk};
extern crate std;
use proptest::prelude::*;
use std::string::String;
use std::vec;
use std::vec::Vec;

/// A recount: the units that each inode takes with its first name, and one for each further name.
fn recount(tree: &Tree<u32>) -> usize {
    tree.inodes()
        .map(|inode| {
            inode.quota_units as usize + if inode.is_directory() { 0 } else { inode.links.max(1) as usize - 1 }
        })
        .sum()
}

fn walk(tree: &Tree<u32>) -> Walk {
    Walk { root: tree.root(), start: tree.root(), own: None, revealed: true }
}

#[derive(Clone, Debug)]
enum Operation {
    Open(String),
    Mkdir(String),
    Symlink(String, usize),
    Link(String, String),
    Unlink(String),
    Rmdir(String),
    Rename(String, String),
    Close(usize),
    Pipe,
}

fn operation() -> impl Strategy<Value = Operation> {
    let path = || "/[abc](/[ab]){0,2}";
    prop_oneof![
        4 => path().prop_map(Operation::Open),
        3 => path().prop_map(Operation::Mkdir),
        2 => (path(), 1..4000_usize).prop_map(|(path, length)| Operation::Symlink(path, length)),
        3 => (path(), path()).prop_map(|(from, to)| Operation::Link(from, to)),
        3 => path().prop_map(Operation::Unlink),
        2 => path().prop_map(Operation::Rmdir),
        3 => (path(), path()).prop_map(|(from, to)| Operation::Rename(from, to)),
        2 => any::<usize>().prop_map(Operation::Close),
        1 => Just(Operation::Pipe),
    ]
}

proptest! {
    #[test]
    fn units_are_what_a_recount_gives(operations in proptest::collection::vec(operation(), 1..80), limit in 4..40_usize) {
        let mut tree = Tree::new(0);
        let walk = walk(&tree);
        tree.set_name_limit(limit);
        let mut open: Vec<InodeId> = Vec::new();
        for operation in operations {
            let before = tree.name_quota();
            let result = match &operation {
                Operation::Open(path) => {
                    let flags = OpenFlags::CREATE | OpenFlags::READ_WRITE;
                    tree.open(&walk, path.as_bytes(), flags, 0o644, || Ok((0, 0))).map(|opened| open.push(opened.inode))
                }
                Operation::Mkdir(path) => tree.mkdir_at(&walk, path.as_bytes(), 0o755, 0).map(drop),
                Operation::Symlink(path, length) => {
                    tree.symlink_at(&walk, path.as_bytes(), &vec![b'x'; *length], 0).map(drop)
                }
                Operation::Link(from, to) => tree
                    .resolve(&walk, from.as_bytes(), false)
                    .and_then(|inode| tree.link_at(&walk, to.as_bytes(), inode, 0)),
                Operation::Unlink(path) => tree.unlink_at(&walk, path.as_bytes(), 0).map(drop),
                Operation::Rmdir(path) => tree.rmdir_at(&walk, path.as_bytes(), 0),
                Operation::Rename(from, to) => {
                    tree.rename_at((&walk, from.as_bytes()), (&walk, to.as_bytes()), false, 0).map(drop)
                }
                Operation::Close(n) => {
                    if !open.is_empty() {
                        let Freed(_) = tree.release(open.swap_remove(n % open.len()));
                    }
                    Ok(())
                }
                Operation::Pipe => tree.make_pipe(0, 0).map(|inode| {
                    // One end each.
                    open.extend([inode; 2]);
                }),
            };
            prop_assert_eq!(tree.name_quota().used, recount(&tree), "after {:?}", operation);
            prop_assert!(tree.name_quota().used <= limit);
            if result.is_err() {
                prop_assert_eq!(tree.name_quota(), before);
            }
            if result == Err(Errno::ENOSPC) {
                prop_assert!(before.free() < 1 + 4000 / UNIT, "there was room: {:?}", before);
            }
        }
    }
}

#[test]
fn what_is_made_on_demand_takes_no_places() {
    let mut tree: Tree<u32> = Tree::new(0);
    let proc = tree.add(tree.root(), b"proc", New::Directory, 0o555, 0).unwrap();
    tree.fill_on_demand(proc).unwrap();
    let before = tree.name_quota();
    tree.add(proc, b"exe", New::Symlink(&[b'x'; 2000]), 0o777, 0).unwrap();
    let own = tree.add(proc, b"1", New::Directory, 0o555, 0).unwrap();
    tree.fill_on_demand(own).unwrap();
    tree.add(own, b"fd", New::Directory, 0o500, 0).unwrap();
    assert_eq!(tree.name_quota(), before);
    tree.prune(own, b"fd", 0).unwrap();
    tree.prune(proc, b"1", 0).unwrap();
    assert_eq!(tree.name_quota(), before);
}

#[test]
fn a_full_tree_has_room_again_when_a_name_goes() {
    let mut tree = Tree::new(0);
    let walk = walk(&tree);
    let used = tree.name_quota().used;
    tree.set_name_limit(used + 2);
    let create = OpenFlags::CREATE | OpenFlags::READ_WRITE;
    let open = |tree: &mut Tree<u32>, path| tree.open(&walk, path, create, 0o644, || Ok((0, 0)));
    let a = open(&mut tree, b"/a").unwrap().inode;
    tree.link_at(&walk, b"/b", a, 0).unwrap();
    assert_eq!(tree.name_quota(), NameQuota { used: used + 2, limit: used + 2 });
    assert_eq!(open(&mut tree, b"/c").map(drop), Err(Errno::ENOSPC));
    assert_eq!(open(&mut tree, b"/a").map(drop), Ok(()), "what is there can be opened");
    assert_eq!(tree.mkdir_at(&walk, b"/d", 0o755, 0).map(drop), Err(Errno::ENOSPC));
    tree.rename_at((&walk, b"/b"), (&walk, b"/e"), false, 0).map(drop).unwrap();
    // The kernel's own names are not refused, and count.
    tree.add(tree.root(), b"kernel", New::Symlink(&[b'x'; UNIT]), 0o777, 0).unwrap();
    assert_eq!(tree.name_quota(), NameQuota { used: used + 4, limit: used + 2 });
    for path in [&b"/a"[..], b"/e"] {
        tree.unlink_at(&walk, path, 0).map(drop).unwrap();
    }
    assert_eq!(tree.name_quota().used, used + 3, "the file is still open, without a name");
    (0..2).for_each(|_| _ = tree.release(a));
    assert_eq!(tree.name_quota().free(), 0);
    tree.unlink_at(&walk, b"/kernel", 0).map(drop).unwrap();
    open(&mut tree, b"/c").map(drop).unwrap();
}
