//! The atomics: core's, or loom's when the crate is built for the model checker.
//!
//! The one place that knows of loom. Its atomics cannot be made in a constant and each costs time in
//! every interleaving, hence the two macros and the smaller [`MAX_CPUS`].

#[cfg(not(loom))]
mod real {
    /// CPU ids are below this.
    pub const MAX_CPUS: usize = 64;
    pub(crate) use core::hint::spin_loop;
    pub(crate) use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    /// A constructor, `const` so that a lock can be a static.
    macro_rules! const_fn {
        ($(#[$doc:meta])* $visibility:vis fn $($rest:tt)*) => { $(#[$doc])* $visibility const fn $($rest)* };
    }
    /// An array of `$length` times the same.
    macro_rules! array {
        ($value:expr; $length:expr) => {
            [const { $value }; $length]
        };
    }
    pub(crate) use {array, const_fn};
}

#[cfg(loom)]
mod real {
    /// CPU ids are below this; few, for the model checker.
    pub const MAX_CPUS: usize = 4;
    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    macro_rules! const_fn {
        ($(#[$doc:meta])* $visibility:vis fn $($rest:tt)*) => { $(#[$doc])* $visibility fn $($rest)* };
    }
    macro_rules! array {
        ($value:expr; $length:expr) => {
            core::array::from_fn::<_, { $length }, _>(|_| $value)
        };
    }
    pub(crate) use {array, const_fn};
}

pub use real::MAX_CPUS;
pub(crate) use real::{AtomicBool, AtomicU32, Ordering, array, const_fn, spin_loop};

/// On cache lines of its own, so that who writes it disturbs no one who spins on a neighbour. Two
/// lines of 64 bytes: x86 processors fetch them in pairs.
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);
