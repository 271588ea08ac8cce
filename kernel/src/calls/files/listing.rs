//! Listing directories.

use super::{opened, process_of};
use crate::arch::heap;
use crate::calls::argument::{Fd, Pointer};
use crate::calls::{Answer, Caller, bad_address, place, preempt, value};
use crate::core::files::{Bytes, Files, now};
use crate::core::kernel::{Memory, Tasks};
use ::files::dirent::RECORD_MAX;
use ::files::{Errno, InodeId};
use containers::{Budget, ProcessId};

/// How many instructions an entry takes, roughly.
const COST_OF_AN_ENTRY: u64 = 500;
/// How many instructions it takes to give a process its directory in `/proc`, roughly.
const COST_OF_A_PROCESS: u64 = 14_000;
/// How many instructions it takes to pass a process that has one, roughly.
const COST_OF_A_LOOK: u64 = 2_000;
/// How many instructions a descriptor in `/proc/<pid>/fd` takes, roughly.
const COST_OF_A_DESCRIPTOR: u64 = 5_000;

/// `getdents64(fd, buffer, size)`: as many entries as fit, and as one visit may list.
pub fn getdents(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    fd: Fd,
    buffer: Pointer<u8>,
    size: u32,
) -> Answer {
    let from = place(tasks, caller);
    let opened = opened(caller, tasks, files, fd)?;
    match opened.bytes {
        Bytes::Directory => {}
        Bytes::Nowhere => return Err(Errno::EBADF),
        _ => return Err(Errno::ENOTDIR),
    }
    let mut budget = Budget::of_a_visit();
    if opened.file.offset == 0 {
        let behind = bring_up_to_date(memory, tasks, files, opened.file.inode, from, &mut budget)?;
        if budget.is_spent() {
            return preempt(tasks, caller, behind);
        }
    }
    let mut record = [0; RECORD_MAX];
    let mut offset = opened.file.offset;
    let mut done = 0;
    for entry in files.tree.list(opened.file.inode, offset)? {
        let length = entry.record_len();
        if done + length as u64 > size.into() {
            if done == 0 {
                return Err(Errno::EINVAL);
            }
            break;
        }
        if budget.is_spent() {
            break;
        }
        budget.spend(COST_OF_AN_ENTRY);
        entry.write(&mut record).ok_or(Errno::EINVAL)?;
        match memory.copy_out(caller.space, buffer.nth(done).address, &record[..length]) {
            Ok(()) => {}
            Err(fault) if done == 0 => return Err(bad_address(fault)),
            Err(_) => break,
        }
        done += length as u64;
        offset = entry.next;
    }
    files.open.get_mut(opened.id)?.offset = offset;
    files.tree.accessed(opened.file.inode, now());
    value(done)
}

/// Puts the names that a directory of `/proc` is to list there: processes, or the descriptors of one process. Begins at
/// a place and does as much as the budget allows; returns the place at which to go on if the budget is spent.
fn bring_up_to_date(
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    directory: InodeId,
    from: u64,
    budget: &mut Budget,
) -> Result<u64, Errno> {
    if directory == files.lookup(b"/proc")? {
        return reveal_processes(memory, tasks, files, from, budget);
    }
    match files.lists_descriptors_of(directory).and_then(|number| process_of(tasks, number)) {
        Some(id) => point_descriptors(memory, tasks, files, (directory, id), from, budget),
        None => Ok(from),
    }
}

/// Makes the directories of processes, in the order of their slots, which are the places.
fn reveal_processes(
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    from: u64,
    budget: &mut Budget,
) -> Result<u64, Errno> {
    let mut outcome = Ok(());
    let behind = tasks.each_process(from as u32, |tasks, id| {
        let Some(process) = tasks.process(id) else { return true };
        let number = process.main.number;
        budget.spend(if files.revealed(number).is_some() { COST_OF_A_LOOK } else { COST_OF_A_PROCESS });
        outcome = reserve(memory)
            .and_then(|()| files.reveal(number, &process.resources))
            .and_then(|()| files.point_directory(number, &process.resources));
        outcome.is_ok() && !budget.is_spent()
    });
    outcome.map(|()| behind.map_or(from, u64::from))
}

/// In a place of [`point_descriptors`]: the rest is a descriptor, and not an offset in the listing.
const DESCRIPTOR: u64 = 1 << 63;

/// Lets the links of a process's descriptors lead to their files: first those that are listed already, since they may
/// have been closed or be other files now, by their offsets in the listing; then all by number. Begins at a place and
/// returns the place at which to go on if the budget is spent.
fn point_descriptors(
    memory: &mut Memory,
    tasks: &Tasks,
    files: &mut Files,
    (directory, id): (InodeId, ProcessId),
    from: u64,
    budget: &mut Budget,
) -> Result<u64, Errno> {
    let Some(process) = tasks.process(id) else { return Ok(from) };
    let (number, descriptors) = (process.main.number, &process.resources.descriptors);
    let mut place = from;
    while !budget.is_spent() {
        let fd = if place & DESCRIPTOR == 0 {
            let listed = files.listed_descriptor(directory, place);
            place = listed.map_or(DESCRIPTOR, |(_, next)| next);
            listed.map(|(fd, _)| fd)
        } else {
            let used = descriptors.next_used((place & !DESCRIPTOR) as u32);
            let Some(fd) = used else { break };
            place = DESCRIPTOR | (u64::from(fd) + 1);
            used
        };
        if let Some(fd) = fd {
            reserve(memory)?;
            files.point_descriptor(number, descriptors, fd)?;
            budget.spend(COST_OF_A_DESCRIPTOR);
        }
    }
    Ok(place)
}

fn reserve(memory: &mut Memory) -> Result<(), Errno> {
    if heap::reserve(&mut memory.physical) { Ok(()) } else { Err(Errno::ENOMEM) }
}
