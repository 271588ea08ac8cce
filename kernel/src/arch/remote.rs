//! Requests between CPUs: to forget TLB entries, to leave user mode, to reschedule.
//!
//! The CPU that makes a request waits for the answers. Only the CPU that holds the giant lock makes one, so there is
//! one request at a time. Another CPU answers from where it is:
//!
//! | where | by |
//! | --- | --- |
//! | user mode or the idle loop | the interrupt |
//! | a call without a lock, interrupts off | the interrupt, once it has left the kernel |
//! | waiting for the giant lock, interrupts off | looking in each round of its spin |
//! | level 1, with the lock | never asked: it is the CPU that asks |
//!
//! The third row keeps the machine from a deadlock: the CPU that asks holds the lock that the other one waits for.
//!
//! For example, CPU 0 calls `munmap` while CPU 1 runs another thread of the program (a TLB shootdown). CPU 0 writes the
//! range, puts CPU 1 into `ASKED` and interrupts it. CPU 1 executes `invlpg` for each page and clears its bit; CPU 0
//! sees `ASKED` empty and goes on.

use super::patience::Patience;
use super::{physical, trace};
use ::trace::Event;
use abi::vectors;
use containers::{Cpu, CpuSet};
use core::cell::Cell;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use cpulocal::{InKernel, MAX_CPUS, cpu_local};
use hardware::apic::{self, Command};
use hardware::clock;
use x86_64::PhysAddr;
use x86_64::registers::control::{Cr3, Cr3Flags};
use x86_64::structures::paging::PhysFrame;

/// The local APIC ids of the CPUs that have come up, by number.
static IDS: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(0) }; MAX_CPUS];

/// The CPUs that have come up, the boot CPU included.
static ONLINE: AtomicU64 = AtomicU64::new(1);

/// The CPUs that have not answered the request yet. The asking CPU writes it last, with `Release`, so that a CPU that
/// finds itself in it sees the range; each CPU clears its bit with `Release`, so that the asking CPU sees the work
/// done.
static ASKED: AtomicU64 = AtomicU64::new(0);

/// The addresses whose translations are to be forgotten; an empty range asks a CPU to leave the thread that it runs.
static RANGE: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

cpu_local! {
    /// The address of this CPU's global page directory.
    static GLOBAL: Cell<u64> = Cell::new(0);
    /// How many interrupts this CPU has sent to other CPUs.
    pub static SENT: Cell<u64> = Cell::new(0);
}

/// What another CPU has requested of this one, which has done it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Requested {
    /// There was no request.
    Nothing,
    /// This CPU has forgotten translations and may go on as it was.
    Invalidation,
    /// This CPU is on its global page directory. The thread that it ran may be gone: it must go through level 1 before
    /// it looks at its thread.
    Departure,
}

/// Enters this CPU into the set of CPUs that can be asked. It has come up and runs on its global page directory.
pub fn enlist(cpu: &InKernel) {
    let number = super::cpulocal::number(cpu);
    GLOBAL.get(cpu).set(Cr3::read().0.start_address().as_u64());
    IDS[usize::from(number.0)].store(apic::id(), Relaxed);
    ONLINE.fetch_or(CpuSet::only(number).0, Release);
}

/// The local APIC id of a CPU.
pub fn id(cpu: Cpu) -> u32 {
    IDS[usize::from(cpu.0)].load(Relaxed)
}

/// The CPUs that have come up.
pub fn online() -> CpuSet {
    CpuSet(ONLINE.load(Acquire))
}

/// Sends an interrupt to each of these CPUs.
fn interrupt(cpu: &InKernel, cpus: CpuSet, vector: u8) {
    let sent = SENT.get(cpu);
    sent.set(sent.get() + u64::from(cpus.len()));
    if let Some(to) = cpus.iter().next() {
        let to = if cpus.len() == 1 { u16::from(to.0) } else { Event::ALL };
        trace::event(cpu, Event::IpiSent { vector, to });
    }
    cpus.iter().for_each(|to| apic::send(id(to), Command::Interrupt(vector)));
}

/// Makes these CPUs reschedule. The caller does not wait for that.
pub fn reschedule(cpu: &InKernel, cpus: CpuSet) {
    interrupt(cpu, cpus, vectors::RESCHEDULE);
}

/// Wakes CPUs that have halted while waiting for the giant lock.
pub fn wake(cpu: &InKernel, cpus: CpuSet) {
    interrupt(cpu, cpus, vectors::REQUEST);
}

/// Makes other CPUs forget their translations of a range of user pages (a TLB shootdown); returns when they have.
pub fn invalidate(cpu: &InKernel, cpus: CpuSet, range: Range<u64>) {
    ask(cpu, cpus, range);
}

/// Takes other CPUs out of user mode and onto their global page directories; returns when they are there. From there
/// they wait to be let into the kernel, and do not touch the threads that they ran before they are.
pub fn vacate(cpu: &InKernel, cpus: CpuSet) {
    ask(cpu, cpus, 0..0);
}

fn ask(cpu: &InKernel, cpus: CpuSet, range: Range<u64>) {
    let start = if cfg!(feature = "trace") { clock::rdtsc() } else { 0 };
    RANGE[0].store(range.start, Relaxed);
    RANGE[1].store(range.end, Relaxed);
    ASKED.store(cpus.0, Release);
    interrupt(cpu, cpus, vectors::REQUEST);
    let mut patience = Patience::new();
    while ASKED.load(Acquire) != 0 {
        core::hint::spin_loop();
        if patience.is_over() {
            log::warn!("CPUs {:?} do not answer CPU {}", CpuSet(ASKED.load(Relaxed)), super::cpulocal::number(cpu).0);
        }
    }
    if cfg!(feature = "trace") {
        let cycles = u32::try_from(clock::rdtsc() - start).unwrap_or(u32::MAX);
        trace::event(cpu, Event::Shootdown { cpus: cpus.len() as u16, cycles });
    }
}

/// Whether another CPU has asked anything of this one.
#[inline(always)]
pub fn is_asked(cpu: &InKernel) -> bool {
    ASKED.load(Acquire) & CpuSet::only(super::cpulocal::number(cpu)).0 != 0
}

/// Answers another CPU's request to this one, if there is any.
pub fn answer(cpu: &InKernel) -> Requested {
    if !is_asked(cpu) {
        return Requested::Nothing;
    }
    let me = CpuSet::only(super::cpulocal::number(cpu)).0;
    let range = RANGE[0].load(Relaxed)..RANGE[1].load(Relaxed);
    let requested = if range.is_empty() {
        let global = PhysFrame::containing_address(PhysAddr::new(GLOBAL.get(cpu).get()));
        // SAFETY: the global page directory is this CPU's own and stays for ever.
        unsafe { Cr3::write(global, Cr3Flags::empty()) }
        Requested::Departure
    } else {
        physical::invalidate_here(range);
        Requested::Invalidation
    };
    ASKED.fetch_and(!me, Release);
    requested
}
