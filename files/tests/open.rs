//! Open files and descriptors: sharing, numbering, limits.

use files::descriptors::DESCRIPTORS_MAX;
use files::open::Whence;
use files::{Descriptors, Errno, OpenFile, OpenFileId, OpenFiles, OpenFlags, Tree};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn file(flags: OpenFlags) -> OpenFile {
    OpenFile::new(Tree::<u32>::new(0).root(), flags)
}

fn open(files: &mut OpenFiles) -> OpenFileId {
    files.insert(file(OpenFlags::READ_WRITE)).unwrap()
}

#[test]
fn duplicates_share_the_offset_and_the_last_one_closes() {
    let (mut files, mut table) = (OpenFiles::new(64), Descriptors::new(16));
    let id = open(&mut files);
    assert_eq!(table.insert(id, true, &mut files), Ok(0));
    assert_eq!(table.duplicate(0, 5, false, &mut files), Ok(5));
    files.get_mut(table.get(5).unwrap()).unwrap().offset = 9;
    assert_eq!(files.get(table.get(0).unwrap()).unwrap().offset, 9);
    assert_eq!((table.close_on_exec(0), table.close_on_exec(5)), (Ok(true), Ok(false)));
    assert_eq!((table.close(0, &mut files), files.release(id)), (Ok(id), None));
    assert_eq!((table.close(5, &mut files), files.release(id).map(|file| file.offset)), (Ok(id), Some(9)));
    assert_eq!(table.close(5, &mut files), Err(Errno::EBADF));
    assert_eq!((files.len(), files.get(id).err()), (0, Some(Errno::EBADF)));
}

#[test]
fn the_lowest_free_number_is_taken_and_the_limit_holds() {
    let (mut files, mut table) = (OpenFiles::new(512), Descriptors::new(200));
    (0..200).for_each(|fd| assert_eq!(table.insert(open(&mut files), false, &mut files), Ok(fd)));
    assert_eq!(table.lowest_free(0), Err(Errno::EMFILE));
    assert_eq!(table.duplicate(0, 0, false, &mut files), Err(Errno::EMFILE));
    assert_eq!(table.duplicate(0, 200, false, &mut files), Err(Errno::EINVAL));
    for fd in [63, 64, 150] {
        let id = table.close(fd, &mut files).unwrap();
        let _ = files.release(id);
    }
    assert_eq!(table.lowest_free(0), Ok(63));
    assert_eq!(table.duplicate(0, 65, false, &mut files), Ok(150));
    // A lower limit leaves alone what is open.
    table.set_limit(10).unwrap();
    assert!(table.get(199).is_ok() && table.lowest_free(0) == Err(Errno::EMFILE));
    assert_eq!(table.set_limit(DESCRIPTORS_MAX + 1), Err(Errno::EPERM));
    assert_eq!(Descriptors::new(u32::MAX).limit(), DESCRIPTORS_MAX);
}

#[test]
fn duplicating_to_a_number_closes_what_it_was() {
    let (mut files, mut table) = (OpenFiles::new(64), Descriptors::new(1024));
    let (a, b) = (open(&mut files), open(&mut files));
    table.insert(a, false, &mut files).unwrap();
    table.insert(b, true, &mut files).unwrap();
    assert_eq!(table.duplicate_to(0, 1, true, &mut files), Ok(Some(b)));
    assert!(files.release(b).is_some());
    assert_eq!((table.get(1), table.close_on_exec(1), files.len()), (Ok(a), Ok(true), 1));
    assert_eq!(table.duplicate_to(0, 1000, false, &mut files), Ok(None));
    assert_eq!(table.duplicate_to(0, 0, false, &mut files), Err(Errno::EINVAL));
    assert_eq!(table.duplicate_to(0, 1024, false, &mut files), Err(Errno::EBADF));
    assert_eq!(table.duplicate_to(7, 1, false, &mut files), Err(Errno::EBADF));
    assert_eq!((table.next_used(2), table.next_used(1001), table.len()), (Some(1000), None, 3));
    assert_eq!((table.next_close_on_exec(0), table.next_close_on_exec(2)), (Some(1), None));
    let copy = table.share();
    assert_eq!(copy.open_files().collect::<Vec<_>>(), [a; 3]);
    while let Some(fd) = table.next_used(0) {
        assert_eq!((table.close(fd, &mut files), files.release(a)), (Ok(a), None));
    }
    assert_eq!((copy.get(1000), copy.close_on_exec(1), files.len(), table.len()), (Ok(a), Ok(true), 1, 0));
}

#[test]
fn a_child_with_many_descriptors_copies_only_those_near_the_one_that_it_changes() {
    let (mut files, mut table) = (OpenFiles::new(64), Descriptors::new(DESCRIPTORS_MAX));
    let id = open(&mut files);
    table.insert(id, false, &mut files).unwrap();
    (1..DESCRIPTORS_MAX).for_each(|fd| assert_eq!(table.duplicate(0, 0, false, &mut files), Ok(fd)));
    assert_eq!(table.lowest_free(0), Err(Errno::EMFILE));
    let mut child = table.share();
    assert_eq!((child.close(40_000, &mut files), files.release(id)), (Ok(id), None));
    assert_eq!((child.lowest_free(0), child.lowest_free(40_001)), (Ok(40_000), Err(Errno::EMFILE)));
    assert_eq!((child.own_open_files().count(), table.own_open_files().count()), (15, 16));
    assert_eq!((table.get(40_000), child.get(40_000)), (Ok(id), Err(Errno::EBADF)));
    drop(table);
    assert_eq!(child.own_open_files().count() as u32, DESCRIPTORS_MAX - 1);
}

#[test]
fn a_table_that_ends_is_taken_apart_some_at_a_time() {
    let (mut files, mut table) = (OpenFiles::new(64), Descriptors::new(DESCRIPTORS_MAX));
    let id = open(&mut files);
    table.insert(id, false, &mut files).unwrap();
    (1..100).for_each(|fd| assert_eq!(table.duplicate(0, 0, false, &mut files), Ok(fd)));
    table.duplicate(0, 5000, false, &mut files).unwrap();
    let mut child = table.share();
    assert_eq!(child.take_some(), None, "another process has the table too");
    // From now on it has only most of what is in it.
    assert_eq!((child.close(50, &mut files), files.release(id)), (Ok(id), None));
    let mut taken = Vec::new();
    while let Some((some, are_own)) = child.take_some() {
        taken.push((some.len(), are_own));
        some.iter().filter(|_| are_own).for_each(|file| assert_eq!(files.release(*file), None));
    }
    assert_eq!(taken.iter().map(|(some, _)| some).sum::<usize>(), 100);
    assert_eq!(taken.iter().filter(|(_, are_own)| *are_own).collect::<Vec<_>>(), [&(15, true)]);
    assert_eq!((child.len(), child.lowest_free(0), table.len()), (0, Ok(0), 101));
    drop(child);
    let own = |(some, are_own): (Vec<_>, bool)| some.len() * usize::from(are_own);
    assert_eq!(core::iter::from_fn(|| table.take_some()).map(own).sum::<usize>(), 101);
}

#[test]
fn the_system_wide_limit_is_enfile() {
    let mut files = OpenFiles::new(64);
    for _ in 0..64 {
        files.insert(file(OpenFlags::empty())).unwrap();
    }
    assert_eq!(files.check_room(), Err(Errno::ENFILE));
    assert_eq!(files.insert(file(OpenFlags::empty())), Err(Errno::ENFILE));
}

#[test]
fn flags_say_what_may_be_done() {
    let access = |bits| {
        let flags = OpenFlags::from_bits_retain(bits);
        (flags.readable(), flags.writable())
    };
    assert_eq!(
        [access(0), access(1), access(2), access(3)],
        [(true, false), (false, true), (true, true), (false, false)]
    );
    assert_eq!(access(OpenFlags::PATH.bits() | 2), (false, false));
    let mut file = file(OpenFlags::READ_WRITE | OpenFlags::CREATE | OpenFlags::CLOSE_ON_EXEC | OpenFlags::APPEND);
    assert_eq!(file.flags, OpenFlags::READ_WRITE | OpenFlags::APPEND);
    file.set_status(OpenFlags::NONBLOCK | OpenFlags::WRITE_ONLY);
    assert_eq!(file.flags, OpenFlags::READ_WRITE | OpenFlags::NONBLOCK);
}

#[test]
fn seeking_follows_the_rules() {
    let mut file = file(OpenFlags::empty());
    let mut seek = |offset, whence| file.seek(offset, whence, 100);
    assert_eq!(seek(10, Whence::Start), Ok(10));
    assert_eq!(seek(-3, Whence::Current), Ok(7));
    assert_eq!(seek(5, Whence::End), Ok(105));
    assert_eq!(seek(-101, Whence::End), Err(Errno::EINVAL));
    assert_eq!(seek(i64::MAX, Whence::Current), Err(Errno::EOVERFLOW));
    assert_eq!((seek(99, Whence::Data), seek(3, Whence::Hole)), (Ok(99), Ok(100)));
    assert_eq!((seek(100, Whence::Data), seek(-1, Whence::Hole)), (Err(Errno::ENXIO), Err(Errno::ENXIO)));
    assert_eq!((seek(0, Whence::Current), Whence::from_raw(5)), (Ok(100), Err(Errno::EINVAL)));
}

/// Processes that share tables, or what is left of one.
const PROCESSES: usize = 3;

#[derive(Clone, Debug)]
enum Operation {
    Open(bool),
    Close(u32),
    Duplicate(u32, u32, bool),
    DuplicateTo(u32, u32, bool),
    SetCloseOnExec(u32, bool),
    /// The first process is forked, in place of one of the others; from now on that one makes the changes.
    Fork(usize),
    /// Another process makes the changes from now on.
    Switch(usize),
    /// All from one on are closed, or those that `execve` closes.
    CloseFrom(u32, bool),
}

fn operation() -> impl Strategy<Value = Operation> {
    let fd = || prop_oneof![0..8u32, 60..70u32, any::<u32>()];
    prop_oneof![
        any::<bool>().prop_map(Operation::Open),
        fd().prop_map(Operation::Close),
        (fd(), fd(), any::<bool>()).prop_map(|(a, b, c)| Operation::Duplicate(a, b, c)),
        (fd(), fd(), any::<bool>()).prop_map(|(a, b, c)| Operation::DuplicateTo(a, b, c)),
        (fd(), any::<bool>()).prop_map(|(a, c)| Operation::SetCloseOnExec(a, c)),
        (1..PROCESSES).prop_map(Operation::Fork),
        (0..PROCESSES).prop_map(Operation::Switch),
        (fd(), any::<bool>()).prop_map(|(fd, on_exec)| Operation::CloseFrom(fd, on_exec)),
    ]
}

proptest! {
    #[test]
    fn the_table_is_a_map_with_the_lowest_number_free(operations in prop::collection::vec(operation(), 1..100)) {
        const LIMIT: u32 = 66;
        let mut files = OpenFiles::new(4096);
        let mut tables = [(); PROCESSES].map(|()| Descriptors::new(LIMIT));
        let mut models = [(); PROCESSES].map(|()| BTreeMap::<u32, (OpenFileId, bool)>::new());
        let mut current = 0;
        for operation in operations {
            if let Operation::Fork(n) = operation {
                let child = tables[0].share();
                let old = std::mem::replace(&mut tables[n], child);
                old.own_open_files().for_each(|id| _ = files.release(id));
                models[n] = models[0].clone();
            }
            if let Operation::Fork(n) | Operation::Switch(n) = operation {
                current = n;
            }
            let (table, model) = (&mut tables[current], &mut models[current]);
            let free = |model: &BTreeMap<u32, _>, from: u32| (from..LIMIT).find(|fd| !model.contains_key(fd));
            match operation {
                Operation::Open(close) => {
                    let (id, expected) = (open(&mut files), free(model, 0));
                    prop_assert_eq!(table.insert(id, close, &mut files).ok(), expected);
                    match expected {
                        Some(fd) => drop(model.insert(fd, (id, close))),
                        None => drop(files.release(id)),
                    }
                }
                Operation::Close(fd) => {
                    let closed = table.close(fd, &mut files).ok();
                    prop_assert_eq!(closed, model.remove(&fd).map(|(id, _)| id));
                    closed.and_then(|id| files.release(id));
                }
                Operation::Duplicate(fd, from, close) => {
                    let expected = model.get(&fd).and_then(|(id, _)| Some((free(model, from)?, *id)));
                    prop_assert_eq!(table.duplicate(fd, from, close, &mut files).ok(), expected.map(|(fd, _)| fd));
                    expected.map(|(new, id)| model.insert(new, (id, close)));
                }
                Operation::DuplicateTo(fd, new, close) => {
                    let expected = model.get(&fd).filter(|_| fd != new && new < LIMIT).map(|(id, _)| *id);
                    let old = expected.map(|_| model.get(&new).map(|(id, _)| *id));
                    prop_assert_eq!(table.duplicate_to(fd, new, close, &mut files).ok(), old);
                    old.flatten().and_then(|id| files.release(id));
                    expected.map(|id| model.insert(new, (id, close)));
                }
                Operation::SetCloseOnExec(fd, close) => {
                    let expected = model.get_mut(&fd).map(|(_, old)| *old = close);
                    prop_assert_eq!(table.set_close_on_exec(fd, close, &mut files).ok(), expected);
                }
                Operation::CloseFrom(from, on_exec) => {
                    let next = |table: &Descriptors, from| match on_exec {
                        true => table.next_close_on_exec(from),
                        false => table.next_used(from),
                    };
                    while let Some(fd) = next(table, from) {
                        if !table.give_up_shared(fd..=u32::MAX, on_exec) {
                            let id = table.close(fd, &mut files).unwrap();
                            files.release(id);
                        }
                    }
                    model.retain(|fd, (_, close)| *fd < from || on_exec && !*close);
                }
                Operation::Fork(_) | Operation::Switch(_) => {}
            }
            for (table, model) in tables.iter().zip(&models) {
                let used = std::iter::successors(table.next_used(0), |fd| table.next_used(fd + 1));
                let found = used.map(|fd| (fd, (table.get(fd).unwrap(), table.close_on_exec(fd).unwrap())));
                prop_assert_eq!(found.collect::<BTreeMap<_, _>>(), model.clone());
                let all: Vec<_> = model.values().map(|(id, _)| *id).collect();
                prop_assert_eq!((table.len() as usize, table.open_files().collect::<Vec<_>>()), (all.len(), all));
            }
            let distinct: std::collections::BTreeSet<_> = models.iter().flat_map(BTreeMap::values).map(|(id, _)| *id).collect();
            prop_assert_eq!(files.len(), distinct.len());
        }
    }
}
