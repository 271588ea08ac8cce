//! `poll` and `select`: waiting until one of several files is ready.
//!
//! Only the console, pipes, event counters and `epoll`s are ever not ready. A call that finds no file ready takes an
//! entry in the poll queue of each file that it asks about ([`containers::poll`]), parks, and is made again at the
//! first event there, with its old deadline. The signal masks of `ppoll` and `pselect6` are in place while it waits.
//!
//! For example, a shell polls its terminal and a pipe: the call takes two entries; a write to the pipe wakes the
//! thread, whose call finds the pipe ready, gives up both entries and returns 1.

use super::patience::{Mask, Patience, Timeout};
use super::readiness::{ALWAYS, ERROR, HANG_UP, IN, INVALID, OUT, readiness};
use super::resources;
use crate::calls::argument::{Argument, Pointer};
use crate::calls::{Answer, Caller, Reply, bad_address, is_over, value};
use crate::core::console::Console;
use crate::core::files::Files;
use crate::core::kernel::{Memory, Tasks};
use crate::core::signals;
use ::files::watch::concerns;
use ::files::{Descriptors, Errno};
use alloc::vec::Vec;
use containers::{Budget, PhysicalMemory, PollId};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The three sets of a `select`: to be read, to be written, and with exceptional conditions.
type Sets = [Vec<u64>; 3];

/// Where a program has the three sets, as far as it has them.
pub type UserSets = [Option<Pointer<u64>>; 3];

/// `struct pollfd`
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PollFd {
    fd: i32,
    wanted: u16,
    ready: u16,
}

/// The answer `ready`, if that is not 0 or the deadline has passed.
pub(super) fn end(ready: u64, patience: Patience) -> Option<Answer> {
    (ready > 0 || is_over(patience.deadline)).then(|| value(ready))
}

/// Prepares a thread that is about to wait: `EINTR` if a signal is pending that the call lets through.
pub(super) fn prepare(
    caller: &Caller,
    tasks: &mut Tasks,
    console: &mut Console,
    patience: Patience,
) -> Result<(), Errno> {
    let waits = match patience.mask {
        Some(mask) => signals::mask_for_wait(tasks, caller.thread, mask),
        None => signals::may_wait(tasks, caller.thread),
    };
    if !waits {
        return Err(Errno::EINTR);
    }
    if !console.writable() {
        console.wants_room();
    }
    Ok(())
}

/// Parks the caller until there is an event at one of its entries, which its wait owns from now on.
fn park(
    caller: &Caller,
    tasks: &mut Tasks,
    console: &mut Console,
    patience: Patience,
    entries: &mut Option<PollId>,
) -> Answer {
    prepare(caller, tasks, console, patience)?;
    let poll = entries.take().ok_or(Errno::ENOMEM)?;
    tasks.park_polling(caller.thread, poll, patience.deadline);
    Ok(Reply::Parked)
}

/// Gives up entries that neither a wait owns nor the next visit needs.
fn give_up(tasks: &mut Tasks, entries: Option<PollId>) {
    entries.into_iter().for_each(|poll| tasks.end_poll(poll));
}

/// Takes an entry for the caller, so that events on a descriptor wake it.
fn take_entry(
    caller: &Caller,
    tasks: &mut Tasks,
    files: &mut Files,
    poll: PollId,
    fd: i32,
    events: u16,
) -> Result<(), Errno> {
    let Ok(opened) = files.opened(&resources(caller, tasks)?.descriptors, fd) else { return Ok(()) };
    let Some(source) = opened.source() else { return Ok(()) };
    let watchers = files.tree.watchers_mut(source)?;
    let poll_queue = tasks.join_poll_queue(poll, watchers.poll_queue, concerns(events.into()));
    watchers.poll_queue = Some(poll_queue.map_err(|_| Errno::ENOMEM)?);
    Ok(())
}

/// `poll(fds, count, milliseconds)`, `ppoll(fds, count, time, mask, mask size)`
///
/// First it looks at each descriptor; if none is ready, it takes an entry for each. Both take as many visits as needed.
/// If other threads have been in the kernel in between, the call looks once more when it takes the entries, and begins
/// anew if a descriptor is ready.
pub fn poll(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    console: &mut Console,
    fds: Pointer<PollFd>,
    count: u32,
    timeout: Timeout,
    mask: Mask,
) -> Answer {
    let mut entries = if caller.resumed { tasks.kept_poll(caller.thread) } else { None };
    let answer = poll_on(caller, memory, tasks, files, console, (fds, count), (timeout, mask), &mut entries);
    give_up(tasks, entries);
    answer
}

/// Instructions that it takes to look at a descriptor, and to take an entry and perhaps look again, roughly.
const COST_OF_A_LOOK: u64 = 130;
const COST_OF_AN_ENTRY: u64 = 350;

fn poll_on(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    console: &mut Console,
    (fds, count): (Pointer<PollFd>, u32),
    (timeout, mask): (Timeout, Mask),
    entries: &mut Option<PollId>,
) -> Answer {
    let place = place_ahead(caller, tasks);
    let deadline = timeout.deadline(caller, memory, tasks)?;
    let patience = Patience { deadline, mask: mask.read(caller, memory)? };
    if count > resources(caller, tasks)?.descriptors.limit() {
        return Err(Errno::EINVAL);
    }
    // `next` counts the descriptors that have been looked at and, beyond all of them, those that have an entry; `ready`
    // counts those that are ready.
    let (mut next, mut ready) = (place as u32, place >> 32);
    let all = count.next_multiple_of(PART as u32);
    let mut budget = Budget::of_a_visit();
    let again = |tasks: &mut Tasks, place, entries| {
        tasks.preempt_polling(caller.thread, place, patience.deadline, entries);
        Ok(Reply::Again)
    };
    while next < all {
        if budget.is_spent() {
            return again(tasks, u64::from(next) | ready << 32, None);
        }
        let mut part = Part::read(caller, memory, fds, next, count)?;
        ready += part.look(&resources(caller, tasks)?.descriptors, files, console);
        part.write(caller, memory)?;
        next += PART as u32;
        budget.spend(PART as u64 * COST_OF_A_LOOK);
    }
    if let Some(answer) = end(ready, patience) {
        return answer;
    }
    let poll = match *entries {
        Some(poll) => poll,
        None => tasks.begin_poll(caller.thread).map_err(|_| Errno::ENOMEM)?,
    };
    *entries = Some(poll);
    while next - all < all {
        if budget.is_spent() {
            return again(tasks, next.into(), entries.take());
        }
        if !memory.physical.has_room_for_bookkeeping() {
            return Err(Errno::ENOMEM);
        }
        let mut part = Part::read(caller, memory, fds, next - all, count)?;
        if place > 0 && part.look(&resources(caller, tasks)?.descriptors, files, console) > 0 {
            return again(tasks, 0, None);
        }
        for entry in part.entries_mut().iter().filter(|entry| entry.fd >= 0) {
            take_entry(caller, tasks, files, poll, entry.fd, entry.wanted)?;
        }
        next += PART as u32;
        budget.spend(PART as u64 * COST_OF_AN_ENTRY);
    }
    if tasks.is_told(poll) {
        return again(tasks, 0, None);
    }
    park(caller, tasks, console, patience, entries)
}

/// The place at which a call goes on, read before its deadline is taken.
fn place_ahead(caller: &Caller, tasks: &Tasks) -> u64 {
    let call = if caller.resumed { tasks.thread(caller.thread).and_then(|thread| thread.restart) } else { None };
    call.map_or(0, |call| call.place)
}

/// Some of the structures of a `poll`, which are read and written together.
struct Part {
    address: u64,
    length: usize,
    entries: [PollFd; PART],
}

/// How many.
const PART: usize = 64;

impl Part {
    /// Reads the structures from number `first` on, of `count` in all.
    fn read(caller: &Caller, memory: &mut Memory, fds: Pointer<PollFd>, first: u32, count: u32) -> Result<Part, Errno> {
        let address = fds.nth(first.into()).address;
        let length = PART.min(count.saturating_sub(first) as usize);
        let mut part = Part { address, length, entries: [PollFd { fd: 0, wanted: 0, ready: 0 }; PART] };
        memory.copy_in(caller.space, address, part.entries_mut().as_mut_bytes()).map_err(bad_address)?;
        Ok(part)
    }

    /// Writes the events for which each descriptor is ready into its structure; returns how many are ready.
    fn look(&mut self, descriptors: &Descriptors, files: &mut Files, console: &Console) -> u64 {
        let mut ready = 0;
        for entry in self.entries_mut() {
            entry.ready = match entry.fd {
                ..0 => 0,
                fd => readiness(descriptors, files, console, fd) & (entry.wanted | ALWAYS),
            };
            ready += u64::from(entry.ready != 0);
        }
        ready
    }

    fn entries_mut(&mut self) -> &mut [PollFd] {
        &mut self.entries[..self.length]
    }

    fn write(&mut self, caller: &Caller, memory: &mut Memory) -> Result<(), Errno> {
        let address = self.address;
        memory.copy_out(caller.space, address, self.entries_mut().as_bytes()).map_err(bad_address)
    }
}

/// `select(count, read, write, except, time)`, `pselect6(…, mask)`
pub fn select(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    console: &mut Console,
    count: i32,
    sets: UserSets,
    timeout: Timeout,
    mask: Option<Pointer<[u64; 2]>>,
) -> Answer {
    let [set, size] = mask.map_or(Ok([0; 2]), |mask| caller.read(memory, mask))?;
    let mask = Mask { set: Argument::of(set), size }.read(caller, memory)?;
    let patience = Patience { deadline: timeout.deadline(caller, memory, tasks)?, mask };
    let descriptors = &resources(caller, tasks)?.descriptors;
    let count = u32::try_from(count).map_err(|_| Errno::EINVAL)?.min(descriptors.limit());
    let wanted = read_sets(caller, memory, sets, count)?;
    let mut found = wanted.clone();
    let mut ready = 0;
    for fd in (0..count).filter(|fd| asked(&wanted, *fd).contains(&true)) {
        let (word, bit) = (fd as usize / 64, 1_u64 << (fd % 64));
        let readiness = readiness(descriptors, files, console, fd as i32);
        if readiness & INVALID != 0 {
            return Err(Errno::EBADF);
        }
        for (set, event) in found.iter_mut().zip([IN | HANG_UP | ERROR, OUT | ERROR, 0]) {
            if let Some(word) = set.get_mut(word) {
                if readiness & event == 0 {
                    *word &= !bit;
                } else {
                    ready += u64::from(*word & bit != 0);
                }
            }
        }
    }
    // The sets are written when the call ends; a call that waits is made again and reads them again.
    if ready > 0 || is_over(patience.deadline) {
        write_sets(caller, memory, sets, &found)?;
    }
    if let Some(answer) = end(ready, patience) {
        return answer;
    }
    let poll = tasks.begin_poll(caller.thread).map_err(|_| Errno::ENOMEM)?;
    let mut entries = Some(poll);
    let taken = take_entries(caller, memory, tasks, files, (&wanted, count), poll);
    let answer = taken.and_then(|()| park(caller, tasks, console, patience, &mut entries));
    give_up(tasks, entries);
    answer
}

/// Takes an entry for each descriptor of a `select`.
fn take_entries(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    (wanted, count): (&Sets, u32),
    poll: PollId,
) -> Result<(), Errno> {
    for fd in 0..count {
        if fd.is_multiple_of(PART as u32) && !memory.physical.has_room_for_bookkeeping() {
            return Err(Errno::ENOMEM);
        }
        let [read, write, _] = asked(wanted, fd);
        if read || write {
            let events = if read { IN } else { 0 } | if write { OUT } else { 0 };
            take_entry(caller, tasks, files, poll, fd as i32, events)?;
        }
    }
    Ok(())
}

/// Which of the sets contain a descriptor.
fn asked(sets: &Sets, fd: u32) -> [bool; 3] {
    let bit = 1_u64 << (fd % 64);
    [0, 1, 2].map(|set| sets[set].get(fd as usize / 64).is_some_and(|word| word & bit != 0))
}

fn read_sets(caller: &Caller, memory: &mut Memory, from: UserSets, count: u32) -> Result<Sets, Errno> {
    let mut sets = Sets::default();
    for (set, from) in sets.iter_mut().zip(from) {
        if let Some(from) = from {
            set.resize(count.div_ceil(64) as usize, 0);
            memory.copy_in(caller.space, from.address, set.as_mut_slice().as_mut_bytes()).map_err(bad_address)?;
        }
    }
    Ok(sets)
}

fn write_sets(caller: &Caller, memory: &mut Memory, to: UserSets, sets: &Sets) -> Result<(), Errno> {
    for (set, to) in sets.iter().zip(to) {
        let Some(to) = to else { continue };
        memory.copy_out(caller.space, to.address, set.as_slice().as_bytes()).map_err(bad_address)?;
    }
    Ok(())
}
