//! `epoll` and `eventfd`.
//!
//! An `epoll` is a list of open files that `poll` would be asked about, and waits as `poll` does. What is new
//! for one that wants to be told of news only, the files' counts of changes say.

use super::polling::{ERROR, HANG_UP, Patience, finish, milliseconds, read_mask, state};
use super::{opened, resources_mut};
use crate::calls::{Answer, Caller, DONE, time, value};
use crate::console::Console;
use crate::files::{Bytes, Files, now};
use crate::kernel::{Memory, Tasks};
use ::files::{Counter, Errno, InodeId, OpenFile, OpenFlags, Watch, Watches};
use containers::Channel;
use syscalls::Sysno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct epoll_event`, which is packed.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Event {
    events: u32,
    data: [u32; 2],
}

/// Gives an inode that has just been made a descriptor.
fn install(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    inode: InodeId,
    flags: OpenFlags,
) -> Answer {
    let close_on_exec = flags.contains(OpenFlags::CLOSE_ON_EXEC);
    let file = OpenFile::new(inode, flags | OpenFlags::READ_WRITE);
    value(files.install(memory, &mut resources_mut(caller, tasks)?.descriptors, file, close_on_exec)?)
}

/// `eventfd2(count, flags)`
pub fn eventfd(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, files: &mut Files) -> Answer {
    const SEMAPHORE: OpenFlags = OpenFlags::from_bits_retain(1);
    let [count, flags, ..] = *caller.arguments;
    let flags = OpenFlags::from_bits_retain(flags as u32);
    if !(flags - SEMAPHORE - OpenFlags::CLOSE_ON_EXEC - OpenFlags::NONBLOCK).is_empty() {
        return Err(Errno::EINVAL);
    }
    let counter = Counter::new(u64::from(count as u32), flags.contains(SEMAPHORE));
    let inode = files.tree.make_counter(counter, now())?;
    install(caller, memory, tasks, files, inode, flags - SEMAPHORE)
}

/// `epoll_create1(flags)`
pub fn create(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, files: &mut Files) -> Answer {
    let flags = OpenFlags::from_bits_retain(caller.arguments[0] as u32);
    if !(flags - OpenFlags::CLOSE_ON_EXEC).is_empty() {
        return Err(Errno::EINVAL);
    }
    let inode = files.tree.make_epoll(now())?;
    install(caller, memory, tasks, files, inode, flags)
}

/// `epoll_ctl(epoll, operation, fd, event)`. An `epoll` cannot be watched by another: `EINVAL`.
pub fn control(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, files: &mut Files) -> Answer {
    const ADD: i32 = 1;
    const REMOVE: i32 = 2;
    const CHANGE: i32 = 3;
    let (operation, fd) = (caller.int(1), caller.arguments[2] as u32);
    let mut watch = Watch { events: 0, data: 0, seen: None };
    if operation != REMOVE {
        let event = caller.read::<Event>(memory, caller.arguments[3])?;
        // These two are told whether they are asked for or not.
        let events = event.events | u32::from(ERROR | HANG_UP);
        (watch.events, watch.data) = (events, u64::from(event.data[0]) | u64::from(event.data[1]) << 32);
    }
    let epoll = opened(caller, tasks, files, caller.int(0))?;
    let file = opened(caller, tasks, files, fd as i32)?;
    match file.bytes {
        Bytes::Nowhere => return Err(Errno::EBADF),
        Bytes::Epoll => return Err(Errno::EINVAL),
        bytes if !bytes.is_stream() => return Err(Errno::EPERM),
        _ => {}
    }
    let watches = files.tree.watches_mut(epoll.file.inode)?;
    let key = (fd, file.id);
    match (operation, watches.contains_key(&key)) {
        (ADD, true) => return Err(Errno::EEXIST),
        (CHANGE | REMOVE, false) => return Err(Errno::ENOENT),
        (ADD | CHANGE, _) => _ = watches.insert(key, watch),
        (REMOVE, _) => _ = watches.remove(&key),
        _ => return Err(Errno::EINVAL),
    }
    // Who waits there may have something to be told now.
    tasks.wake_all(Channel::Poll);
    DONE
}

/// What is to be told of an open file that is watched, and how often that has changed: `None` if it is closed.
fn news(
    files: &Files,
    console: &mut Console,
    (key, watch): (&(u32, ::files::OpenFileId), &Watch),
) -> Option<(u32, u64)> {
    let (ready, changes) = state(files, console, &files.opened_by_id(key.1).ok()?);
    Some((watch.news(ready.into(), changes), changes))
}

/// Whether there is anything to be told.
pub(super) fn any(files: &Files, console: &mut Console, watches: &Watches) -> bool {
    watches.iter().any(|watch| news(files, console, watch).is_some_and(|(events, _)| events != 0))
}

/// `epoll_wait(epoll, events, count, milliseconds)`, `epoll_pwait(…, mask, mask size)`, `epoll_pwait2`, which gives a
/// time instead of milliseconds.
pub fn wait(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    console: &mut Console,
) -> Answer {
    let [_, _, _, time, mask, size] = *caller.arguments;
    let call = Sysno::new(caller.number as usize);
    let mask = if call == Some(Sysno::epoll_wait) { None } else { read_mask(caller, memory, mask, size)? };
    let deadline = match call {
        Some(Sysno::epoll_pwait2) => time::relative(caller, memory, tasks, time)?,
        _ => milliseconds(caller, tasks, 3),
    };
    let epoll = opened(caller, tasks, files, caller.int(0))?.file.inode;
    let most = u64::try_from(caller.int(2)).ok().filter(|most| *most > 0).ok_or(Errno::EINVAL)?;
    let mut told = 0;
    let mut next = files.tree.watches(epoll)?.first_key_value().map(|(key, _)| *key);
    while let Some(key) = next.filter(|_| told < most) {
        let watches = files.tree.watches(epoll)?;
        next = watches.range(key..).nth(1).map(|(key, _)| *key);
        let Some(watch) = watches.get(&key).copied() else { continue };
        let Some((events, changes)) = news(files, console, (&key, &watch)) else {
            // It has been closed since.
            files.tree.watches_mut(epoll)?.remove(&key);
            continue;
        };
        if events != 0 {
            let data = [watch.data as u32, (watch.data >> 32) as u32];
            let address = caller.arguments[1].wrapping_add(told * size_of::<Event>() as u64);
            caller.write(memory, address, &Event { events, data })?;
            if let Some(watch) = files.tree.watches_mut(epoll)?.get_mut(&key) {
                watch.told(changes);
            }
            told += 1;
        }
    }
    finish(caller, tasks, console, told, Patience { deadline, mask })
}
