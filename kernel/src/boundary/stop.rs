//! Non-maskable interrupts between CPUs: one CPU asks another where it is, or stops all of them.
//!
//! They arrive at any instruction, interrupts off or not, and on a stack of their own. One that no CPU has asked for
//! comes from the hardware and is fatal. The handler reads only what is consistent at any instruction: single words.
//!
//! For example, when CPU 0 panics, it sends CPU 1 one of these; CPU 1 writes its level, system call and backtrace to
//! the host, and halts.

use super::entry;
use crate::arch::frame::LEVEL;
use crate::arch::{backtrace, cpulocal, fault, remote, report};
use ::cpulocal::InKernel;
use abi::channel::{BACKTRACE, REPORT};
use containers::Registers;
use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Release};
use hardware::apic::{self, Command};
use hardware::{clock, cpu, debugcon, interrupts};
use syscalls::Sysno;

/// How long a CPU may take to stop, in nanoseconds.
const PATIENCE: u64 = 2_000_000_000;

/// The CPU that stops all others, by its local APIC id.
static STOPPER: AtomicU64 = AtomicU64::new(NOBODY);
const NOBODY: u64 = u64::MAX;

/// The CPU that is to report now, by number plus one: one CPU reports at a time.
static TURN: AtomicU32 = AtomicU32::new(0);

/// Stops all CPUs but this one, and has each report where it was.
pub fn others() {
    let me = cpu::initial_id();
    STOPPER.store(me.into(), Release);
    for cpu in remote::online().iter().filter(|cpu| remote::id(*cpu) != me) {
        TURN.store(u32::from(cpu.0) + 1, Release);
        apic::send(remote::id(cpu), Command::NonMaskable);
        let since = clock::nanoseconds();
        while TURN.load(Acquire) != 0 {
            if clock::nanoseconds() - since > PATIENCE {
                debugcon::record(REPORT, format_args!("CPU {} does not stop", cpu.0));
                break;
            }
            core::hint::spin_loop();
        }
    }
}

/// A non-maskable interrupt. Returns if the CPU may go on.
pub extern "C" fn non_maskable(registers: &Registers) {
    // SAFETY: a CPU interrupts only CPUs that have come up, and their sections are mapped; nothing of the interrupted
    // code's is changed.
    let cpu = unsafe { InKernel::new() };
    let stopper = STOPPER.load(Acquire);
    if stopper == cpu::initial_id().into() {
        // Another CPU asked where this one is, and has been stopped by it meanwhile: this CPU has reported already.
        return;
    }
    if stopper != NOBODY {
        let me = cpulocal::number(&cpu);
        if TURN.load(Acquire) == u32::from(me.0) + 1 {
            tell(&cpu, registers);
            debugcon::let_go();
            TURN.store(0, Release);
        }
        debugcon::let_go();
        halt();
    }
    if report::is_wanted(&cpu) {
        return tell(&cpu, registers);
    }
    super::in_kernel(registers)
}

/// Stops this CPU; only a non-maskable interrupt reaches it from now on.
pub fn halt() -> ! {
    loop {
        interrupts::disable();
        x86_64::instructions::hlt();
    }
}

/// Tells the host where this CPU was.
fn tell(cpu: &InKernel, registers: &Registers) {
    let number = cpulocal::number(cpu).0;
    debugcon::record(REPORT, format_args!("CPU {number}: {}", Whereabouts { cpu, registers }));
    if registers.cs & 3 == 0 {
        // The innermost frame is reported by the address behind its instruction, as a return address is.
        debugcon::record(BACKTRACE, format_args!("{:x}", registers.rip + 1));
        backtrace::walk(registers.rbp, |address| debugcon::record(BACKTRACE, format_args!("{address:x}")));
    }
}

/// What a CPU was doing, in words.
struct Whereabouts<'a> {
    cpu: &'a InKernel,
    registers: &'a Registers,
}

impl fmt::Display for Whereabouts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Registers { cs, rip, .. } = *self.registers;
        if cs & 3 != 0 {
            return write!(f, "in user mode at {rip:#x}");
        }
        let level = LEVEL.get(self.cpu).get();
        if level == 0 {
            return write!(f, "level 0, idle or on its way out");
        }
        let mut outermost = rip;
        backtrace::walk(self.registers.rbp, |address| outermost = address);
        if let Some(number) = entry::call_under_way(self.cpu, outermost) {
            let name = Sysno::new(number as usize).map_or("", |sysno| sysno.name());
            return write!(f, "level {level}, system call {number} {name}");
        }
        match entry::trap_under_way(self.cpu, outermost) {
            Some(vector) => write!(f, "level {level}, {} ({vector:#x})", fault::name(vector as u8)),
            None => write!(f, "level {level}, from idle"),
        }
    }
}
