//! System calls by number, without a C library between.

use core::arch::asm;
use std::ffi::CStr;

/// What a call returns: a value, or an errno of `libc`.
pub type Result = std::result::Result<u64, i32>;

/// Makes a system call; arguments that are not given are 0.
///
/// This is not an unsafe function, though it can do whatever unsafe code can: it is for programs in
/// which nearly every line is a call that must be refused. Whoever uses it passes memory that lives
/// through the call, or an address that the kernel must not accept.
pub fn call(number: u64, arguments: &[u64]) -> Result {
    let argument = |index: usize| arguments.get(index).copied().unwrap_or(0);
    let result: i64;
    // SAFETY: see above; the instruction itself changes `rax`, `rcx`, `r11`.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") argument(0), in("rsi") argument(1), in("rdx") argument(2),
            in("r10") argument(3), in("r8") argument(4), in("r9") argument(5),
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    if (-4095..0).contains(&result) { Err(-result as i32) } else { Ok(result as u64) }
}

/// `sys!(SYS_open, c"/tmp", O_RDONLY)`: a call with arguments of any [`Argument`] type.
#[macro_export]
macro_rules! sys {
    ($number:expr $(, $argument:expr)* $(,)?) => {
        $crate::system::call($number as u64, &[$($crate::system::Argument::word($argument)),*])
    };
}

/// What can be an argument of a system call.
pub trait Argument {
    /// As the register has it.
    fn word(self) -> u64;
}

macro_rules! numbers {
    ($($number:ty)*) => { $(impl Argument for $number {
        fn word(self) -> u64 {
            self as u64
        }
    })* };
}

numbers!(i32 i64 u32 u64 usize);

impl Argument for &CStr {
    fn word(self) -> u64 {
        self.as_ptr().expose_provenance() as u64
    }
}

impl<T> Argument for *const T {
    fn word(self) -> u64 {
        self.expose_provenance() as u64
    }
}

impl<T> Argument for *mut T {
    fn word(self) -> u64 {
        self.expose_provenance() as u64
    }
}

impl<T> Argument for &mut T {
    fn word(self) -> u64 {
        (&raw mut *self).word()
    }
}

impl<T> Argument for &T {
    fn word(self) -> u64 {
        (&raw const *self).word()
    }
}

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// New private, zeroed pages that may be read and written.
///
/// # Panics
/// If there are none.
pub fn pages(count: usize) -> *mut u8 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let address = sys!(libc::SYS_mmap, 0, count * PAGE, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
    std::ptr::with_exposed_provenance_mut(address.expect("memory can be mapped") as usize)
}
