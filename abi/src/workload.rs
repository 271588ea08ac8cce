//! Times of user mode, drawn from the exponential distribution, for the benchmark of papers/001. The process that
//! computes for these times and the model that its run is compared with draw equal ones.

use crate::random::Random;

/// The number of times in a pass. Each pass has equal times in another order, so that all sequences have one mean.
pub const PASS: usize = 64;

/// A mean of one, in the units of [`TIMES`].
const ONE: u64 = 1 << 32;

/// The times of a pass for a mean of [`ONE`]: what the shortest, the second, … of [`PASS`] exponential times is on the
/// average, which is the sum of 1/64, 1/63, …. Their own mean is that of the distribution.
const TIMES: [u64; PASS] = {
    let mut times = [0; PASS];
    let (mut sum, mut place) = (0, 0);
    while place < PASS {
        sum += ONE / (PASS - place) as u64;
        times[place] = sum;
        place += 1;
    }
    times
};

/// A sequence of times without an end.
pub struct Exponential {
    random: Random,
    mean: u64,
    /// This pass's order, and how many of it are drawn.
    order: [u8; PASS],
    drawn: usize,
}

impl Exponential {
    /// A sequence of its own for every `seed`; `mean` is below 2^29.
    pub fn new(seed: u64, mean: u64) -> Self {
        let order = core::array::from_fn(|place| place as u8);
        Self { random: Random::new(seed), mean, order, drawn: PASS }
    }

    /// The next time.
    pub fn draw(&mut self) -> u64 {
        if self.drawn == PASS {
            self.drawn = 0;
            for place in (1..PASS).rev() {
                self.order.swap(place, self.random.below(place as u64 + 1) as usize);
            }
        }
        self.drawn += 1;
        self.mean * TIMES[usize::from(self.order[self.drawn - 1])] / ONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pass_has_the_mean_whatever_the_seed() {
        for seed in 0..20 {
            let mut times = Exponential::new(seed, 7288);
            for _ in 0..3 {
                let sum: u64 = (0..PASS).map(|_| times.draw()).sum();
                let mean = sum as f64 / PASS as f64;
                assert!((7287.0..=7288.0).contains(&mean), "{mean}");
            }
        }
    }

    #[test]
    fn they_are_spread_as_exponential_times_are() {
        let mut times = Exponential::new(1, 1000);
        let all: [u64; PASS] = core::array::from_fn(|_| times.draw());
        let longer = |than: u64| all.iter().filter(|&&time| time > than).count() as f64 / PASS as f64;
        // 1/e and 1/e², as nearly as 64 can have it.
        assert!((longer(1000) - 0.368).abs() < 0.02, "{}", longer(1000));
        assert!((longer(2000) - 0.135).abs() < 0.02, "{}", longer(2000));
        assert!(all.windows(2).any(|pair| pair[0] > pair[1]), "in order of size");
    }
}
