//! The functions that extensions call.
//!
//! Each gets the context of the call of the extension in which it is called: the [`Loan`] with the parts of the kernel
//! that it works on. `abi::extension::Functions` says what each does. For example, `wait` notes in the loan what the
//! caller is to wait for; the caller is parked when the extension's `ioctl` has returned [`WAIT`].

use super::{Caller, Companion, Diversion, Interrupt, Loan, Purpose, bit};
use crate::arch::cpulocal;
use crate::arch::layout::DEVICES;
use crate::arch::physical::in_kernel;
use ::files::Errno;
use abi::extension::{Clock, Companions, Device, Functions, Handler, Interrupted, MOST_DEVICES, NAME_ROOM, Text, WAIT};
use abi::registers::Registers;
use abi::vectors;
use alloc::vec::Vec;
use containers::{Fault, Frame, PhysicalMemory, Rights, ThreadId};
use core::ffi::c_void;
use core::slice;
use hardware::clock;
use hardware::devices::{Devices, Kind};
use x86_64::PhysAddr;

/// All of them.
pub(super) static FUNCTIONS: Functions = Functions {
    log,
    allocate_frame,
    release_frame,
    read_user,
    write_user,
    register_device,
    map_registers,
    take_interrupt,
    hold_page,
    wait,
    wake,
    caller,
    others_runnable,
    low_pages,
    cpu_id,
    clock: clock_settings,
    register_companions,
    accompany,
    interpret,
    register_text,
    trace_region,
    interrupted,
    divert,
};

/// A result as an extension gets it: a value, or a negative error number.
fn result(result: Result<u64, Errno>) -> i64 {
    result.map_or_else(|errno| -i64::from(errno.into_raw()), u64::cast_signed)
}

/// The loan behind a function's context.
///
/// # Safety
/// The context is that of the services of a call that has not returned, and no other reference to the loan is in use.
unsafe fn loan<'a>(context: *mut c_void) -> &'a mut Loan<'a> {
    // SAFETY: `Loan::lend` has made the context of a loan, which it keeps borrowed until the call returns.
    unsafe { &mut *context.cast() }
}

/// [`Functions::log`]
unsafe extern "C" fn log(context: *mut c_void, text: *const u8, length: usize) {
    // SAFETY: the context of a call, as the interface demands; and readable bytes.
    let (loan, text) = unsafe { (loan(context), slice::from_raw_parts(text, length)) };
    log::info!("{}: {}", loan.held.name, core::str::from_utf8(text).unwrap_or("(not UTF-8)"));
}

/// [`Functions::allocate_frame`]
unsafe extern "C" fn allocate_frame(context: *mut c_void) -> u64 {
    // SAFETY: the context of a call.
    let loan = unsafe { loan(context) };
    if !loan.memory.physical.has_room_for_bookkeeping() {
        return 0;
    }
    // What programs have an extension allocate leaves the kernel its reserve, as their own memory does.
    loan.memory.allocate_user(0).map_or(0, |frame| {
        loan.held.frames += 1;
        frame.address().as_u64()
    })
}

/// [`Functions::release_frame`]
unsafe extern "C" fn release_frame(context: *mut c_void, frame: u64) {
    // SAFETY: the context of a call.
    let loan = unsafe { loan(context) };
    loan.memory.physical.release(Frame::containing(PhysAddr::new_truncate(frame)));
    loan.held.frames = loan.held.frames.saturating_sub(1);
}

/// [`Functions::read_user`]
unsafe extern "C" fn read_user(context: *mut c_void, to: *mut u8, from: u64, length: usize) -> i64 {
    // SAFETY: the context of a call; and bytes that the extension may write.
    let (loan, to) = unsafe { (loan(context), slice::from_raw_parts_mut(to, length)) };
    let copied = loan.caller.is_some_and(|caller| loan.memory.copy_in(caller.space, from, to).is_ok());
    result(if copied { Ok(0) } else { Err(Errno::EFAULT) })
}

/// [`Functions::write_user`]
unsafe extern "C" fn write_user(context: *mut c_void, to: u64, from: *const u8, length: usize) -> i64 {
    // SAFETY: the context of a call; and bytes that the extension may read.
    let (loan, from) = unsafe { (loan(context), slice::from_raw_parts(from, length)) };
    let copied = loan.caller.is_some_and(|caller| loan.memory.copy_out(caller.space, to, from).is_ok());
    result(if copied { Ok(0) } else { Err(Errno::EFAULT) })
}

/// [`Functions::register_device`]
unsafe extern "C" fn register_device(context: *mut c_void, device: &Device) -> i64 {
    // SAFETY: the context of a call.
    let Loan { held, purpose, .. } = unsafe { loan(context) };
    let old: Vec<_> = held.devices.iter().map(|device| &device.name).collect();
    result(may_register(*purpose, &device.name, &old).map(|()| {
        held.devices.push(*device);
        0
    }))
}

/// [`Functions::register_text`]
unsafe extern "C" fn register_text(context: *mut c_void, text: &Text) -> i64 {
    // SAFETY: the context of a call.
    let Loan { held, purpose, .. } = unsafe { loan(context) };
    let old: Vec<_> = held.texts.iter().map(|text| &text.name).collect();
    result(may_register(*purpose, &text.name, &old).map(|()| {
        held.texts.push(*text);
        0
    }))
}

/// Whether an extension may register something by a name, beside what it has registered.
fn may_register(purpose: Purpose, new: &[u8; NAME_ROOM], old: &[&[u8; NAME_ROOM]]) -> Result<(), Errno> {
    if purpose != Purpose::Start || abi::extension::name(new).is_none() {
        Err(Errno::EINVAL)
    } else if old.contains(&new) {
        Err(Errno::EEXIST)
    } else if old.len() == MOST_DEVICES {
        Err(Errno::ENOSPC)
    } else {
        Ok(())
    }
}

/// [`Functions::trace_region`]
unsafe extern "C" fn trace_region(_: *mut c_void) -> u64 {
    #[cfg(feature = "trace")]
    return crate::arch::trace::region();
    #[cfg(not(feature = "trace"))]
    0
}

/// [`Functions::map_registers`]
unsafe extern "C" fn map_registers(context: *mut c_void, at: u64, size: u64) -> u64 {
    // SAFETY: the context of a call.
    let loan = unsafe { loan(context) };
    if at.checked_add(size).is_none_or(|end| end > DEVICES.end - DEVICES.start) {
        return 0;
    }
    let mapped = loan.memory.physical.map(PhysAddr::new_truncate(at), size, Kind::Registers);
    mapped.map_or(0, |address| address.as_u64())
}

/// [`Functions::take_interrupt`]
unsafe extern "C" fn take_interrupt(context: *mut c_void, handler: Handler, data: u64) -> i64 {
    // SAFETY: the context of a call.
    let Loan { held, supply, purpose, .. } = unsafe { loan(context) };
    if *purpose != Purpose::Start {
        return result(Err(Errno::EINVAL));
    }
    let free = vectors::EXTENSIONS.clone().find(|vector| supply.taken & bit(*vector) == 0);
    result(free.ok_or(Errno::ENOSPC).map(|vector| {
        supply.taken |= bit(vector);
        held.interrupts.push(Interrupt { vector, handler, data });
        u64::from(vector)
    }))
}

/// [`Functions::hold_page`]
unsafe extern "C" fn hold_page(context: *mut c_void, address: u64) -> i64 {
    // SAFETY: the context of a call.
    let Loan { memory, held, caller, .. } = unsafe { loan(context) };
    let Some(caller) = caller else { return result(Err(Errno::EFAULT)) };
    let frame = memory.user_frame(caller.space, address, Rights::WRITE);
    result(frame.map_err(|fault| if fault == Fault::OutOfMemory { Errno::ENOMEM } else { Errno::EFAULT }).map(
        |frame| {
            memory.physical.share(frame);
            held.frames += 1;
            frame.address().as_u64()
        },
    ))
}

/// [`Functions::wait`]
unsafe extern "C" fn wait(context: *mut c_void, number: u32) -> i64 {
    // SAFETY: the context of a call.
    let loan = unsafe { loan(context) };
    if loan.purpose != Purpose::Ioctl {
        return result(Err(Errno::EINVAL));
    }
    loan.wait = Some(loan.channel(number));
    WAIT
}

/// [`Functions::wake`]
unsafe extern "C" fn wake(context: *mut c_void, number: u32) -> i64 {
    // SAFETY: the context of a call.
    let loan = unsafe { loan(context) };
    let channel = loan.channel(number);
    let woken = loan.threads.as_mut().map(|threads| threads.wake_up(channel) as u64);
    result(woken.ok_or(Errno::EINVAL))
}

/// [`Functions::caller`]
unsafe extern "C" fn caller(context: *mut c_void) -> u64 {
    // SAFETY: the context of a call.
    let Loan { threads, caller, .. } = unsafe { loan(context) };
    let (Some(threads), Some(caller)) = (threads, caller) else { return 0 };
    u64::from(caller.process.number()) << 32 | u64::from(threads.number(caller.thread))
}

/// [`Functions::others_runnable`]
unsafe extern "C" fn others_runnable(context: *mut c_void) -> u64 {
    // SAFETY: the context of a call.
    let Loan { threads, .. } = unsafe { loan(context) };
    u64::from(threads.as_ref().is_some_and(|threads| threads.any_ready(cpulocal::number(&in_kernel()))))
}

/// [`Functions::low_pages`]
unsafe extern "C" fn low_pages(context: *mut c_void) -> u64 {
    // SAFETY: the context of a call.
    let loan = unsafe { loan(context) };
    let pages = loan.supply.low_pages.take();
    loan.held.low_pages = loan.held.low_pages.or(pages);
    pages.unwrap_or(0)
}

/// [`Functions::cpu_id`]
unsafe extern "C" fn cpu_id(context: *mut c_void, index: u64) -> i64 {
    // SAFETY: the context of a call.
    let Loan { supply, .. } = unsafe { loan(context) };
    supply.cpus.get(index as usize).map_or(-1, |id| i64::from(*id))
}

/// [`Functions::clock`]
unsafe extern "C" fn clock_settings(_: *mut c_void, settings: &mut Clock) {
    *settings = clock::settings();
}

/// [`Functions::register_companions`]
unsafe extern "C" fn register_companions(context: *mut c_void, companions: &Companions) -> i64 {
    // SAFETY: the context of a call.
    let Loan { held, memory, purpose, .. } = unsafe { loan(context) };
    result(if *purpose != Purpose::Start {
        Err(Errno::EINVAL)
    } else if memory.physical.accompanied.functions.is_some() {
        Err(Errno::EBUSY)
    } else {
        (held.companions, memory.physical.accompanied.functions) = (Some(*companions), Some(*companions));
        Ok(0)
    })
}

/// [`Functions::accompany`]
unsafe extern "C" fn accompany(context: *mut c_void, value: u64) -> i64 {
    // SAFETY: the context of a call.
    let Loan { held, memory, threads, caller, purpose, .. } = unsafe { loan(context) };
    let (Some(Caller { thread, process, space }), Some(threads), Purpose::Ioctl, Some(_)) =
        (*caller, threads, *purpose, held.companions)
    else {
        return result(Err(Errno::EINVAL));
    };
    if memory.physical.accompanied.threads.contains_key(&thread) {
        return result(Err(Errno::EEXIST));
    }
    if !memory.physical.has_room_for_bookkeeping() {
        return result(Err(Errno::ENOMEM));
    }
    let directory = memory.accompany(space.container, space.cpu).map_err(|_| Errno::ENOMEM);
    result(directory.map(|directory| {
        let before = threads.accompany(thread, process);
        memory.physical.accompanied.threads.insert(thread, Companion { value, is_stopped: false, before });
        directory.address().as_u64()
    }))
}

/// [`Functions::interpret`]
unsafe extern "C" fn interpret(context: *mut c_void, path: *const u8, length: usize) -> i64 {
    // SAFETY: the context of a call; and readable bytes.
    let (loan, path) = unsafe { (loan(context), slice::from_raw_parts(path, length)) };
    if !matches!(loan.purpose, Purpose::Start) || path.is_empty() {
        return result(Err(Errno::EINVAL));
    }
    loan.held.interpreter = Some(path.into());
    0
}

/// [`Functions::interrupted`]
unsafe extern "C" fn interrupted(context: *mut c_void, found: &mut Interrupted) -> i64 {
    // SAFETY: the context of a call.
    let Loan { threads, memory, interrupted, .. } = unsafe { loan(context) };
    let interrupted = interrupted.and_then(|thread| {
        let Companion { value, .. } = memory.physical.accompanied.threads.get(&thread)?;
        Some(Interrupted { value: *value, ..threads.as_ref()?.interrupted(thread)? })
    });
    result(interrupted.ok_or(Errno::ESRCH).map(|interrupted| {
        *found = interrupted;
        0
    }))
}

/// [`Functions::divert`]
unsafe extern "C" fn divert(context: *mut c_void, registers: &Registers, mask: u64) -> i64 {
    // SAFETY: the context of a call.
    let loan = unsafe { loan(context) };
    let can_be = |thread: &ThreadId| loan.threads.as_ref().is_some_and(|threads| threads.can_be_diverted(*thread));
    loan.diversion = loan.interrupted.filter(can_be).map(|thread| Diversion { thread, registers: *registers, mask });
    result(if loan.diversion.is_some() { Ok(0) } else { Err(Errno::EBUSY) })
}
