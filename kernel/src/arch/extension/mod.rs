//! Extensions at the machine's level: their pages, calls into them, and the functions that they call.
//!
//! An extension is part of the kernel once it is loaded: nothing protects the kernel from it, as on Linux. What this
//! module promises is that a call arrives at the extension's own code, mapped and relocated, and that the services that
//! the extension calls work on the parts of the kernel that the call has lent it. For example, an `ioctl` lends
//! [`Loan::memory`]; the extension's `read_user` comes back to [`services`] with the loan's address and copies from the
//! caller's memory.

mod services;

use super::fault::EXCEPTIONS;
use super::layout::{DIRECT_MAP, EXTENSIONS};
use super::paging;
use super::physical::{Frames, Memory};
use abi::extension::{Companions, Device, Entry, Handler, Interrupted, Ioctl, LARGEST, Report, Services, Text};
use abi::vectors;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use containers::{
    Channel, Cpu, Frame, OutOfFrames, PAGE_SIZE, ProcessId, Registers, Space, Tasks, Thread, ThreadId, Times,
};
use core::ops::Range;
use core::{mem, ptr};
use hardware::clock;
use x86_64::structures::paging::PageTableFlags as Flags;

/// The addresses set aside for one extension: those of a last-level page table. The rest of them is never mapped.
const ROOM: u64 = 2 << 20;
const _: () = assert!(LARGEST < ROOM, "an extension has a page table of its own, and a guard behind it");

/// A page of an extension: its address, its frame, and its rights, which are never to write and to execute.
#[derive(Clone, Copy)]
pub struct Page {
    /// The address, counted from the extension's start.
    pub offset: u64,
    /// The frame with its bytes.
    pub frame: Frame,
    /// [`paging::CODE`], [`paging::CONSTANT`] or [`paging::DATA`].
    pub rights: Flags,
}

/// An extension whose pages are mapped.
pub struct Mapped {
    pages: Vec<Page>,
    place: usize,
    entry: u64,
}

/// The address at which the extension of a place starts.
pub fn start(place: usize) -> u64 {
    EXTENSIONS.start + place as u64 * ROOM
}

impl Mapped {
    /// Maps an extension's pages at a place that no other one has; on an error they remain the caller's.
    ///
    /// # Panics
    /// If its entry point is not in a page of code.
    pub fn new(frames: &mut Frames, place: usize, pages: Vec<Page>, entry: u64) -> Result<Mapped, Vec<Page>> {
        let is_code = |page: &Page| page.rights == paging::CODE && page.offset == entry & !(PAGE_SIZE as u64 - 1);
        assert!(pages.iter().any(is_code), "an entry point without code");
        let map = |page: &Page| paging::map_extension(frames, start(place) + page.offset, page.frame, page.rights);
        match pages.iter().try_for_each(map) {
            Ok(()) => Ok(Mapped { pages, place, entry: start(place) + entry }),
            Err(OutOfFrames) => {
                paging::unmap_extension(frames, addresses(place, &pages));
                Err(pages)
            }
        }
    }

    /// Unmaps the pages on all CPUs; their frames are the caller's.
    pub fn unmap(self, frames: &mut Frames) -> Vec<Page> {
        paging::unmap_extension(frames, addresses(self.place, &self.pages));
        self.pages
    }

    /// Its place.
    pub fn place(&self) -> usize {
        self.place
    }

    /// Bytes of its pages.
    pub fn size(&self) -> usize {
        self.pages.len() * PAGE_SIZE
    }

    /// The entry point.
    pub fn entry(&self) -> Entry {
        // SAFETY: the address is in a page of code, and the extension's note says that this is its entry point.
        unsafe { mem::transmute::<*const (), Entry>(self.entry as *const ()) }
    }
}

/// The addresses from an extension's first page to its last.
fn addresses(place: usize, pages: &[Page]) -> Range<u64> {
    let end = pages.iter().map(|page| page.offset + PAGE_SIZE as u64).max().unwrap_or(0);
    start(place)..start(place) + end
}

/// An interrupt that an extension has taken.
#[derive(Clone, Copy)]
pub struct Interrupt {
    vector: u8,
    handler: Handler,
    data: u64,
}

/// What an extension is called, and what it holds.
#[derive(Default)]
pub struct Held {
    /// The extension's name.
    pub name: Box<str>,
    /// The number of its first device, which is also its own; the other devices follow.
    pub number: u32,
    /// How many frames it has allocated or holds, and has not given back.
    pub frames: u64,
    /// The devices that it has registered.
    pub devices: Vec<Device>,
    /// The texts that it has registered.
    pub texts: Vec<Text>,
    /// The interrupts that it has taken.
    interrupts: Vec<Interrupt>,
    /// The functions by which it is told of threads that it accompanies.
    pub companions: Option<Companions>,
    /// The pages below 1 MiB, if it has got them.
    low_pages: Option<u64>,
    /// The program through which all others are entered: its path.
    pub interpreter: Option<Box<[u8]>>,
}

impl Held {
    /// What an extension with a name and a number has at first.
    pub fn new(name: Box<str>, number: u32) -> Held {
        Held { name, number, ..Held::default() }
    }

    /// The interrupt with a vector, if the extension has taken that.
    pub fn interrupt(&self, vector: u8) -> Option<Interrupt> {
        self.interrupts.iter().find(|interrupt| interrupt.vector == vector).copied()
    }
}

/// What the machine has for all extensions together.
#[derive(Default)]
pub struct Supply {
    /// The numbers of all CPUs' local APICs, as the firmware lists them.
    cpus: Vec<u32>,
    /// Pages below 1 MiB that have not been handed out.
    low_pages: Option<u64>,
    /// The vectors that extensions have taken, a bit each.
    taken: u8,
}

/// What an extension has for a thread that it accompanies.
#[derive(Clone, Copy)]
pub struct Companion {
    /// The extension's value for the thread.
    pub value: u64,
    /// Whether it has been told that the thread's process stops.
    pub is_stopped: bool,
    /// The thread's time in user mode, in ticks, until it was accompanied.
    pub before: u64,
}

/// The threads that an extension accompanies, and its functions for them.
#[derive(Default)]
pub struct Accompanied {
    functions: Option<Companions>,
    /// The threads.
    pub threads: BTreeMap<ThreadId, Companion>,
}

impl Accompanied {
    /// Whether there are any.
    #[inline]
    pub fn any(&self) -> bool {
        !self.threads.is_empty()
    }

    /// Tells the extension that rights have been taken from an accompanied container with this page directory.
    pub fn rights_taken(&self, pml4: Frame) {
        if let Some(functions) = self.functions {
            // SAFETY: the function is of an extension that is still mapped, since the functions are taken back before
            // that goes.
            unsafe { (functions.rights_taken)(functions.data, pml4.address().as_u64()) }
        }
    }

    /// What the extension reports of a thread that it accompanies.
    pub fn report(&self, thread: ThreadId) -> Option<Report> {
        let (functions, companion) = (self.functions?, self.threads.get(&thread)?);
        let mut report = Report::default();
        // SAFETY: as above.
        unsafe { (functions.report)(functions.data, companion.value, &mut report) };
        Some(report)
    }

    /// The CPU time of a thread. That of one that is accompanied is in user mode as far as it is on the extension's CPUs:
    /// what the thread does on the kernel's is done for it.
    pub fn thread_time<R>(&self, tasks: &Tasks<R>, id: ThreadId) -> Times {
        let own = tasks.thread(id).map_or(Times::default(), |thread| thread.run_time);
        match (self.report(id), self.threads.get(&id)) {
            (Some(Report { ticks, .. }), Some(Companion { before, .. })) => {
                Times { total: own.total + clock::duration(ticks), user_ticks: before + ticks }
            }
            _ => own,
        }
    }

    /// The CPU time of a process.
    pub fn process_time<R>(&self, tasks: &Tasks<R>, process: ProcessId) -> Times {
        if !self.any() {
            return tasks.run_time(process);
        }
        tasks.threads_of(process).fold(tasks.ended_time(process), |sum, thread| sum + self.thread_time(tasks, thread))
    }
}

impl Supply {
    /// What the firmware has told.
    pub fn new(cpus: Vec<u32>, low_pages: Option<u64>) -> Supply {
        Supply { cpus, low_pages, ..Supply::default() }
    }

    /// Takes back what an extension held.
    pub fn take_back(&mut self, held: &Held, frames: &mut Frames) {
        held.interrupts.iter().for_each(|interrupt| self.taken &= !bit(interrupt.vector));
        if held.companions.is_some() {
            frames.accompanied.functions = None;
        }
        self.low_pages = self.low_pages.or(held.low_pages);
    }
}

/// Has an extension write a portion of a text: how many bytes it has written.
pub fn write_text(text: &Text, position: &mut u64, room: &mut [u8]) -> usize {
    // SAFETY: the caller has the text of an extension that is mapped; the bytes can be written.
    unsafe { (text.write)(text.data, position, room.as_mut_ptr(), room.len()) }.min(room.len())
}

/// The bit of a vector among those that extensions can take.
fn bit(vector: u8) -> u8 {
    1 << (vector - vectors::EXTENSIONS.start)
}

/// The thread whose call has led to an extension.
#[derive(Clone, Copy)]
pub struct Caller {
    /// The thread.
    pub thread: ThreadId,
    /// Its process.
    pub process: ProcessId,
    /// Its memory.
    pub space: Space,
}

/// What an extension is called for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To start.
    Start,
    /// A device's `ioctl`.
    Ioctl,
    /// Anything else.
    Other,
}

/// What extensions ask of the kernel's threads.
pub trait Threads {
    /// The number of a thread.
    fn number(&self, thread: ThreadId) -> u32;
    /// Whether a thread is ready to run on a CPU.
    fn any_ready(&self, cpu: Cpu) -> bool;
    /// Wakes up the threads that wait on a channel; returns how many.
    fn wake_up(&mut self, channel: Channel) -> usize;
    /// Has stops of a thread's process noted; returns the thread's time in user mode, in ticks.
    fn accompany(&mut self, thread: ThreadId, process: ProcessId) -> u64;
    /// How an interrupt has found a thread; its value is left out.
    fn interrupted(&self, thread: ThreadId) -> Option<Interrupted>;
    /// Whether a thread was in user mode, between two calls, and is alone in its process.
    fn can_be_diverted(&self, thread: ThreadId) -> bool;
}

impl<R> Threads for Tasks<R> {
    fn number(&self, thread: ThreadId) -> u32 {
        self.thread(thread).map_or(0, |thread| thread.number)
    }

    fn any_ready(&self, cpu: Cpu) -> bool {
        self.best_ready(cpu).is_some()
    }

    fn wake_up(&mut self, channel: Channel) -> usize {
        self.wake(channel, usize::MAX, u32::MAX)
    }

    fn accompany(&mut self, thread: ThreadId, process: ProcessId) -> u64 {
        self.accompany(process);
        self.thread(thread).map_or(0, |thread| thread.run_time.user_ticks)
    }

    fn interrupted(&self, thread: ThreadId) -> Option<Interrupted> {
        let Thread { context, signal_mask: mask, .. } = self.thread(thread)?;
        let in_user_mode = (EXCEPTIONS..Registers::SYSTEM_CALL).contains(&context.registers.vector);
        Some(Interrupted { value: 0, in_user_mode: in_user_mode.into(), mask: *mask, registers: context.registers })
    }

    fn can_be_diverted(&self, id: ThreadId) -> bool {
        let Some(thread) = self.thread(id) else { return false };
        let in_user_mode = self.interrupted(id).is_some_and(|found| found.in_user_mode != 0);
        let is_between_calls = thread.restart.is_none() && thread.saved_mask.is_none();
        in_user_mode && is_between_calls && self.threads_of(thread.process).nth(1).is_none()
    }
}

/// With what a thread that an interrupt has found is to go on: its registers, and the signals that it blocks.
#[derive(Clone, Copy)]
pub struct Diversion {
    /// The thread.
    pub thread: ThreadId,
    /// Its registers.
    pub registers: Registers,
    /// Its mask.
    pub mask: u64,
}

/// The parts of the kernel that a call lends to an extension.
pub struct Loan<'a> {
    /// What the extension is called, and what it holds.
    pub held: &'a mut Held,
    /// What there is for all extensions.
    pub supply: &'a mut Supply,
    /// Frames, and the memory of processes.
    pub memory: &'a mut Memory,
    /// Threads, where they are at hand.
    pub threads: Option<&'a mut dyn Threads>,
    /// The thread that makes the call, if one does.
    pub caller: Option<Caller>,
    /// What the extension is called for.
    pub purpose: Purpose,
    /// The thread that this CPU runs, in a handler of an interrupt.
    pub interrupted: Option<ThreadId>,
    /// What becomes of that thread, if it is diverted.
    pub diversion: Option<Diversion>,
    /// What the caller is to wait for.
    pub wait: Option<Channel>,
}

impl Loan<'_> {
    /// The channel on which threads wait for a number of the extension's.
    fn channel(&self, number: u32) -> Channel {
        Channel::Extension(u64::from(self.held.number) << 32 | u64::from(number))
    }

    /// Makes a call with the services.
    #[inline]
    fn lend(&mut self, call: impl FnOnce(&Services) -> i64) -> i64 {
        call(&Services { context: ptr::from_mut(self).cast(), direct_map: DIRECT_MAP, functions: &services::FUNCTIONS })
    }

    /// Calls the entry point.
    pub fn enter(&mut self, entry: Entry, task: u32, parameters: &[u8]) -> i64 {
        // SAFETY: the extension is mapped, since the caller has what it holds; the parameters are readable.
        self.lend(|services| unsafe { entry(services, task, parameters.as_ptr(), parameters.len()) })
    }

    /// Opens a device of the extension's: returns its name for the open file.
    pub fn open(&mut self, device: Device) -> i64 {
        // SAFETY: as above.
        self.lend(|services| unsafe { (device.open)(services, device.data) })
    }

    /// Makes a request of a device.
    #[inline]
    pub fn ioctl(&mut self, (ioctl, data): (Ioctl, u64), file: u64, request: u32, argument: u64) -> i64 {
        // SAFETY: as above.
        self.lend(|services| unsafe { ioctl(services, data, file, request, argument) })
    }

    /// Closes an open file of a device.
    pub fn close(&mut self, device: Device, file: u64) {
        // SAFETY: as above.
        self.lend(|services| unsafe {
            (device.close)(services, device.data, file);
            0
        });
    }

    /// Tells the extension that a thread that it accompanies leaves.
    pub fn left(&mut self, companions: Companions, value: u64) {
        // SAFETY: as above.
        self.lend(|services| unsafe {
            (companions.left)(services, companions.data, value);
            0
        });
    }

    /// Tells the extension that the process of a thread that it accompanies stops or continues.
    pub fn stopped(&mut self, companions: Companions, Companion { value, is_stopped, .. }: Companion) {
        // SAFETY: as above.
        self.lend(|services| unsafe {
            (companions.stopped)(services, companions.data, value, is_stopped.into());
            0
        });
    }

    /// Calls the handler of an interrupt.
    pub fn handle(&mut self, Interrupt { handler, data, .. }: Interrupt) {
        // SAFETY: as above.
        self.lend(|services| unsafe {
            handler(services, data);
            0
        });
    }
}
