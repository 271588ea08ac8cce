//! The table of frames.

use super::*;

fn table(frames: u32) -> FrameTable {
    let mut table = FrameTable::new(Vec::leak(vec![FrameInfo::HOLE; 16]));
    (0..frames).for_each(|n| table.add(Frame(n)));
    table
}

#[test]
fn every_frame_is_given_once_and_comes_back() {
    let mut t = table(8);
    let taken: Vec<_> = core::iter::from_fn(|| Some(t.take(true)?.0)).collect();
    let mut distinct = taken.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!((taken.len(), distinct.len(), t.free(), t.total()), (8, 8, 0, 8));
    taken.into_iter().for_each(|f| t.release(f));
    assert_eq!(t.free(), 8);
}

#[test]
fn a_shared_frame_is_free_only_after_its_last_release() {
    let mut t = table(1);
    let (f, _) = t.take(true).unwrap();
    t.share(f);
    t.release(f);
    assert_eq!((t.references(f), t.take(true)), (1, None));
    t.release(f);
    assert_eq!(t.take(true), Some((f, false)));
}

#[test]
fn what_is_zero_goes_to_who_wants_that() {
    let mut t = table(2);
    let [a, b] = [(); 2].map(|()| t.take(true).unwrap().0);
    t.release_zero(a);
    t.release(b);
    assert_eq!((t.take(false), t.take(false), t.take(false)), (Some((b, false)), Some((a, true)), None));
    t.release(b);
    t.release_zero(a);
    assert_eq!((t.take(true), t.take(true), t.free()), (Some((a, true)), Some((b, false)), 0));
}

#[test]
fn overlapping_memory_maps_add_a_frame_once_and_ends_are_ignored() {
    let mut t = table(4);
    t.add(Frame(2));
    t.add(Frame(99));
    assert_eq!((t.free(), t.total()), (4, 4));
}

#[test]
#[should_panic(expected = "not in use")]
fn releasing_twice_is_caught() {
    let mut t = table(1);
    let (f, _) = t.take(true).unwrap();
    t.release(f);
    t.release(f);
}
