//! The device's descriptor, which the program is not to find.
//!
//! Its number is just above the limit, and it makes way for a file of the program's that is to have that number. For
//! example, `close_range(3, ~0, 0)`, with which a shell tidies up before `execve`, closes all files but the device.

use crate::call::{call, own};
use crate::pair::Pair;
use abi::application::DEVICE;
use linux_raw_sys::errno::EBADF;
use linux_raw_sys::general::*;

/// The limits of descriptors: the one that counts, and how far the program may raise that.
fn limits() -> [u64; 2] {
    let mut limits = [0_u64; 2];
    own!(__NR_getrlimit, RLIMIT_NOFILE, limits.as_mut_ptr().addr());
    limits
}

/// Opens the device just above the limit, or at the highest free number.
pub fn open() -> Option<u64> {
    let [limit, most] = limits();
    open_at(free_below(most.min(limit.saturating_add(1)))?)
}

/// Opens the device at a free number, or at a low one if that is impossible. Meanwhile the limit allows the number.
pub fn open_at(number: u64) -> Option<u64> {
    let mut path = [0_u8; 16];
    path[..DEVICE.len()].copy_from_slice(DEVICE.as_bytes());
    let low = u64::try_from(own!(__NR_open, path.as_ptr().addr(), O_RDWR | O_CLOEXEC)).ok()?;
    let before = limits();
    let meanwhile = [before[0].max(number + 1), before[1]];
    own!(__NR_setrlimit, RLIMIT_NOFILE, meanwhile.as_ptr().addr());
    let moved = low != number && own!(__NR_dup3, low, number, O_CLOEXEC) >= 0;
    own!(__NR_setrlimit, RLIMIT_NOFILE, before.as_ptr().addr());
    if !moved {
        return Some(low);
    }
    own!(__NR_close, low);
    Some(number)
}

fn free_below(end: u64) -> Option<u64> {
    (0..end).rev().find(|number| own!(__NR_fcntl, *number, F_GETFD) == -i64::from(EBADF))
}

/// Whether an argument of a call is the device's descriptor.
pub fn is(pair: &Pair, argument: u64) -> bool {
    u64::from(argument as u32) == pair.device.get()
}

/// Moves the device to another number, for a file that is to have this one; false if there is none, or if other threads
/// may be using this one.
pub fn makes_way(pair: &Pair) -> bool {
    let before = pair.device.get();
    let Some(number) = free_below(before).filter(|_| !pair.has_companions()) else { return false };
    if own!(__NR_dup3, before, number, O_CLOEXEC) < 0 {
        return false;
    }
    pair.device.set(number);
    own!(__NR_close, before);
    true
}

/// `close_range`
pub fn close_range(pair: &Pair, &[first, last, flags, ..]: &[u64; 6]) -> i64 {
    let (first, last, device) = (u64::from(first as u32), u64::from(last as u32), pair.device.get());
    // SAFETY: the program's own call, which touches no memory.
    let close = |first: u64, last: u64| unsafe { call(__NR_close_range.into(), &[first, last, flags, 0, 0, 0]) };
    if !(first..=last).contains(&device) {
        return close(first, last);
    }
    let below = if first < device { close(first, device - 1) } else { 0 };
    if below == 0 && device < last { close(device + 1, last) } else { below }
}
