//! Futexes whose words the kernel would change: by a load and a store, since no other CPU runs programs of its own.
//!
//! Here other CPUs do, so the words are changed atomically, and the kernel only wakes. For example, a thread ends with
//! a robust mutex that a thread on another CPU is about to wait for: the bootstrap thread marks the word, the waiter's
//! bit stays, and the kernel, which finds the word marked when the thread ends, leaves it alone.

use crate::call::own;
use crate::memory::{change, get};
use crate::pair::Pair;
use linux_raw_sys::errno::{EINVAL, ENOSYS};
use linux_raw_sys::general::*;

/// Wakes threads that wait for a word: how many, or an error.
fn wake(word: u64, private: u32, most: u64) -> i64 {
    if (most as i32) < 1 { 0 } else { own!(__NR_futex, word, FUTEX_WAKE | private, most) }
}

/// `futex` with `FUTEX_WAKE_OP`, whose last argument holds an operation and a comparison with an operand each.
pub fn wake_op(pair: &Pair, &[word, operation, most, most_of_second, second, code]: &[u64; 6]) -> i64 {
    let (private, code) = (operation as u32 & FUTEX_PRIVATE_FLAG, code as u32);
    let [operand, against] = [code >> 12, code].map(|field| (field << 20) as i32 >> 20);
    let operand =
        if code >> 28 & FUTEX_OP_OPARG_SHIFT != 0 { 1_u32.wrapping_shl(operand as u32) } else { operand as u32 };
    let operate: fn(u32, u32) -> u32 = match code >> 28 & 7 {
        FUTEX_OP_SET => |_, operand| operand,
        FUTEX_OP_ADD => u32::wrapping_add,
        FUTEX_OP_OR => |old, operand| old | operand,
        FUTEX_OP_ANDN => |old, operand| old & !operand,
        FUTEX_OP_XOR => |old, operand| old ^ operand,
        _ => return -i64::from(ENOSYS),
    };
    if !word.is_multiple_of(4) {
        return -i64::from(EINVAL);
    }
    let old = match change(pair, second, |old| Some(operate(old, operand))) {
        Ok(old) => old as i32,
        Err(error) => return error,
    };
    let also = match code >> 24 & 0xf {
        FUTEX_OP_CMP_EQ => old == against,
        FUTEX_OP_CMP_NE => old != against,
        FUTEX_OP_CMP_LT => old < against,
        FUTEX_OP_CMP_LE => old <= against,
        FUTEX_OP_CMP_GT => old > against,
        FUTEX_OP_CMP_GE => old >= against,
        _ => return -i64::from(ENOSYS),
    };
    match wake(word, private, most) {
        woken if woken >= 0 && also => woken + wake(second, private, most_of_second).max(0),
        woken => woken,
    }
}

/// Marks the futexes on the robust list of this thread, which ends, as the kernel would. The program keeps the list, so
/// it may be corrupt or endless.
pub fn release_robust(pair: &Pair) {
    const MOST: usize = 2048;
    let (head, thread) = (pair.robust.get(), own!(__NR_gettid) as u32);
    if head == 0 {
        return;
    }
    let Some([first, offset, about_to]) = get::<[u64; 3]>(pair, head) else { return };
    let release = |entry: u64| {
        let address = (entry & !1).wrapping_add(offset);
        let is_mine = |word: u32| word & FUTEX_TID_MASK == thread;
        let left = |word: u32| is_mine(word).then_some(word & FUTEX_WAITERS | FUTEX_OWNER_DIED);
        if change(pair, address, left).is_ok_and(|word| is_mine(word) && word & FUTEX_WAITERS != 0) {
            wake(address, 0, 1);
        }
    };
    let mut next = Some(first);
    for _ in 0..MOST {
        let Some(entry) = next.filter(|entry| entry & !1 != head) else { break };
        next = get(pair, entry & !1);
        if entry != about_to {
            release(entry);
        }
    }
    if about_to != 0 {
        release(about_to);
    }
}
