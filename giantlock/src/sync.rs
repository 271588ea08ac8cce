//! The atomics: core's, or loom's when the crate is built for the model checker.
//!
//! This is the one module that knows of loom. Loom's atomics cannot be made in a constant, and each costs time in every
//! interleaving; hence the two macros and the smaller [`MAX_CPUS`].

#[cfg(not(loom))]
mod real {
    /// CPU ids are below this.
    pub const MAX_CPUS: usize = 64;
    pub(crate) use core::hint::spin_loop;
    pub(crate) use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

    /// A constructor, `const` so that a lock can be a static.
    macro_rules! const_fn {
        ($(#[$doc:meta])* $visibility:vis fn $($rest:tt)*) => { $(#[$doc])* $visibility const fn $($rest)* };
    }
    /// An array of `$length` equal elements.
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
    use core::ops::Deref;
    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
    use loom::sync::atomic::{Ordering::SeqCst, fence};

    /// Loom treats a sequentially consistent access as an acquire and a release and no more. A fence behind it tells
    /// loom that the CPU's later accesses must not move before it.
    fn written(order: Ordering) {
        if order == SeqCst {
            fence(SeqCst);
        }
    }

    /// Loom's, with the fence where it is due.
    pub(crate) struct AtomicBool(loom::sync::atomic::AtomicBool);

    impl AtomicBool {
        pub(crate) fn new(value: bool) -> AtomicBool {
            AtomicBool(loom::sync::atomic::AtomicBool::new(value))
        }

        pub(crate) fn store(&self, value: bool, order: Ordering) {
            self.0.store(value, order);
            written(order);
        }
    }

    impl Deref for AtomicBool {
        type Target = loom::sync::atomic::AtomicBool;

        fn deref(&self) -> &Self::Target {
            &self.0
        }
    }

    /// Loom's, with the fence where it is due.
    pub(crate) struct AtomicU32(loom::sync::atomic::AtomicU32);

    impl AtomicU32 {
        pub(crate) fn new(value: u32) -> AtomicU32 {
            AtomicU32(loom::sync::atomic::AtomicU32::new(value))
        }

        pub(crate) fn store(&self, value: u32, order: Ordering) {
            self.0.store(value, order);
            written(order);
        }

        pub(crate) fn fetch_add(&self, more: u32, order: Ordering) -> u32 {
            let before = self.0.fetch_add(more, order);
            written(order);
            before
        }
    }

    impl Deref for AtomicU32 {
        type Target = loom::sync::atomic::AtomicU32;

        fn deref(&self) -> &Self::Target {
            &self.0
        }
    }

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
pub(crate) use real::{AtomicBool, AtomicU32, AtomicU64, Ordering, array, const_fn, spin_loop};

/// A value on cache lines of its own, so that a CPU that writes it does not disturb a CPU that spins on a neighbour.
/// Two lines of 64 bytes: x86 processors fetch them in pairs.
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);
