//! Opening and closing.

use super::{Path, at, opened, resources, resources_mut};
use crate::arch::heap;
use crate::calls::argument::{self, Fd, Pointer, UserPath};
use crate::calls::{Answer, Caller, DONE, jobs, place, preempt, value};
use crate::core::console::Console;
use crate::core::files::{Files, now};
use crate::core::kernel::{Memory, Tasks};
use crate::core::linux;
use ::files::{Device, Errno, Kind, OpenFile, OpenFlags};
use bitflags::bitflags;
use containers::{Budget, PhysicalMemory, Purpose};

/// `openat(directory, path, flags, mode)`
pub fn openat(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    console: &Console,
    directory: Fd,
    path: UserPath,
    flags: OpenFlags,
    mode: u32,
) -> Answer {
    let mut room = Path::new();
    let path = room.fill(caller, memory, path)?;
    let resources = resources(caller, tasks)?;
    let fd = resources.descriptors.lowest_free(0)?;
    files.open.check_room()?;
    let mode = mode & !resources.umask & 0o7777;
    let opened = at(caller, tasks, files, (directory, path), |files, walk| {
        let make = || memory.make_object(Purpose::File).map(|object| (object, now())).map_err(|_| Errno::ENOSPC);
        files.tree.open(walk, path, flags, mode, make)
    })?;
    let file = OpenFile::new(opened.inode, flags);
    let checked = match files.tree.get(opened.inode)?.kind {
        // The controlling terminal of the process that opens it.
        Kind::Device(Device::Tty) => jobs::terminal_owner(caller, tasks, console).map(drop).map_err(|_| Errno::ENXIO),
        Kind::Extension(device) if !flags.contains(OpenFlags::PATH) => {
            return open_device(caller, memory, tasks, files, (fd, file), device);
        }
        Kind::Regular { content, .. } if (flags.writable() || opened.truncate) && memory.is_program(content) => {
            Err(Errno::ETXTBSY)
        }
        _ => Ok(()),
    };
    let ready = checked.and_then(|()| if opened.truncate { files.resize(memory, opened.inode, 0) } else { Ok(()) });
    // No thread waits yet for a file that has just been opened, so there is no event to tell.
    ready.inspect_err(|_| _ = files.give_back(memory, &file))?;
    let descriptors = &mut resources_mut(caller, tasks)?.descriptors;
    value(files.install_at(memory, descriptors, fd, file, flags.contains(OpenFlags::CLOSE_ON_EXEC))?)
}

/// The rest of `openat` for an extension's device: asks the extension, and then gives the open file its descriptor.
#[cold]
fn open_device(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    (fd, file): (u32, OpenFile),
    device: u32,
) -> Answer {
    let name = files.extensions.open(memory, tasks, caller.for_extension(), device);
    // No thread waits yet for a file that has just been opened, so there is no event to tell.
    let name = name.inspect_err(|_| _ = files.give_back(memory, &file))?;
    let descriptors = &mut resources_mut(caller, tasks)?.descriptors;
    let close_on_exec = file.flags.contains(OpenFlags::CLOSE_ON_EXEC);
    let installed = files.install_at(memory, descriptors, fd, file, close_on_exec);
    installed.inspect_err(|_| files.extensions.close(memory, device, name))?;
    let id = opened(caller, tasks, files, Fd(fd.cast_signed()))?.id;
    files.keep_device(id, device, name)?;
    value(fd)
}

/// `pipe2(fds, flags)`. Packets (`O_DIRECT`) are not separated.
pub fn pipe2(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    fds: Pointer<[u32; 2]>,
    flags: OpenFlags,
) -> Answer {
    if !(flags - OpenFlags::CLOSE_ON_EXEC - OpenFlags::NONBLOCK).is_empty() {
        return Err(Errno::EINVAL);
    }
    let close_on_exec = flags.contains(OpenFlags::CLOSE_ON_EXEC);
    let descriptors = &mut resources_mut(caller, tasks)?.descriptors;
    // No thread waits yet for a pipe that is just being made, so there is no event to tell.
    let [output, input] = files.make_pipe(memory, flags)?;
    let output = files.install(memory, descriptors, output, close_on_exec).inspect_err(|_| {
        let _ = files.give_back(memory, &input);
    })?;
    let installed = files.install(memory, descriptors, input, close_on_exec);
    let told = installed.and_then(|input| {
        caller.write(memory, fds, &[output, input]).inspect_err(|_| {
            let _ = files.close(memory, descriptors, input, caller.process);
        })
    });
    told.inspect_err(|_| _ = files.close(memory, descriptors, output, caller.process)).and(DONE)
}

/// `close(fd)`
pub fn close(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, files: &mut Files, fd: Fd) -> Answer {
    let descriptors = &mut resources_mut(caller, tasks)?.descriptors;
    // This call is made without the heap's reserve; only a process that shares its table needs some of it, for a copy.
    if descriptors.is_shared_at(fd.index()) && !memory.physical.has_room_for_bookkeeping() {
        return Err(Errno::ENOMEM);
    }
    let id = descriptors.close(fd.index(), &mut files.open)?;
    files.release(memory, caller.process, id).notify(tasks, files);
    DONE
}

/// Instructions that it takes to close a descriptor, roughly.
const COST_OF_A_DESCRIPTOR: u64 = 1_000;

bitflags! {
    /// The flags of `close_range`.
    #[derive(Clone, Copy)]
    pub struct CloseRangeFlags: u32 {
        /// Without an effect: every process has a table of its own here, so there is nothing to unshare.
        const UNSHARE = linux::CLOSE_RANGE_UNSHARE;
        /// The descriptors are closed by the next `execve`.
        const CLOEXEC = linux::CLOSE_RANGE_CLOEXEC;
    }
}
argument::flags!(CloseRangeFlags);

/// `close_range(first, last, flags)`
pub fn close_range(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    first: u32,
    last: u32,
    flags: CloseRangeFlags,
) -> Answer {
    let close_on_exec = flags.contains(CloseRangeFlags::CLOEXEC);
    if !CloseRangeFlags::all().contains(flags) || first > last {
        return Err(Errno::EINVAL);
    }
    let mut from = first.max(place(tasks, caller) as u32);
    let mut budget = Budget::of_a_visit();
    loop {
        if budget.is_spent() {
            return preempt(tasks, caller, from.into());
        }
        budget.spend(COST_OF_A_DESCRIPTOR);
        let descriptors = &mut resources_mut(caller, tasks)?.descriptors;
        let Some(fd) = descriptors.next_used(from).filter(|fd| *fd <= last) else { return DONE };
        if !close_on_exec && files.locks.is_empty() && descriptors.give_up_shared(fd..=last, false) {
            continue;
        }
        // Memory for a copy of a table that another process shares.
        if descriptors.is_shared_at(fd) && !heap::reserve(&mut memory.physical) {
            return Err(Errno::ENOMEM);
        }
        if close_on_exec {
            descriptors.set_close_on_exec(fd, true, &mut files.open)?;
        } else {
            files.close(memory, descriptors, fd, caller.process)?.notify(tasks, files);
        }
        from = fd + 1;
    }
}
