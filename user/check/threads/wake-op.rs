//! `FUTEX_WAKE_OP`, and the robust futexes of threads that end, against threads that change the same word themselves:
//! `wake-op [calls]`.
//!
//! In the end no change may be missing, neither the kernel's nor a thread's: each is atomic, on whichever CPU it is
//! made.
//!
//! Run by: `tests/tests/boot/application.rs`, `tests/tests/smp.rs`.

use libc::*;
use programs::{cpus, sys};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::thread;

/// As `linux/futex.h` packs it: an operation with its operand, a comparison with what it compares to.
const fn code(operation: u32, operand: u32, comparison: u32, against: u32) -> u32 {
    operation << 28 | comparison << 24 | (operand & 0xfff) << 12 | against & 0xfff
}

const SET: u32 = 0;
const ADD: u32 = 1;
const OR: u32 = 2;
const AND_NOT: u32 = 3;
const XOR: u32 = 4;
const EQUAL: u32 = 0;

fn wake_op(word: &AtomicU32, code: u32) {
    let futex = AtomicU32::new(0);
    let woken = sys!(SYS_futex, futex.as_ptr(), FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 1, 1, word.as_ptr(), code);
    assert_eq!(woken, Ok(0), "nobody waits");
}

/// Threads on all CPUs but this one add to a word while `kernel` has the kernel change it; returns what they
/// have added.
fn beside(word: &AtomicU32, allowed: &[u32], mut kernel: impl FnMut()) -> u32 {
    let done = AtomicBool::new(false);
    let begun = AtomicU32::new(0);
    cpus::stay_on(allowed[0]);
    thread::scope(|scope| {
        let adds = |cpu: u32| {
            let (done, begun) = (&done, &begun);
            scope.spawn(move || {
                cpus::stay_on(cpu);
                begun.fetch_add(1, SeqCst);
                let mut added = 0u32;
                while !done.load(SeqCst) {
                    word.fetch_add(1, SeqCst);
                    added += 1;
                }
                added
            })
        };
        let threads: Vec<_> = allowed[1..].iter().map(|cpu| adds(*cpu)).collect();
        cpus::spin_until(|| begun.load(SeqCst) as usize == threads.len());
        kernel();
        done.store(true, SeqCst);
        threads.into_iter().map(|thread| thread.join().expect("it ends")).fold(0, u32::wrapping_add)
    })
}

/// A thread ends with a robust futex, whose waiters bit another thread flips meanwhile: no flip is lost.
fn robust(beside: bool) {
    const WAITERS: u32 = 1 << 31;
    const OWNER_DIED: u32 = 1 << 30;
    let word = AtomicU32::new(0);
    // The head of the list, with one entry, which leads back to the head.
    let list = [const { AtomicU64::new(0) }; 4];
    let [head, entry] = [0, 3].map(|index| list[index].as_ptr().addr() as u64);
    list[3].store(head, SeqCst);
    list[0].store(entry, SeqCst);
    list[1].store((word.as_ptr().addr() as u64).wrapping_sub(entry), SeqCst);
    let flip = || {
        while word.load(SeqCst) == 0 {}
        let mut flips = 0_u32;
        while word.fetch_xor(WAITERS, SeqCst) & OWNER_DIED == 0 {
            flips += 1;
        }
        flips + 1
    };
    let flips = thread::scope(|scope| {
        let flips = beside.then(|| scope.spawn(flip));
        let ends = scope.spawn(|| {
            sys!(SYS_set_robust_list, list.as_ptr(), 24).expect("a list");
            word.store(cpus::thread_number() as u32, SeqCst);
        });
        ends.join().expect("it ends");
        cpus::spin_until(|| word.load(SeqCst) & OWNER_DIED != 0);
        flips.map_or(0, |thread| thread.join().expect("it ends"))
    });
    assert_eq!(word.load(SeqCst), OWNER_DIED | if flips % 2 == 1 { WAITERS } else { 0 }, "{flips} flips");
}

fn main() {
    let allowed = cpus::allowed();
    let calls = cpus::argument(1, 5000) as u32;

    let word = AtomicU32::new(0);
    for (operation, operand, expected) in [(SET, 5, 5), (ADD, 3, 8), (OR, 6, 14), (AND_NOT, 2, 12), (XOR, 5, 9)] {
        wake_op(&word, code(operation, operand, EQUAL, 0));
        assert_eq!(word.load(SeqCst), expected, "operation {operation}");
    }
    wake_op(&word, code(SET | 8, 31, EQUAL, 0));
    assert_eq!(word.load(SeqCst), 1 << 31, "a shifted operand");

    word.store(0, SeqCst);
    let added = beside(&word, &allowed, || (0..calls).for_each(|_| wake_op(&word, code(ADD, 1, EQUAL, 1))));
    assert_eq!(word.load(SeqCst), calls.wrapping_add(added), "{calls} from the kernel and {added} from threads");

    // An even number of changes of a bit that the threads' sums carry into and out of.
    word.store(0, SeqCst);
    let flip = code(XOR | 8, 31, EQUAL, 0);
    let added = beside(&word, &allowed, || (0..2 * calls).for_each(|_| wake_op(&word, flip)));
    assert_eq!(word.load(SeqCst), added, "{} flips of one bit", 2 * calls);
    (0..calls.min(20)).for_each(|_| robust(allowed.len() > 1));
    println!("ok wake-op: {calls} calls beside {} threads", allowed.len() - 1);
}
