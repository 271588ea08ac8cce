//! Starts the further CPUs.
//!
//! INIT, SIPI, SIPI (SDM volume 3, section 9.4.4). All CPUs go through the reset, which takes longest, together; then
//! one after the other runs the trampoline into long mode, draws its number, and waits. The boot CPU has the kernel
//! [make](Newcomers::place) a page directory and a stack for the new CPU, lets it in, and compares the time-stamp
//! counters while no other CPU works. Then the new CPU halts, and the next one's turn comes: on a host that emulates
//! many CPUs, CPUs that spin side by side would only slow each other down.
//!
//! A CPU that does not come up in time is left out. A CPU that is late takes the place of one that is awaited, or finds
//! the list closed and halts for good.

mod skew;
mod trampoline;

use crate::apic::{self, Command};
use crate::clock;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use cpulocal::{Cpu, MAX_CPUS};
use spin::Once;

pub use skew::skew;
pub use trampoline::Trampoline;

/// From INIT to the first SIPI, and from one SIPI to the next, in nanoseconds.
const AFTER_INIT: u64 = 10_000_000;
const AFTER_STARTUP: u64 = 200_000;

/// How long the next CPU may take to come up, in nanoseconds: far longer than any CPU takes, even on an emulator with a
/// busy host.
const PATIENCE: u64 = 5_000_000_000;

/// How many numbers CPUs that have reached long mode have drawn; from [`CLOSED`] on, no more CPUs are taken.
static ARRIVED: AtomicU32 = AtomicU32::new(0);
const CLOSED: u32 = 1 << 16;

/// The address of the page directory that the CPU with number n − 1 is waiting for, which it uses with the stack
/// pointer beside it.
static DIRECTORIES: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];
static STACKS: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

/// The function that a further CPU runs when it has its stack.
static MAIN: Once<fn(Cpu) -> !> = Once::new();

/// Where a new CPU is to run.
pub struct Place {
    /// The physical address of its page directory.
    pub directory: u64,
    /// The top of its stack.
    pub stack: u64,
}

/// What the kernel does for CPUs that come up.
pub trait Newcomers {
    /// Makes a place for the CPU that will have this number; `None` if there is no memory for it.
    fn place(&mut self, cpu: Cpu) -> Option<Place>;

    /// Whether the CPU has come up: it has called [`meet`] and done what the kernel wants of it besides.
    fn is_up(&self, cpu: Cpu) -> bool;
}

/// Starts the CPUs with these local APIC ids. Each goes on in `main` with its number, on its place, with interrupts off,
/// and calls [`meet`] there. Returns when the last one has come up.
pub fn start(trampoline: &Trampoline, ids: &[u32], kernel: &mut dyn Newcomers, main: fn(Cpu) -> !) {
    MAIN.call_once(|| main);
    trampoline.write();
    ids.iter().for_each(|id| apic::send(*id, Command::Init));
    wait(AFTER_INIT);
    // The boot CPU is the first.
    let mut up = 1;
    for id in ids {
        let arrived = || ARRIVED.load(Acquire) as usize >= up;
        for patience in [AFTER_STARTUP, PATIENCE] {
            apic::send(*id, Command::Startup(trampoline.page()));
            if wait_for(arrived, patience) {
                break;
            }
        }
        if arrived() {
            let cpu = Cpu(up as u8);
            let Some(place) = kernel.place(cpu) else {
                log::warn!("no memory for more CPUs");
                break;
            };
            if !let_in(cpu, &place, kernel) {
                break;
            }
            up += 1;
        }
    }
    ARRIVED.fetch_add(CLOSED, Relaxed);
}

/// Lets a CPU in and compares its clock; false if the CPU does not come up.
fn let_in(cpu: Cpu, place: &Place, kernel: &dyn Newcomers) -> bool {
    let index = usize::from(cpu.0) - 1;
    STACKS[index].store(place.stack, Relaxed);
    DIRECTORIES[index].store(place.directory, Release);
    skew::compare(cpu);
    wait_for(|| kernel.is_up(cpu), PATIENCE)
}

/// Compares this CPU's time-stamp counter with the boot CPU's. A further CPU calls it once, when its local APIC works.
pub fn meet() {
    skew::answer();
}

/// The point at which a further CPU enters Rust.
extern "C" fn further_main(number: u64) -> ! {
    let main = MAIN.get().expect("set before any CPU was started");
    main(Cpu(number as u8))
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
