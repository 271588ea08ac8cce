//! The rules of the tree that neither the model nor the host can show.

use files::attributes::{file_type, nanoseconds, timespec};
use files::dirent::RECORD_MAX;
use files::path::UNREVEALED;
use files::tree::INODES_MAX;
use files::{Device, Errno, Freed, InodeId, LINKS_MAX, New, OpenFlags, ProcFile, Tree, Walk};
use std::borrow::Cow;

fn walk(tree: &Tree<u32>) -> Walk {
    Walk { root: tree.root(), start: tree.root(), own: None, revealed: true }
}

fn create(tree: &mut Tree<u32>, path: &str, content: u32) -> InodeId {
    let flags = OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
    let opened = tree.open(&walk(tree), path.as_bytes(), flags, 0o644, || Ok((content, 0))).unwrap();
    assert!(opened.created);
    let Freed(None) = tree.release(opened.inode) else { panic!("a file with a name was freed") };
    opened.inode
}

fn mkdir(tree: &mut Tree<u32>, path: &str) -> InodeId {
    tree.mkdir_at(&walk(tree), path.as_bytes(), 0o755, 0).unwrap()
}

fn names(tree: &Tree<u32>, directory: InodeId, offset: u64) -> Vec<String> {
    let name = |name: &[u8]| String::from_utf8(name.into()).unwrap();
    tree.list(directory, offset).unwrap().map(|entry| name(entry.name)).collect()
}

/// The target of the link at a path.
fn readlink<'a>(tree: &'a Tree<u32>, walk: &Walk, path: &[u8]) -> files::Result<Cow<'a, [u8]>> {
    tree.link_target(walk.own, tree.resolve(walk, path, false)?)
}

#[test]
fn a_file_lives_until_its_last_name_and_last_hold_are_gone() {
    let mut tree = Tree::new(0);
    let (root, id) = (tree.root(), create(&mut tree, "/f", 7));
    tree.hold(id).unwrap();
    tree.hold(id).unwrap();
    assert_eq!(tree.unlink(root, b"f", 0), Ok(Freed(None)));
    assert_eq!(tree.attributes(id).unwrap().links, 0);
    assert_eq!(tree.link(root, b"again", id, 0), Err(Errno::ENOENT));
    assert_eq!((tree.release(id), tree.release(id)), (Freed(None), Freed(Some(7))));
    assert_eq!((tree.get(id).err(), tree.len()), (Some(Errno::ENOENT), 1));
    assert_eq!(tree.release(id), Freed(None));
}

#[test]
fn a_replaced_file_comes_back_and_a_failed_open_makes_no_content() {
    let mut tree = Tree::new(0);
    let root = tree.root();
    create(&mut tree, "/old", 1);
    create(&mut tree, "/new", 2);
    assert_eq!(tree.rename((root, b"new"), (root, b"old"), true, 0), Err(Errno::EEXIST));
    assert_eq!(tree.rename((root, b"new"), (root, b"old"), false, 0), Ok(Freed(Some(1))));
    for (path, error) in [("/none/f", Errno::ENOENT), ("/old/f", Errno::ENOTDIR), ("/f/", Errno::EISDIR)] {
        let walk = walk(&tree);
        let opened = tree.open(&walk, path.as_bytes(), OpenFlags::CREATE, 0o644, || panic!("{path} has content"));
        assert_eq!(opened, Err(error), "{path}");
    }
    let (walk, refused) = (walk(&tree), || Err(Errno::ENOMEM));
    assert_eq!(tree.open(&walk, b"/f", OpenFlags::CREATE, 0o644, refused), Err(Errno::ENOMEM));
    assert_eq!(tree.resolve(&walk, b"/f", true), Err(Errno::ENOENT));
}

#[test]
fn truncating_open_leaves_the_bytes_to_the_caller() {
    let mut tree = Tree::new(0);
    let id = create(&mut tree, "/f", 1);
    tree.set_size(id, 100, 5).unwrap();
    let walk = walk(&tree);
    let opened = tree.open(&walk, b"f", OpenFlags::WRITE_ONLY | OpenFlags::TRUNCATE, 0, || Ok((2, 9))).unwrap();
    assert!(opened.truncate && !opened.created);
    let found = tree.attributes(id).unwrap();
    assert_eq!((found.size, found.mtime, tree.get(id).unwrap().holds), (100, 5, 1));
}

#[test]
fn those_who_may_write_are_counted() {
    let mut tree = Tree::new(0);
    let id = create(&mut tree, "/f", 1);
    let walk = walk(&tree);
    let all = [
        (OpenFlags::empty(), 0),
        (OpenFlags::WRITE_ONLY, 1),
        (OpenFlags::READ_WRITE, 2),
        (OpenFlags::READ_WRITE | OpenFlags::PATH, 2),
        (OpenFlags::WRITE_ONLY | OpenFlags::CREATE, 3),
    ];
    for (flags, writers) in all {
        tree.open(&walk, b"/f", flags, 0, || panic!("it is there")).unwrap();
        assert_eq!(tree.get(id).unwrap().writers, writers, "{flags:?}");
    }
    all.iter().for_each(|(flags, _)| _ = tree.close(id, *flags, None));
    assert_eq!((tree.get(id).unwrap().writers, tree.get(id).unwrap().holds), (0, 0));
    let made = tree.open(&walk, b"/new", OpenFlags::WRITE_ONLY | OpenFlags::CREATE, 0, || Ok((2, 0))).unwrap();
    assert_eq!(tree.get(made.inode).unwrap().writers, 1);
}

#[test]
fn a_removed_directory_that_is_held_is_empty_and_stays_so() {
    let mut tree = Tree::new(0);
    let id = mkdir(&mut tree, "/d");
    tree.hold(id).unwrap();
    tree.rmdir_at(&walk(&tree), b"/d", 0).unwrap();
    let inside = Walk { start: id, ..walk(&tree) };
    assert_eq!(tree.resolve(&inside, b".", true), Ok(id));
    assert_eq!(tree.resolve(&inside, b"..", true), Ok(tree.root()));
    assert_eq!(tree.path_of(tree.root(), id), Err(Errno::ENOENT));
    assert_eq!(tree.list(id, 0).err(), Some(Errno::ENOENT));
    assert_eq!(tree.mkdir_at(&inside, b"x", 0o755, 0), Err(Errno::ENOENT));
    create(&mut tree, "/f", 1);
    let root = tree.root();
    assert_eq!(tree.rename((root, b"f"), (id, b"f"), false, 0), Err(Errno::ENOENT));
    assert_eq!((tree.release(id), tree.len()), (Freed(None), 2));
    assert_eq!(tree.resolve(&inside, b".", true), Err(Errno::ENOENT));
}

#[test]
fn a_listing_gives_what_stays_once_and_what_is_new_never() {
    let mut tree = Tree::new(0);
    let root = tree.root();
    for n in 0..9 {
        create(&mut tree, &format!("/{n}"), n);
    }
    let mut offset = 0;
    let mut seen = Vec::new();
    for step in 0.. {
        let Some(entry) = tree.list(root, offset).unwrap().next() else { break };
        offset = entry.next;
        seen.push(String::from_utf8(entry.name.into()).unwrap());
        // Once it is under way: one entry goes, one is renamed, ever new ones are made.
        if step < 2 {
            continue;
        }
        let _ = tree.unlink(root, b"4", 0);
        let _ = tree.rename((root, b"6"), (root, b"six"), false, 0);
        create(&mut tree, &format!("/new{step}"), 0);
    }
    assert_eq!(seen, [".", "..", "8", "7", "5", "3", "2", "1", "0"]);
    assert_eq!(names(&tree, root, 1)[0], "..");
    assert_eq!(names(&tree, root, u64::MAX).len(), tree.get(root).unwrap().directory().unwrap().len());
}

#[test]
fn a_directory_entry_is_laid_out_as_linux_does() {
    let mut tree = Tree::new(0);
    let id = mkdir(&mut tree, "/subdir");
    let entry = tree.list(tree.root(), 2).unwrap().next().unwrap();
    let mut buffer = [0xff; 40];
    assert_eq!((entry.write(&mut buffer[..31]), entry.write(&mut buffer)), (None, Some(32)));
    assert_eq!(buffer[..8], id.number().to_ne_bytes());
    assert_eq!(buffer[8..16], entry.next.to_ne_bytes());
    assert_eq!((&buffer[16..19], &buffer[19..33]), (&[32, 0, 4][..], &b"subdir\0\0\0\0\0\0\0\xff"[..]));
    create(&mut tree, &format!("/{}", "n".repeat(255)), 0);
    let entry = tree.list(tree.root(), 2).unwrap().next().unwrap();
    assert_eq!(entry.write(&mut [0; RECORD_MAX]), Some(RECORD_MAX));
}

#[test]
fn lengths_and_links_have_their_limits() {
    let mut tree = Tree::new(0);
    let walk = walk(&tree);
    let name = |len: usize| "n".repeat(len).into_bytes();
    assert!(tree.mkdir_at(&walk, &name(255), 0o755, 0).is_ok());
    assert_eq!(tree.mkdir_at(&walk, &name(256), 0o755, 0), Err(Errno::ENAMETOOLONG));
    assert_eq!(tree.resolve(&walk, &b"/".repeat(4095), true), Ok(tree.root()));
    assert_eq!(tree.resolve(&walk, &b"/".repeat(4096), true), Err(Errno::ENAMETOOLONG));
    assert_eq!(tree.resolve(&walk, b"", true), Err(Errno::ENOENT));
    assert!(tree.symlink_at(&walk, b"long", &b"/".repeat(4095), 0).is_ok());
    assert_eq!(tree.symlink_at(&walk, b"longer", &b"/".repeat(4096), 0), Err(Errno::ENAMETOOLONG));
    assert_eq!(tree.symlink_at(&walk, b"empty", b"", 0), Err(Errno::ENOENT));

    let target = mkdir(&mut tree, "/0");
    for n in 1..=LINKS_MAX + 1 {
        let (name, to) = (format!("{n}"), format!("{}", n - 1));
        tree.symlink_at(&walk, name.as_bytes(), to.as_bytes(), 0).unwrap();
    }
    assert_eq!(tree.resolve(&walk, b"40", true), Ok(target));
    assert_eq!(tree.resolve(&walk, b"41", true), Err(Errno::ELOOP));
    assert_eq!(tree.resolve(&walk, b"40/../41", false).map(|id| id == target), Ok(false));
}

#[test]
fn nothing_leads_above_the_root() {
    let mut tree = Tree::new(0);
    let root = mkdir(&mut tree, "/jail");
    mkdir(&mut tree, "/jail/d");
    let jailed = Walk { root, ..walk(&tree) };
    tree.symlink_at(&walk(&tree), b"/jail/out", b"/../../d/..", 0).unwrap();
    assert_eq!(tree.resolve(&jailed, b"/out/../..", true), Ok(root));
    assert_eq!(tree.path_of(root, tree.root()), Err(Errno::ENOENT));
    assert_eq!(tree.locate(&jailed, b"/out/d/").unwrap().1, b"/d");
}

#[test]
fn a_path_too_long_to_tell_is_an_error() {
    let mut tree = Tree::new(0);
    let mut walk = walk(&tree);
    for _ in 0..16 {
        walk.start = tree.mkdir_at(&walk, &[b'd'; 255], 0o755, 0).unwrap();
    }
    assert_eq!(tree.path_of(walk.root, walk.start), Err(Errno::ENAMETOOLONG));
    let above = tree.lookup(walk.start, b"..").unwrap();
    assert_eq!(tree.path_of(walk.root, above).unwrap().len(), 15 * 256);
}

#[test]
fn rename_refuses_a_directory_its_own_inside() {
    let mut tree = Tree::new(0);
    mkdir(&mut tree, "/a");
    mkdir(&mut tree, "/a/b");
    let walk = walk(&tree);
    let mut rename = |from: &str, to: &str, keep| {
        let (from, to) = ((&walk, from.as_bytes()), (&walk, to.as_bytes()));
        tree.rename_at(from, to, keep, 0).map(|_| ())
    };
    assert_eq!(rename("/a", "/a/b/c", false), Err(Errno::EINVAL));
    assert_eq!(rename("/a", "/a/b", false), Err(Errno::EINVAL));
    assert_eq!(rename("/a/b", "/a", false), Err(Errno::ENOTEMPTY));
    assert_eq!(rename("/a/b", "/..", true), Err(Errno::EEXIST));
    assert_eq!(rename("/a/b", "/a/b/", true), Err(Errno::EEXIST));
    assert_eq!(rename("/a/b/", "/b/", true), Ok(()));
    assert_eq!(tree.attributes(tree.root()).unwrap().links, 4);
}

#[test]
fn proc_is_closed_and_its_links_lead_to_who_asks() {
    let mut tree = Tree::new(0);
    let proc = mkdir(&mut tree, "/proc");
    let own = mkdir(&mut tree, "/proc/7");
    tree.add(proc, b"self", New::Proc(ProcFile::SelfLink, 0), 0o777, 0).unwrap();
    let program = create(&mut tree, "/prog", 1);
    tree.add(own, b"exe", New::Magic(program, b"/prog"), 0o777, 0).unwrap();
    let cpuinfo = tree.add(proc, b"cpuinfo", New::Proc(ProcFile::Cpuinfo, 0), 0o444, 0).unwrap();
    [proc, own].into_iter().for_each(|id| tree.seal(id).unwrap());
    let walk = Walk { own: Some(own), ..walk(&tree) };
    assert_eq!(tree.resolve(&walk, b"/proc/self/exe", true), Ok(program));
    assert_eq!(readlink(&tree, &walk, b"/proc/self/exe"), Ok((&b"/prog"[..]).into()));
    assert_eq!(readlink(&tree, &walk, b"/proc/self"), Ok((&b"7"[..]).into()));
    assert_eq!(tree.resolve(&Walk { own: None, ..walk }, b"/proc/self/exe", true), Err(Errno::ENOENT));
    tree.fill_on_demand(proc).unwrap();
    let early = Walk { revealed: false, ..walk };
    assert_eq!(tree.resolve(&early, b"/prog/../proc/self", true), Err(Errno::ENOTDIR));
    for path in [&b"/proc/self/exe"[..], b"/proc/cpuinfo", b"/proc/none", b"/proc/7/../../prog"] {
        assert_eq!(tree.resolve(&early, path, true), Err(UNREVEALED));
        assert_ne!(tree.resolve(&walk, path, true), Err(UNREVEALED));
    }
    assert_eq!((tree.resolve(&early, b"/proc", true), tree.resolve(&early, b"/prog", true)), (Ok(proc), Ok(program)));
    let link = tree.resolve(&walk, b"/proc/self", false).unwrap();
    assert_eq!(tree.attributes(link).unwrap().mode, file_type::SYMLINK | 0o777);

    assert_eq!(tree.mkdir_at(&walk, b"/proc/x", 0o755, 0), Err(Errno::ENOENT));
    assert_eq!(tree.unlink_at(&walk, b"/proc/cpuinfo", 0), Err(Errno::EPERM));
    assert_eq!(tree.rmdir_at(&walk, b"/proc/7", 0), Err(Errno::EPERM));
    assert_eq!(tree.link_at(&walk, b"/link", cpuinfo, 0), Err(Errno::EXDEV));
    let rename = tree.rename_at((&walk, b"/prog"), (&walk, b"/proc/prog"), false, 0);
    assert_eq!(rename, Err(Errno::EXDEV));
    let open = tree.open(&walk, b"/proc/cpuinfo", OpenFlags::READ_WRITE, 0, || Ok((2, 0)));
    assert_eq!(open, Err(Errno::EACCES));
}

#[test]
fn times_and_modes_are_kept() {
    let mut tree = Tree::new(1);
    let id = create(&mut tree, "/f", 1);
    let root = tree.root();
    assert_eq!(tree.attributes(root).unwrap().mtime, 0);
    tree.set_mode(id, 0o100_4755, 10).unwrap();
    // Another owner's program does not run with the rights of this one: the set-uid bit goes.
    tree.set_owner(id, Some(3), None, 11).unwrap();
    tree.set_times(id, None, Some(-5), 12).unwrap();
    tree.set_times(id, None, None, 99).unwrap();
    tree.accessed(id, 13);
    let found = tree.attributes(id).unwrap();
    assert_eq!((found.mode, found.uid, found.gid), (file_type::REGULAR | 0o755, 3, 0));
    assert_eq!((found.atime, found.mtime, found.ctime), (13, -5, 12));
    assert_eq!((timespec(-1), nanoseconds(-1, 999_999_999)), ((-1, 999_999_999), -1));
    assert_eq!((nanoseconds(i64::MAX, 0), nanoseconds(i64::MIN, 0)), (i64::MAX, i64::MIN));
}

#[test]
fn devices_have_linux_numbers() {
    let mut tree = Tree::<u32>::new(0);
    for (name, device) in Device::ALL {
        let id = tree.add(tree.root(), name.as_bytes(), New::Device(device), 0o666, 0).unwrap();
        let found = tree.attributes(id).unwrap();
        assert_eq!(
            (found.mode, Some(device)),
            (file_type::CHARACTER | 0o666, Device::from_numbers(found.device.0, found.device.1))
        );
    }
    let tty = tree.lookup(tree.root(), b"tty").unwrap();
    assert_eq!(tree.attributes(tty).unwrap().rdev(), 0x500);
    assert_eq!((Device::from_numbers(8, 0), tree.set_size(tty, 1, 0)), (None, Err(Errno::EINVAL)));
}

#[test]
#[cfg_attr(miri, ignore = "takes too long")]
fn a_full_tree_refuses_the_next_inode_and_frees_them_all() {
    let mut tree = Tree::new(0);
    let root = tree.root();
    let name = |n: usize| n.to_string().into_bytes();
    for n in 1..INODES_MAX {
        tree.add(root, &name(n), New::Regular(n), 0o644, 0).unwrap();
    }
    assert_eq!(tree.add(root, b"more", New::Regular(0), 0o644, 0), Err(Errno::ENOSPC));
    assert_eq!(tree.link(root, b"more", tree.lookup(root, b"1").unwrap(), 0), Ok(()));
    assert_eq!(tree.unlink(root, b"more", 0), Ok(Freed(None)));
    for n in 1..INODES_MAX {
        assert_eq!(tree.unlink(root, &name(n), 0), Ok(Freed(Some(n))));
    }
    assert_eq!(tree.len(), 1);
}

#[test]
fn names_that_are_none_are_refused() {
    let mut tree = Tree::new(0);
    let root = tree.root();
    for (name, error) in [
        (&b""[..], Errno::ENOENT),
        (b".", Errno::EEXIST),
        (b"..", Errno::EEXIST),
        (b"a/b", Errno::EINVAL),
        (b"a\0", Errno::EINVAL),
    ] {
        assert_eq!(tree.add(root, name, New::Regular(0), 0o644, 0), Err(error));
    }
}

#[test]
fn a_sealed_directory_is_pruned_whole() {
    let mut tree: Tree<u32> = Tree::new(0);
    let before = tree.len();
    let root = tree.root();
    let own = tree.add(root, b"7", New::Directory, 0o555, 0).unwrap();
    let stat = tree.add(own, b"stat", New::Proc(ProcFile::SelfStat, 7), 0o444, 0).unwrap();
    tree.add(own, b"exe", New::Magic(stat, b"/bin/x"), 0o777, 0).unwrap();
    tree.seal(own).unwrap();
    assert_eq!(tree.unlink(own, b"stat", 1), Err(Errno::EPERM));
    assert_eq!(tree.rmdir(root, b"7", 1), Err(Errno::EPERM));
    assert_eq!(tree.rename((root, b"7"), (root, b"8"), false, 1), Err(Errno::EBUSY));
    tree.hold(stat).unwrap();
    tree.prune(root, b"7", 1).unwrap();
    assert_eq!((tree.lookup(root, b"7"), tree.get(own).is_err()), (Err(Errno::ENOENT), true));
    assert!(tree.get(stat).is_ok(), "it is open");
    let _ = tree.release(stat);
    assert_eq!((tree.len(), tree.get(root).unwrap().links), (before, 2));
    tree.seal(root).unwrap();
    assert_eq!(tree.add(root, b"8", New::Directory, 0o555, 0), Err(Errno::ENOENT));
    tree.unseal(root).unwrap();
    assert!(tree.add(root, b"8", New::Directory, 0o555, 0).is_ok());
}

#[test]
fn a_magic_link_leads_to_its_inode_under_whatever_name() {
    let mut tree = Tree::new(0);
    let directory = mkdir(&mut tree, "/there");
    let file = create(&mut tree, "/there/file", 1);
    let root = tree.root();
    tree.add(root, b"dir", New::Magic(directory, b"/there"), 0o700, 0).unwrap();
    let link = tree.add(root, b"link", New::Magic(file, b"file:[2]"), 0o700, 0).unwrap();
    let walk = walk(&tree);
    assert_eq!(tree.resolve(&walk, b"/dir/file", false), Ok(file));
    assert_eq!(tree.resolve(&walk, b"/dir/../dir", true), Ok(directory));
    assert_eq!(tree.resolve(&walk, b"/link", true), Ok(file));
    assert_eq!(tree.resolve(&walk, b"/link/", true), Err(Errno::ENOTDIR));
    assert_eq!(tree.resolve(&walk, b"/link", false), Ok(link));
    assert_eq!(readlink(&tree, &walk, b"/link"), Ok((&b"file:[2]"[..]).into()));
    assert_eq!(tree.link_at(&walk, b"/there/second", link, 0), Err(Errno::EXDEV));
    // What it leads to may be gone, or be somewhere else.
    tree.rename_at((&walk, b"/there"), (&walk, b"/elsewhere"), false, 0).map(drop).unwrap();
    assert_eq!(tree.resolve(&walk, b"/dir/file", true), Ok(file));
    assert_eq!(tree.unlink_at(&walk, b"/dir/file", 0), Ok(Freed(Some(1))));
    let open = |tree: &mut Tree<u32>| tree.open(&walk, b"/link", OpenFlags::empty(), 0, || Ok((0, 0))).map(|_| ());
    assert_eq!(open(&mut tree), Err(Errno::ENOENT));
}

#[test]
fn a_magic_link_that_says_a_path_says_whether_that_is_still_there() {
    let mut tree = Tree::new(0);
    let program = create(&mut tree, "/prog", 1);
    let root = tree.root();
    for (name, says) in [(&b"exe"[..], &b"/prog"[..]), (b"0", b"file:[2]")] {
        tree.add(root, name, New::Magic(program, says), 0o700, 0).unwrap();
    }
    let walk = walk(&tree);
    let says = |tree: &Tree<u32>, path: &[u8]| readlink(tree, &walk, path).map(Cow::into_owned);
    assert_eq!(tree.locate(&walk, b"/exe"), Ok((program, b"/prog".to_vec())));
    assert_eq!(tree.locate(&walk, b"/0"), Ok((program, b"/0".to_vec())));
    tree.hold(program).unwrap();
    tree.unlink_at(&walk, b"/prog", 0).map(drop).unwrap();
    assert_eq!(says(&tree, b"/exe"), Ok(b"/prog (deleted)".to_vec()));
    assert_eq!(says(&tree, b"/0"), Ok(b"file:[2]".to_vec()));
    assert_eq!(tree.locate(&walk, b"/exe"), Ok((program, b"/prog".to_vec())));
    assert_eq!(tree.release(program), Freed(Some(1)));
    assert_eq!(says(&tree, b"/exe"), Err(Errno::ENOENT));
}

#[test]
fn magic_links_count_among_the_links_of_a_path() {
    let mut tree = Tree::new(0);
    let root = tree.root();
    tree.add(root, b"root", New::Magic(root, b"/"), 0o700, 0).unwrap();
    tree.add(root, b"self", New::Proc(ProcFile::SelfLink, 0), 0o777, 0).unwrap();
    let walk = Walk { own: Some(root), ..walk(&tree) };
    for name in ["/root", "/self"] {
        assert_eq!(tree.resolve(&walk, name.repeat(40).as_bytes(), true), Ok(root));
        assert_eq!(tree.resolve(&walk, name.repeat(41).as_bytes(), true), Err(Errno::ELOOP));
    }
}
