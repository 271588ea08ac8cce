//! Sources of entropy: the CPU's random numbers, and the time that a device takes to answer.

use crate::tsc::rdtsc;
use core::arch::x86_64::_rdseed64_step;
use raw_cpuid::CpuId;
use x86_64::instructions::port::Port;
use x86_64::instructions::random::RdRand;

/// How often the instruction is tried while it has no random number ready, as the SDM advises (volume 1, 7.3.17).
const ATTEMPTS: usize = 10;

/// How many times are measured for a word.
const TIMES: usize = 64;

/// The 8254's counter 0: a device, so that reading it takes a time that varies.
const TIMER: u16 = 0x40;

/// A word of entropy to begin with. It takes up to some hundred microseconds.
pub fn seed() -> u64 {
    sample() ^ seed_instruction().unwrap_or(0) ^ jitter()
}

/// A word of entropy to stir in later, at little cost.
pub fn sample() -> u64 {
    let number = RdRand::new().and_then(|source| (0..ATTEMPTS).find_map(|_| source.get_u64()));
    number.unwrap_or(0) ^ rdtsc()
}

/// A word from RDSEED, if the CPU has it.
fn seed_instruction() -> Option<u64> {
    #[target_feature(enable = "rdseed")]
    fn rdseed() -> Option<u64> {
        let mut number = 0;
        (_rdseed64_step(&mut number) == 1).then_some(number)
    }
    let has_it = CpuId::new().get_extended_feature_info().is_some_and(|features| features.has_rdseed());
    // SAFETY: the CPU has the instruction, as just seen.
    has_it.then(|| (0..ATTEMPTS).find_map(|_| unsafe { rdseed() })).flatten()
}

/// The times that a device takes to answer, folded into one word.
fn jitter() -> u64 {
    let mut port = Port::<u8>::new(TIMER);
    (0..TIMES).fold(0, |word: u64, _| {
        // SAFETY: reading the counter changes at most which half of it is read next, and code that reads it for its
        // value latches it first.
        unsafe { port.read() };
        (word ^ rdtsc()).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
    })
}
