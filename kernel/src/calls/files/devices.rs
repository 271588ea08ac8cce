//! `ioctl`: the terminal's settings, and the few requests that all open files understand.

use super::{opened, resources, resources_mut};
use crate::calls::argument::{Fd, Pointer};
use crate::calls::{Answer, Caller, DONE, Reply, jobs, restart, threads, value};
use crate::core::console::Console;
use crate::core::extensions::Outcome;
use crate::core::files::{Bytes, Files};
use crate::core::kernel::{Memory, Tasks};
use crate::core::signals::{self, SIGTTOU, SIGWINCH, from_kernel};
use ::files::tty::{Termios, WindowSize};
use ::files::{Errno, OpenFlags};
use containers::{PhysicalMemory, Resume, Wait};
use linux_raw_sys::general::{TCIFLUSH, TCIOFLUSH, TCOFLUSH};
use linux_raw_sys::ioctl::{
    FIOCLEX, FIONBIO, FIONCLEX, FIONREAD, TCFLSH, TCGETS, TCGETS2, TCSBRK, TCSETS, TCSETS2, TCSETSF, TCSETSF2, TCSETSW,
    TCSETSW2, TCXONC, TIOCGPGRP, TIOCGSID, TIOCGWINSZ, TIOCNOTTY, TIOCOUTQ, TIOCSCTTY, TIOCSPGRP, TIOCSWINSZ,
};

/// The fields of `struct termios2` behind those of `struct termios`: input and output speed.
const SPEEDS: [u32; 2] = [38_400; 2];

/// `ioctl(fd, request, argument)`
pub fn ioctl(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    console: &mut Console,
    fd: Fd,
    request: u32,
    argument: u64,
) -> Answer {
    restart(tasks, caller);
    if !matches!(request, FIOCLEX | FIONCLEX | FIONBIO | FIONREAD)
        && let Some(device) = files.device(&resources(caller, tasks)?.descriptors, fd.0)
    {
        return ask_extension(caller, memory, tasks, files, device, (request, argument));
    }
    let opened = opened(caller, tasks, files, fd)?;
    match request {
        _ if opened.bytes == Bytes::Nowhere => Err(Errno::EBADF),
        request @ (FIOCLEX | FIONCLEX) => {
            // A table of descriptors that a fork has shared is copied.
            if !memory.physical.has_room_for_bookkeeping() {
                return Err(Errno::ENOMEM);
            }
            let descriptors = &mut resources_mut(caller, tasks)?.descriptors;
            descriptors.set_close_on_exec(fd.index(), request == FIOCLEX, &mut files.open).and(DONE)
        }
        FIONBIO => {
            let on = caller.read::<i32>(memory, Pointer::to(argument))? != 0;
            files.open.get_mut(opened.id)?.flags.set(OpenFlags::NONBLOCK, on);
            DONE
        }
        FIONREAD => {
            let available = match opened.bytes {
                bytes if bytes.is_console() => console.available() as u64,
                Bytes::Pipe(_) => u64::from(files.tree.pipe(opened.file.inode)?.len()),
                Bytes::Regular(object) => memory.object_size(object).saturating_sub(opened.file.offset),
                _ => return Err(Errno::ENOTTY),
            };
            caller.write(memory, Pointer::to(argument), &i32::try_from(available).unwrap_or(i32::MAX)).and(DONE)
        }
        request if opened.bytes.is_console() && console.is_terminal() => {
            terminal(caller, memory, tasks, console, request, argument)
        }
        _ => Err(Errno::ENOTTY),
    }
}

/// A request that an extension's device understands.
#[inline]
fn ask_extension(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    device: (u32, u64),
    request: (u32, u64),
) -> Answer {
    match files.extensions.ioctl(memory, tasks, caller.for_extension(), device, request)? {
        Outcome::Value(result) => value(result),
        Outcome::Waits(channel) => {
            tasks.park(caller.thread, Wait { woken: Resume::Return(0), ..Wait::restart(channel, None) });
            Ok(Reply::Parked)
        }
        Outcome::GivesWay => threads::sched_yield(caller, tasks),
    }
}

/// The requests that only a terminal understands.
fn terminal(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    console: &mut Console,
    request: u32,
    argument: u64,
) -> Answer {
    const CHANGES: [u32; 8] = [TCSETS, TCSETSW, TCSETSF, TCSETS2, TCSETSW2, TCSETSF2, TCFLSH, TCSBRK];
    if CHANGES.contains(&request)
        && let Some(reply) = jobs::ask(caller, tasks, console, SIGTTOU)?
    {
        return Ok(reply);
    }
    match request {
        TCGETS | TCGETS2 => {
            caller.write(memory, Pointer::to(argument), &console.termios().to_bytes())?;
            if request == TCGETS2 {
                caller.write(memory, Pointer::to(argument.wrapping_add(Termios::SIZE as u64)), &SPEEDS)?;
            }
        }
        TCSETS | TCSETSW | TCSETSF | TCSETS2 | TCSETSW2 | TCSETSF2 => {
            // Output written before is processed already, so waiting for it would change nothing.
            let termios = Termios::from_bytes(&caller.read(memory, Pointer::to(argument))?);
            console.set_termios(termios, matches!(request, TCSETSF | TCSETSF2));
        }
        TCFLSH => match argument as u32 {
            // Output that is on its way cannot be called back.
            TCIFLUSH | TCIOFLUSH => console.flush_input(),
            TCOFLUSH => {}
            _ => return Err(Errno::EINVAL),
        },
        TIOCGWINSZ => caller.write(memory, Pointer::to(argument), &console.window().to_bytes())?,
        TIOCSWINSZ => {
            let window = WindowSize::from_bytes(caller.read(memory, Pointer::to(argument))?);
            if console.set_window(window)
                && let Some(group) = console.foreground()
            {
                signals::send_to_group(tasks, group, from_kernel(SIGWINCH));
            }
        }
        TIOCGPGRP => {
            caller.write(memory, Pointer::to(argument), &jobs::terminal_owner(caller, tasks, console)?.foreground)?
        }
        TIOCGSID => {
            caller.write(memory, Pointer::to(argument), &jobs::terminal_owner(caller, tasks, console)?.session)?
        }
        TIOCSPGRP => return jobs::set_foreground(caller, memory, tasks, console, Pointer::to(argument)),
        TIOCSCTTY => return jobs::take_terminal(caller, tasks, console, argument),
        TIOCNOTTY => return jobs::give_terminal_up(caller, tasks, console),
        TIOCOUTQ => caller.write(memory, Pointer::to(argument), &0_u32)?,
        TCSBRK | TCXONC => {}
        _ => return Err(Errno::ENOTTY),
    }
    DONE
}
