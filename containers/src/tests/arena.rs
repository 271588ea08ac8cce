//! Arenas against a map.

use super::*;
use proptest::prelude::*;

#[test]
fn a_name_does_not_find_the_slot_s_next_object() {
    let mut arena = Arena::new(8);
    let a = arena.insert('a').unwrap();
    assert_eq!(arena.remove(a), Some('a'));
    let b = arena.insert('b').unwrap();
    assert_eq!((a.index(), arena.get(a), arena.get(b)), (b.index(), None, Some(&'b')));
    assert_eq!((arena.remove(a), arena.live()), (None, 1));
}

#[test]
fn the_limit_is_kept_and_room_comes_back() {
    let mut arena = Arena::new(8);
    let ids: Vec<_> = (0..8).map(|n| arena.insert(n).unwrap()).collect();
    assert_eq!(arena.insert(8), Err(Full));
    arena.remove(ids[3]);
    assert!(arena.insert(9).is_ok());
}

proptest! {
    #[test]
    fn behaves_as_a_map(steps in proptest::collection::vec((any::<bool>(), 0usize..64), 1..200)) {
        let mut arena = Arena::new(1024);
        let mut model: Vec<(Id<usize>, usize)> = Vec::new();
        for (n, (insert, pick)) in steps.into_iter().enumerate() {
            if insert || model.is_empty() {
                model.push((arena.insert(n).unwrap(), n));
            } else {
                let (id, value) = model.swap_remove(pick % model.len());
                prop_assert_eq!(arena.remove(id), Some(value));
                prop_assert_eq!(arena.get(id), None);
            }
            prop_assert_eq!(arena.live() as usize, model.len());
            for (id, value) in &model {
                prop_assert_eq!(arena.get(*id), Some(value));
            }
        }
    }
}
