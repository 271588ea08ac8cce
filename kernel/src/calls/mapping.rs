//! Calls that make mappings and move them: `mmap` and `mremap`.

use super::argument::{self, Fd};
use super::memory::{LOWEST, PAGE, Protection, affordable, change, clear, is_data, overlaps, populate, range, rights};
use super::{Answer, Caller, no_memory, preempt_at, value};
use crate::core::files::{Files, Mappable};
use crate::core::kernel::{Memory, Tasks};
use crate::core::linux;
use ::files::Errno;
use bitflags::bitflags;
use containers::directory::USER_END;
use containers::object::MAX_OBJECT;
use containers::region::MAX_REGIONS;
use containers::{Backing, Point, Purpose, Region, Rights, Traits};
use core::ops::Range;

/// The addresses among which `MAP_32BIT` looks for room, as on Linux.
const LOW_MAPPINGS: Range<u64> = 0x4000_0000..0x8000_0000;

bitflags! {
    /// The flags of `mmap`, beside the mapping's type.
    #[derive(Clone, Copy)]
    pub struct MapFlags: u64 {
        /// The mapping goes to the address and replaces what is there.
        const FIXED = linux::MAP_FIXED as u64;
        /// The mapping goes to the address, where nothing may be.
        const FIXED_NOREPLACE = linux::MAP_FIXED_NOREPLACE as u64;
        /// The mapping is of no file.
        const ANONYMOUS = linux::MAP_ANONYMOUS as u64;
        /// The mapping lies low.
        const LOW = linux::MAP_32BIT as u64;
        /// The mapping grows as a stack does.
        const GROWSDOWN = linux::MAP_GROWSDOWN as u64;
        /// The mapping's pages stay in memory.
        const LOCKED = linux::MAP_LOCKED as u64;
        /// No memory is promised to the mapping.
        const NORESERVE = linux::MAP_NORESERVE as u64;
        /// All pages are entered at once.
        const POPULATE = linux::MAP_POPULATE as u64;
        /// The pages are huge ones.
        const HUGETLB = linux::MAP_HUGETLB as u64;
        /// The flags from the time when unknown ones were ignored, as `MAP_SHARED_VALIDATE` takes them (Linux's
        /// `LEGACY_MAP_MASK`).
        const LEGACY = 0x7c07_f9f3;
    }

    /// The flags of `mremap`.
    #[derive(Clone, Copy)]
    pub struct RemapFlags: u64 {
        /// The mapping may move.
        const MAYMOVE = linux::MREMAP_MAYMOVE as u64;
        /// The mapping moves to an address given.
        const FIXED = linux::MREMAP_FIXED as u64;
    }
}
argument::flags!(MapFlags, RemapFlags);

/// What `mmap` is to map.
pub struct Mapping {
    /// The wanted address.
    pub address: u64,
    /// Bytes.
    pub length: u64,
    /// What may be done with the memory.
    pub protection: Protection,
    /// How to map it.
    pub flags: MapFlags,
    /// The file, unless it is of none.
    pub fd: Fd,
    /// Where in the file the mapping begins.
    pub offset: u64,
}

/// What `mremap` is to do with a mapping.
pub struct Remapping {
    /// Where the mapping begins.
    pub address: u64,
    /// Its bytes.
    pub old_length: u64,
    /// Bytes that it is to have.
    pub length: u64,
    /// Whether it may move, or must.
    pub flags: RemapFlags,
    /// Where it is to move, if it must.
    pub target: u64,
}

/// Rounds a length up to whole pages; `None` if there are none or too many.
fn pages(length: u64) -> Option<u64> {
    let rounded = length.checked_next_multiple_of(PAGE)?;
    (rounded != 0 && rounded < USER_END).then_some(rounded)
}

/// `mmap(address, length, protection, flags, fd, offset)`
pub fn mmap(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, files: &Files, wanted: Mapping) -> Answer {
    change(caller, memory, tasks, |memory, tasks, point| map(caller, memory, tasks, files, wanted, point))
}

fn map(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &Files,
    wanted: Mapping,
    point: Point,
) -> Answer {
    let Mapping { flags, offset, .. } = wanted;
    let rights = rights(wanted.protection);
    if wanted.length == 0 || !offset.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let length = pages(wanted.length).ok_or(Errno::ENOMEM)?;
    if point.place != 0 {
        return populate_mapping(caller, memory, tasks, point.progress..point.progress + length, point.place);
    }
    let shared = is_shared(flags)?;
    let mut traits = Traits::empty();
    let backing = if flags.contains(MapFlags::ANONYMOUS) {
        Backing::Zero
    } else {
        let (backing, of_file) =
            file_backing(caller, tasks, files, wanted.fd, offset..offset.saturating_add(length), (shared, rights))?;
        traits = of_file;
        backing
    };
    traits.set(Traits::GROWS, flags.contains(MapFlags::GROWSDOWN));
    let promised = rights.contains(Rights::WRITE) && !shared && !flags.contains(MapFlags::NORESERVE);
    let mut region = Region { traits, ..Region::new(0..length, rights, backing) };
    affordable(caller, memory, tasks, length, promised, !shared && is_data(&region))?;
    let start = room(caller, memory, wanted.address, length, flags)?;
    if flags.contains(MapFlags::FIXED) {
        if !memory.has_room_over(caller.space.container, start..start + length) {
            return Err(Errno::ENOMEM);
        }
        if let Err(answer) = clear(caller, memory, tasks, start..start + length) {
            return answer;
        }
    }
    match backing {
        Backing::Zero if shared => {
            if length > MAX_OBJECT {
                return Err(Errno::ENOMEM);
            }
            let object = memory.make_object(Purpose::Shared).map_err(|_| Errno::ENOMEM)?;
            memory.resize_object(object, length);
            region.backing = Backing::Object { object, offset: 0, shared: true };
        }
        Backing::Object { object, .. } if shared && !traits.contains(Traits::READ_ONLY) => {
            memory.share_to_be_written(object);
        }
        Backing::Object { object, .. } => memory.share_object(object),
        _ => {}
    }
    (region.start, region.end) = (start, start + length);
    let id = caller.space.container;
    // Without `MAP_FIXED` the addresses are free.
    let mapped = if flags.contains(MapFlags::FIXED) { memory.map(id, region) } else { memory.map_fresh(id, region) };
    mapped.map_err(no_memory)?;
    if flags.intersects(MapFlags::POPULATE | MapFlags::LOCKED) {
        return populate_mapping(caller, memory, tasks, start..start + length, start);
    }
    value(start)
}

/// Enters the pages of a new mapping from `at` on. As on Linux, the mapping stays even if there is no memory for all of
/// them.
fn populate_mapping(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, mapping: Range<u64>, at: u64) -> Answer {
    match populate(caller, memory, at..mapping.end) {
        Ok(place) if place < mapping.end => {
            preempt_at(tasks, caller, Point { progress: mapping.start, place, ends_for_handlers: false })
        }
        _ => value(mapping.start),
    }
}

/// Whether a mapping with these flags is shared: `EINVAL` for flags that exclude each other, `EOPNOTSUPP` for unknown
/// flags if the caller wants an error for these, `ENOMEM` for huge pages, of which there are none.
fn is_shared(flags: MapFlags) -> Result<bool, Errno> {
    let anonymous = flags.contains(MapFlags::ANONYMOUS);
    let shared = match flags.bits() as u32 & linux::MAP_TYPE {
        linux::MAP_SHARED => true,
        linux::MAP_SHARED_VALIDATE if anonymous => return Err(Errno::EINVAL),
        linux::MAP_SHARED_VALIDATE if !MapFlags::LEGACY.contains(flags) => return Err(Errno::EOPNOTSUPP),
        linux::MAP_SHARED_VALIDATE => true,
        linux::MAP_PRIVATE => false,
        _ => return Err(Errno::EINVAL),
    };
    match () {
        () if flags.contains(MapFlags::GROWSDOWN) && (shared || !anonymous) => Err(Errno::EINVAL),
        () if flags.contains(MapFlags::HUGETLB) => Err(if anonymous { Errno::ENOMEM } else { Errno::EINVAL }),
        () => Ok(shared),
    }
}

/// The backing of a mapping of a range of an open file.
fn file_backing(
    caller: &Caller,
    tasks: &Tasks,
    files: &Files,
    fd: Fd,
    range: Range<u64>,
    (shared, rights): (bool, Rights),
) -> Result<(Backing, Traits), Errno> {
    let descriptors = &tasks.process(caller.process).ok_or(Errno::ESRCH)?.resources.descriptors;
    match files.mappable(descriptors, fd.0)? {
        Mappable::Zero => Ok((Backing::Zero, Traits::empty())),
        Mappable::Object { object, readable, writable } => {
            if !readable || (shared && rights.contains(Rights::WRITE) && !writable) {
                return Err(Errno::EACCES);
            }
            if range.end > MAX_OBJECT {
                return Err(Errno::EOVERFLOW);
            }
            // `mprotect` cannot grant later a right that the file's descriptor does not give now.
            let traits = if shared && !writable { Traits::READ_ONLY } else { Traits::empty() };
            Ok((Backing::Object { object, offset: range.start, shared }, traits))
        }
    }
}

/// The address of a new mapping.
fn room(caller: &Caller, memory: &mut Memory, hint: u64, length: u64, flags: MapFlags) -> Result<u64, Errno> {
    let container = memory.container_mut(caller.space.container).ok_or(Errno::ESRCH)?;
    if flags.intersects(MapFlags::FIXED | MapFlags::FIXED_NOREPLACE) {
        let wanted = range(hint, length)?;
        if wanted.start < LOWEST {
            return Err(Errno::EPERM);
        }
        let taken = container.regions.first(wanted).is_some();
        return if taken && flags.contains(MapFlags::FIXED_NOREPLACE) { Err(Errno::EEXIST) } else { Ok(hint) };
    }
    if let Ok(wanted) = range(hint & !(PAGE - 1), length)
        && wanted.start >= LOWEST
        && (!flags.contains(MapFlags::LOW) || wanted.end <= LOW_MAPPINGS.end)
        && container.regions.first(wanted.clone()).is_none()
    {
        return Ok(wanted.start);
    }
    let room = match flags.contains(MapFlags::LOW) {
        true => container.regions_mut().gap_below(LOW_MAPPINGS, length),
        false => container.room_for(length),
    };
    room.ok_or(Errno::ENOMEM)
}

/// `mremap(address, old length, new length, flags, new address)`
pub fn mremap(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, wanted: Remapping) -> Answer {
    change(caller, memory, tasks, |memory, tasks, _| remap(caller, memory, tasks, wanted))
}

fn remap(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, wanted: Remapping) -> Answer {
    let Remapping { address: start, flags, target, .. } = wanted;
    let fixed = flags.contains(RemapFlags::FIXED);
    if !RemapFlags::all().contains(flags) || fixed && !flags.contains(RemapFlags::MAYMOVE) {
        return Err(Errno::EINVAL);
    }
    let (Ok(old), Some(length)) = (range(start, wanted.old_length), pages(wanted.length)) else {
        return Err(Errno::EINVAL);
    };
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
        && (offset + (start - region.start)).saturating_add(length) > MAX_OBJECT
    {
        return Err(Errno::EINVAL);
    }
    // A move can add three regions: the rests on both sides and the part by which the mapping grows. It is checked
    // first, because an error later could not leave everything as it was.
    if container.regions.len() + 3 > MAX_REGIONS && (fixed || length > old.end - old.start) {
        return Err(Errno::ENOMEM);
    }
    let old_length = old.end - old.start;
    if fixed {
        let to = range(target, length).map_err(|_| Errno::EINVAL)?;
        if overlaps(&old, &to) || to.start < LOWEST {
            return Err(Errno::EINVAL);
        }
        if let Err(answer) = clear(caller, memory, tasks, to) {
            return answer;
        }
    } else if length <= old_length {
        let cleared = clear(caller, memory, tasks, old.start + length..old.end);
        return cleared.map_or_else(|answer| answer, |()| value(start));
    }
    if length > old_length {
        let promised = region.rights.contains(Rights::WRITE);
        affordable(caller, memory, tasks, length - old_length, promised, is_data(&region))?;
    }
    let container = memory.container(id).ok_or(Errno::ESRCH)?;
    let room = old.end..old.start.saturating_add(length);
    let in_place = !fixed
        && old.end == region.end
        && range(start, length).is_ok()
        && container.regions.first(room.clone()).is_none();
    if in_place {
        extend(memory, caller, &region, room)?;
        return value(start);
    }
    if !flags.contains(RemapFlags::MAYMOVE) {
        return Err(Errno::ENOMEM);
    }
    let to = match fixed {
        true => target,
        false => memory.container_mut(id).and_then(|it| it.room_for_move(start, length)).ok_or(Errno::ENOMEM)?,
    };
    let kept = old_length.min(length);
    if let Err(answer) = clear(caller, memory, tasks, old.start + kept..old.end) {
        return answer;
    }
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
