//! One thread keeps the kernel busy while another one asks for it: `hold [MILLISECONDS]`.
//!
//! On several CPUs the second thread waits for the giant lock. The program repeats this until one call has waited for
//! MILLISECONDS.
//!
//! Run by: `tests/tests/boot/patience.rs`.

use abi::native;
use programs::sys;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// Instructions in the kernel at a time: some tenths of a second, or some seconds where they are simulated.
const INSTRUCTIONS: u64 = 1 << 29;

fn main() {
    let milliseconds = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(100);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(SeqCst) {
                let start = Instant::now();
                assert_eq!(sys!(libc::SYS_getppid), Ok(0), "the first process has no parent");
                done.store(start.elapsed() >= Duration::from_millis(milliseconds), SeqCst);
            }
        });
        while !done.load(SeqCst) {
            assert_eq!(sys!(native::BURN, INSTRUCTIONS), Ok(0), "the kernel burns");
        }
    });
    println!("ok hold: a call took {milliseconds} ms");
}
