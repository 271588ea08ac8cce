//! Load averages: the mean number of threads that ran or were ready, over one, five and fifteen minutes.
//!
//! They are computed as on Linux: every five seconds each average moves a little towards the number of that moment. For
//! example, when one thread begins to compute on an idle machine, the first average is 0.63 after a minute.

/// Nanoseconds from one sample to the next.
const PERIOD: u64 = 5_000_000_000;

/// The fixed-point number 1.
const ONE: u64 = 1 << 11;

/// The factor by which a sample lessens the old value of each average, in fixed point: e^(-5/60), e^(-5/300),
/// e^(-5/900).
const DECAY: [u64; 3] = [1884, 2014, 2037];

/// Samples after which the old value of each average has no effect.
const FORGOTTEN: u64 = 2000;

/// The three averages, and how far they have come.
#[derive(Clone, Copy, Default)]
pub struct Load {
    averages: [u64; 3],
    /// Samples taken since the boot.
    taken: u64,
    /// The time from which on a further sample may be due.
    next: u64,
}

impl Load {
    /// The number of samples that are still to be taken at `now`, in nanoseconds since the boot.
    fn due(&self, now: u64) -> u64 {
        (now / PERIOD).saturating_sub(self.taken)
    }

    /// Takes the samples that are due. All of them count the threads of this moment: several are due only if no
    /// interrupt has come for a while, as on an idle machine, and then the number has not changed.
    #[inline]
    pub fn sample(&mut self, now: u64, threads: impl FnOnce() -> u32) {
        if now >= self.next {
            self.take_due(now, threads());
        }
    }

    /// Takes the samples that are due, of so many threads.
    #[cold]
    fn take_due(&mut self, now: u64, threads: u32) {
        let due = self.due(now);
        if due > 0 {
            let active = u64::from(threads) * ONE;
            for _ in 0..due.min(FORGOTTEN) {
                for (average, decay) in self.averages.iter_mut().zip(DECAY) {
                    // Rounded towards the active number, so that the average reaches it.
                    let rounding = if active >= *average { ONE - 1 } else { 0 };
                    *average = (*average * decay + active * (ONE - decay) + rounding) / ONE;
                }
            }
            self.taken += due;
        }
        self.next = (self.taken + 1).saturating_mul(PERIOD);
    }

    /// The averages in hundredths.
    pub fn hundredths(&self) -> [u64; 3] {
        self.averages.map(|average| (average * 100 + ONE / 2) / ONE)
    }
}

#[cfg(test)]
#[path = "../tests/load.rs"]
mod tests;
