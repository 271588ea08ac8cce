//! The time that a machine may take, less what it has to wait for the host's CPUs.
//!
//! On a busy host a machine that makes progress takes many times as long by the clock. So a limit counts the time in
//! which the machine ran or had nothing to do, and leaves out that in which one of its threads could have run and the
//! host had no CPU for it: the second figure of `/proc/PID/task/TID/schedstat`. Where the host does not tell, all
//! time counts.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs,
    time::{Duration, Instant},
};

/// The time between two looks: how long threads have waited meanwhile is known afterwards.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// How long each thread has waited for a CPU so far.
type Waits = HashMap<OsString, Duration>;

/// A limit that is being used up.
pub(super) struct Limit {
    process: u32,
    left: Duration,
    looked: Instant,
    waits: Waits,
}

impl Limit {
    /// So much from now on, for a process and its threads.
    pub(super) fn new(process: u32, left: Duration) -> Self {
        Self { process, left, looked: Instant::now(), waits: waits(process) }
    }

    /// What is left of it.
    pub(super) fn left(&mut self) -> Duration {
        let (now, waits) = (Instant::now(), waits(self.process));
        let passed = now.duration_since(self.looked).saturating_sub(longest(&self.waits, &waits));
        self.left = self.left.saturating_sub(passed);
        (self.looked, self.waits) = (now, waits);
        self.left
    }
}

/// The longest that a thread has waited between two looks. Threads wait side by side: the sum would be more than the time.
fn longest(before: &Waits, now: &Waits) -> Duration {
    let since = |(thread, waited): (&OsString, &Duration)| {
        waited.saturating_sub(before.get(thread).copied().unwrap_or_default())
    };
    now.iter().map(since).max().unwrap_or_default()
}

fn waits(process: u32) -> Waits {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let wait = |thread: fs::DirEntry| {
        let figures = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        let nanoseconds = figures.split_whitespace().nth(1)?.parse().ok()?;
        Some((thread.file_name(), Duration::from_nanos(nanoseconds)))
    };
    threads.filter_map(wait).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(of: &[(&str, u64)]) -> Waits {
        of.iter().map(|(thread, seconds)| ((*thread).into(), Duration::from_secs(*seconds))).collect()
    }

    #[test]
    fn the_thread_that_waited_longest_counts() {
        let (before, now) = (table(&[("1", 10), ("2", 3)]), table(&[("1", 11), ("2", 7), ("3", 2)]));
        assert_eq!(longest(&before, &now), Duration::from_secs(4));
        assert_eq!(longest(&now, &now), Duration::ZERO);
    }

    #[test]
    fn a_limit_is_used_up_while_nobody_waits() {
        // Of a process that is not there nothing is known, so all time counts.
        let mut limit = Limit::new(0, Duration::from_millis(20));
        assert!(limit.left() > Duration::ZERO);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(limit.left(), Duration::ZERO);
    }
}
