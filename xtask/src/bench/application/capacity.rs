//! papers/004, section 5.2: what processes get done that compute and call the kernel, and what the boot CPU allows.
//!
//! The paper's formula is *C = scps · (ipsc + opsc)*: of the instructions that the boot CPU executes in a second, a call
//! takes those that it takes anyway (ipsc) and those that the application kernel adds (opsc).

use super::{
    super::{
        lab::{Job, Lab, System},
        points,
        report::{Cell, Chart, Limit, Section, Series, Table, Target, head},
    },
    USUAL, WAITS, WHY, Way,
};

/// Instructions of a call on the kernel for one CPU, and user shares in thousandths, quick and thorough.
const VISITS: [u32; 3] = [151, 451, 4510];
const USER_SHARES: [&[u32]; 2] = [&[800, 950], &[800, 900, 925, 950, 970, 990]];
const PROCESSES: u32 = 20;

/// Instructions of the call `burn` of a Linux program besides those that it is asked for.
const COMING_AND_GOING: u32 = 115;

/// Instructions in user mode with which the boot CPU decides how many calls there are, whatever their length: those at 80 %
/// user beside calls of 151.
const FULL: u32 = 604;

/// The user share at which 151 instructions leave the boot CPU idle beside one application processor.
const IDLE: u32 = 990;

/// Ticks of a window, quick and thorough.
const WINDOWS: [u64; 2] = [2_000_000, 5_000_000];

/// papers/004, section 5.2: from figures 6 to 8.
const PAPER_OVERHEAD: f64 = 2000.0;

/// Instructions in user mode between two calls.
fn user(visit: u32, share: u32) -> u32 {
    visit * share / (1000 - share)
}

/// What is measured in one window, as the program `callers` takes it.
fn point(user: u32, visit: u32) -> String {
    format!("{PROCESSES}:{user}:{}", visit - COMING_AND_GOING)
}

/// What was counted in one window.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Count {
    /// Ticks of the window, instructions in user mode and calls in it.
    ticks: f64,
    user: f64,
    calls: f64,
}

/// The counts of one system, by point.
struct Measured(Vec<(String, Count)>);

impl Measured {
    fn at(&self, user: u32, visit: u32) -> Option<Count> {
        let wanted = point(user, visit);
        self.0.iter().find(|(point, _)| *point == wanted).map(|(_, count)| *count)
    }

    /// Ticks for each call.
    fn each(&self, user: u32, visit: u32) -> Option<f64> {
        self.at(user, visit).filter(|count| count.calls > 0.0).map(|count| count.ticks / count.calls)
    }
}

/// Runs `callers` on each of these; counts in their order, and what could not be measured.
fn measure(lab: &Lab, jobs: &[Job]) -> (Vec<Measured>, Vec<String>) {
    let runs = lab.run(jobs);
    let measured = |run| {
        let points = points::values(run).into_iter().filter_map(|(point, values)| {
            let get = |name| values.get(name).copied();
            let (ticks, user, calls) = (get("ticks")?, get("user")?, get("calls")?);
            Some((point.to_owned(), Count { ticks, user, calls }))
        });
        Measured(points.collect())
    };
    let all = runs.iter().map(measured).collect();
    (all, runs.into_iter().filter_map(|run| run.failure).collect())
}

/// What the formula has.
#[derive(Clone, Copy, Debug)]
struct Costs {
    /// Of a call on the kernel for one CPU.
    call: f64,
    /// What the application kernel adds on the boot CPU, and on the application processor.
    added: f64,
    beside: f64,
}

impl Costs {
    /// The speed-up that the application processors allow, and that which the boot CPU allows.
    fn bounds(&self, user: u32, cpus: u8) -> [f64; 2] {
        let (user, processors) = (f64::from(user), f64::from(cpus) - 1.0);
        let work = user + self.call;
        [processors * work / (user + self.beside), work / (self.call + self.added)]
    }

    fn capacity(&self, user: u32, cpus: u8) -> f64 {
        let [processors, boot] = self.bounds(user, cpus);
        processors.min(boot)
    }

    /// Whether the two bounds are so near to each other that processes wait by chance.
    fn is_knee(&self, user: u32, cpus: u8) -> bool {
        let [processors, boot] = self.bounds(user, cpus);
        (0.7..1.5).contains(&(processors / boot))
    }
}

/// All that was measured.
struct Sweep<'a> {
    shares: &'a [u32],
    cpus: Vec<u8>,
    up: Measured,
    /// For each number of CPUs.
    application: Vec<Measured>,
}

impl Sweep<'_> {
    fn call(&self, visit: u32) -> Option<f64> {
        Some(self.up.each(FULL, visit)? - f64::from(FULL))
    }

    fn costs(&self, visit: u32) -> Option<Costs> {
        let call = self.call(visit)?;
        let added = self.application.last()?.each(FULL, visit)? - call;
        let idle = self.application.first()?.at(user(VISITS[0], IDLE), VISITS[0])?;
        let beside = idle.ticks * (f64::from(*self.cpus.first()?) - 1.0) - idle.user;
        Some(Costs { call, added, beside: beside / idle.calls.max(1.0) })
    }

    /// The throughput of a number of CPUs by that of the kernel for one.
    fn speed_up(&self, index: usize, user: u32, visit: u32) -> Option<f64> {
        let throughput = |count: Count| count.user / count.ticks;
        Some(throughput(self.application[index].at(user, visit)?) / throughput(self.up.at(user, visit)?))
    }

    /// The least part of the capacity that is reached with this length of calls, away from the knee.
    fn least(&self, visit: u32) -> Option<f64> {
        let costs = self.costs(visit)?;
        let points = self.shares.iter().flat_map(|&share| {
            self.cpus.iter().enumerate().map(move |(index, &cpus)| (index, cpus, user(visit, share)))
        });
        let away = points.filter(|(_, cpus, user)| !costs.is_knee(*user, *cpus));
        let parts = away
            .filter_map(|(index, cpus, user)| Some(self.speed_up(index, user, visit)? / costs.capacity(user, cpus)));
        parts.reduce(f64::min)
    }

    /// Tables and charts of the calls of one length: the speed-up, and the load of the boot CPU.
    fn shown(&self, visit: u32) -> ([Table; 2], [Chart; 2]) {
        let columns = || self.cpus.iter().map(|cpus| format!("{cpus} CPUs"));
        let named = |what: &str| format!("Calls of {visit} instructions through the application kernel: {what}");
        let table = |title: &str, cell: &dyn Fn(u32, usize) -> Cell| {
            let row = |&share: &u32| {
                let name = Cell::text(format!("{} % user", f64::from(share) / 10.0));
                let cells = (0..self.cpus.len()).map(|index| cell(user(visit, share), index));
                [name].into_iter().chain(cells).collect()
            };
            let head = head(["workload"]).into_iter().chain(columns()).collect();
            Table { title: named(title), head, rows: self.shares.iter().map(row).collect() }
        };
        let chart = |name: &str, title: &str, y: &str, value: &dyn Fn(u32, usize) -> Option<f64>, bound: bool| {
            let line = |&share: &u32| {
                let user = user(visit, share);
                let over = |of: &dyn Fn(usize, u8) -> Option<f64>| {
                    let points = self.cpus.iter().enumerate();
                    points.filter_map(|(index, &cpus)| Some((f64::from(cpus), of(index, cpus)?))).collect()
                };
                let name = format!("{} % user", f64::from(share) / 10.0);
                let measured = Series { name, points: over(&|index, _| value(user, index)), bound: false };
                let capacity = over(&|_, cpus| Some(self.costs(visit)?.capacity(user, cpus)));
                let formula = Series { name: "the formula".into(), points: capacity, bound: true };
                [measured].into_iter().chain(bound.then_some(formula))
            };
            let series = self.shares.iter().flat_map(line).collect();
            Chart { name: format!("{name}-{visit}"), title: named(title), x: "CPUs".into(), y: y.into(), series }
        };
        let speed_up = |user, index| self.speed_up(index, user, visit);
        let load = |user, index: usize| {
            let measured = &self.application[index];
            Some(measured.each(FULL, visit)? / measured.each(user, visit)?)
        };
        let tables = [
            table("speed-up", &|user, index| speed_up(user, index).map_or(Cell::Nothing, Cell::Ratio)),
            table("load of the boot CPU", &|user, index| load(user, index).map_or(Cell::Nothing, Cell::Share)),
        ];
        let charts = [
            chart("capacity", "speed-up", "speed-up against one CPU", &speed_up, true),
            chart("boot-load", "load of the boot CPU", "calls by those that it can make", &load, false),
        ];
        (tables, charts)
    }
}

/// What the application kernel adds to a call on the boot CPU, in each way to wait; and the least of it for the shortest.
fn added(sweep: &Sweep, ways: &[(Way, &Measured)]) -> (Table, Option<f64>) {
    let row = |name: &str, of: &dyn Fn(u32) -> Option<f64>| {
        [Cell::text(name)].into_iter().chain(VISITS.map(|visit| Cell::count(of(visit)))).collect()
    };
    let of = |measured: &Measured, visit| Some(measured.each(FULL, visit)? - sweep.call(visit)?);
    let mut rows: Vec<Vec<Cell>> = vec![row("a call on the kernel for one CPU", &|visit| sweep.call(visit))];
    rows.extend(ways.iter().map(|(way, measured)| row(&format!("added: {}", way.name), &|visit| of(measured, visit))));
    rows.push(row("added: papers/004", &|_| Some(PAPER_OVERHEAD)));
    let least = ways.iter().filter_map(|(_, measured)| of(measured, VISITS[0])).reduce(f64::min);
    let head = [format!("{PROCESSES} processes")].into_iter().chain(VISITS.map(|visit| format!("calls of {visit}")));
    (Table { title: "A call on the boot CPU".into(), head: head.collect(), rows }, least)
}

/// The throughput of papers/004.
pub(in crate::bench) fn capacity(lab: &Lab) -> Section {
    let shares = USER_SHARES[usize::from(!lab.quick)];
    let cpus: Vec<u8> = lab.cpus.iter().copied().filter(|&cpus| cpus > 1).collect();
    let Some(&most) = cpus.last() else { return nothing() };
    let full = VISITS.map(|visit| point(FULL, visit));
    let own = VISITS.iter().flat_map(|&visit| shares.iter().map(move |&share| point(user(visit, share), visit)));
    let words = |points: Vec<String>| {
        let window = WINDOWS[usize::from(!lab.quick)].to_string();
        ["callers".to_owned(), window].into_iter().chain(points).collect::<Vec<_>>()
    };
    let idle = point(user(VISITS[0], IDLE), VISITS[0]);
    let all = words(full.iter().cloned().chain([idle]).chain(own).collect());
    let mut jobs: Vec<Job> = cpus.iter().map(|&cpus| USUAL.job(cpus, all.clone())).collect();
    jobs.push(Job::new(System::jotun("up"), all));
    jobs.extend(WAITS[1..].iter().map(|way| way.job(most, words(full.to_vec()))));
    let (mut measured, failures) = measure(lab, &jobs);
    let others = measured.split_off(cpus.len() + 1);
    let up = measured.pop().unwrap_or(Measured(Vec::new()));
    let sweep = Sweep { shares, cpus, up, application: measured };
    let ways: Vec<_> = WAITS.into_iter().zip(sweep.application.last().into_iter().chain(&others)).collect();
    let (table, least) = added(&sweep, &ways);
    let mut section = Section {
        name: "capacity",
        title: "Throughput of the application kernel (papers/004, section 5.2)",
        text: text(lab),
        tables: vec![table],
        failures,
        ..Section::default()
    };
    section.targets.push(Target {
        what: "added to a call on the boot CPU, in the better way to wait".into(),
        measured: least,
        limit: Limit::AtMost(800.0),
        why: WHY,
    });
    for visit in VISITS {
        let (tables, charts) = sweep.shown(visit);
        section.tables.extend(tables);
        section.charts.extend(charts);
        section.targets.push(Target {
            what: format!("calls of {visit} instructions: least part of the formula, away from the knee"),
            measured: sweep.least(visit),
            limit: Limit::AtLeast(0.95),
            why: WHY,
        });
    }
    section
}

/// There is no application processor.
fn nothing() -> Section {
    let why = "capacity: the application kernel needs two CPUs or more".to_owned();
    Section {
        name: "capacity",
        title: "Throughput of the application kernel",
        failures: vec![why],
        ..Section::default()
    }
}

fn text(lab: &Lab) -> Vec<String> {
    vec![
        format!(
            "{PROCESSES} processes of one thread, each with instructions in user mode and then a call of as many in the kernel, \
             for {} ticks: the instructions in user mode that all have executed, by those on the kernel for one CPU. On N \
             CPUs there are N - 1 application processors.",
            WINDOWS[usize::from(!lab.quick)]
        ),
        format!(
            "The paper's formula, drawn broken, says what the boot CPU allows: scps = ips / (ipsc + opsc). Here ipsc is what a \
             call takes on the kernel for one CPU, and opsc what the boot CPU spends for a call besides where it is full ({FULL} \
             instructions between two calls, on the most CPUs). The application processors set the other \
             bound: each call costs one of them some instructions too, which are measured where the boot CPU is \
             seldom busy ({VISITS_0} instructions, {IDLE_SHARE} % user, the fewest CPUs). The lower bound counts; where both are nearly the \
             same, within 0.7 and 1.5, is the knee, where a process waits now for the one and now for the other. The load of the boot CPU is the calls by those \
             that it can make where it is full.",
            VISITS_0 = VISITS[0],
            IDLE_SHARE = IDLE / 10,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_bound_counts() {
        // The example of papers/004: 14,000 instructions in user mode and calls of 1,000, to which 2,000 are added.
        let costs = Costs { call: 1000.0, added: 2000.0, beside: 0.0 };
        assert_eq!(costs.capacity(14_000, 20), 5.0);
        assert_eq!(costs.capacity(14_000, 3), 2.0 * 15.0 / 14.0);
        assert_eq!([2, 6, 20].map(|cpus| costs.is_knee(14_000, cpus)), [false, true, false]);
    }

    #[test]
    fn what_is_added_is_what_is_left_when_the_boot_cpu_is_full() {
        let count = |ticks, calls| Count { ticks, user: calls * f64::from(FULL), calls };
        let one = |ticks, calls| Measured(VISITS.map(|visit| (point(FULL, visit), count(ticks, calls))).into());
        let sweep =
            Sweep { shares: &[], cpus: vec![2], up: one(75_400.0, 100.0), application: vec![one(80_000.0, 100.0)] };
        assert_eq!(sweep.call(151), Some(150.0));
        let (table, least) = added(&sweep, &[(USUAL, &sweep.application[0])]);
        assert_eq!((least, table.rows[1][1].clone()), (Some(650.0), Cell::Count(650.0)));
    }
}
