//! `epoll` and `eventfd`.
//!
//! A call looks only at the watched files in the `epoll`'s ready list, not at all of them: see [`::files::watch`].

use super::patience::{Mask, Patience, Timeout};
use super::polling::{end, prepare};
use super::readiness::{ERROR, HANG_UP, state};
use super::{opened, resources_mut};
use crate::calls::argument::{Fd, Pointer};
use crate::calls::{Answer, Caller, DONE, Reply, value};
use crate::core::console::Console;
use crate::core::files::{Bytes, Files, now};
use crate::core::kernel::{Memory, Tasks};
use crate::core::linux;
use ::files::{Counter, Errno, InodeId, Interest, OpenFile, OpenFlags, Subscription, Waiters};
use containers::{Channel, Wait};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct epoll_event`, which is packed.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Event {
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
pub fn eventfd(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    count: u32,
    flags: OpenFlags,
) -> Answer {
    const SEMAPHORE: OpenFlags = OpenFlags::from_bits_retain(linux::EFD_SEMAPHORE);
    if !(flags - SEMAPHORE - OpenFlags::CLOSE_ON_EXEC - OpenFlags::NONBLOCK).is_empty() {
        return Err(Errno::EINVAL);
    }
    let counter = Counter::new(count.into(), flags.contains(SEMAPHORE));
    let inode = files.tree.make_counter(counter, now())?;
    install(caller, memory, tasks, files, inode, flags - SEMAPHORE)
}

/// `epoll_create1(flags)`
pub fn create(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, files: &mut Files, flags: OpenFlags) -> Answer {
    if !(flags - OpenFlags::CLOSE_ON_EXEC).is_empty() {
        return Err(Errno::EINVAL);
    }
    let inode = files.tree.make_epoll(now())?;
    install(caller, memory, tasks, files, inode, flags)
}

/// `epoll_create(size)`: the size means nothing, but must be positive.
pub fn create_sized(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, files: &mut Files, size: i32) -> Answer {
    if size <= 0 { Err(Errno::EINVAL) } else { create(caller, memory, tasks, files, OpenFlags::empty()) }
}

/// `epoll_ctl(epoll, operation, fd, event)`
pub fn control(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    console: &mut Console,
    epoll: Fd,
    operation: u32,
    fd: Fd,
    event: Pointer<Event>,
) -> Answer {
    /// The flags that may be combined with `EPOLLEXCLUSIVE`.
    const WITH_EXCLUSIVE: u32 = linux::EPOLLEXCLUSIVE
        | linux::EPOLLET
        | linux::EPOLLWAKEUP
        | linux::EPOLLERR
        | linux::EPOLLHUP
        | linux::EPOLLIN
        | linux::EPOLLOUT;
    let mut subscription = Subscription { events: 0, data: 0 };
    if operation != linux::EPOLL_CTL_DEL {
        let event = caller.read(memory, event)?;
        // These two events are reported even if the program has not asked for them.
        subscription.events = event.events | u32::from(ERROR | HANG_UP);
        subscription.data = u64::from(event.data[0]) | u64::from(event.data[1]) << 32;
    }
    let epoll = opened(caller, tasks, files, epoll)?;
    let file = opened(caller, tasks, files, fd)?;
    let source = match (file.bytes, file.source()) {
        (Bytes::Nowhere, _) => return Err(Errno::EBADF),
        (_, None) => return Err(Errno::EPERM),
        (_, Some(source)) => source,
    };
    let exclusive = subscription.events & Subscription::EXCLUSIVE != 0;
    if epoll.bytes != Bytes::Epoll
        || epoll.file.inode == file.file.inode
        || exclusive && (operation != linux::EPOLL_CTL_ADD || subscription.events & !WITH_EXCLUSIVE != 0)
    {
        return Err(Errno::EINVAL);
    }
    let (epoll, name) = (epoll.file.inode, (fd.index(), file.id));
    let interest = match operation {
        linux::EPOLL_CTL_ADD => files.tree.add_interest(epoll, name, source, subscription)?,
        linux::EPOLL_CTL_MOD => files.tree.change_interest(epoll, name, source, subscription)?,
        linux::EPOLL_CTL_DEL => return files.tree.remove_interest(epoll, name, source).and(DONE),
        _ => return Err(Errno::EINVAL),
    };
    // The file may be ready already.
    if subscription.report(state(files, console, file.id).into()) != 0 {
        files.tree.make_ready(interest, &mut |waiters| Files::wake(tasks, waiters));
    }
    if !console.writable() {
        console.wants_room();
    }
    DONE
}

/// Whether an `epoll` has an event to report. Files without one leave its ready list.
pub(super) fn any(files: &mut Files, console: &Console, epoll: InodeId) -> bool {
    while let Ok(Some((first, _))) = files.tree.ready(epoll) {
        let Some(&Interest { file, subscription, .. }) = files.tree.interest(first) else { return false };
        if subscription.report(state(files, console, file).into()) != 0 {
            return true;
        }
        files.tree.not_ready(first);
    }
    false
}

/// `epoll_wait(epoll, events, count, milliseconds)`, `epoll_pwait(…, mask, mask size)`, `epoll_pwait2`, which gives a
/// time instead of milliseconds.
pub fn wait(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    console: &mut Console,
    epoll: Fd,
    events: Pointer<Event>,
    most: i32,
    timeout: Timeout,
    mask: Mask,
) -> Answer {
    let mask = mask.read(caller, memory)?;
    let deadline = timeout.deadline(caller, memory, tasks)?;
    let epoll = opened(caller, tasks, files, epoll)?.file.inode;
    let most = u64::try_from(most).ok().filter(|most| *most > 0).ok_or(Errno::EINVAL)?;
    let reported = report_ready(caller, memory, files, console, epoll, (events, most))?;
    // Files that were left in the list, or that are reported as long as they are ready, are for the next thread that
    // waits here.
    if reported > 0 && files.tree.ready(epoll)?.is_some() {
        Files::wake(tasks, Waiters::Epoll(epoll));
    }
    let patience = Patience { deadline, mask };
    if let Some(answer) = end(reported, patience) {
        return answer;
    }
    prepare(caller, tasks, console, patience)?;
    tasks.park(caller.thread, Wait::restart(Channel::Epoll(epoll.number()), deadline));
    Ok(Reply::Parked)
}

/// Reports the events in the ready list to a program, at most `most` and one for each interest; returns how many.
fn report_ready(
    caller: &Caller,
    memory: &mut Memory,
    files: &mut Files,
    console: &Console,
    epoll: InodeId,
    (to, most): (Pointer<Event>, u64),
) -> Result<u64, Errno> {
    // An interest that is reported as long as its file is ready joins the list again, behind this one.
    let last = files.tree.ready(epoll)?.map(|(_, last)| last);
    let mut reported = 0;
    while reported < most
        && let Some((first, _)) = files.tree.ready(epoll)?
        && let Some(&Interest { file, subscription, .. }) = files.tree.interest(first)
    {
        match subscription.report(state(files, console, file).into()) {
            0 => files.tree.not_ready(first),
            events => {
                let data = [subscription.data as u32, (subscription.data >> 32) as u32];
                match caller.write(memory, to.nth(reported), &Event { events, data }) {
                    Err(error) if reported == 0 => return Err(error),
                    Err(_) => break,
                    Ok(()) => files.tree.reported(first),
                }
                reported += 1;
            }
        }
        if Some(first) == last {
            break;
        }
    }
    Ok(reported)
}
