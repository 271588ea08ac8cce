//! Starts the further CPUs.
//!
//! INIT, SIPI, SIPI (SDM volume 3, section 9.4.4). All CPUs go through the reset, which takes longest, together; then
//! one after the other runs the [`trampoline`] into long mode, draws its number, and waits. The boot CPU makes the new
//! CPU's page directory, CPU-local section and stacks, lets it in, and compares the time-stamp counters while no other
//! CPU works. Then the new CPU halts, and the next one's turn comes: on a host that emulates many CPUs, CPUs that spin
//! side by side would only slow each other down.
//!
//! A CPU that does not come up in time is left out. A CPU that is late takes the place of one that is awaited, or finds
//! the list closed and halts for good.

use super::acpi::Platform;
use super::apic::{self, Command};
use super::cpu::{self, Features, features};
use super::physical::{DIRECT_MAP, Frames};
use super::{clock, cpulocal, fpu, gdt, idt, paging, remote, stack, trampoline};
use ::cpulocal::InKernel;
use alloc::{vec, vec::Vec};
use containers::{Cpu, GlobalDirectory, OutOfFrames};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use giantlock::MAX_CPUS;
use spin::Once;
use x86_64::registers::model_specific::Msr;

/// From INIT to the first SIPI, and from one SIPI to the next, in nanoseconds.
const AFTER_INIT: u64 = 10_000_000;
const AFTER_STARTUP: u64 = 200_000;

/// How long the next CPU may take to come up, in nanoseconds: far longer than any CPU takes, even on an emulator with a
/// busy host.
const PATIENCE: u64 = 5_000_000_000;

/// How many numbers CPUs that have reached long mode have drawn; from [`CLOSED`] on, no more CPUs are taken.
pub(super) static ARRIVED: AtomicU32 = AtomicU32::new(0);
pub(super) const CLOSED: u32 = 1 << 16;

/// The address of the page directory that the CPU with number n − 1 is waiting for, which it uses with the stack
/// pointer beside it.
pub(super) static DIRECTORIES: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];
pub(super) static STACKS: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

/// The function that a further CPU runs when it has come up.
static THEN: Once<fn(&InKernel) -> !> = Once::new();

/// Starts all CPUs but this one, whose global page directory is `boot`. Returns the global page directories of all
/// CPUs, by number. Each started CPU goes on with `then`, at level 1, interrupts off.
pub fn start(
    frames: &mut Frames,
    boot: GlobalDirectory,
    platform: &Platform,
    trampoline_page: Option<u64>,
    then: fn(&InKernel) -> !,
) -> Vec<GlobalDirectory> {
    let mut globals = vec![boot];
    THEN.call_once(|| then);
    // SAFETY: the boot is in the kernel, and CPU-local data is mapped.
    remote::enlist(&unsafe { InKernel::new() });
    let mut ids: Vec<u32> = platform.cpus.iter().copied().filter(|id| *id != apic::id()).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.len() >= MAX_CPUS {
        log::warn!("the machine has {} CPUs; {MAX_CPUS} are used", ids.len() + 1);
        ids.truncate(MAX_CPUS - 1);
    }
    let Some(page) = trampoline_page.filter(|_| !ids.is_empty()) else {
        if !ids.is_empty() {
            log::warn!("no memory below 1 MiB for the further CPUs to begin in; this one stays alone");
        }
        return globals;
    };
    let code = trampoline::code();
    // SAFETY: a page of usable memory that the boot information set aside for this; the direct map has it.
    unsafe { core::ptr::copy_nonoverlapping(code.as_ptr(), (DIRECT_MAP + page) as *mut u8, code.len()) };

    ids.iter().for_each(|id| apic::send(*id, Command::Init));
    wait(AFTER_INIT);
    for id in &ids {
        let arrived = || ARRIVED.load(Acquire) as usize >= globals.len();
        for patience in [AFTER_STARTUP, PATIENCE] {
            apic::send(*id, Command::Startup((page >> 12) as u8));
            if wait_for(arrived, patience) {
                break;
            }
        }
        if arrived() {
            let number = Cpu(globals.len() as u8);
            match prepare(frames, number) {
                Ok(global) if let_in(number, &global) => globals.push(global),
                Ok(_) => break,
                Err(OutOfFrames) => {
                    log::warn!("no memory for more CPUs");
                    break;
                }
            }
        }
    }
    ARRIVED.fetch_add(CLOSED, Relaxed);
    let mut up: Vec<u32> = remote::online().iter().map(remote::id).collect();
    up.sort_unstable();
    ids.iter().filter(|id| !up.contains(id)).for_each(|id| log::warn!("the CPU with APIC id {id} did not come up"));
    log::info!("{} CPU(s) up: local APICs {up:?}", globals.len());
    globals
}

/// Makes a CPU's page directory, CPU-local section and stacks.
fn prepare(frames: &mut Frames, cpu: Cpu) -> Result<GlobalDirectory, OutOfFrames> {
    let global = paging::build_further(frames)?;
    cpulocal::map(frames, cpu, global.pml4)?;
    stack::map(frames, cpu)?;
    Ok(global)
}

/// Lets a CPU in and compares its clock; false if the CPU does not come up.
fn let_in(cpu: Cpu, global: &GlobalDirectory) -> bool {
    let index = usize::from(cpu.0) - 1;
    STACKS[index].store(stack::kernel(cpu).end, Relaxed);
    DIRECTORIES[index].store(global.pml4.address().as_u64(), Release);
    skew::compare(cpu);
    wait_for(|| remote::online().contains(cpu), PATIENCE)
}

/// The point at which a further CPU enters Rust: on its own stack and page directory, at level 1, interrupts off.
pub(super) extern "C" fn further_main(number: u64) -> ! {
    let number = Cpu(number as u8);
    idt::init();
    gdt::init();
    gdt::init_tss(number);
    cpu::init();
    fpu::init();
    // SAFETY: this CPU's section is mapped, and this is its one proof until it goes idle.
    let cpu = unsafe { InKernel::new() };
    cpulocal::set_number(&cpu, number);
    stack::set_kernel_stack(&cpu, number);
    apic::init_further();
    skew::answer();
    remote::enlist(&cpu);
    let then = THEN.get().expect("set before any CPU was started");
    then(&cpu)
}

fn wait(nanoseconds: u64) {
    let since = clock::nanoseconds();
    while clock::nanoseconds() - since < nanoseconds {
        core::hint::spin_loop();
    }
}

/// Waits until a condition holds; false if it does not within `patience` nanoseconds.
fn wait_for(holds: impl Fn() -> bool, patience: u64) -> bool {
    let since = clock::nanoseconds();
    while !holds() {
        if clock::nanoseconds() - since > patience {
            return false;
        }
        core::hint::spin_loop();
    }
    true
}

/// Keeps time equal on all CPUs: compares each CPU's time-stamp counter with the boot CPU's when the CPU comes up.
///
/// The boot CPU asks, and notes when it asked and when the answer came. The other CPU reads its counter between the two
/// moments, so the reading should lie between them. Of several rounds the shortest is the most exact.
///
/// For example, the boot CPU asks at 1,000 and has the answer at 1,200; if the other CPU read 1,600, its counter is
/// ahead by 500, and that is wrong by 100 at most.
mod skew {
    use super::*;

    /// The round that the boot CPU asks for; [`DONE`] after the last round.
    static ASKED: AtomicU64 = AtomicU64::new(0);
    /// The round that has been answered, and the other CPU's counter at that moment.
    static ANSWERED: AtomicU64 = AtomicU64::new(0);
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    /// The number that the other CPU is to add to its counter, in two's complement.
    static CORRECTION: AtomicU64 = AtomicU64::new(0);
    /// For each CPU, by how many ticks its counter was found to be ahead in the end, in two's complement, and by how
    /// many ticks that may be wrong.
    pub(super) static FOUND: [[AtomicU64; 2]; MAX_CPUS] = [const { [AtomicU64::new(0), AtomicU64::new(0)] }; MAX_CPUS];

    const DONE: u64 = u64::MAX;
    const CORRECT: u64 = u64::MAX - 1;
    /// How many rounds a comparison takes.
    const ROUNDS: u64 = 8;
    const TSC_ADJUST: u32 = 0x3b;

    /// The difference between two counters, in ticks: how far the other CPU's counter is ahead, and by how much that
    /// may be wrong.
    struct Difference {
        ahead: i64,
        unsure: u64,
    }

    /// Compares the counter of a CPU that is about to call [`answer`], and has it corrected if it can be.
    pub(super) fn compare(cpu: Cpu) {
        let Some(mut difference) = measure() else { return };
        let is_off = |difference: &Difference| difference.ahead.unsigned_abs() > difference.unsure;
        if is_off(&difference) && features().contains(Features::TSC_ADJUST) {
            CORRECTION.store(difference.ahead.wrapping_neg() as u64, Relaxed);
            round(CORRECT);
            difference = measure().unwrap_or(difference);
        }
        ASKED.store(DONE, Release);
        // The other CPU clears the word, so that the next CPU does not take it for its own.
        wait_for(|| ASKED.load(Acquire) == 0, PATIENCE);
        let Difference { ahead, unsure } = difference;
        FOUND[usize::from(cpu.0)][0].store(ahead as u64, Relaxed);
        FOUND[usize::from(cpu.0)][1].store(unsure, Relaxed);
        if is_off(&difference) {
            log::warn!("the time-stamp counter of CPU {} is {ahead} ± {unsure} ticks ahead", cpu.0);
        }
    }

    fn measure() -> Option<Difference> {
        let mut best: Option<Difference> = None;
        for number in 1..=ROUNDS {
            let before = clock::rdtsc();
            if !round(number) {
                return None;
            }
            let after = clock::rdtsc_ordered();
            // Rounded up: the answer may be as late as `after` itself, and then it is the greater half away.
            let unsure = (after - before).div_ceil(2);
            if best.as_ref().is_none_or(|best| unsure < best.unsure) {
                let ahead = COUNTER.load(Relaxed).wrapping_sub(before + unsure) as i64;
                best = Some(Difference { ahead, unsure });
            }
        }
        best
    }

    /// Asks the other CPU for a round; false if it does not answer.
    fn round(number: u64) -> bool {
        ASKED.store(number, Release);
        wait_for(|| ANSWERED.load(Acquire) == number, PATIENCE)
    }

    /// The other CPU's side of the comparison: answers rounds until the boot CPU says that it is done.
    pub(super) fn answer() {
        let mut last = DONE;
        loop {
            let asked = ASKED.load(Acquire);
            if asked == DONE {
                ANSWERED.store(0, Relaxed);
                ASKED.store(0, Release);
                return;
            }
            if asked == 0 || asked == last {
                core::hint::spin_loop();
                continue;
            }
            if asked == CORRECT {
                // SAFETY: asked for only where the CPU has the register, which moves its counter alone.
                unsafe {
                    let mut register = Msr::new(TSC_ADJUST);
                    let adjusted = register.read().wrapping_add(CORRECTION.load(Relaxed));
                    register.write(adjusted);
                }
            } else {
                COUNTER.store(clock::rdtsc_ordered(), Relaxed);
            }
            last = asked;
            ANSWERED.store(asked, Release);
        }
    }
}

/// By how many ticks a CPU's time-stamp counter was ahead of the boot CPU's when it came up, after any correction, and
/// at most by how many ticks that is wrong.
pub fn skew(of: Cpu) -> (i64, u64) {
    let [ahead, unsure] = &skew::FOUND[usize::from(of.0)];
    (ahead.load(Relaxed) as i64, unsure.load(Relaxed))
}
