//! The threads that use the pages.

use super::area::{Area, Kind, PAGES, State, word};
use programs::cpus;
use programs::probe;
use std::sync::Barrier;
use std::sync::atomic::{Ordering::SeqCst, fence};
use std::{hint, thread};

/// A toucher's own knowledge of an area.
#[derive(Clone, Copy, Default)]
struct Memory {
    /// The last value stored in each page.
    stored: [u64; PAGES],
    /// The next value to store.
    next: u64,
    /// The number of the last state in which pages were fresh.
    fresh: u64,
}

/// Goes round the areas until all are over; how many accesses it has made.
pub(super) fn touch(areas: &[Area], me: usize, crowded: bool, start: &Barrier) -> u64 {
    let mut memories = vec![Memory { next: 1, ..Memory::default() }; areas.len()];
    let mut accesses = 0;
    start.wait();
    loop {
        let mut over = 0;
        for (area, memory) in areas.iter().zip(&mut memories) {
            let state = area.state();
            let seen = &area.touchers[me].seen;
            let again = seen.load(SeqCst) == state.0;
            match state.kind() {
                Kind::Over => over += 1,
                Kind::Giving => seen.store(state.0, SeqCst),
                // One round of faults is enough.
                Kind::Gone | Kind::ReadOnly if again => hint::spin_loop(),
                _ => accesses += visit(area, memory, me, state),
            }
            match again {
                true if crowded => thread::yield_now(),
                // A CPU that is not one of the host's gives others a turn.
                true => hint::spin_loop(),
                false => {}
            }
        }
        if over == areas.len() {
            return accesses;
        }
    }
}

/// One access of each kind to every page of the area.
fn visit(area: &Area, memory: &mut Memory, me: usize, state: State) -> u64 {
    let taken = area.from.load(SeqCst)..area.to.load(SeqCst);
    let stamp = area.stamp.load(SeqCst);
    let toucher = &area.touchers[me];
    if area.state() != state {
        return 0;
    }
    if state.kind() == Kind::Fresh && memory.fresh != state.number() {
        memory.fresh = state.number();
        memory.stored[taken.clone()].fill(0);
    }
    for index in 0..PAGES {
        let kind = if taken.contains(&index) { state.kind() } else { Kind::Open };
        let page = area.page(index);
        let mine = word(page, me);
        let value = memory.next;
        let sign = probe::read(page);
        let before = probe::read(mine);
        let stored = probe::write(mine, value);
        let after = probe::read(mine);
        fence(SeqCst);
        let last = memory.stored[index];
        if stored {
            memory.stored[index] = value;
            toucher.stored[index].store(value, SeqCst);
        }
        memory.next += 1;
        if area.state() != state {
            // The pages outside are not the less open for that.
            if kind == Kind::Open && !taken.contains(&index) {
                assert!(stored && before == Some(last) && after == Some(value), "an open page while others change");
            }
            return 0;
        }
        let place = || format!("{kind:?}, page {index} at {page:#x}, toucher {me} on CPU {}", cpus::current());
        match kind {
            Kind::Open | Kind::Fresh => {
                assert!(stored, "a store failed: {}", place());
                assert_eq!((before, after), (Some(last), Some(value)), "my word before and after: {}", place());
                if taken.contains(&index) {
                    assert_eq!(sign, Some(stamp), "the owner's word: {}", place());
                }
            }
            Kind::ReadOnly => {
                assert!(!stored, "STALE: a store succeeded: {}", place());
                assert_eq!((before, after), (Some(last), Some(last)), "my word: {}", place());
                assert_eq!(sign, Some(stamp), "the owner's word: {}", place());
            }
            Kind::Gone => {
                assert!(!stored, "STALE: a store succeeded: {}", place());
                assert_eq!((sign, before, after), (None, None, None), "STALE: a load succeeded: {}", place());
            }
            Kind::Taking | Kind::Giving | Kind::Over => {}
        }
    }
    toucher.seen.store(state.0, SeqCst);
    4 * PAGES as u64
}
