//! The CPUs that a program may ask for: those that run application threads, numbered from 0.
//!
//! Any of them runs any thread, so a mask is remembered and otherwise without effect. For example, a program that
//! starts a thread for each of its CPUs makes three of them on a machine of four CPUs: the boot CPU runs no application
//! thread.

use crate::call::own;
use crate::memory;
use crate::pair::Pair;
use abi::application::Call;
use linux_raw_sys::errno::{EFAULT, EINVAL};
use linux_raw_sys::general::{__NR_gettid, __NR_sched_getaffinity};

/// Bytes of a mask.
const BYTES: u64 = size_of::<u64>() as u64;

/// `sched_getaffinity`
pub fn get(pair: &Pair, &[thread, size, mask, ..]: &[u64; 6]) -> i64 {
    let answer = check(thread, size);
    let chosen = if is_own(thread) { pair.affinity.get() } else { 0 };
    let set = if chosen == 0 { all(pair) } else { chosen };
    if answer >= 0 && memory::put(pair, mask, set) != 0 { -i64::from(EFAULT) } else { answer }
}

/// `sched_setaffinity`
pub fn set(pair: &Pair, &[thread, size, mask, ..]: &[u64; 6]) -> i64 {
    let byte = |at| memory::get::<u8>(pair, mask + at).map(|byte| u64::from(byte) << (8 * at));
    let Some(wanted) = (0..BYTES.min(u64::from(size as u32))).try_fold(0, |set, at| Some(set | byte(at)?)) else {
        return -i64::from(EFAULT);
    };
    let (answer, set) = (check(thread, BYTES), wanted & all(pair));
    if answer < 0 {
        return answer;
    }
    if set == 0 {
        return -i64::from(EINVAL);
    }
    if is_own(thread) {
        pair.affinity.set(set);
    }
    0
}

/// `getcpu`: one of the CPUs that the thread has chosen, as it may run on any.
pub fn getcpu(pair: &Pair, &[cpu, node, ..]: &[u64; 6]) -> i64 {
    let number = if pair.affinity.get() == 0 { 0 } else { pair.affinity.get().trailing_zeros() };
    let put = |address: u64, value: u32| if address == 0 { 0 } else { memory::put(pair, address, value) };
    put(cpu, number).min(put(node, 0))
}

/// What the kernel says of a thread and of the size of a mask.
fn check(thread: u64, size: u64) -> i64 {
    let mut mask = 0_u64;
    own!(__NR_sched_getaffinity, thread, size.min(1 << 10), (&raw mut mask).addr())
}

fn is_own(thread: u64) -> bool {
    let thread = i64::from(thread as i32);
    thread == 0 || thread == own!(__NR_gettid)
}

fn all(pair: &Pair) -> u64 {
    let count = pair.ask(Call::Init, 0).clamp(1, 64);
    u64::MAX >> (64 - count)
}
