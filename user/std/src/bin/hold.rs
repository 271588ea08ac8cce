//! One thread keeps the kernel while another asks for it: `hold [INSTRUCTIONS]`.
//!
//! On several CPUs the second waits for the giant lock as long as the first executes so many instructions
//! in the kernel.

use abi::native;
use programs::sys;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

fn main() {
    let instructions = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(native::BURN_MAX);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(SeqCst) {
                assert_eq!(sys!(libc::SYS_getppid), Ok(0), "the first process has no parent");
            }
        });
        assert_eq!(sys!(native::BURN, instructions), Ok(0), "the kernel burns");
        done.store(true, SeqCst);
    });
    println!("ok hold: {instructions} instructions");
}
