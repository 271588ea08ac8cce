//! Keeps time equal on all CPUs: compares each CPU's time-stamp counter with the boot CPU's when the CPU comes up.
//!
//! The boot CPU asks, and notes when it asked and when the answer came. The other CPU reads its counter between the two
//! moments, so the reading should lie between them. Of several rounds the shortest is the most exact.
//!
//! For example, the boot CPU asks at 1,000 and has the answer at 1,200; if the other CPU read 1,600, its counter is
//! ahead by 500, and that is wrong by 100 at most.

use super::{PATIENCE, wait_for};
use crate::clock;
use crate::cpu::{Features, features};
use core::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use cpulocal::{Cpu, MAX_CPUS};
use x86_64::registers::model_specific::Msr;

/// The round that the boot CPU asks for; [`DONE`] after the last round.
static ASKED: AtomicU64 = AtomicU64::new(0);
/// The round that has been answered, and the other CPU's counter at that moment.
static ANSWERED: AtomicU64 = AtomicU64::new(0);
static COUNTER: AtomicU64 = AtomicU64::new(0);
/// The number that the other CPU is to add to its counter, in two's complement.
static CORRECTION: AtomicU64 = AtomicU64::new(0);
/// For each CPU, by how many ticks its counter was found to be ahead in the end, in two's complement, and by how
/// many ticks that may be wrong.
static FOUND: [[AtomicU64; 2]; MAX_CPUS] = [const { [AtomicU64::new(0), AtomicU64::new(0)] }; MAX_CPUS];

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

/// By how many ticks a CPU's time-stamp counter was ahead of the boot CPU's when it came up, after any correction, and
/// at most by how many ticks that is wrong.
pub fn skew(of: Cpu) -> (i64, u64) {
    let [ahead, unsure] = &FOUND[usize::from(of.0)];
    (ahead.load(Relaxed) as i64, unsure.load(Relaxed))
}
