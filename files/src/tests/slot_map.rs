//! Tables whose elements keep their keys.

use super::*;

#[test]
fn a_key_outlived_by_its_slot_finds_nothing() {
    let mut arena = SlotMap::new(64);
    let old = arena.insert("old").unwrap();
    assert_eq!(arena.remove_if(old, |_| true), Some("old"));
    let new = arena.insert("new").unwrap();
    assert_eq!(new.index(), old.index());
    assert_eq!((arena.get(old), arena.get(new)), (None, Some(&"new")));
    assert_eq!((arena.remove_if(old, |_| true), arena.len()), (None, 1));
}

#[test]
fn the_limit_holds_and_the_lowest_slot_is_reused() {
    let mut arena = SlotMap::new(128);
    let keys: Vec<Key> = (0..128).map(|n| arena.insert(n).unwrap()).collect();
    assert!(arena.is_full() && arena.insert(0).is_none());
    arena.remove_if(keys[100], |_| true);
    arena.remove_if(keys[3], |_| true);
    assert_eq!(arena.insert(0).unwrap().index(), 3);
    assert_eq!(arena.insert(0).unwrap().index(), 100);
}

#[test]
fn an_empty_arena_has_given_its_chunks_back() {
    let mut arena = SlotMap::new(64 * 64);
    let keys: Vec<Key> = (0..64 * 64).map(|n| arena.insert(n).unwrap()).collect();
    keys.iter().for_each(|&k| assert!(arena.remove_if(k, |_| true).is_some()));
    assert_eq!((arena.len(), arena.chunks.len()), (0, 0));
    assert!(arena.chunks.capacity() <= 8);
}
