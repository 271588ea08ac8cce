//! The device `/dev/apkern`: the calls of papers/000, as `abi::application` lists them.
//!
//! Each open file has the threads that were made through it. All of this runs on the boot CPU, at level 1 of its
//! kernel. For example, the launcher opens the device, makes a thread with `Call::Create`, sets its registers with
//! `Call::ExRegs`, and lets it run with `Call::Start`.

use super::thread::{self, Block, MOST, New, SCHEDULER};
use super::wake::{self, Wake};
use super::{away, bell, cpu, memory};
use abi::application::{Call, Context, LOOK_ON, Message, YIELD, asked};
use abi::extension::{GIVE_WAY, Report};
use application::scheduler::{Number, Place};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use extension::{EINVAL, ENOTTY, Kernel, answer};
use x86_64::registers::control::Cr3;
use zerocopy::IntoBytes;

/// Linux's errors.
const EAGAIN: i32 = 11;
const EBUSY: i32 = 16;

/// No thread.
const NONE: u32 = u32::MAX;

/// The first thread of each open file, by the file's number.
static FILES: [AtomicU32; MOST] = [const { AtomicU32::new(FREE) }; MOST];
/// No open file has this number.
const FREE: u32 = u32::MAX - 1;

/// Threads have names as well, which are never given twice: a counter above the number.
static NAMES: AtomicU64 = AtomicU64::new(0);
const NUMBER_BITS: u32 = Number::BITS;

/// Opens the device: the open file's number.
pub fn open(_: &Kernel) -> Result<u64, i32> {
    // Low numbers first: few files are open at a time.
    let free = FILES.iter().position(|first| first.load(Relaxed) == FREE).ok_or(EAGAIN)?;
    FILES[free].store(NONE, Relaxed);
    Ok(free as u64)
}

/// Closes an open file: its threads end. A process that has passed the file on, or has unmapped the message, harms
/// itself.
pub fn close(kernel: &Kernel, file: u64) {
    let first = &FILES[file as usize];
    while let Some(block) = find(first.load(Relaxed)) {
        remove(kernel, block);
    }
    first.store(FREE, Relaxed);
}

/// Makes a call. The most frequent one is looked for first, and the others are in a function of their own: so it needs
/// neither a frame nor a search.
#[inline]
pub fn ioctl(kernel: &Kernel, file: u64, request: u32, argument: u64) -> i64 {
    match asked(request) {
        Some((Call::Activate, number)) => match callers(number, file) {
            Some(block) => activate(block, argument),
            None => answer(Err(EINVAL)),
        },
        Some((call, number)) => other(kernel, file, (call, number), argument),
        None => answer(Err(ENOTTY)),
    }
}

/// Makes a call other than [`Call::Activate`].
#[inline(never)]
fn other(kernel: &Kernel, file: u64, (call, number): (Call, u32), argument: u64) -> i64 {
    match call {
        Call::Init => cpu::all().count() as i64,
        Call::Create => answer(create(kernel, file, argument)),
        Call::Copy => answer(memory::copy(kernel, argument)),
        Call::Exchange => answer(memory::exchange(kernel, argument)),
        _ => match callers(number, file) {
            Some(block) => of_thread(kernel, block, call, argument),
            None => answer(Err(EINVAL)),
        },
    }
}

/// The thread with a number, if it was made through an open file and is the caller's.
#[inline(always)]
fn callers(number: u32, file: u64) -> Option<&'static Block> {
    find(number).filter(|block| u64::from(block.file) == file && is_callers(block))
}

/// Whether a thread is in the caller's address space. A process that a thread on the boot CPU has forked has the open file
/// too.
#[inline]
fn is_callers(block: &Block) -> bool {
    Cr3::read().0.start_address().as_u64() == block.directory
}

/// [`Call::Activate`] with the result of the thread's call.
#[inline(always)]
fn activate(block: &Block, result: u64) -> i64 {
    block.answered_at.set();
    block.set_result(result);
    cpu::wake(SCHEDULER.activate(block.number));
    // A bootstrap thread that is to look for the next message lets others make their calls first.
    if wake::is(Wake::Interrupt) { 0 } else { GIVE_WAY }
}

/// Makes a call about a thread.
#[inline(always)]
fn of_thread(kernel: &Kernel, block: &'static Block, call: Call, argument: u64) -> i64 {
    match call {
        Call::Wait => wait(kernel, block, argument),
        Call::Hold => hold(block),
        Call::Start => start(block),
        Call::GetRegs => answer(get_registers(kernel, block, argument)),
        Call::ExRegs => answer(set_registers(kernel, block, argument)),
        Call::Depart => answer(away::depart(kernel, block, argument)),
        Call::Activate | Call::Init | Call::Create | Call::Copy | Call::Exchange => answer(Err(EINVAL)),
    }
}

/// Makes a thread of the calling process, which is the thread's bootstrap thread's. It is held until it is started.
#[inline(never)]
fn create(kernel: &Kernel, file: u64, address: u64) -> Result<u64, i32> {
    let offset = address as usize % 4096;
    if !address.is_multiple_of(align_of::<Message>() as u64) || offset + size_of::<Message>() > 4096 {
        return Err(EINVAL);
    }
    let (process, thread) = kernel.caller().ok_or(EINVAL)?;
    let page = kernel.hold(address)?;
    let (Some(frame), Some(number)) = (kernel.allocate(), SCHEDULER.create()) else {
        kernel.release(page);
        return Err(EAGAIN);
    };
    let name = NAMES.fetch_add(1, Relaxed) << NUMBER_BITS | u64::from(number);
    let Ok(directory) = kernel.accompany(name) else {
        // The caller is another thread's bootstrap thread.
        SCHEDULER.hold(number);
        SCHEDULER.remove(number);
        [page, frame].into_iter().for_each(|frame| kernel.release(frame));
        return Err(EBUSY);
    };
    let next = FILES[file as usize].swap(number.into(), Relaxed);
    // SAFETY: the CPU that runs the thread looks at them; the address space is there as long as the thread is.
    let tables = unsafe { kernel.page_table(directory) };
    let new = New { name, file: file as u32, next, process, thread, directory, tables, page, offset };
    let block = Block::install(frame, number, new);
    SCHEDULER.hold(block.number);
    Ok(number.into())
}

/// Takes a thread off its CPU, wherever it is, and keeps it from running.
fn stop(block: &Block) {
    if let Some(cpu) = SCHEDULER.hold(block.number) {
        cpu::ask(cpu);
        debug_assert!(!SCHEDULER.is_running(block.number), "a held thread on a CPU that has answered");
    }
}

/// [`Call::Hold`]: does nothing more for a thread that is held already.
fn hold(block: &Block) -> i64 {
    if !block.hold.replace(true) {
        stop(block);
    }
    (!SCHEDULER.wants_to_run(block.number)).into()
}

/// [`Call::Start`]
fn start(block: &Block) -> i64 {
    block.answered_at.set();
    if block.hold.replace(false) {
        if !block.started.replace(true) {
            // It is held, so this only notes that it is to be ready; the CPU to wake is for another one.
            cpu::wake(SCHEDULER.activate(block.number));
        }
        cpu::wake(SCHEDULER.release(block.number));
    } else {
        cpu::wake(SCHEDULER.activate(block.number));
    }
    0
}

/// [`Call::Wait`]; `told` is the last result.
fn wait(kernel: &Kernel, block: &'static Block, told: u64) -> i64 {
    // SAFETY: the message lies in a page that the thread holds; the word is only ever used as an atomic.
    let posted = unsafe { &(*block.message()).posted };
    let told_to_yield = told == YIELD as u64;
    match wake::chosen() {
        Wake::Adaptive | Wake::Poll if !kernel.others_runnable() => {
            bell::looks(block);
            LOOK_ON
        }
        Wake::Poll => YIELD,
        Wake::Adaptive if !told_to_yield => YIELD,
        _ if block.mailbox.sleep(posted) => kernel.wait(block.number.into()),
        _ => 0,
    }
}

/// Whether a thread's context is here, for the boot CPU to use: not that of a thread that runs.
fn is_here(block: &Block) -> Result<(), i32> {
    // Its message may be here already, while the CPU still has to block it, which takes only a moment then.
    while SCHEDULER.is_running(block.number) && block.has_message.load(Relaxed) {
        block.is_wanted.store(true, Relaxed);
        core::hint::spin_loop();
    }
    if SCHEDULER.place(block.number) == Place::Blocked { Ok(()) } else { Err(EBUSY) }
}

/// [`Call::GetRegs`]
#[inline(never)]
fn get_registers(kernel: &Kernel, block: &Block, address: u64) -> Result<u64, i32> {
    is_here(block)?;
    let mut context = Context::ZERO;
    // SAFETY: the thread is blocked, and this is the boot CPU.
    unsafe { block.read(&mut context) };
    kernel.write(address, context.as_bytes()).map(|()| 0)
}

/// [`Call::ExRegs`]
#[inline(never)]
fn set_registers(kernel: &Kernel, block: &Block, address: u64) -> Result<u64, i32> {
    is_here(block)?;
    let mut context = Context::ZERO;
    kernel.read(address, context.as_mut_bytes())?;
    // SAFETY: as above.
    if unsafe { block.write(&context) } { Ok(0) } else { Err(EINVAL) }
}

/// A bootstrap thread has ended, or its process has another program: its application thread ends, before the address
/// space can go. It may be gone already, with its open file.
pub fn left(kernel: &Kernel, name: u64) {
    if let Some(block) = named(name) {
        remove(kernel, block);
    }
}

/// A process has stopped, or continues: so do its application threads.
pub fn stopped(name: u64, is_stopped: bool) {
    match named(name) {
        Some(block) if is_stopped => stop(block),
        Some(block) => cpu::wake(SCHEDULER.release(block.number)),
        None => {}
    }
}

/// What the kernel shows of a thread: nothing of one that is gone.
pub fn report(name: u64) -> Report {
    named(name).map_or(Report::default(), Block::report)
}

/// Takes a thread off its CPU and ends it.
fn remove(kernel: &Kernel, block: &'static Block) {
    stop(block);
    unlink(block);
    // Its bootstrap thread may wait for a message that does not come.
    let _ = kernel.wake(block.number.into());
    bell::looks_no_more(block);
    away::forget(block);
    let number = block.number;
    // SAFETY: the thread is held and on no CPU, and its file and the scheduler forget it.
    let frames = unsafe { block.uninstall() };
    SCHEDULER.remove(number);
    frames.into_iter().for_each(|frame| kernel.release(frame));
}

/// Takes a thread out of the list of its file.
fn unlink(block: &Block) {
    let mut link = &FILES[block.file as usize];
    while link.load(Relaxed) != u32::from(block.number) {
        match find(link.load(Relaxed)) {
            Some(other) => link = &other.next,
            None => return,
        }
    }
    link.store(block.next.load(Relaxed), Relaxed);
}

/// The thread with a name, unless it is gone.
pub fn named(name: u64) -> Option<&'static Block> {
    thread::find(name as Number).filter(|block| block.name == name)
}

/// The thread with a number.
fn find(number: u32) -> Option<&'static Block> {
    thread::find(Number::try_from(number).ok()?)
}
