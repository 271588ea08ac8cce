//! Calls on memory that is mapped already: advice, locking, and what of it is in memory.

use super::memory::{PAGE, populate, range};
use super::{Answer, Caller, DONE, bad_address, no_memory, place, preempt};
use crate::kernel::{Memory, Tasks};
use ::files::Errno;
use containers::region::Covered;
use containers::{Backing, Budget, ContainerId, Region, Traits};
use core::ops::Range;

/// Pages that `mincore` tells of together, and instructions that each takes, roughly.
const STAGE: u64 = 512;
const COST_OF_A_PAGE: u64 = 15;

/// `madvise(address, length, advice)`: what changes contents or what a child of `fork` gets is followed, or refused
/// (`EINVAL`); what only helps to be fast means nothing here. A hole is an error, but what lies around it has been done.
pub fn madvise(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks) -> Answer {
    let [start, length, ..] = *caller.arguments;
    let range = range(start, length)?;
    let id = caller.space.container;
    let none = Traits::empty();
    let changed = match caller.int(2) {
        // MADV_DONTNEED
        4 if has(memory, id, &range, Traits::LOCKED) => return Err(Errno::EINVAL),
        4 => {
            if !memory.discard_some(id, range.clone(), &mut Budget::of_a_visit()) {
                return preempt(tasks, caller, 0);
            }
            Ok(())
        }
        // MADV_NORMAL, RANDOM, SEQUENTIAL, WILLNEED; FREE; MERGEABLE and HUGEPAGE with their contraries; DONTDUMP, DODUMP;
        // COLD, PAGEOUT
        0..=3 | 8 | 12..=17 | 20 | 21 => Ok(()),
        // MADV_DONTFORK, DOFORK
        10 => memory.change(id, range.clone(), set(Traits::NOT_FORKED, none)),
        11 => memory.change(id, range.clone(), set(none, Traits::NOT_FORKED)),
        // MADV_WIPEONFORK
        18 => {
            let container = memory.container(id).ok_or(Errno::ESRCH)?;
            if container.regions.within(range.clone()).any(|region| region.backing != Backing::Zero) {
                return Err(Errno::EINVAL);
            }
            memory.change(id, range.clone(), set(Traits::WIPED_BY_FORK, none))
        }
        // MADV_KEEPONFORK
        19 => memory.change(id, range.clone(), set(none, Traits::WIPED_BY_FORK)),
        _ => return Err(Errno::EINVAL),
    };
    changed.map_err(no_memory)?;
    let container = memory.container(id).ok_or(Errno::ESRCH)?;
    if container.regions.covers(range) { DONE } else { Err(Errno::ENOMEM) }
}

/// Whether a part of a range has a trait.
fn has(memory: &Memory, id: ContainerId, range: &Range<u64>, traits: Traits) -> bool {
    let regions = memory.container(id).into_iter().flat_map(|it| it.regions.within(range.clone()));
    regions.into_iter().any(|region| region.traits.intersects(traits))
}

/// Changes a region's traits.
fn set(set: Traits, clear: Traits) -> impl Fn(Region) -> Region {
    move |it| Region { traits: (it.traits - clear) | set, ..it }
}

/// `msync(address, length, flags)`: a shared mapping is the file, so there is nothing to do but to look at the arguments.
pub fn msync(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks) -> Answer {
    const ASYNC: u64 = 1;
    const INVALIDATE: u64 = 2;
    const SYNC: u64 = 4;
    let flags = caller.arguments[2];
    let contrary = flags & (ASYNC | SYNC) == ASYNC | SYNC;
    if flags & !(ASYNC | INVALIDATE | SYNC) != 0 || contrary || !caller.arguments[0].is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let [start, length, ..] = *caller.arguments;
    let range = range(start & !(PAGE - 1), length.saturating_add(start % PAGE))?;
    let from = place(tasks, caller).max(range.start);
    let container = memory.container(caller.space.container).ok_or(Errno::ESRCH)?;
    match container.regions.covered(from..range.end, &mut Budget::of_a_visit()) {
        Covered::All if flags & INVALIDATE != 0 && has(memory, caller.space.container, &range, Traits::LOCKED) => {
            Err(Errno::EBUSY)
        }
        Covered::All => DONE,
        Covered::UpTo(hole) if container.regions.at(hole).is_none() => Err(Errno::ENOMEM),
        Covered::UpTo(place) => preempt(tasks, caller, place),
    }
}

/// Changes the traits of the pages around the range in the arguments, each of which must be in some region: `ENOMEM`
fn change_around(caller: &Caller, memory: &mut Memory, change: impl Fn(Region) -> Region) -> Result<Range<u64>, Errno> {
    let [start, length, ..] = *caller.arguments;
    let range = range(start & !(PAGE - 1), length.saturating_add(start % PAGE))?;
    let container = memory.container(caller.space.container).ok_or(Errno::ESRCH)?;
    if !container.regions.covers(range.clone()) {
        return Err(Errno::ENOMEM);
    }
    memory.change(caller.space.container, range.clone(), change).map_err(no_memory)?;
    Ok(range)
}

/// `mlock(address, length)`: nothing is ever paged out, so it is enough that the pages are there.
pub fn mlock(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, place: u64) -> Answer {
    let range = change_around(caller, memory, set(Traits::LOCKED, Traits::empty()))?;
    let from = place.max(range.start);
    match populate(caller, memory, from..range.end)? {
        end if end == range.end => DONE,
        reached => preempt(tasks, caller, reached),
    }
}

/// `munlock(address, length)`
pub fn munlock(caller: &Caller, memory: &mut Memory) -> Answer {
    change_around(caller, memory, set(Traits::empty(), Traits::LOCKED)).and(DONE)
}

/// `mincore(address, length, vector)`: whatever has been touched is in memory. What lies before a hole is told all the
/// same.
pub fn mincore(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks) -> Answer {
    let [start, length, vector, ..] = *caller.arguments;
    let range = range(start, length)?;
    let mut at = place(tasks, caller).max(range.start);
    let mut budget = Budget::of_a_visit();
    while at < range.end {
        if budget.is_spent() {
            return preempt(tasks, caller, at);
        }
        let end = range.end.min(at + STAGE * PAGE);
        let container = memory.container(caller.space.container).ok_or(Errno::ESRCH)?;
        let covered = match container.regions.covered(at..end, &mut budget) {
            Covered::All => end,
            Covered::UpTo(place) => place,
        };
        if covered == at {
            return Err(Errno::ENOMEM);
        }
        let mut stage = [0; STAGE as usize];
        let stage = &mut stage[..((covered - at) / PAGE) as usize];
        memory.residence(caller.space.container, at, stage);
        budget.spend(COST_OF_A_PAGE * stage.len() as u64);
        memory.copy_out(caller.space, vector.wrapping_add((at - range.start) / PAGE), stage).map_err(bad_address)?;
        at = covered;
    }
    DONE
}
