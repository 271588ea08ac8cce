//! A process's memory, for its bootstrap threads: what the program may have taken away, or uses on other CPUs at the
//! same time.
//!
//! A bootstrap thread that reads the program's memory by itself dies of what is not there, if the program blocks the
//! signal of the fault. For example, a program calls `rt_sigaction` with an address at which nothing is mapped: the
//! copy fails, and the call returns `EFAULT`.

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use extension::{EINVAL, Kernel};
use zerocopy::IntoBytes;

/// The most bytes of a copy: a signal's frame, or its extended state.
const MOST: usize = 1024;

/// The arguments of a call, three words at an address.
fn words(kernel: &Kernel, address: u64) -> Result<[u64; 3], i32> {
    let mut words = [0; 3];
    kernel.read(address, words.as_mut_bytes()).map(|()| words)
}

/// [`Call::Copy`](abi::application::Call)
#[inline(never)]
pub fn copy(kernel: &Kernel, arguments: u64) -> Result<u64, i32> {
    let [to, from, length] = words(kernel, arguments)?;
    let mut bytes = [0; MOST];
    let bytes = bytes.get_mut(..length as usize).ok_or(EINVAL)?;
    kernel.read(from, bytes)?;
    kernel.write(to, bytes).map(|()| 0)
}

/// [`Call::Exchange`](abi::application::Call)
#[inline(never)]
pub fn exchange(kernel: &Kernel, arguments: u64) -> Result<u64, i32> {
    let [address, old, new] = words(kernel, arguments)?;
    if !address.is_multiple_of(4) {
        return Err(EINVAL);
    }
    let page = kernel.hold(address)?;
    // SAFETY: an aligned word of a frame that is held and mapped; programs use it as they like, at most this program is
    // harmed by what comes of that.
    let word = unsafe { page.start().cast::<AtomicU32>().add(address as usize % 4096 / 4).as_ref() };
    let before = word.compare_exchange(old as u32, new as u32, SeqCst, SeqCst);
    kernel.release(page);
    Ok(before.unwrap_or_else(|other| other).into())
}
