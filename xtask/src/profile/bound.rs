//! How much faster a program can become when one CPU at a time is in the kernel.

use serde::Serialize;

/// Bounds and what was reached.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Bound {
    /// CPUs.
    pub(crate) cpus: usize,
    /// The share of the work that is done in the kernel.
    pub(crate) kernel_share: f64,
    /// Amdahl's law, as papers/001 section 5 has it: while one CPU is in the kernel, no other computes.
    pub(crate) amdahl: f64,
    /// The closed system with one server: each CPU computes for a while and queues for the kernel, and the
    /// others compute meanwhile. Times are as random as can be, so they collide now and then.
    pub(crate) closed_system: f64,
    /// As long as none of them collide: as many CPUs as there are, or the kernel is never empty.
    pub(crate) ceiling: f64,
    /// CPUs that did useful work at a time, on the average: user and kernel, not spinning, not idle.
    pub(crate) reached: f64,
    /// Mean cycles in user mode between two visits to the kernel.
    pub(crate) think: f64,
    /// Mean cycles in the kernel per visit.
    pub(crate) service: f64,
}

impl Bound {
    /// From cycles of all CPUs in user mode and in the kernel, the visits, and the wall time.
    pub(crate) fn of(cpus: usize, user: u64, kernel: u64, visits: u64, wall: u64) -> Option<Self> {
        let work = (user + kernel) as f64;
        if work == 0.0 || wall == 0 || visits == 0 || cpus == 0 {
            return None;
        }
        let (think, service) = (user as f64 / visits as f64, kernel as f64 / visits as f64);
        Some(Self {
            cpus,
            kernel_share: kernel as f64 / work,
            amdahl: work / (kernel as f64 + user as f64 / cpus as f64),
            closed_system: closed_system(cpus, think, service),
            ceiling: (cpus as f64).min(work / kernel as f64),
            reached: work / wall as f64,
            think,
            service,
        })
    }
}

/// Speed-up of `customers` that think for `think` and are served for `service` by one server, one at a time,
/// both distributed exponentially: the machine-repairman model. By mean value analysis, which is exact
/// for it (M. Reiser and S. Lavenberg, Mean-Value Analysis of Closed Multichain Queuing Networks, 1980): a
/// customer finds the queue as it is on the average with one customer fewer.
pub(crate) fn closed_system(customers: usize, think: f64, service: f64) -> f64 {
    let (mut queue, mut throughput) = (0.0, 0.0);
    for customer in 1..=customers {
        let response = service * (1.0 + queue);
        throughput = customer as f64 / (think + response);
        queue = throughput * response;
    }
    throughput * (think + service)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found}, not {expected}");
    }

    /// papers/001 section 5: 36 % in the kernel allow 1.47 on two CPUs.
    #[test]
    fn amdahl_is_as_in_the_paper() {
        let bound = Bound::of(2, 64_000, 36_000, 100, 100_000).unwrap();
        near(bound.amdahl, 100.0 / 68.0);
        near(bound.kernel_share, 0.36);
        near(bound.reached, 1.0);
        near(bound.ceiling, 2.0);
        // Two CPUs: the chance to find the other one in the kernel.
        near(bound.closed_system, 200.0 * 100.0 / (64.0 * 100.0 + 36.0 * (100.0 + 36.0)));
        near(Bound::of(8, 64_000, 36_000, 100, 100_000).unwrap().ceiling, 1.0 / 0.36);
    }

    /// The model's states: the number of customers at the server. Their probabilities follow from balance.
    fn by_balance(customers: usize, think: f64, service: f64) -> f64 {
        let mut weights = vec![1.0];
        for waiting in 0..customers {
            weights.push(weights[waiting] * (customers - waiting) as f64 * service / think);
        }
        let busy = 1.0 - weights[0] / weights.iter().sum::<f64>();
        busy / service * (think + service)
    }

    #[test]
    fn the_closed_system_is_exact() {
        for customers in 1..=16 {
            for (think, service) in [(64.0, 36.0), (1000.0, 1.0), (1.0, 1000.0), (7.0, 7.0)] {
                near(closed_system(customers, think, service), by_balance(customers, think, service));
            }
        }
        near(closed_system(1, 3.0, 4.0), 1.0);
        near(closed_system(8, 0.0, 4.0), 1.0);
        near(closed_system(8, 4.0, 0.0), 8.0);
    }

    #[test]
    fn nothing_has_no_bound() {
        assert_eq!(Bound::of(2, 0, 0, 0, 100), None);
        assert_eq!(Bound::of(2, 10, 10, 1, 0), None);
    }
}
