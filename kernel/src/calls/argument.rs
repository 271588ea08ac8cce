//! Arguments of system calls: how what a register holds becomes a value of a type.
//!
//! The [table](super::table) names the type of every argument, and nothing else decodes registers. For example,
//! `fd: Fd` takes the register's lower half, as C passes an `int`, and `old: Option<Pointer<Limit>>` makes of address 0
//! `None`. Decoding never fails: whether a value is valid is for the call to say, since Linux checks arguments in an
//! order of its own.

use crate::core::linux;
use ::files::OpenFlags;
use containers::Rights;
use core::fmt;
use core::marker::PhantomData;

/// A type of arguments.
pub trait Argument {
    /// The argument that a register holds.
    fn of(register: u64) -> Self;
}

/// Arguments whose type is an integer, of which C passes the lower bits.
macro_rules! integers {
    ($($integer:ty),+) => {
        $(impl Argument for $integer {
            #[inline(always)]
            fn of(register: u64) -> $integer {
                register as $integer
            }
        })+
    };
}
integers!(i32, u32, i64, u64);

/// Arguments whose type is a set of flags. Bits without a meaning stay, so that the call can refuse them.
macro_rules! flags {
    ($($flags:ty),+) => {
        $(impl $crate::calls::argument::Argument for $flags {
            #[inline(always)]
            fn of(register: u64) -> $flags {
                <$flags>::from_bits_retain(register as _)
            }
        })+
    };
}
pub(super) use flags;
flags!(OpenFlags, Rights);

/// A descriptor's number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fd(pub i32);

impl Fd {
    /// The number that stands for the working directory.
    pub const HERE: Fd = Fd(linux::AT_FDCWD);

    /// The number as an index of the descriptor table; a negative one is beyond its end.
    pub fn index(self) -> u32 {
        self.0 as u32
    }
}

impl Argument for Fd {
    #[inline(always)]
    fn of(register: u64) -> Fd {
        Fd(register as i32)
    }
}

impl fmt::Display for Fd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The address in user memory of a path, which a NUL ends.
#[derive(Clone, Copy)]
pub struct UserPath(pub u64);

impl Argument for UserPath {
    #[inline(always)]
    fn of(register: u64) -> UserPath {
        UserPath(register)
    }
}

/// The address in user memory of a value, or of the first of several that lie one behind the other.
pub struct Pointer<T> {
    /// The address, as the program has given it: nothing may be there.
    pub address: u64,
    to: PhantomData<fn(T) -> T>,
}

impl<T> Pointer<T> {
    /// The pointer to an address.
    pub fn to(address: u64) -> Pointer<T> {
        Pointer { address, to: PhantomData }
    }

    /// The pointer to the value with a number, of several.
    pub fn nth(self, number: u64) -> Pointer<T> {
        Pointer::to(self.address.wrapping_add(number.wrapping_mul(size_of::<T>() as u64)))
    }
}

impl<T> Clone for Pointer<T> {
    fn clone(&self) -> Pointer<T> {
        *self
    }
}

impl<T> Copy for Pointer<T> {}

impl<T> Argument for Pointer<T> {
    #[inline(always)]
    fn of(register: u64) -> Pointer<T> {
        Pointer::to(register)
    }
}

impl<T> Argument for Option<Pointer<T>> {
    #[inline(always)]
    fn of(register: u64) -> Option<Pointer<T>> {
        if register == 0 { None } else { Some(Pointer::to(register)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_what_c_passes() {
        assert!(Fd::of(0x5a5a_ffff_ff9c) == Fd::HERE);
        assert_eq!((i32::of(0x5a_ffff_fffe), u32::of(0x5a_ffff_fffe)), (-2, 0xffff_fffe));
        assert_eq!((i64::of(u64::MAX), u64::of(u64::MAX)), (-1, u64::MAX));
        assert_eq!(OpenFlags::of(0x5a_8000_0002).bits(), 0x8000_0002, "unknown flags are for the call to refuse");
    }

    #[test]
    fn a_pointer_to_nothing_is_none() {
        assert!(<Option<Pointer<u32>>>::of(0).is_none());
        let pointer = <Option<Pointer<u32>>>::of(u64::MAX).expect("an address");
        assert_eq!(pointer.nth(2).address, 7, "addresses wrap, and lead nowhere");
    }
}
