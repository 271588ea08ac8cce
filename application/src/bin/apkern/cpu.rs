//! What each application processor has for itself, and what the boot CPU asks of it.
//!
//! The boot CPU asks with an interrupt and waits for the answer. There are two things to ask: to forget the
//! translations of a page directory, and to take a thread that is held off the CPU; the CPU does both whenever it is
//! asked. For example, `munmap` on the boot CPU asks every CPU that runs the program to load its page directory anew,
//! and releases the pages when they have answered.

use super::records::Ring;
use super::thread::Block;
use super::{entry, local};
use application::counts::Counts;
use application::requests::Requests;
use application::scheduler;
use core::cell::Cell;
use core::ptr;
use core::sync::atomic::{
    AtomicPtr, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, Ordering::SeqCst,
};
use cpulocal::MAX_CPUS;
use extension::Frame;
use hardware::apic::{self, Command};
use hardware::gdt::{self, Special, Tss};
use x86_64::PhysAddr;
use x86_64::registers::control::{Cr3, Cr3Flags};
use x86_64::structures::paging::PhysFrame;

/// The vector by which CPUs are asked, and woken.
pub const REQUEST: u8 = abi::vectors::REQUEST;

/// All application processors, by number; the boot CPU is number 0 and has none.
static CPUS: [AtomicPtr<Cpu>; MAX_CPUS] = [const { AtomicPtr::new(ptr::null_mut()) }; MAX_CPUS];

/// The page directory of CPUs without a thread: the kernel's half alone.
pub static NEUTRAL: AtomicU64 = AtomicU64::new(0);

/// An application processor. The entry code reaches the first fields by GS.
#[repr(C)]
pub struct Cpu {
    /// The address of this value.
    pub itself: *const Cpu,
    /// The user's stack pointer, for the few instructions until it is stored.
    pub user_stack: Cell<u64>,
    /// The call whose result the entry code knows: see [`local::known_call`].
    pub known_call: u64,
    /// That result, for the thread that runs.
    pub known_result: Cell<u64>,
    /// The top of the stack.
    pub stack: u64,
    /// The end of the registers of the thread that runs.
    pub frame_end: Cell<u64>,
    /// The thread that runs.
    pub current: Cell<Option<&'static Block>>,
    /// The thread whose extended state and bases the CPU has; it may be gone.
    pub resident: Cell<*const Block>,
    /// Whether the timer's interrupt is to come.
    pub armed: Cell<bool>,
    /// Its number, from 1 on.
    pub number: u8,
    /// Its local APIC id; set when it has come up.
    id: AtomicU64,
    /// The page directory that it runs on.
    loaded: AtomicU64,
    /// What the boot CPU asks of it.
    pub requests: Requests,
    /// What it has forwarded.
    pub counts: &'static Counts,
    /// Where it records what it does.
    pub ring: Ring,
    tss: Tss,
    table: Cell<Option<gdt::Table>>,
    /// The frames of this value, of the stack and of the counters.
    frames: [Frame; 3],
}

// SAFETY: the cells are the CPU's own, which reaches them with interrupts off; the rest is atomic.
unsafe impl Sync for Cpu {}

/// Bytes at the end of a CPU's first frame: the stack of double faults, NMIs and machine checks.
const SPECIAL_STACK: u64 = 2048;

const _: () = assert!(size_of::<Cpu>() as u64 + SPECIAL_STACK <= 4096);

/// Not up yet.
const NO_ID: u64 = u64::MAX;

impl Cpu {
    /// Makes a CPU's value in a frame, its stack and its counters in two others, which stay with it: the top of the stack.
    pub fn install(number: u8, frames: [Frame; 3]) -> u64 {
        let [frame, stack, counts] = &frames;
        let place = frame.start().cast::<Cpu>();
        let end = |start: u64| start + 4096;
        let cpu = Cpu {
            itself: place.as_ptr(),
            user_stack: Cell::new(0),
            known_call: local::known_call(),
            known_result: Cell::new(0),
            stack: end(stack.start().addr().get() as u64),
            frame_end: Cell::new(0),
            current: Cell::new(None),
            resident: Cell::new(ptr::null()),
            armed: Cell::new(false),
            number,
            id: AtomicU64::new(NO_ID),
            loaded: AtomicU64::new(NEUTRAL.load(Relaxed)),
            requests: Requests::new(),
            // SAFETY: a frame of zeros, which are counters, and this CPU's.
            counts: unsafe { counts.start().cast().as_ref() },
            ring: Ring::of(number),
            tss: Tss::new(),
            table: Cell::new(None),
            frames,
        };
        let top = cpu.stack;
        // SAFETY: the frame is this CPU's from now on, large enough, and mapped in the direct map.
        unsafe { place.write(cpu) };
        // SAFETY: written just now, and never taken away while the extension is loaded.
        let cpu: &'static Cpu = unsafe { place.as_ref() };
        let special = end(place.addr().get() as u64);
        [Special::DoubleFault, Special::NonMaskable, Special::MachineCheck]
            .into_iter()
            .for_each(|which| cpu.tss.set_stack(which, special));
        cpu.table.set(Some(gdt::Table::new((&raw const cpu.tss).addr() as u64)));
        CPUS[usize::from(number)].store(place.as_ptr(), Release);
        top
    }

    /// Loads this CPU's descriptor tables, and makes it find itself.
    pub fn load(&'static self) {
        // SAFETY: nothing changes the table after `install`, and the reference lives as long as the CPU's value.
        if let Some(table) = unsafe { &*self.table.as_ptr() } {
            table.load();
            // SAFETY: the TSS is part of this value, and its stack of the same frame.
            unsafe { table.load_tss() };
        }
        x86_64::registers::model_specific::GsBase::write(x86_64::VirtAddr::from_ptr(self));
        hardware::cpu::set_system_call_entry(entry::system_call as *const () as u64);
    }

    /// The CPU that executes this.
    ///
    /// # Safety
    /// GS is the application kernel's, not a thread's.
    pub unsafe fn this() -> &'static Cpu {
        let cpu: *const Cpu;
        // SAFETY: the caller's promise: the first word at GS is the address of the CPU's value, which stays.
        unsafe {
            core::arch::asm!("mov {}, gs:[{itself}]", out(reg) cpu, itself = const core::mem::offset_of!(Cpu, itself), options(nostack, readonly, preserves_flags));
            &*cpu
        }
    }

    /// Notes that this CPU has come up.
    pub fn is_here(&self) {
        self.id.store(apic::id().into(), Release);
    }

    /// Whether it has come up.
    pub fn is_up(&self) -> bool {
        self.id.load(Acquire) != NO_ID
    }

    /// Interrupts the CPU.
    pub fn interrupt(&self) {
        apic::send(self.id.load(Relaxed) as u32, Command::Interrupt(REQUEST));
    }

    /// Makes this CPU, which is the calling one, store a thread's registers where the thread has them.
    #[inline(always)]
    pub fn set_frame(&self, block: &'static Block) {
        let end = block.frame_end();
        if self.frame_end.replace(end) != end {
            self.tss.set_rsp0(end);
        }
    }

    /// Loads a page directory on this CPU, which is the calling one, with no stale translation of a user page.
    #[inline(always)]
    pub fn load_directory(&self, directory: u64) {
        // In this order: a CPU that has changed page tables either finds the directory here and asks, or this CPU loads
        // the directory after the change. Writing CR3 orders the two on this side.
        self.loaded.store(directory, SeqCst);
        // SAFETY: the directory is a process's whose thread this CPU has, or the neutral one; all of them have the
        // kernel's half.
        unsafe { Cr3::write(PhysFrame::containing_address(PhysAddr::new_truncate(directory)), Cr3Flags::empty()) };
    }

    /// Answers a request of the boot CPU's, on this CPU, which has done what there was to do for a held thread since it
    /// has seen the request.
    pub fn answer(&self, request: Option<u64>) {
        if let Some(request) = request {
            self.load_directory(self.loaded.load(Relaxed));
            self.requests.answer(request);
        }
    }

    /// Asks this CPU, from the boot CPU: the request's number.
    fn ask(&self) -> u64 {
        let request = self.requests.ask();
        self.interrupt();
        request
    }
}

/// The CPU with a number, if it is an application processor that is up.
pub fn find(number: scheduler::Cpu) -> Option<&'static Cpu> {
    let cpu = CPUS.get(usize::from(number))?.load(Acquire);
    // SAFETY: `install` has written it, and it stays.
    unsafe { cpu.as_ref() }
}

/// All application processors that are up.
pub fn all() -> impl Iterator<Item = &'static Cpu> {
    (1..MAX_CPUS as u8).map_while(find).filter(|cpu| cpu.is_up())
}

/// Takes all application processors away, which do nothing any more: the frames that they had.
pub fn take_all() -> impl Iterator<Item = [Frame; 3]> {
    CPUS.iter().filter_map(|cpu| {
        let cpu = cpu.swap(ptr::null_mut(), Relaxed);
        // SAFETY: `install` has written the value, and nothing uses it any more.
        (!cpu.is_null()).then(|| unsafe { ptr::read(&raw const (*cpu).frames) })
    })
}

/// Asks a CPU, and returns when it has answered. The boot CPU calls it.
pub fn ask(number: scheduler::Cpu) {
    let Some(cpu) = find(number) else { return };
    let request = cpu.ask();
    while !cpu.requests.has_answered(request) {
        core::hint::spin_loop();
    }
}

/// Makes all CPUs that run on a page directory forget its translations; returns when they have. The boot CPU calls it,
/// after it has changed the tables.
pub fn forget(directory: u64) {
    core::sync::atomic::fence(SeqCst);
    let mut asked = [None; MAX_CPUS];
    for (cpu, request) in all().zip(&mut asked) {
        if cpu.loaded.load(SeqCst) == directory {
            *request = Some((cpu, cpu.ask()));
        }
    }
    for (cpu, request) in asked.into_iter().flatten() {
        while !cpu.requests.has_answered(request) {
            core::hint::spin_loop();
        }
    }
}

/// Interrupts a CPU that has halted, if there is one to wake.
pub fn wake(wake: scheduler::Wake) {
    if let Some(cpu) = wake.and_then(find) {
        cpu.interrupt();
    }
}
