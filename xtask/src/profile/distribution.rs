//! What many durations amount to.

use serde::Serialize;

/// Durations in cycles.
#[derive(Clone, Default, PartialEq, Debug, Serialize)]
pub(crate) struct Distribution {
    /// How many.
    pub(crate) count: u64,
    /// Their sum.
    pub(crate) total: u64,
    pub(crate) mean: f64,
    pub(crate) median: u64,
    /// The least that 99 in 100 do not exceed.
    pub(crate) p99: u64,
    pub(crate) max: u64,
    /// How many are 0, then below 2, below 4, and so on: bucket `n` holds those of `n` bits.
    pub(crate) histogram: Vec<u64>,
}

impl Distribution {
    pub(crate) fn of(mut durations: Vec<u64>) -> Self {
        durations.sort_unstable();
        let Some(&max) = durations.last() else { return Self::default() };
        let count = durations.len();
        // Nearest rank: the first that leaves no more than the rest above it.
        let rank = |percent: usize| durations[(count * percent).div_ceil(100).max(1) - 1];
        let total: u64 = durations.iter().sum();
        let bits = |duration: u64| (u64::BITS - duration.leading_zeros()) as usize;
        let mut histogram = vec![0; bits(max) + 1];
        durations.iter().for_each(|&duration| histogram[bits(duration)] += 1);
        Self {
            count: count as u64,
            total,
            mean: total as f64 / count as f64,
            median: rank(50),
            p99: rank(99),
            max,
            histogram,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_known_durations() {
        let all = Distribution::of((1..=200).rev().collect());
        assert_eq!((all.count, all.total, all.median, all.p99, all.max), (200, 20_100, 100, 198, 200));
        assert_eq!(all.mean, 100.5);
        assert_eq!(all.histogram, [0, 1, 2, 4, 8, 16, 32, 64, 73]);
        let one = Distribution::of(vec![0]);
        assert_eq!((one.median, one.p99, one.max, one.histogram), (0, 0, 0, vec![1]));
        assert_eq!(Distribution::of(Vec::new()), Distribution::default());
    }
}
