//! The program's memory, which the application kernel copies for this program: what is not there is an error, not a
//! fault. For example, `rt_sigaction` with an address at which nothing is mapped returns `EFAULT`.

use crate::pair::Pair;
use abi::application::Call;
use core::mem::MaybeUninit;
use linux_raw_sys::errno::EFAULT;

fn copy(pair: &Pair, to: u64, from: u64, length: usize) -> bool {
    let arguments = [to, from, length as u64];
    pair.ask(Call::Copy, arguments.as_ptr().addr() as u64) == 0
}

/// Reads a value of the program's, of a type that any bytes are a value of: `None` where it has no memory.
pub fn get<T: Copy>(pair: &Pair, address: u64) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    let copied = copy(pair, value.as_mut_ptr().addr() as u64, address, size_of::<T>());
    // SAFETY: copied.
    copied.then(|| unsafe { value.assume_init() })
}

/// Writes a value of the program's: 0, or the negative `EFAULT`.
pub fn put<T: Copy>(pair: &Pair, address: u64, value: T) -> i64 {
    let copied = copy(pair, address, (&raw const value).addr() as u64, size_of::<T>());
    if copied { 0 } else { -i64::from(EFAULT) }
}

/// Changes a word of the program's atomically, unless `to` leaves it as it is: what it was, or an error.
pub fn change(pair: &Pair, address: u64, to: impl Fn(u32) -> Option<u32>) -> Result<u32, i64> {
    let mut old = get::<u32>(pair, address).ok_or(-i64::from(EFAULT))?;
    while let Some(new) = to(old) {
        let arguments = [address, old.into(), new.into()];
        match pair.ask(Call::Exchange, arguments.as_ptr().addr() as u64) {
            error if error < 0 => return Err(error),
            before if before as u32 == old => break,
            other => old = other as u32,
        }
    }
    Ok(old)
}
