//! Copying from file to file inside the kernel.

use super::buffers::Outcome;
use super::io::{BYTES_MAX, written};
use super::transfer::{COPY_MAX, Step, Transfer};
use super::{file_size, opened};
use crate::calls::argument::{Fd, Pointer};
use crate::calls::{Answer, Caller, point};
use crate::core::console::Console;
use crate::core::files::{Bytes, Files, Opened, now};
use crate::core::kernel::{Memory, Tasks};
use ::files::{Errno, OpenFlags};
use containers::ObjectId;

/// The position of one side of a copy: the open file's offset, or a variable of the program's, which moves instead.
struct Place {
    position: u64,
    variable: Option<Pointer<i64>>,
}

impl Place {
    fn read(
        caller: &Caller,
        memory: &mut Memory,
        opened: &Opened,
        variable: Option<Pointer<i64>>,
    ) -> Result<Place, Errno> {
        let position = match variable {
            None => opened.file.offset,
            Some(variable) => u64::try_from(caller.read(memory, variable)?).map_err(|_| Errno::EINVAL)?,
        };
        Ok(Place { position, variable })
    }

    fn advance(&self, caller: &Caller, transfer: &mut Transfer, opened: &Opened, by: u64) -> Result<(), Errno> {
        let position = self.position.saturating_add(by);
        match self.variable {
            None => transfer.files.open.get_mut(opened.id)?.offset = position,
            Some(variable) => caller.write(transfer.memory, variable, &(position as i64))?,
        }
        Ok(())
    }
}

/// `sendfile(to, from, position of from, count)`
pub fn sendfile(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    console: &mut Console,
    to: Fd,
    from: Fd,
    position: Option<Pointer<i64>>,
    count: u64,
) -> Answer {
    let mut from = opened(caller, tasks, files, from)?;
    if !from.file.flags.readable() {
        return Err(Errno::EBADF);
    }
    let to = opened(caller, tasks, files, to)?;
    if !to.file.flags.writable() {
        return Err(Errno::EBADF);
    }
    if to.file.flags.contains(OpenFlags::APPEND) {
        return Err(Errno::EINVAL);
    }
    let here = Place::read(caller, memory, &from, position)?;
    let progress = point(tasks, caller).progress;
    if let Err(answer) = super::readable(caller, memory, tasks, files, &mut from, (here.position, progress)) {
        return answer;
    }
    let (Bytes::Regular(object) | Bytes::WrittenOut(object)) = from.bytes else { return Err(Errno::EINVAL) };
    let there = Place { position: to.file.offset, variable: None };
    let file_size = file_size(caller, tasks);
    let mut transfer = Transfer { space: caller.space, memory, files, console, file_size };
    copy(caller, tasks, &mut transfer, (&from, object, here), (&to, there), (count, progress))
}

/// `copy_file_range(from, position, to, position, count, flags)`
pub fn copy_file_range(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    console: &mut Console,
    from: Fd,
    from_position: Option<Pointer<i64>>,
    to: Fd,
    to_position: Option<Pointer<i64>>,
    count: u64,
    flags: u32,
) -> Answer {
    let from = opened(caller, tasks, files, from)?;
    let to = opened(caller, tasks, files, to)?;
    let here = Place::read(caller, memory, &from, from_position)?;
    let there = Place::read(caller, memory, &to, to_position)?;
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    if from.bytes == Bytes::Directory || to.bytes == Bytes::Directory {
        return Err(Errno::EISDIR);
    }
    let (Bytes::Regular(object), Bytes::Regular(_)) = (from.bytes, to.bytes) else { return Err(Errno::EINVAL) };
    if !from.file.flags.readable() || !to.file.flags.writable() || to.file.flags.contains(OpenFlags::APPEND) {
        return Err(Errno::EBADF);
    }
    let overlap = here.position.abs_diff(there.position) < count;
    if from.file.inode == to.file.inode && overlap {
        return Err(Errno::EINVAL);
    }
    let file_size = file_size(caller, tasks);
    let mut transfer = Transfer { space: caller.space, memory, files, console, file_size };
    let progress = point(tasks, caller).progress;
    copy(caller, tasks, &mut transfer, (&from, object, here), (&to, there), (count, progress))
}

fn copy(
    caller: &Caller,
    tasks: &mut Tasks,
    transfer: &mut Transfer,
    (from, object, here): (&Opened, ObjectId, Place),
    (to, there): (&Opened, Place),
    (count, progress): (u64, u64),
) -> Answer {
    let nonblocking = to.file.flags.contains(OpenFlags::NONBLOCK);
    let places = ((object, here.position), (to, there.position));
    let before = transfer.files.pipe(to);
    // The places have moved since the last visit.
    let left = count.min(BYTES_MAX).saturating_sub(progress);
    let (done, wait, error) = match transfer.copy(places.0, places.1, left, nonblocking) {
        // The number of bytes copied is returned at once; the program asks for the rest.
        Ok(Step { done, wait }) => (done, wait.filter(|_| done + progress == 0), None),
        Err(error) => (0, None, Some(error)),
    };
    if done > 0 {
        here.advance(caller, transfer, from, done)?;
        there.advance(caller, transfer, to, done)?;
        transfer.files.tree.accessed(from.file.inode, now());
    }
    transfer.files.pipe_events(to.file.inode, before).notify(tasks, transfer.files);
    let unfinished = done >= COPY_MAX && done < left;
    let outcome = Outcome { done: progress + done, wait, error, unfinished };
    written(caller, tasks, outcome, !to.bytes.is_regular())
}
