//! Advisory locks: `fcntl`'s and `flock`.

use super::opened;
use crate::calls::argument::{Fd, Pointer};
use crate::calls::{Answer, Caller, DONE, Reply, restart};
use crate::core::files::{Bytes, FileEvents, Files, Opened};
use crate::core::kernel::{Memory, Tasks};
use crate::core::linux;
use ::files::locks::{END, Lock, Owner};
use ::files::{Errno, InodeId, OpenFlags};
use containers::{Channel, Wait};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const SHARED: i16 = linux::F_RDLCK as i16;
const EXCLUSIVE: i16 = linux::F_WRLCK as i16;
const UNLOCKED: i16 = linux::F_UNLCK as i16;

/// `struct flock`
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Request {
    kind: i16,
    whence: i16,
    padding: u32,
    start: i64,
    length: i64,
    process: i32,
    end: u32,
}

impl Request {
    /// The first and the last byte: `EINVAL` (before the file's start, no such beginning), `EOVERFLOW`.
    fn range(&self, memory: &Memory, opened: &Opened) -> Result<(u64, u64), Errno> {
        let base = match (self.whence as u32, opened.bytes) {
            (linux::SEEK_SET, _) => 0,
            (linux::SEEK_CUR, _) => opened.file.offset,
            (linux::SEEK_END, Bytes::Regular(object)) => memory.object_size(object),
            (linux::SEEK_END, _) => 0,
            _ => return Err(Errno::EINVAL),
        };
        let start = (base as i64).checked_add(self.start).ok_or(Errno::EOVERFLOW)?;
        // A negative length is before the start, none goes to the end of the file.
        let (first, last) = match self.length {
            0 => (start, END as i64),
            1.. => (start, start.checked_add(self.length - 1).ok_or(Errno::EOVERFLOW)?),
            _ => (start.saturating_add(self.length), start.saturating_sub(1)),
        };
        match (u64::try_from(first), u64::try_from(last)) {
            (Ok(first), Ok(last)) => Ok((first, last)),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// `fcntl(fd, command, struct flock *)` with one of the commands on locks. There is no detection of deadlocks
/// (`EDEADLK`): two processes that wait for each other go on waiting.
pub fn fcntl(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    opened: &Opened,
    command: u32,
    place: Pointer<Request>,
) -> Answer {
    let mut request = caller.read(memory, place)?;
    let of_open_file = matches!(command, linux::F_OFD_GETLK | linux::F_OFD_SETLK | linux::F_OFD_SETLKW);
    let owner = if of_open_file { Owner::OpenFile(opened.id) } else { Owner::Process(caller.process.number()) };
    if of_open_file && request.process != 0 || !(SHARED..=UNLOCKED).contains(&request.kind) {
        return Err(Errno::EINVAL);
    }
    let (first, last) = request.range(memory, opened)?;
    let lock = Lock { owner, first, last, exclusive: request.kind == EXCLUSIVE };
    match command {
        linux::F_GETLK | linux::F_OFD_GETLK => {
            if request.kind == UNLOCKED {
                return Err(Errno::EINVAL);
            }
            request = match files.locks.obstacle(opened.file.inode, &lock) {
                None => Request { kind: UNLOCKED, ..request },
                Some(Lock { owner, first, last, exclusive }) => Request {
                    kind: if exclusive { EXCLUSIVE } else { SHARED },
                    whence: 0,
                    start: first as i64,
                    length: if last == END { 0 } else { (last - first + 1) as i64 },
                    process: if let Owner::Process(number) = owner { number as i32 } else { -1 },
                    ..request
                },
            };
            caller.write(memory, place, &request).and(DONE)
        }
        // To set a lock, perhaps after a wait.
        _ => {
            let flags = opened.file.flags;
            match request.kind {
                SHARED if !flags.readable() => return Err(Errno::EBADF),
                EXCLUSIVE if !flags.writable() => return Err(Errno::EBADF),
                UNLOCKED => {
                    FileEvents::of_locks(files.locks.clear(opened.file.inode, owner, first, last)?)
                        .notify(tasks, files);
                    return DONE;
                }
                _ => {}
            }
            set(caller, tasks, files, opened.file.inode, lock, matches!(command, linux::F_SETLKW | linux::F_OFD_SETLKW))
        }
    }
}

/// `flock(fd, operation)`
pub fn flock(caller: &Caller, tasks: &mut Tasks, files: &mut Files, fd: Fd, operation: u32) -> Answer {
    let opened = opened(caller, tasks, files, fd)?;
    if opened.file.flags.contains(OpenFlags::PATH) {
        return Err(Errno::EBADF);
    }
    let owner = Owner::Whole(opened.id);
    let exclusive = match operation & !linux::LOCK_NB {
        linux::LOCK_SH => false,
        linux::LOCK_EX => true,
        linux::LOCK_UN => {
            FileEvents::of_locks(files.locks.release(opened.file.inode, owner)).notify(tasks, files);
            return DONE;
        }
        _ => return Err(Errno::EINVAL),
    };
    let lock = Lock { owner, first: 0, last: END, exclusive };
    // To change a lock, the old one is given up before the new one is asked for (flock(2)).
    let is_new = |held: Lock| held.owner == owner && held.exclusive != exclusive;
    if files.locks.on(opened.file.inode).any(is_new) {
        FileEvents::of_locks(files.locks.release(opened.file.inode, owner)).notify(tasks, files);
    }
    set(caller, tasks, files, opened.file.inode, lock, operation & linux::LOCK_NB == 0)
}

/// Sets a lock, or waits until a lock has been given up and tries again.
fn set(caller: &Caller, tasks: &mut Tasks, files: &mut Files, inode: InodeId, lock: Lock, waits: bool) -> Answer {
    restart(tasks, caller);
    match files.locks.set(inode, lock) {
        Ok(replaced) => {
            FileEvents::of_locks(replaced).notify(tasks, files);
            DONE
        }
        Err(Errno::EAGAIN) if waits => {
            tasks.park(caller.thread, Wait::restart(Channel::Locks, None));
            Ok(Reply::Parked)
        }
        Err(error) => Err(error),
    }
}
