//! Calls on address space: `mmap` and its kin, `brk`.

use super::{Answer, Caller, DONE, bad_address, no_memory, place, preempt, value};
use crate::files::{Files, Mappable};
use crate::kernel::{Memory, Tasks};
use ::files::Errno;
use containers::directory::{PACKAGES, USER_END};
use containers::object::MAX_OBJECT;
use containers::region::{Covered, MAX_REGIONS};
use containers::{Backing, Budget, Label, NoMemory, PAGE_SIZE, Purpose, Region, Rights};
use core::ops::Range;

const PAGE: u64 = PAGE_SIZE as u64;

/// Lowest address that a program may map; below it a null pointer's neighbourhood stays empty.
const LOWEST: u64 = 0x1_0000;

/// Pages that `mincore` tells of together, and instructions that each takes, roughly.
const STAGE: u64 = 512;
const COST_OF_A_PAGE: u64 = 15;

const MAP_SHARED: u64 = 0x01;
const MAP_PRIVATE: u64 = 0x02;
const MAP_TYPE: u64 = 0x0f;
const MAP_FIXED: u64 = 0x10;
const MAP_ANONYMOUS: u64 = 0x20;
const MAP_NORESERVE: u64 = 0x4000;
const MAP_FIXED_NOREPLACE: u64 = 0x10_0000;

const MREMAP_MAYMOVE: u64 = 1;
const MREMAP_FIXED: u64 = 2;

/// Rounds a length up to whole pages; `None` if there are none or too many.
fn pages(length: u64) -> Option<u64> {
    let rounded = length.checked_next_multiple_of(PAGE)?;
    (rounded != 0 && rounded < USER_END).then_some(rounded)
}

/// The page range of an address and length, `EINVAL` if unaligned, `ENOMEM` if not in user space.
fn range(start: u64, length: u64) -> Result<Range<u64>, Errno> {
    if !start.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let length = length.checked_next_multiple_of(PAGE).ok_or(Errno::ENOMEM)?;
    match start.checked_add(length) {
        Some(end) if end <= USER_END && !overlaps(&(start..end), &PACKAGES) => Ok(start..end),
        _ => Err(Errno::ENOMEM),
    }
}

fn overlaps(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

fn rights(protection: u64) -> Result<Rights, Errno> {
    // PROT_GROWSDOWN and PROT_GROWSUP mean nothing here: stacks have their room from the start.
    if protection & !0x0300_000f != 0 {
        return Err(Errno::EINVAL);
    }
    let mut rights = Rights::from_bits_truncate(protection as u8);
    if rights.intersects(Rights::WRITE | Rights::EXECUTE) {
        rights |= Rights::READ;
    }
    Ok(rights)
}

/// Whether so many bytes more are within the process's limit and not more than there is memory.
fn affordable(caller: &Caller, memory: &Memory, tasks: &Tasks, bytes: u64, promised: bool) -> Result<(), Errno> {
    let used = memory.container(caller.space.container).map_or(0, |container| container.regions.bytes());
    let limit = tasks.process(caller.process).map_or(0, |process| process.resources.limits.address_space.soft);
    let there_is = memory.physical.total() as u64 * PAGE;
    if used.saturating_add(bytes) > limit || (promised && bytes > there_is) { Err(Errno::ENOMEM) } else { Ok(()) }
}

/// `mmap(address, length, protection, flags, fd, offset)`
pub fn mmap(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, files: &Files) -> Answer {
    let [hint, length, protection, flags, _, offset] = *caller.arguments;
    let fd = caller.int(4);
    let rights = rights(protection)?;
    if length == 0 || !offset.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let length = pages(length).ok_or(Errno::ENOMEM)?;
    let shared = match flags & MAP_TYPE {
        MAP_SHARED | 3 => true,
        MAP_PRIVATE => false,
        _ => return Err(Errno::EINVAL),
    };
    let mut backing = if flags & MAP_ANONYMOUS != 0 {
        Backing::Zero
    } else {
        file_backing(caller, tasks, files, fd, offset, length, shared, rights)?
    };
    let promised = rights.contains(Rights::WRITE) && !shared && flags & MAP_NORESERVE == 0;
    affordable(caller, memory, tasks, length, promised)?;
    let start = room(caller, memory, hint, length, flags)?;
    match backing {
        Backing::Zero if shared => {
            if length > MAX_OBJECT {
                return Err(Errno::ENOMEM);
            }
            let object = memory.make_object(Purpose::Shared).map_err(|_| Errno::ENOMEM)?;
            memory.resize_object(object, length);
            backing = Backing::Object { object, offset: 0, shared: true };
        }
        Backing::Object { object, .. } => memory.share_object(object),
        _ => {}
    }
    let region = Region { start, end: start + length, rights, backing, label: Label::None };
    let id = caller.space.container;
    // Elsewhere than asked for there is nothing yet.
    let mapped = if flags & MAP_FIXED != 0 { memory.map(id, region) } else { memory.map_fresh(id, region) };
    mapped.map_err(no_memory)?;
    value(start)
}

#[expect(clippy::too_many_arguments, reason = "the arguments of mmap")]
fn file_backing(
    caller: &Caller,
    tasks: &Tasks,
    files: &Files,
    fd: i32,
    offset: u64,
    length: u64,
    shared: bool,
    rights: Rights,
) -> Result<Backing, Errno> {
    let descriptors = &tasks.process(caller.process).ok_or(Errno::ESRCH)?.resources.descriptors;
    match files.mappable(descriptors, fd)? {
        Mappable::Zero => Ok(Backing::Zero),
        Mappable::Object { object, readable, writable } => {
            if !readable || (shared && rights.contains(Rights::WRITE) && !writable) {
                return Err(Errno::EACCES);
            }
            if offset.checked_add(length).is_none_or(|end| end > MAX_OBJECT) {
                return Err(Errno::EOVERFLOW);
            }
            Ok(Backing::Object { object, offset, shared })
        }
    }
}

/// Where a new mapping goes.
fn room(caller: &Caller, memory: &mut Memory, hint: u64, length: u64, flags: u64) -> Result<u64, Errno> {
    let container = memory.container_mut(caller.space.container).ok_or(Errno::ESRCH)?;
    if flags & (MAP_FIXED | MAP_FIXED_NOREPLACE) != 0 {
        let wanted = range(hint, length)?;
        if wanted.start < LOWEST {
            return Err(Errno::EPERM);
        }
        let taken = container.regions.first(wanted).is_some();
        return if taken && flags & MAP_FIXED_NOREPLACE != 0 { Err(Errno::EEXIST) } else { Ok(hint) };
    }
    if let Ok(wanted) = range(hint & !(PAGE - 1), length)
        && wanted.start >= LOWEST
        && container.regions.first(wanted.clone()).is_none()
    {
        return Ok(wanted.start);
    }
    container.room_for(length).ok_or(Errno::ENOMEM)
}

/// `munmap(address, length)`
pub fn munmap(caller: &Caller, memory: &mut Memory) -> Answer {
    let [start, length, ..] = *caller.arguments;
    let end = length.checked_next_multiple_of(PAGE).and_then(|length| start.checked_add(length));
    // The packages are no regions, so a range across them is as good as any.
    let range = start..end.filter(|end| *end <= USER_END).ok_or(Errno::EINVAL)?;
    if !start.is_multiple_of(PAGE) || range.is_empty() {
        return Err(Errno::EINVAL);
    }
    memory.unmap(caller.space.container, range).map_err(no_memory).and(DONE)
}

/// `mprotect(address, length, protection)`
pub fn mprotect(caller: &Caller, memory: &mut Memory) -> Answer {
    let [start, length, protection, ..] = *caller.arguments;
    let rights = rights(protection)?;
    let range = range(start, length)?;
    let container = memory.container(caller.space.container).ok_or(Errno::ESRCH)?;
    if !container.regions.covers(range.clone()) {
        return Err(Errno::ENOMEM);
    }
    memory.protect(caller.space.container, range, rights).map_err(no_memory).and(DONE)
}

/// `mremap(address, old length, new length, flags, new address)`
pub fn mremap(caller: &Caller, memory: &mut Memory, tasks: &Tasks) -> Answer {
    let [start, old_length, new_length, flags, target, _] = *caller.arguments;
    if flags & !(MREMAP_MAYMOVE | MREMAP_FIXED) != 0 || (flags & MREMAP_FIXED != 0 && flags & MREMAP_MAYMOVE == 0) {
        return Err(Errno::EINVAL);
    }
    let (Ok(old), Some(length)) = (range(start, old_length), pages(new_length)) else { return Err(Errno::EINVAL) };
    let id = caller.space.container;
    let container = memory.container(id).ok_or(Errno::ESRCH)?;
    let region = *container.regions.at(start).ok_or(Errno::EFAULT)?;
    if old.is_empty() {
        return Err(Errno::EINVAL);
    }
    if old.end > region.end {
        return Err(Errno::EFAULT);
    }
    if let Backing::Object { offset, .. } = region.backing
        && offset + (start - region.start) + length > MAX_OBJECT
    {
        return Err(Errno::EINVAL);
    }
    // As many as a move can add: the rests on both sides and what the mapping grows by. Later would
    // be too late to leave everything as it was.
    if container.regions.len() + 3 > MAX_REGIONS && (flags & MREMAP_FIXED != 0 || length > old.end - old.start) {
        return Err(Errno::ENOMEM);
    }
    let old_length = old.end - old.start;
    if flags & MREMAP_FIXED != 0 {
        let to = range(target, length).map_err(|_| Errno::EINVAL)?;
        if overlaps(&old, &to) || to.start < LOWEST {
            return Err(Errno::EINVAL);
        }
        memory.unmap(id, to).map_err(no_memory)?;
    } else if length <= old_length {
        memory.unmap(id, old.start + length..old.end).map_err(no_memory)?;
        return value(start);
    }
    if length > old_length {
        affordable(caller, memory, tasks, length - old_length, region.rights.contains(Rights::WRITE))?;
    }
    let container = memory.container(id).ok_or(Errno::ESRCH)?;
    let room = old.end..old.start.saturating_add(length);
    let in_place = flags & MREMAP_FIXED == 0
        && old.end == region.end
        && range(start, length).is_ok()
        && container.regions.first(room.clone()).is_none();
    if in_place {
        extend(memory, caller, &region, room)?;
        return value(start);
    }
    if flags & MREMAP_MAYMOVE == 0 {
        return Err(Errno::ENOMEM);
    }
    let to = match flags & MREMAP_FIXED {
        0 => memory.container_mut(id).and_then(|it| it.room_for(length)).ok_or(Errno::ENOMEM)?,
        _ => target,
    };
    let kept = old_length.min(length);
    memory.unmap(id, old.start + kept..old.end).map_err(no_memory)?;
    memory.relocate(id, caller.space.cpu, old.start..old.start + kept, to).map_err(no_memory)?;
    if length > kept {
        let moved = *memory.container(id).and_then(|c| c.regions.at(to)).ok_or(Errno::EFAULT)?;
        extend(memory, caller, &moved, to + kept..to + length)?;
    }
    value(to)
}

/// Adds `room`, which is free and begins where `region` ends, as a continuation of it.
fn extend(memory: &mut Memory, caller: &Caller, region: &Region, room: Range<u64>) -> Result<(), Errno> {
    let by = region.end - region.start;
    let backing = match region.backing {
        Backing::Object { object, offset, shared } => {
            memory.share_object(object);
            Backing::Object { object, offset: offset + by, shared }
        }
        _ => Backing::Zero,
    };
    let more = Region { start: room.start, end: room.end, backing, ..*region };
    memory.map_fresh(caller.space.container, more).map_err(no_memory)
}

/// `brk(address)`: never fails, answers where the heap ends now.
pub fn brk(caller: &Caller, memory: &mut Memory, tasks: &Tasks) -> Answer {
    let wanted = caller.arguments[0];
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
        memory.unmap(id, new..old)
    } else if new > old {
        let free = memory.container(id).is_some_and(|c| c.regions.first(old..new).is_none());
        let affordable = affordable(caller, memory, tasks, new - old, true).is_ok();
        if !free || !affordable || overlaps(&(old..new), &PACKAGES) {
            return value(current);
        }
        let rights = Rights::READ | Rights::WRITE;
        memory.map_fresh(id, Region { start: old, end: new, rights, backing: Backing::Zero, label: Label::Heap })
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
}

/// `madvise(address, length, advice)`: only the advice that changes what is read has an effect.
pub fn madvise(caller: &Caller, memory: &mut Memory) -> Answer {
    const DONT_NEED: i32 = 4;
    const KNOWN: [i32; 19] = [0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21];
    let [start, length, ..] = *caller.arguments;
    let range = range(start, length).map_err(|_| Errno::EINVAL)?;
    let advice = caller.int(2);
    if !KNOWN.contains(&advice) {
        return Err(Errno::EINVAL);
    }
    // A hole is an error, but what lies around it has been done.
    if advice == DONT_NEED {
        memory.discard(caller.space.container, range.clone());
    }
    let container = memory.container(caller.space.container).ok_or(Errno::ESRCH)?;
    if container.regions.covers(range) { DONE } else { Err(Errno::ENOMEM) }
}

/// `msync`, `mlock`, `munlock`: memory is the only home that pages have, so there is nothing to do
/// but to look at the range.
pub fn check_range(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks) -> Answer {
    let [start, length, ..] = *caller.arguments;
    let range = range(start & !(PAGE - 1), length.saturating_add(start % PAGE))?;
    let from = place(tasks, caller).max(range.start);
    let container = memory.container(caller.space.container).ok_or(Errno::ESRCH)?;
    match container.regions.covered(from..range.end, &mut Budget::of_a_visit()) {
        Covered::All => DONE,
        Covered::UpTo(hole) if container.regions.at(hole).is_none() => Err(Errno::ENOMEM),
        Covered::UpTo(place) => preempt(tasks, caller, place),
    }
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
