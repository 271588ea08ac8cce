//! Numbers that all threads reach. Between two barriers each is written by one thread alone, so no order has to be
//! asked for.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Floating-point numbers, kept as their bits.
pub(crate) struct Shared(Vec<AtomicU64>);

impl Shared {
    /// Has the numbers in the order in which they come.
    pub(crate) fn new(numbers: impl Iterator<Item = f64>) -> Self {
        Self(numbers.map(|number| AtomicU64::new(number.to_bits())).collect())
    }

    /// The number at `at`.
    pub(crate) fn get(&self, at: usize) -> f64 {
        f64::from_bits(self.0[at].load(Relaxed))
    }

    /// Sets the number at `at`.
    pub(crate) fn set(&self, at: usize, number: f64) {
        self.0[at].store(number.to_bits(), Relaxed);
    }

    /// Copies numbers out, from `at` on.
    pub(crate) fn read(&self, at: usize, to: &mut [f64]) {
        let from = &self.0[at..at + to.len()];
        to.iter_mut().zip(from).for_each(|(to, from)| *to = f64::from_bits(from.load(Relaxed)));
    }

    /// Copies numbers in, from `at` on.
    pub(crate) fn write(&self, at: usize, from: &[f64]) {
        let to = &self.0[at..at + from.len()];
        to.iter().zip(from).for_each(|(to, from)| to.store(from.to_bits(), Relaxed));
    }
}
