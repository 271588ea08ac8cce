//! Names with one hash, which a program could bring about.

use super::*;
use crate::arena::Arena;
use alloc::vec;
use alloc::vec::Vec;

#[test]
fn names_of_one_hash_are_told_apart() {
    let mut inodes = Arena::new(64);
    let ids: Vec<InodeId> = (0..4).map(|n| InodeId(inodes.insert(n).unwrap())).collect();
    let same = |bytes| Name { bytes, hash: 7 };
    let mut directory = Directory::new(ids[0]);
    let places = [b"a", b"b", b"c"].map(|name| directory.insert(same(name), ids[usize::from(name[0] - b'a') + 1]));
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
    let mut inodes = Arena::new(64);
    let id = InodeId(inodes.insert(()).unwrap());
    let same = |bytes| Name { bytes, hash: 7 };
    let mut directory = Directory::new(id);
    directory.insert(same(b"a"), id);
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
    for (path, name) in [(&b"name/rest"[..], &b"name"[..]), (b"name", b"name"), (b"/name", b"")] {
        let (leading, alone) = (Name::leading(path), Name::new(name));
        assert_eq!((leading.bytes, leading.hash), (alone.bytes, alone.hash));
    }
    // A test vector of its authors.
    assert_eq!(Name::new(b"foobar").hash, 0x8594_4171_f739_67e8);
}
