//! Random locks against a model that keeps every byte of a small file by itself.

use files::locks::{END, Lock, Locks, Owner};
use files::{Errno, New, OpenFile, OpenFileId, OpenFiles, OpenFlags, Tree};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Bytes of the file that the locks are about; the last stands for all from it to the end.
const BYTES: u64 = 12;

#[derive(Clone, Debug)]
enum Operation {
    Set { owner: usize, first: u64, last: u64, exclusive: bool },
    Clear { owner: usize, first: u64, last: u64 },
    Release { owner: usize },
}

fn operation() -> impl Strategy<Value = Operation> {
    let range = || (0..BYTES, 0..BYTES).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let owner = || 0..OWNERS;
    prop_oneof![
        6 => (owner(), range(), any::<bool>())
            .prop_map(|(owner, (first, last), exclusive)| Operation::Set { owner, first, last, exclusive }),
        3 => (owner(), range()).prop_map(|(owner, (first, last))| Operation::Clear { owner, first, last }),
        1 => owner().prop_map(|owner| Operation::Release { owner }),
    ]
}

const OWNERS: usize = 5;

/// Two processes, two open files with `fcntl`'s locks, one of them with `flock`'s as well.
fn owners() -> [Owner; OWNERS] {
    let mut tree = Tree::new(0);
    let root = tree.root();
    let inode = tree.add(root, b"file", New::Regular(()), 0o644, 0).unwrap();
    let mut open = OpenFiles::new(64);
    let mut file = || -> OpenFileId { open.insert(OpenFile::new(inode, OpenFlags::READ_WRITE)).unwrap() };
    let (one, other) = (file(), file());
    [Owner::Process(1), Owner::Process(2), Owner::OpenFile(one), Owner::OpenFile(other), Owner::Whole(one)]
}

/// What `fcntl` says of the last byte, if that is the last there can be.
fn to_end(byte: u64) -> u64 {
    if byte == BYTES - 1 { END } else { byte }
}

/// What each owner has of a byte: whether it is exclusive.
type Model = BTreeMap<(u64, usize), bool>;

fn of_flock(owner: usize) -> bool {
    owner == OWNERS - 1
}

fn conflict(model: &Model, owner: usize, bytes: std::ops::RangeInclusive<u64>, exclusive: bool) -> bool {
    model.iter().any(|((byte, other), held)| {
        bytes.contains(byte) && *other != owner && of_flock(*other) == of_flock(owner) && (exclusive || *held)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn every_byte_is_locked_as_its_owner_said_last(operations in prop::collection::vec(operation(), 1..60)) {
        let mut tree = Tree::new(0);
        let root = tree.root();
        let [inode, beside] = [b"a", b"b"].map(|name| tree.add(root, name, New::Regular(()), 0o644, 0).unwrap());
        let owners = owners();
        let (mut locks, mut model) = (Locks::default(), Model::new());
        let of_another = Lock { owner: owners[0], first: 0, last: END, exclusive: true };
        prop_assert_eq!(locks.set(beside, of_another), Ok(false));
        for operation in operations {
            match operation {
                Operation::Set { owner, first, last, exclusive } => {
                    let lock = Lock { owner: owners[owner], first, last: to_end(last), exclusive };
                    let obstacle = locks.obstacle(inode, &lock);
                    let result = locks.set(inode, lock);
                    if conflict(&model, owner, first..=last, exclusive) {
                        prop_assert_eq!(result, Err(Errno::EAGAIN));
                        let obstacle = obstacle.unwrap();
                        let place = obstacle.first.max(first);
                        prop_assert!(conflict(&model, owner, place..=place, exclusive));
                        prop_assert!(place == first || !conflict(&model, owner, first..=place - 1, exclusive));
                    } else {
                        let before = (first..=last).any(|byte| model.contains_key(&(byte, owner)));
                        prop_assert_eq!((result, obstacle), (Ok(before), None));
                        (first..=last).for_each(|byte| _ = model.insert((byte, owner), exclusive));
                    }
                }
                Operation::Clear { owner, first, last } => {
                    let any = (first..=last).filter(|byte| model.remove(&(*byte, owner)).is_some()).count() > 0;
                    prop_assert_eq!(locks.clear(inode, owners[owner], first, to_end(last)), Ok(any));
                }
                Operation::Release { owner } => {
                    let before = model.len();
                    model.retain(|(_, other), _| *other != owner);
                    prop_assert_eq!(locks.release(inode, owners[owner]), model.len() < before);
                }
            }
            let mut found = Model::new();
            for lock in locks.on(inode) {
                let owner = owners.iter().position(|owner| *owner == lock.owner).unwrap();
                for byte in (0..BYTES).filter(|byte| lock.first <= *byte && to_end(*byte) <= lock.last) {
                    prop_assert_eq!(found.insert((byte, owner), lock.exclusive), None);
                }
                // Ranges of one kind that touch are one.
                let touches = |next: Lock| {
                    next.owner == lock.owner && next.exclusive == lock.exclusive && next.first == lock.last + 1
                };
                prop_assert!(!locks.on(inode).any(touches));
            }
            prop_assert_eq!(&found, &model);
            prop_assert_eq!(locks.on(beside).collect::<Vec<_>>(), [of_another]);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes too long")]
fn there_is_an_end_of_locks() {
    let mut tree = Tree::new(0);
    let root = tree.root();
    let inode = tree.add(root, b"file", New::Regular(()), 0o644, 0).unwrap();
    let [owner, ..] = owners();
    let mut locks = Locks::default();
    let mut set =
        |n: u64| locks.set(inode, Lock { owner, first: 3 * n, last: 3 * n + 1, exclusive: n.is_multiple_of(2) });
    let most = (0..).take_while(|n| set(*n) == Ok(false)).count();
    assert!((files::locks::LOCKS_MAX - 2..=files::locks::LOCKS_MAX).contains(&most), "{most}");
    assert_eq!(set(most as u64 + 1), Err(Errno::ENOLCK));
    assert_eq!(locks.clear(inode, owner, 0, END), Ok(true));
    assert_eq!(locks.on(inode).count(), 0);
}
