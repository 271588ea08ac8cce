//! Calls on memory that is mapped already: advice, locking, and residency.

use super::argument::{self, Pointer};
use super::memory::{PAGE, change, populate, range};
use super::{Answer, Caller, DONE, bad_address, no_memory, place, preempt};
use crate::core::kernel::{Memory, Tasks};
use crate::core::linux;
use ::files::Errno;
use bitflags::bitflags;
use containers::region::Covered;
use containers::{Backing, Budget, ContainerId, Point, Region, Traits};
use core::ops::Range;

/// How many pages `mincore` reports at a time, and how many instructions each takes, roughly.
const STAGE: u64 = 512;
const COST_OF_A_PAGE: u64 = 15;

/// A bit of `madvise`'s place: there has been a hole.
const HOLE: u64 = 1;

/// `madvise(address, length, advice)`: advice that changes contents, or what a child of `fork` gets, is followed or
/// refused (`EINVAL`); advice that only serves speed is ignored. A hole is an error, but the mappings around it are
/// changed.
pub fn madvise(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    start: u64,
    length: u64,
    advice: u32,
) -> Answer {
    change(caller, memory, tasks, |memory, tasks, Point { place, .. }| {
        let range = range(start, length)?;
        let id = caller.space.container;
        let from = (place & !HOLE).max(range.start);
        // Taking a page away costs more than changing it.
        let end = memory.affordable(id, from..range.end, &mut Budget::of(Budget::VISIT / 2));
        advise(memory, id, from..end, advice)?;
        let regions = &memory.container(id).ok_or(Errno::ESRCH)?.regions;
        let hole = if regions.covers(from..end) { place & HOLE } else { HOLE };
        match hole {
            _ if end < range.end => preempt(tasks, caller, end | hole),
            HOLE => Err(Errno::ENOMEM),
            _ => DONE,
        }
    })
}

/// Follows an advice on a part of a range.
fn advise(memory: &mut Memory, id: ContainerId, range: Range<u64>, advice: u32) -> Result<(), Errno> {
    let none = Traits::empty();
    let changed = match advice {
        linux::MADV_DONTNEED if has(memory, id, &range, Traits::LOCKED) => return Err(Errno::EINVAL),
        linux::MADV_DONTNEED => {
            memory.discard(id, range);
            Ok(())
        }
        linux::MADV_NORMAL
        | linux::MADV_RANDOM
        | linux::MADV_SEQUENTIAL
        | linux::MADV_WILLNEED
        | linux::MADV_FREE
        | linux::MADV_MERGEABLE
        | linux::MADV_UNMERGEABLE
        | linux::MADV_HUGEPAGE
        | linux::MADV_NOHUGEPAGE
        | linux::MADV_DONTDUMP
        | linux::MADV_DODUMP
        | linux::MADV_COLD
        | linux::MADV_PAGEOUT => Ok(()),
        linux::MADV_DONTFORK => memory.change(id, range, set(Traits::NOT_FORKED, none)),
        linux::MADV_DOFORK => memory.change(id, range, set(none, Traits::NOT_FORKED)),
        linux::MADV_WIPEONFORK => {
            let regions = &memory.container(id).ok_or(Errno::ESRCH)?.regions;
            if regions.within(range.clone()).any(|region| region.backing != Backing::Zero) {
                return Err(Errno::EINVAL);
            }
            memory.change(id, range, set(Traits::WIPED_BY_FORK, none))
        }
        linux::MADV_KEEPONFORK => memory.change(id, range, set(none, Traits::WIPED_BY_FORK)),
        _ => return Err(Errno::EINVAL),
    };
    changed.map_err(no_memory)
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

bitflags! {
    /// The flags of `msync`.
    #[derive(Clone, Copy)]
    pub struct SyncFlags: u32 {
        /// The file is written later.
        const ASYNC = linux::MS_ASYNC;
        /// Other mappings see it.
        const INVALIDATE = linux::MS_INVALIDATE;
        /// The file is written now.
        const SYNC = linux::MS_SYNC;
    }
}
argument::flags!(SyncFlags);

/// `msync(address, length, flags)`: a shared mapping is the file, so this only checks the arguments.
pub fn msync(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    start: u64,
    length: u64,
    flags: SyncFlags,
) -> Answer {
    let contrary = flags.contains(SyncFlags::ASYNC | SyncFlags::SYNC);
    if !SyncFlags::all().contains(flags) || contrary || !start.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let range = pages_around(start, length)?;
    let id = caller.space.container;
    let from = place(tasks, caller).max(range.start);
    let regions = &memory.container(id).ok_or(Errno::ESRCH)?.regions;
    let (reached, is_hole) = match regions.covered(from..range.end, &mut Budget::of_a_visit()) {
        Covered::All => (range.end, false),
        Covered::UpTo(place) => (place, regions.at(place).is_none()),
    };
    if is_hole {
        return Err(Errno::ENOMEM);
    }
    if flags.contains(SyncFlags::INVALIDATE) && has(memory, id, &(from..reached), Traits::LOCKED) {
        return Err(Errno::EBUSY);
    }
    if reached == range.end { DONE } else { preempt(tasks, caller, reached) }
}

/// The pages around a range.
fn pages_around(start: u64, length: u64) -> Result<Range<u64>, Errno> {
    range(start & !(PAGE - 1), length.saturating_add(start % PAGE))
}

/// Changes the traits of as much of a range as a visit can, without a hole (`ENOMEM`); returns how far it has come.
fn change_some(
    caller: &Caller,
    memory: &mut Memory,
    range: Range<u64>,
    change: impl Fn(Region) -> Region,
) -> Result<u64, Errno> {
    let id = caller.space.container;
    let end = memory.affordable(id, range.clone(), &mut Budget::of_a_visit());
    if !memory.container(id).ok_or(Errno::ESRCH)?.regions.covers(range.start..end) {
        return Err(Errno::ENOMEM);
    }
    memory.change(id, range.start..end, change).map_err(no_memory)?;
    Ok(end)
}

/// A bit of `mlock`'s place: all regions have been changed, and the call goes on with the pages.
const POPULATES: u64 = 1;

/// `mlock(address, length)`: no page is ever paged out, so it is enough that the pages are there. Mappings before a
/// hole are locked all the same, as on Linux.
pub fn mlock(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, start: u64, length: u64) -> Answer {
    change(caller, memory, tasks, |memory, tasks, Point { place, .. }| {
        let range = pages_around(start, length)?;
        let mut from = range.start;
        if place & POPULATES != 0 {
            from = place - POPULATES;
        } else {
            let changed =
                change_some(caller, memory, place.max(from)..range.end, set(Traits::LOCKED, Traits::empty()))?;
            if changed < range.end {
                return preempt(tasks, caller, changed);
            }
        }
        match populate(caller, memory, from..range.end)? {
            end if end == range.end => DONE,
            reached => preempt(tasks, caller, reached | POPULATES),
        }
    })
}

/// `munlock(address, length)`
pub fn munlock(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, start: u64, length: u64) -> Answer {
    change(caller, memory, tasks, |memory, tasks, Point { place, .. }| {
        let range = pages_around(start, length)?;
        let from = place.max(range.start);
        match change_some(caller, memory, from..range.end, set(Traits::empty(), Traits::LOCKED))? {
            end if end == range.end => DONE,
            end => preempt(tasks, caller, end),
        }
    })
}

/// `mincore(address, length, vector)`: every page that has been touched is in memory. Pages before a hole are reported
/// all the same.
pub fn mincore(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    start: u64,
    length: u64,
    residence: Pointer<u8>,
) -> Answer {
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
        let to = residence.nth((at - range.start) / PAGE);
        memory.copy_out(caller.space, to.address, stage).map_err(bad_address)?;
        at = covered;
    }
    DONE
}
