//! Names with one hash, which a program could bring about.

use super::*;
use crate::slot_map::SlotMap;
use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;

#[test]
fn names_of_one_hash_are_told_apart() {
    let mut inodes = SlotMap::new(64);
    let ids: Vec<InodeId> = (0..4).map(|n| InodeId(inodes.insert(n).unwrap())).collect();
    let same = |bytes| Name { bytes, hash: 7 };
    let mut directory = Directory::new(ids[0]);
    let places =
        [b"a", b"b", b"c"].map(|name| directory.insert(same(name), ids[usize::from(name[0] - b'a') + 1], false));
    assert_eq!(places, [FIRST_PLACE, FIRST_PLACE + 1, FIRST_PLACE + 2]);
    assert_eq!(
        [b"a", b"b", b"c", b"d"].map(|name| directory.get(same(name))),
        [Some(ids[1]), Some(ids[2]), Some(ids[3]), None]
    );
    assert_eq!((directory.remove(same(b"d")), directory.remove(same(b"b"))), (None, Some(ids[2])));
    assert_eq!((directory.get(same(b"a")), directory.get(same(b"b"))), (Some(ids[1]), None));
    let listed: Vec<_> = directory.after(0).map(|(_, entry)| &*entry.name).collect();
    assert_eq!(listed, [b"c", b"a"]);
    assert_eq!((directory.remove(same(b"a")), directory.remove(same(b"c"))), (Some(ids[1]), Some(ids[3])));
    assert!(directory.is_empty() && directory.names.is_empty());
}

#[test]
fn one_name_is_not_another_of_its_hash() {
    let mut inodes = SlotMap::new(64);
    let id = InodeId(inodes.insert(()).unwrap());
    let same = |bytes| Name { bytes, hash: 7 };
    let mut directory = Directory::new(id);
    directory.insert(same(b"a"), id, false);
    assert_eq!((directory.get(same(b"b")), directory.remove(same(b"b"))), (None, None));
    assert_eq!((directory.remove(same(b"a")), directory.names.len()), (Some(id), 0));
}

#[test]
fn names_are_compared_to_the_last_byte() {
    for length in 1..=33 {
        let name = vec![b'n'; length];
        assert!(Name::new(&name).is(&name.clone()));
        assert!(!Name::new(&name).is(&name[1..]) && !Name::new(&name[1..]).is(&name));
        for at in 0..length {
            let mut other = name.clone();
            other[at] = b'm';
            assert!(!Name::new(&name).is(&other), "{length}, {at}");
        }
    }
}

#[test]
fn a_component_has_the_hash_of_its_name() {
    for length in 0..=33 {
        let name = vec![b'n'; length];
        for behind in [&b""[..], b"/", b"/rest", b"/a longer rest"] {
            let path = [&name, behind].concat();
            let (leading, alone) = (Name::leading(&path), Name::new(&name));
            assert_eq!((leading.bytes, leading.hash), (alone.bytes, alone.hash), "{length}");
        }
    }
    // Only in a path is a slash the end.
    assert_eq!(Name::new(b"a/b").bytes, b"a/b");
}

#[test]
fn similar_names_have_different_hashes() {
    let numbered = (0..20_000).map(|n| alloc::format!("file-{n}"));
    let repeated = (0..1_000).map(|length| "n".repeat(length));
    let twice = (0..20_000).map(|n| alloc::format!("{:08}{:08}", n / 100, n % 100));
    let names: Vec<_> = numbered.chain(repeated).chain(twice).collect();
    let hashes: BTreeSet<_> = names.iter().map(|name| Name::new(name.as_bytes()).hash).collect();
    assert_eq!(hashes.len(), names.len());
}
