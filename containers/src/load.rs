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
mod tests {
    use super::*;

    #[test]
    fn averages_go_where_the_number_of_threads_is() {
        let mut load = Load::default();
        let minute = |load: &mut Load, end: u64, threads| {
            (1..=12).for_each(|n| load.sample((end - 1) * 12 * PERIOD + n * PERIOD + 7, || threads));
        };
        minute(&mut load, 1, 1);
        // 1 - e^-1, 1 - e^-(1/5), 1 - e^-(1/15), cut off.
        assert_eq!(load.hundredths(), [63, 18, 6]);
        minute(&mut load, 2, 0);
        assert_eq!(load.hundredths(), [23, 15, 6]);
        (3..100).for_each(|end| minute(&mut load, end, 4));
        assert_eq!(load.hundredths(), [400; 3]);
    }

    #[test]
    fn samples_that_nobody_came_for_are_taken_at_once() {
        let (mut each, mut late) = (Load::default(), Load::default());
        (1..=30).for_each(|n| each.sample(n * PERIOD, || 2));
        late.sample(30 * PERIOD, || 2);
        assert_eq!(each.hundredths(), late.hundredths());
        late.sample(30 * PERIOD, || panic!("none is due"));
        late.sample(u64::MAX, || 0);
        assert_eq!(late.hundredths(), [0; 3]);
    }
}
