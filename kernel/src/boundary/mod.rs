//! The boundary: how a CPU enters and leaves the kernel.
//!
//! The execution level rises on every entry and falls on every exit (papers/001 section 3.1): **0** in
//! user mode and in the idle loop, **1** in a system call, exception or interrupt that came from
//! level 0, **2** when the kernel itself was interrupted.
//!
//! | level | may touch |
//! | --- | --- |
//! | 0 | nothing of the kernel's |
//! | 1 | everything, through the one `&mut Kernel` that this module hands out |
//! | 2 | the device that interrupted, and this CPU's notes ([`deferred`]) |
//!
//! The strategy is asked when the level rises to 1 and told when it falls to 0. It decides who may be in
//! the kernel at the same time: for a uniprocessor (`up`) there is nothing to decide; with several CPUs
//! (`giant`) the giant lock decides.

pub mod deferred;
#[cfg(feature = "smp")]
mod giant;
#[cfg(not(feature = "smp"))]
mod up;

use crate::arch::entry::LEVEL;
use crate::arch::{clock, devices, entry, interrupts};
use crate::kernel::Kernel;
use crate::{calls, schedule, signals, trap};
use containers::Registers;
use core::cell::{Cell, UnsafeCell};
use cpulocal::{InKernel, cpu_local};
#[cfg(feature = "smp")]
use giant as strategy;
#[cfg(not(feature = "smp"))]
use up as strategy;

/// What brought a CPU into the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The `syscall` instruction.
    SystemCall,
    /// A fault of the running program's.
    Exception,
    /// A device or the timer.
    Interrupt,
}

/// Entries to levels 1 and 2 by cause, and how the CPU's cycles divide.
pub struct Counts {
    /// Entries to level 1, by [`Cause`].
    pub level1: [Cell<u64>; 3],
    /// Interrupts taken at level 1, which made it level 2.
    pub level2: Cell<u64>,
    /// Entries from the idle loop; they are in `level1` too.
    pub from_idle: Cell<u64>,
    /// When the CPU last changed between user mode, kernel and idle, by the cycle counter.
    since: Cell<u64>,
    /// Cycles in user mode.
    pub user: Cell<u64>,
    /// Cycles in the kernel.
    pub kernel: Cell<u64>,
    /// Cycles halted.
    pub idle: Cell<u64>,
}

cpu_local! {
    /// This CPU's counts.
    pub static COUNTS: Counts = Counts {
        level1: [const { Cell::new(0) }; 3],
        level2: Cell::new(0),
        from_idle: Cell::new(0),
        since: Cell::new(0),
        user: Cell::new(0),
        kernel: Cell::new(0),
        idle: Cell::new(0),
    };
}

fn add(counter: &Cell<u64>, amount: u64) {
    counter.set(counter.get().wrapping_add(amount));
}

/// Adds the cycles since the last change to `to`.
fn account(counts: &Counts, to: &Cell<u64>) {
    let now = clock::rdtsc();
    add(to, now.wrapping_sub(counts.since.replace(now)));
}

/// The kernel's state. Reached only through [`rise`].
struct TheKernel(UnsafeCell<Option<Kernel>>);

// SAFETY: only a CPU at level 1 that the strategy has let in makes a reference to the content.
unsafe impl Sync for TheKernel {}

static KERNEL: TheKernel = TheKernel(UnsafeCell::new(None));

/// From level 0 to level 1: waits until the strategy lets this CPU in, and hands out the kernel.
///
/// # Safety
/// Called by the entry functions below and nowhere else, once per visit, so that the reference is
/// the only one there is; it must not be kept beyond [`fall`].
#[inline(always)]
unsafe fn rise(cpu: &InKernel, cause: Cause) -> &'static mut Kernel {
    LEVEL.get(cpu).set(1);
    let counts = COUNTS.get(cpu);
    add(&counts.level1[cause as usize], 1);
    strategy::enter(cpu);
    // SAFETY: the level was 0, so nobody on this CPU holds a reference, and the strategy sees to the
    // others. The state is there: the boot puts it there before the first entry.
    unsafe { (*KERNEL.0.get()).as_mut().unwrap_unchecked() }
}

/// From level 1 to level 0.
#[inline(always)]
fn fall(cpu: &InKernel) {
    strategy::leave(cpu);
    LEVEL.get(cpu).set(0);
}

/// Works off the notes, chooses who runs next and leaves the kernel through it, or goes idle.
#[inline(always)]
fn leave(kernel: &mut Kernel, cpu: &InKernel) -> *const Registers {
    if deferred::any(cpu) || !kernel.tasks.attention.is_empty() {
        choose(kernel, cpu);
    }
    let counts = COUNTS.get(cpu);
    account(counts, &counts.kernel);
    match schedule::current(cpu) {
        Some(_) => {
            fall(cpu);
            entry::frame(cpu)
        }
        None => {
            fall(cpu);
            entry::idle()
        }
    }
}

/// The slow part of [`leave`].
#[inline(never)]
fn choose(kernel: &mut Kernel, cpu: &InKernel) {
    loop {
        interrupts::disable();
        let notes = deferred::take(cpu);
        kernel.work_off(cpu, notes);
        schedule::choose(kernel, cpu);
        if signals::deliver(kernel, cpu) && kernel.tasks.attention.is_empty() && !deferred::any(cpu) {
            return;
        }
    }
}

/// Takes the level-1 kernel over at the end of the boot and goes to user mode or idle. The boot has
/// been running at level 1 from the start.
pub fn start(kernel: Kernel, cpu: InKernel) -> ! {
    interrupts::disable();
    COUNTS.get(&cpu).since.set(clock::rdtsc());
    strategy::enter(&cpu);
    // SAFETY: the boot is at level 1, nobody has entered yet, and this runs once.
    let kernel = unsafe { (*KERNEL.0.get()).insert(kernel) };
    kernel.tasks.attention.insert(schedule::this_cpu(&cpu));
    let registers = leave(kernel, &cpu);
    // SAFETY: these are the registers of the thread chosen, and interrupts are off.
    unsafe { entry::depart(registers) }
}

/// A system call of the current thread.
pub extern "C" fn enter_system_call() -> *const Registers {
    // SAFETY: only the entry code calls this, on the kernel stack of this CPU.
    let cpu = unsafe { InKernel::new() };
    let counts = COUNTS.get(&cpu);
    account(counts, &counts.user);
    // SAFETY: this is an entry.
    let kernel = unsafe { rise(&cpu, Cause::SystemCall) };
    let (number, arguments) = entry::system_call_arguments(&cpu);
    if let Some(result) = calls::dispatch(kernel, &cpu, number, arguments) {
        entry::set_result(&cpu, result);
    }
    leave(kernel, &cpu)
}

/// An exception or interrupt of the current thread.
pub extern "C" fn enter_trap() -> *const Registers {
    // SAFETY: as in `enter_system_call`.
    let cpu = unsafe { InKernel::new() };
    let counts = COUNTS.get(&cpu);
    account(counts, &counts.user);
    let (vector, code) = entry::cause(&cpu);
    if vector < trap::EXCEPTIONS {
        let address = trap::fault_address();
        // SAFETY: this is an entry.
        let kernel = unsafe { rise(&cpu, Cause::Exception) };
        trap::exception(kernel, &cpu, vector, code, address);
        leave(kernel, &cpu)
    } else {
        // SAFETY: this is an entry.
        let kernel = unsafe { rise(&cpu, Cause::Interrupt) };
        deferred::note(&cpu, devices::interrupt(vector as u8));
        leave(kernel, &cpu)
    }
}

/// An interrupt that ended the idle loop. The interrupted frame is dropped.
pub extern "C" fn enter_from_idle(registers: &Registers) -> *const Registers {
    // SAFETY: as in `enter_system_call`.
    let cpu = unsafe { InKernel::new() };
    let counts = COUNTS.get(&cpu);
    account(counts, &counts.idle);
    add(&counts.from_idle, 1);
    // SAFETY: this is an entry.
    let kernel = unsafe { rise(&cpu, Cause::Interrupt) };
    deferred::note(&cpu, devices::interrupt(registers.vector as u8));
    leave(kernel, &cpu)
}

/// An interrupt at level 1, which makes it level 2.
///
/// No [`Kernel`] here: the code that was interrupted is using it.
pub extern "C" fn interrupted(registers: &Registers) {
    // SAFETY: as in `enter_system_call`; the proof serves the counters and the notes only.
    let cpu = unsafe { InKernel::new() };
    let level = LEVEL.get(&cpu);
    level.set(level.get() + 1);
    add(&COUNTS.get(&cpu).level2, 1);
    deferred::note(&cpu, devices::interrupt(registers.vector as u8));
    level.set(level.get() - 1);
}

/// Lets interrupts in for the rest of a long call at level 1, so that devices are answered meanwhile.
/// The boundary keeps them out again before the level falls.
pub fn let_interrupts_in(_cpu: &InKernel) {
    interrupts::enable();
}

/// Keeps interrupts out again.
pub fn keep_interrupts_out(_cpu: &InKernel) {
    interrupts::disable();
}
