//! CPUs: which there are, where a thread runs, where it may run.

use crate::{native, sys, system};
pub use abi::random::Random;
use std::hint;
use std::thread;

/// A set of CPUs, a bit for each; machines with more than 64 are seen as far as that.
pub type Mask = u64;

/// The CPUs on which the thread `tid` may run; 0 is the caller.
pub fn affinity(tid: i32) -> Result<Mask, i32> {
    // Linux may have room for more CPUs than eight bytes.
    let mut mask = [0u64; 128];
    sys!(libc::SYS_sched_getaffinity, tid, size_of_val(&mask), &mut mask).map(|_| mask[0])
}

/// Says on which CPUs the thread `tid` may run; 0 is the caller.
pub fn set_affinity(tid: i32, mask: Mask) -> system::Result {
    sys!(libc::SYS_sched_setaffinity, tid, size_of::<Mask>(), &mask)
}

/// The CPUs that the caller may run on, by number.
///
/// # Panics
/// If the kernel does not say.
pub fn allowed() -> Vec<u32> {
    let mask = affinity(0).expect("a thread has a mask of CPUs");
    (0..Mask::BITS).filter(|cpu| mask >> cpu & 1 != 0).collect()
}

/// The CPU on which the caller is running.
pub fn current() -> u32 {
    let mut cpu = 0u32;
    sys!(libc::SYS_getcpu, &mut cpu, 0, 0).expect("the number of the CPU");
    cpu
}

/// Moves the caller to one CPU for good.
///
/// # Panics
/// If it may not run there.
pub fn stay_on(cpu: u32) {
    set_affinity(0, 1 << cpu).expect("a CPU that is there");
    assert_eq!(current(), cpu, "a thread is where it asked to be");
}

/// The number of the calling thread.
pub fn thread_number() -> i32 {
    sys!(libc::SYS_gettid).map_or(0, |number| number as i32)
}

/// Waits, busily, until `condition` holds. The CPU is given to others now and then: they may be whom
/// the caller waits for.
pub fn spin_until(mut condition: impl FnMut() -> bool) {
    for round in 1u32.. {
        if condition() {
            return;
        }
        match round % 1024 {
            0 => thread::yield_now(),
            _ => hint::spin_loop(),
        }
    }
}

/// The argument at `index`, 1 being the first, as a number.
///
/// # Panics
/// If it is none.
pub fn argument(index: usize, default: usize) -> usize {
    let given = std::env::args().nth(index);
    given.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("`{text}` is not a number")))
}

/// The statistic `name`, if this is Jotun and it counts such a thing.
pub fn statistic(name: &str) -> Option<u64> {
    let text = native::statistics().ok()?;
    abi::native::value(&text, name)
}
