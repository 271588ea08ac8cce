//! Calls on address space: what they share, `munmap`, `mprotect` and `brk`. Making mappings is in [`super::mapping`],
//! advice on existing ones in [`super::advice`].

use super::argument;
use super::{Answer, Caller, DONE, Reply, no_memory, point, preempt, value};
use crate::core::kernel::{Memory, Tasks};
use crate::core::linux;
use crate::core::process::Limits;
use ::files::Errno;
use bitflags::bitflags;
use containers::directory::{PACKAGES, USER_END};
use containers::{
    Backing, Budget, Channel, Container, Fault, Label, NoMemory, PAGE_SIZE, Point, Region, Rights, Traits, Wait,
};
use core::ops::Range;

pub(super) const PAGE: u64 = PAGE_SIZE as u64;

/// Lowest address that a program may map; the addresses around a null pointer stay empty.
pub(super) const LOWEST: u64 = 0x1_0000;

bitflags! {
    /// What may be done with memory: `PROT_READ` and its kin.
    #[derive(Clone, Copy)]
    pub struct Protection: u64 {
        /// The memory may be read, written, executed.
        const ACCESS = (linux::PROT_READ | linux::PROT_WRITE | linux::PROT_EXEC) as u64;
        /// It may hold atomic words, as all memory may.
        const SEM = linux::PROT_SEM as u64;
        /// `mprotect` begins at the start of the region, which must be one that grows.
        const GROWSDOWN = linux::PROT_GROWSDOWN as u64;
    }
}
argument::flags!(Protection);

/// The page range of an address and length, `EINVAL` if unaligned, `ENOMEM` if not in user space.
pub(super) fn range(start: u64, length: u64) -> Result<Range<u64>, Errno> {
    if !start.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let length = length.checked_next_multiple_of(PAGE).ok_or(Errno::ENOMEM)?;
    match start.checked_add(length) {
        Some(end) if end <= USER_END && !overlaps(&(start..end), &PACKAGES) => Ok(start..end),
        _ => Err(Errno::ENOMEM),
    }
}

pub(super) fn overlaps(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

pub(super) fn rights(protection: Protection) -> Rights {
    let mut rights = Rights::from_bits_truncate(protection.bits() as u8);
    if rights.intersects(Rights::WRITE | Rights::EXECUTE) {
        rights |= Rights::READ;
    }
    rights
}

/// Checks that there may be a number of bytes more: within the process's limits, the one on data too if it `is_data`,
/// and within the memory that there is, if it is promised. `ENOMEM`
pub(super) fn affordable(
    caller: &Caller,
    memory: &Memory,
    tasks: &Tasks,
    bytes: u64,
    promised: bool,
    is_data: bool,
) -> Result<(), Errno> {
    let limits = &tasks.process(caller.process).ok_or(Errno::ESRCH)?.resources.limits;
    let container = memory.container(caller.space.container).ok_or(Errno::ESRCH)?;
    let there_is = memory.physical.total() as u64 * PAGE;
    if container.regions.bytes().saturating_add(bytes) > limits.address_space.soft || (promised && bytes > there_is) {
        return Err(Errno::ENOMEM);
    }
    if limits.data.soft == u64::MAX || !is_data { Ok(()) } else { affordable_data(container, bytes, limits) }
}

/// Whether memory of a region counts as data (`RLIMIT_DATA`).
pub(super) fn is_data(region: &Region) -> bool {
    let shared = matches!(region.backing, Backing::Object { shared: true, .. });
    region.rights.contains(Rights::WRITE) && !shared && !region.traits.contains(Traits::GROWS)
}

/// Checks that there may be a number of bytes of data more; existing data is counted only if there is a limit. `ENOMEM`
#[cold]
fn affordable_data(container: &Container, bytes: u64, limits: &Limits) -> Result<(), Errno> {
    let regions = container.regions.iter().filter(|region| is_data(region));
    let used: u64 = regions.map(|region| region.end - region.start).sum();
    if used.saturating_add(bytes) > limits.data.soft { Err(Errno::ENOMEM) } else { Ok(()) }
}

/// Makes a call that changes the caller's address space. If another thread's change has come to a preemption point and
/// has not ended, the call is made when that has ended. The call is passed the point at which it goes on.
pub fn change(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    call: impl FnOnce(&mut Memory, &mut Tasks, Point) -> Answer,
) -> Answer {
    change_with(caller, memory, tasks, |memory, tasks, point| Err(call(memory, tasks, point)))
        .unwrap_or_else(|answer| answer)
}

/// Makes the part of a call that changes the caller's address space, under the rule of [`change`]. `Ok` is the result
/// for the rest of the call; `Err` is the whole call's answer.
pub fn change_with<T>(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    part: impl FnOnce(&mut Memory, &mut Tasks, Point) -> Result<T, Answer>,
) -> Result<T, Answer> {
    let id = caller.space.container;
    let point = point(tasks, caller);
    let before = memory.container(id).and_then(|container| container.changed_by);
    if before.is_some_and(|other| other != caller.thread) {
        tasks.park(caller.thread, Wait::restart(Channel::Container(id), None));
        return Err(Ok(Reply::Parked));
    }
    let result = part(memory, tasks, point);
    let now = matches!(result, Err(Ok(Reply::Again))).then_some(caller.thread);
    if before != now {
        memory.container_mut(id).into_iter().for_each(|container| container.changed_by = now);
        if now.is_none() {
            tasks.wake_all(Channel::Container(id));
        }
    }
    result
}

/// Unmaps a range of the caller's address space. If one visit is not enough, the call is made again and continues here.
pub(super) fn clear(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, range: Range<u64>) -> Result<(), Answer> {
    match memory.unmap_some(caller.space.container, range, &mut Budget::of_a_visit()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(preempt(tasks, caller, 0)),
        Err(error) => Err(Err(no_memory(error))),
    }
}

/// The most pages that a visit enters before they are touched: it must not take long.
const AHEAD: u64 = 128;

/// Enters the pages of a range that are not present yet, up to [`AHEAD`] of them, and returns how far it came. `ENOMEM`
/// for a hole, for pages without any rights, or if no memory is left.
pub(super) fn populate(caller: &Caller, memory: &mut Memory, range: Range<u64>) -> Result<u64, Errno> {
    let end = range.end.min(range.start + AHEAD * PAGE);
    for page in (range.start..end).step_by(PAGE_SIZE) {
        let container = memory.container(caller.space.container).ok_or(Errno::ESRCH)?;
        let region = *container.regions.at(page).ok_or(Errno::ENOMEM)?;
        // A private page that may be written is the mapping's own from the start, and costs no second fault.
        let access = match region.backing {
            Backing::Object { shared: true, .. } => region.rights & Rights::READ,
            _ => region.rights & (Rights::READ | Rights::WRITE),
        };
        if region.rights.is_empty() {
            return Err(Errno::ENOMEM);
        }
        match memory.fault(caller.space.container, caller.space.cpu, page, access) {
            Ok(_) | Err(Fault::BeyondEnd) => {}
            Err(_) => return Err(Errno::ENOMEM),
        }
    }
    Ok(end)
}

/// `munmap(address, length)`
pub fn munmap(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, start: u64, length: u64) -> Answer {
    change(caller, memory, tasks, |memory, tasks, _| {
        let end = length.checked_next_multiple_of(PAGE).and_then(|length| start.checked_add(length));
        // The packages are no regions, so a range across them is allowed.
        let range = start..end.filter(|end| *end <= USER_END).ok_or(Errno::EINVAL)?;
        if !start.is_multiple_of(PAGE) || range.is_empty() {
            return Err(Errno::EINVAL);
        }
        clear(caller, memory, tasks, range).map_or_else(|answer| answer, |()| DONE)
    })
}

/// `mprotect(address, length, protection)`: mappings before a hole (`ENOMEM`), or before a region that may not have
/// these rights (`EACCES`), get them all the same.
pub fn mprotect(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    start: u64,
    length: u64,
    protection: Protection,
) -> Answer {
    change(caller, memory, tasks, |memory, tasks, Point { place, .. }| {
        let mut range = range(start, length)?;
        if !Protection::all().contains(protection) {
            return Err(Errno::EINVAL);
        }
        let container = memory.container(caller.space.container).ok_or(Errno::ESRCH)?;
        if protection.contains(Protection::GROWSDOWN) && !range.is_empty() {
            let first = container.regions.at(range.start).ok_or(Errno::ENOMEM)?;
            if !first.traits.contains(Traits::GROWS) {
                return Err(Errno::EINVAL);
            }
            range.start = first.start;
        }
        let rights = rights(protection);
        let may = |region: &Region| !(rights.contains(Rights::WRITE) && region.traits.contains(Traits::READ_ONLY));
        let id = caller.space.container;
        let from = place.max(range.start);
        let end = memory.affordable(id, from..range.end, &mut Budget::of_a_visit());
        let regions = &container.regions;
        let done = regions.extent(from..end, may);
        let why = |place| if regions.at(place).is_some() { Errno::EACCES } else { Errno::ENOMEM };
        let refused = (done < end).then(|| why(done));
        // The whole range is counted before any of it is changed.
        if rights.contains(Rights::WRITE) && place == 0 {
            let writable = |region: &Region| !is_data(region) && is_data(&Region { rights, ..*region });
            let limits = &tasks.process(caller.process).ok_or(Errno::ESRCH)?.resources.limits;
            if limits.data.soft != u64::MAX {
                let more = regions.within(range.clone()).filter(writable);
                affordable_data(container, more.map(|region| region.end - region.start).sum(), limits)?;
            }
        }
        memory.protect(id, from..done, rights).map_err(no_memory)?;
        match refused {
            Some(errno) => Err(errno),
            None if end < range.end => preempt(tasks, caller, end),
            None => DONE,
        }
    })
}

/// `brk(address)`: never fails; returns the end of the heap.
pub fn brk(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, wanted: u64) -> Answer {
    change(caller, memory, tasks, |memory, tasks, _| {
        let id = caller.space.container;
        let (lowest, current) = memory.container(id).ok_or(Errno::ESRCH)?.heap;
        if lowest == 0 || wanted < lowest {
            return value(current);
        }
        let old = current.next_multiple_of(PAGE);
        let Some(new) = wanted.checked_next_multiple_of(PAGE).filter(|new| *new <= USER_END) else {
            return value(current);
        };
        let moved = if new < old {
            match memory.unmap_some(id, new..old, &mut Budget::of_a_visit()) {
                Ok(false) => return preempt(tasks, caller, 0),
                done => done.map(drop),
            }
        } else if new > old {
            let free = memory.container(id).is_some_and(|c| c.regions.first(old..new).is_none());
            let rights = Rights::READ | Rights::WRITE;
            let region = Region { label: Label::Heap, ..Region::new(old..new, rights, Backing::Zero) };
            let affordable = affordable(caller, memory, tasks, new - old, true, true).is_ok();
            if !free || !affordable || overlaps(&(old..new), &PACKAGES) {
                return value(current);
            }
            memory.map_fresh(id, region)
        } else {
            Ok(())
        };
        match (moved, memory.container_mut(id)) {
            (Ok(()), Some(container)) => {
                container.heap.1 = wanted;
                value(wanted)
            }
            (Err(NoMemory::Frames | NoMemory::Limit), _) | (_, None) => value(current),
        }
    })
}
