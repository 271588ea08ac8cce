//! The report for the terminal.

use super::{
    forwarded,
    lock::{Figures, Longest, Named},
    report::{Report, Shares},
    table::{grouped, percent, row, table},
};

/// Rows of a table that is cut short.
const MOST: usize = 12;

/// The whole report.
pub(crate) fn text(report: &Report) -> String {
    let mut text = String::new();
    for (name, value) in &report.about {
        text.push_str(&format!("{name}: {value}\n"));
    }
    text.push_str(&format!("recorded: {} cycles ({:.6} s)\n", grouped(report.wall), report.seconds));
    text.push_str("\nWhere the time went\n");
    text.push_str(&shares(&report.cpus, &report.total));
    if !report.sums_agree {
        text.push_str("  THE FOUR DO NOT ADD UP TO THE WALL TIME: the trace lacks records\n");
    }
    text.push_str(&forwarded(report));
    text.push_str(&lock(report));
    if let Some(bound) = &report.bound {
        text.push_str(&format!(
            "\nSpeed-up possible on {} CPUs with {} of the work in the kernel\n",
            bound.cpus,
            percent(bound.kernel_share)
        ));
        text.push_str(&table(&[
            vec!["Amdahl (nobody computes while one is in the kernel)".into(), format!("{:.2}", bound.amdahl)],
            vec!["closed system with one server (they do, and collide)".into(), format!("{:.2}", bound.closed_system)],
            vec!["ceiling (they never collide)".into(), format!("{:.2}", bound.ceiling)],
            vec!["reached here (CPUs at work on the average)".into(), format!("{:.2}", bound.reached)],
        ]));
    }
    text.push_str(&cost(report));
    text.push_str(&clocks(report));
    text
}

/// User, kernel, spinning and idle of each CPU.
fn shares(cpus: &[Shares], total: &Shares) -> String {
    let mut rows = vec![row(["", "user", "kernel", "spinning", "idle"])];
    for cpu in cpus.iter().chain([total]) {
        rows.push([vec![cpu.name.clone()], cpu.parts().map(percent).to_vec()].concat());
    }
    table(&rows)
}

fn figures(rows: &[Named<Figures>]) -> String {
    let mut all =
        vec![row(["", "times", "contended", "hold: mean", "median", "99 %", "max", "wait: mean", "99 %", "max"])];
    for Named { name, figures } in rows.iter().take(MOST) {
        let (hold, wait) = (&figures.hold, &figures.wait);
        let numbers = [hold.mean.round() as u64, hold.median, hold.p99, hold.max];
        let waits = [wait.mean.round() as u64, wait.p99, wait.max];
        let mut cells = vec![name.clone(), grouped(figures.hold.count), percent(figures.contended_share())];
        cells.extend(numbers.into_iter().chain(waits).map(grouped));
        all.push(cells);
    }
    let mut text = table(&all);
    if rows.len() > MOST {
        text.push_str(&format!("  and {} more in report.json\n", rows.len() - MOST));
    }
    text
}

fn longest(entries: &[Longest]) -> String {
    let mut rows = vec![row(["cycles", "at", "CPU", "thread", "cause", "waited for"])];
    for entry in entries.iter().take(5) {
        let holder = entry.holder.clone().unwrap_or_default();
        let (cpu, at) = (entry.cpu.to_string(), grouped(entry.at));
        rows.push(vec![grouped(entry.cycles), at, cpu, entry.who.clone(), entry.cause.clone(), holder]);
    }
    table(&rows)
}

/// The longest visit of each cause, the longest of all first.
fn longest_by_cause(causes: &[Named<Figures>]) -> String {
    let mut causes: Vec<_> = causes.iter().collect();
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.figures.hold.max));
    let mut rows = vec![row(["cycles", "cause"])];
    rows.extend(causes.iter().map(|cause| vec![grouped(cause.figures.hold.max), cause.name.clone()]));
    table(&rows)
}

fn lock(report: &Report) -> String {
    let lock = &report.lock;
    let title = if lock.present { "The giant lock" } else { "Visits to the kernel (this kernel has no lock)" };
    let mut text = format!("\n{title}, in cycles\n");
    let everything = Named { name: "all".to_owned(), figures: lock.all.clone() };
    let rows: Vec<_> = [everything].into_iter().chain(lock.by_cause.iter().cloned()).collect();
    text.push_str(&figures(&rows));
    if lock.present {
        text.push_str(&format!(
            "  {} acquisitions, {} contended; recursion reached {}\n",
            grouped(lock.all.acquisitions),
            grouped(lock.all.contended),
            lock.depth
        ));
    }
    if !lock.lockless.is_empty() {
        text.push_str("\nVisits without the lock, in cycles\n");
        text.push_str(&figures(&lock.lockless));
    }
    text.push_str("\nBy level and CPU, in cycles\n");
    text.push_str(&figures(&[lock.by_level.clone(), lock.by_cpu.clone()].concat()));
    text.push_str("\nThe longest in the kernel\n");
    text.push_str(&longest(&lock.longest_holds));
    text.push_str("\nThe longest by cause\n");
    text.push_str(&longest_by_cause(&lock.by_cause));
    if lock.all.contended > 0 {
        text.push_str("\nThe longest waits\n");
        text.push_str(&longest(&lock.longest_waits));
        text.push_str("\nWho made whom wait\n");
        let mut rows = vec![row(["who had the lock", "who waited", "waits", "cycles"])];
        for pair in lock.blame.causes.iter().take(MOST) {
            rows.push(vec![pair.holder.clone(), pair.waiter.clone(), grouped(pair.waits), grouped(pair.cycles)]);
        }
        for pair in lock.blame.cpus.iter().take(MOST) {
            let (holder, waiter) = (format!("CPU {}", pair.holder), format!("CPU {}", pair.waiter));
            rows.push(vec![holder, waiter, grouped(pair.waits), grouped(pair.cycles)]);
        }
        rows.push(vec!["nobody (handing over)".into(), "".into(), "".into(), grouped(lock.blame.hand_over)]);
        text.push_str(&table(&rows));
    }
    text
}

/// What application processors have forwarded.
fn forwarded(report: &Report) -> String {
    if report.forwarded.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "  kernel of an application CPU: the application kernel; spinning: it watches for the boot CPU's answer\n\
         \nForwarded to the boot CPU, in cycles\n",
    );
    let mut rows =
        vec![row(["", "times", "trap to return: mean", "median", "99 %", "max", "waiting: mean", "made: mean"])];
    for forwarded::Figures { name, all, waiting, made } in report.forwarded.iter().take(MOST) {
        let mut cells = vec![name.clone(), grouped(all.count)];
        cells.extend([all.mean.round() as u64, all.median, all.p99, all.max].map(grouped));
        cells.extend([waiting, made].map(|distribution| grouped(distribution.mean.round() as u64)));
        rows.push(cells);
    }
    text.push_str(&table(&rows));
    if report.forwarded.len() > MOST {
        text.push_str(&format!("  and {} more in report.json\n", report.forwarded.len() - MOST));
    }
    text.push_str("  waiting: from post to answer; made: of that in the boot CPU's kernel for it\n");
    text
}

fn cost(report: &Report) -> String {
    let cost = &report.cost;
    let mut text = String::from("\nWhat measuring cost\n");
    let each = cost.cycles_per_event.map_or("not measured".to_owned(), |cycles| format!("{cycles:.1}"));
    text.push_str(&table(&[
        vec!["records".into(), grouped(cost.events)],
        vec!["bytes".into(), grouped(cost.bytes)],
        vec!["dropped".into(), grouped(cost.dropped)],
        vec!["cycles a record".into(), each],
        vec!["share of the CPUs' time".into(), cost.share.map_or("not measured".to_owned(), percent)],
    ]));
    if cost.dropped > 0 {
        text.push_str("  A ring was full: the report covers the run up to then. --records gives more room.\n");
    }
    text
}

/// How the CPUs' counters differ: measured at boot, and bounded by the lock.
fn clocks(report: &Report) -> String {
    if report.clocks.is_empty() {
        return String::new();
    }
    let mut text = String::from("\nThe CPUs' clocks beside CPU 0's, in cycles\n");
    let mut rows = vec![row(["", "ahead at boot", "give or take", "corrected by"])];
    for clock in &report.clocks {
        let cells = [clock.ahead.to_string(), grouped(clock.doubt), clock.corrected.to_string()];
        rows.push([vec![format!("CPU {}", clock.cpu)], cells.to_vec()].concat());
    }
    text.push_str(&table(&rows));
    for skew in &report.skew {
        let bound = |bound: Option<i64>| bound.map_or("?".to_owned(), |cycles| cycles.to_string());
        text.push_str(&format!(
            "  CPU {} is ahead of CPU {} by {} to {}, say {} hand-overs of the lock\n",
            skew.other,
            skew.cpu,
            bound(skew.least),
            bound(skew.most),
            grouped(skew.hand_overs)
        ));
    }
    text
}
