//! The benchmark of papers/001: two processes that compute and call the kernel, held against a model of the same two.

use abi::workload::{Exponential, PASS};

use super::{
    lab::{Lab, System},
    papers::{COMING_AND_GOING, smp},
    points::{Count, Point, measure},
    report::{Cell, Limit, Section, Table, Target, head},
};

/// papers/001's workload: 36 % of the instructions in the kernel, in visits of about 4,000.
const KERNEL_VISIT: u32 = 4_000;
const USER: u32 = (KERNEL_VISIT + COMING_AND_GOING) * 64 / 36;
const PROCESSES: u8 = 2;

/// Passes of user times, quick and thorough.
const PASSES: [u32; 2] = [2, 8];

/// papers/001, section 5: of the multiprocessor kernel on one CPU and on two, against the uniprocessor kernel; and Amdahl's
/// law for its 36 %.
const PAPER_SPEED_UPS: [f64; 2] = [0.98, 1.2];
const PAPER_AMDAHL: f64 = 1.47;

/// papers/001 table 1.
const PAPER_SHARES: [[&str; 4]; 2] =
    [["UP, papers/001", "64 %", "36 %", "< 0.1 %"], ["SMP, 2 CPUs, papers/001", "55–59 %", "20–22 %", "20–23 %"]];

/// Where the processes run: free, bound, moved. An index into the points that each system is measured at.
const PLACES: [(&str, &str); 3] = [
    ("free", "the kernel's placing"),
    ("bound", "bound to a CPU each by `sched_setaffinity`"),
    ("moved", "no affinity: moved to the next CPU every 10 ms"),
];

/// Two processes that compute and call the kernel.
pub(super) fn two_processes(lab: &Lab) -> Section {
    let passes = PASSES[usize::from(!lab.quick)];
    let point =
        |(place, _)| Point { processes: PROCESSES, user: USER, burn: Some(KERNEL_VISIT), place, passes: Some(passes) };
    let points = PLACES.map(point).to_vec();
    let mut wanted = [System::jotun("up"), smp(1), smp(2)].map(|system| (system, points.clone())).to_vec();
    wanted.push((System::jotun("giant:2:strict"), points[..1].to_vec()));
    let (counts, failures) = measure(lab, 0, &wanted);
    let [up, smp_1, smp_2, strict] = [0, 1, 2, 3];
    let speed_up = |system: usize, place: usize| Some(counts[up][place]?.ticks / counts[system][place]?.ticks);
    let model = counts[up][0].zip(counts[smp_1][0]).map(|(up, one)| up.ticks / together(&one, passes));

    let shares = shares(counts[up][0], counts[smp_1][0], counts[smp_2][0]);
    let mut gains = Table { title: "Throughput against the uniprocessor kernel".into(), ..Table::default() };
    gains.head = head(["", "SMP, 1 CPU", "SMP, 2 CPUs"]);
    let precise = |value: Option<f64>| value.map_or(Cell::Nothing, |value| Cell::text(format!("{value:.4}")));
    let mut row = |name: &str, one: Option<f64>, two: Option<f64>| {
        gains.rows.push(vec![Cell::text(name), precise(one), precise(two)]);
    };
    let [paper_1, paper_2] = PAPER_SPEED_UPS.map(Some);
    row("papers/001", paper_1, paper_2);
    for (place, (_, name)) in PLACES.iter().enumerate() {
        row(name, speed_up(smp_1, place), speed_up(smp_2, place));
    }
    row("the paper's rule: a thread stays where it started", None, speed_up(strict, 0));
    row("a closed system with one server and these times", None, model);
    row(
        "Amdahl's law, as papers/001 section 5 has it: no process computes while the other is in the kernel",
        None,
        Some(PAPER_AMDAHL),
    );

    let slower = speed_up(smp_1, 0).map(|gain| (1.0 / gain - 1.0) * 100.0);
    let reached = speed_up(smp_2, 0).zip(model).map(|(gain, model)| gain / model);
    let target = |what: &str, measured, limit, why| Target { what: what.to_owned(), measured, limit, why };
    Section {
        name: "two-processes",
        title: "Two processes (papers/001, sections 4 and 5)",
        text: text(passes),
        tables: vec![shares, gains],
        targets: vec![
            target(
                "two processes: SMP build on one CPU slower than UP, in percent",
                slower,
                Limit::AtMost(1.0),
                "the lock's instructions in every visit",
            ),
            target(
                "two processes: speed-up on 2 CPUs as a part of the closed system's",
                reached,
                Limit::AtLeast(0.97),
                "a hand-over of the lock takes longer than the model's, which takes no time",
            ),
        ],
        failures,
        ..Section::default()
    }
}

fn text(passes: u32) -> Vec<String> {
    let calls = passes * PASS as u32;
    vec![
        format!(
            "Two processes in containers of their own. Each makes {calls} calls that execute {KERNEL_VISIT} instructions in the \
             kernel; between two calls it computes for a time that is drawn from the exponential distribution, {USER} \
             instructions on the average. Each process has a seed of its own, which is the same on every kernel, and every \
             {PASS} times have the same sum: so all kernels do the same work. The paper's benchmark ran beside about 100 \
             threads of its system on a Pentium II, and 36 % of its time was in the kernel: here that share is set."
        ),
        "The closed system is a model of the same run: two processes, each with a CPU of its own, and the kernel as one \
         server, which serves one at a time in the order of their calls. It takes the same times in user mode, and for a call \
         the time that it takes with the kernel for several CPUs on one. It is exact, not a bound: both may differ by a \
         little as a call comes just before or just behind another."
            .to_owned(),
    ]
}

/// Table 1 of the paper, and the same here.
fn shares(up: Option<Count>, one: Option<Count>, two: Option<Count>) -> Table {
    let row = |name: &str, count: Option<Count>| {
        let parts = count.map(|count| {
            [count.user, count.kernel, count.spin, count.idle].map(|part| Cell::Share(count.share(part))).to_vec()
        });
        [vec![Cell::text(name)], parts.unwrap_or_else(|| vec![Cell::Nothing; 4])].concat()
    };
    let paper = |row: [&str; 4]| row.map(Cell::text).into_iter().chain([Cell::Nothing]).collect::<Vec<_>>();
    Table {
        title: "Shares of time (papers/001, table 1)".into(),
        head: head(["", "user", "kernel", "spinning", "idle"]),
        rows: vec![
            paper(PAPER_SHARES[0]),
            row("UP", up),
            row("SMP, 1 CPU", one),
            paper(PAPER_SHARES[1]),
            row("SMP, 2 CPUs", two),
        ],
    }
}

/// Ticks until both have ended, each on a CPU of its own, with what a call took on one CPU.
fn together(one: &Count, passes: u32) -> f64 {
    let calls = f64::from(PROCESSES) * f64::from(passes) * PASS as f64;
    // The loop around the times.
    let beside = one.user / calls - f64::from(USER);
    closed_system(passes as usize * PASS, beside, one.kernel / calls)
}

/// Ticks until the last process has made its calls: each computes for its next time and `beside`, then the one server has
/// it for `service`, first come, first served.
fn closed_system(calls: usize, beside: f64, service: f64) -> f64 {
    let mut users: Vec<_> = (0..PROCESSES).map(|seed| Exponential::new(seed.into(), USER.into())).collect();
    let mut think = |process: usize| users[process].draw() as f64 + beside;
    // When each comes to the server next, and how many calls it has made.
    let mut next: Vec<(f64, usize)> = (0..usize::from(PROCESSES)).map(|process| (think(process), 0)).collect();
    let mut free = 0.0_f64;
    while let Some(process) =
        (0..next.len()).filter(|&one| next[one].1 < calls).min_by(|&a, &b| next[a].0.total_cmp(&next[b].0))
    {
        free = free.max(next[process].0) + service;
        let made = next[process].1 + 1;
        next[process] = (free + think(process), made);
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::bound::closed_system as by_mean_values;

    #[test]
    fn processes_that_never_meet_take_their_own_time() {
        // What one computes in sum, and next to nothing in the kernel.
        let ticks = closed_system(PASS, 0.0, 1e-9);
        assert!((ticks / (f64::from(USER) * PASS as f64) - 1.0).abs() < 0.001, "{ticks}");
    }

    #[test]
    fn a_server_that_is_never_free_serves_all() {
        let ticks = closed_system(PASS, 0.0, 1e9);
        assert!((ticks / (2.0 * PASS as f64 * 1e9) - 1.0).abs() < 0.001, "{ticks}");
    }

    /// Where the service does not vary there is less waiting than where it does, which mean value analysis has.
    #[test]
    fn long_runs_come_near_the_theory() {
        let (calls, think, service) = (400 * PASS, f64::from(USER), 4100.0);
        let gain = 2.0 * calls as f64 * (think + service) / closed_system(calls, 0.0, service);
        let random = by_mean_values(2, think, service);
        assert!(gain > random && gain < random * 1.05, "{gain} and {random}");
    }
}
