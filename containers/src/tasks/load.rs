//! Load averages: how many threads run or could, over one, five and fifteen minutes.
//!
//! They are Linux's: every five seconds each average moves a little towards the number of that moment.

/// Nanoseconds from one sample to the next.
const PERIOD: u64 = 5_000_000_000;

/// 1, as the averages count.
const ONE: u64 = 1 << 11;

/// What is left of an average after a sample: e^(-5/60), e^(-5/300), e^(-5/900).
const DECAY: [u64; 3] = [1884, 2014, 2037];

/// Samples after which nothing is left of any average.
const FORGOTTEN: u64 = 2000;

/// The averages.
#[derive(Clone, Copy, Default)]
pub struct Load {
    averages: [u64; 3],
    /// Samples taken since the boot.
    taken: u64,
}

impl Load {
    /// Samples to be taken by now, in nanoseconds since the boot.
    fn due(&self, now: u64) -> u64 {
        (now / PERIOD).saturating_sub(self.taken)
    }

    /// Takes the samples that are due. The number of threads is what it has been since the last: nothing has happened.
    pub fn sample(&mut self, now: u64, threads: impl FnOnce() -> u32) {
        let due = self.due(now);
        if due > 0 {
            let active = u64::from(threads()) * ONE;
            for _ in 0..due.min(FORGOTTEN) {
                for (average, decay) in self.averages.iter_mut().zip(DECAY) {
                    // Rounded towards where it goes, so that it gets there.
                    let rounding = if active >= *average { ONE - 1 } else { 0 };
                    *average = (*average * decay + active * (ONE - decay) + rounding) / ONE;
                }
            }
            self.taken += due;
        }
    }

    /// The averages in hundredths.
    pub fn hundredths(&self) -> [u64; 3] {
        self.averages.map(|average| (average * 100 + ONE / 2) / ONE)
    }
}

#[cfg(test)]
#[path = "../tests/load.rs"]
mod tests;
