//! How many times faster work is done by several CPUs at once: told only where it can be believed.
//!
//! On an emulator the same loop may take three times as long in one run as in the next, and for seconds. One pair of
//! measurements may then say anything. So pairs are made several times, in turn, and where they do not agree there is
//! no factor.

use std::time::Duration;

/// Pairs that are made.
pub const PAIRS: usize = 3;

/// Factors of pairs that differ by more than this do not agree.
const AGREEMENT: f64 = 1.2;

/// A factor so little above the number of CPUs is that number, measured not quite exactly.
const EXACTNESS: f64 = 1.01;

/// What several pairs came to.
pub struct Gain {
    /// The least time of the one, and of the many.
    pub least: [Duration; 2],
    /// How many times as fast the many were as the one would have been for all; `None` if the pairs do not agree, or
    /// agree on more than there are CPUs.
    pub factor: Option<f64>,
}

impl Gain {
    /// Makes [`PAIRS`] pairs: each gives the time of one, and that of `many` at once, which do the work of one each.
    /// There are `cpus` CPUs.
    pub fn measure(cpus: usize, many: usize, mut pair: impl FnMut() -> [Duration; 2]) -> Gain {
        Gain::of(cpus, many, [(); PAIRS].map(|()| pair()))
    }

    /// The gain from pairs of runs that have been made.
    pub fn of(cpus: usize, many: usize, pairs: [[Duration; 2]; PAIRS]) -> Gain {
        let factors = pairs.map(|[one, all]| many as f64 * one.as_secs_f64() / all.as_secs_f64());
        let least = factors.into_iter().fold(f64::INFINITY, f64::min);
        let most = factors.into_iter().fold(0.0, f64::max);
        let median = factors.iter().sum::<f64>() - least - most;
        let cpus = cpus as f64;
        let believed = most <= least * AGREEMENT && median <= cpus * EXACTNESS;
        let quickest = |which: usize| pairs.iter().map(|pair| pair[which]).min().unwrap_or_default();
        Gain { least: [quickest(0), quickest(1)], factor: believed.then(|| median.min(cpus)) }
    }

    /// The factor as tables show it.
    pub fn shown(&self) -> String {
        self.factor.map_or("?".to_owned(), |factor| format!("{factor:.2}x"))
    }
}
