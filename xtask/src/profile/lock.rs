//! The giant lock: its holders, the waits, and which holder caused which wait.

use std::collections::BTreeMap;

use serde::Serialize;
use trace::{Cause, Class, Event};

use super::{
    causes,
    distribution::Distribution,
    timeline::{Timeline, Visit},
};

/// How many of the longest holds and waits are listed.
const LONGEST: usize = 10;

/// The lock's figures; of a kernel without a lock, its visits.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Lock {
    /// Whether this kernel has one.
    pub(crate) present: bool,
    pub(crate) all: Figures,
    /// Recursion reached at most.
    pub(crate) depth: u8,
    /// By what brought the CPU into the kernel, the most time in the kernel first.
    pub(crate) by_cause: Vec<Named<Figures>>,
    /// Of a kernel that has one: the visits that were made without it, in the same way.
    pub(crate) lockless: Vec<Named<Figures>>,
    /// By the level from which the lock was requested: 0 means that the level rose to 1.
    pub(crate) by_level: Vec<Named<Figures>>,
    pub(crate) by_cpu: Vec<Named<Figures>>,
    pub(crate) longest_holds: Vec<Longest>,
    pub(crate) longest_waits: Vec<Longest>,
    pub(crate) blame: Blame,
}

/// Figures of visits.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) acquisitions: u64,
    pub(crate) contended: u64,
    /// Waiting of those that had to.
    pub(crate) wait: Distribution,
    pub(crate) hold: Distribution,
}

/// Figures of something with a name.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Named<T> {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) figures: T,
}

/// One hold or wait.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Longest {
    pub(crate) cycles: u64,
    /// Cycles since the beginning.
    pub(crate) at: u64,
    pub(crate) cpu: usize,
    pub(crate) who: String,
    pub(crate) cause: String,
    /// Of a wait: the holder of the lock for most of it.
    pub(crate) holder: Option<String>,
}

/// Which holder caused which wait: cycles of waiting while the holder had the lock.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub(crate) struct Blame {
    pub(crate) causes: Vec<Pair<String>>,
    pub(crate) cpus: Vec<Pair<usize>>,
    /// Cycles in which no CPU had it: from a release to the next acquisition.
    pub(crate) hand_over: u64,
}

/// A holder and a waiter.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Pair<T> {
    pub(crate) holder: T,
    pub(crate) waiter: T,
    pub(crate) cycles: u64,
    /// In how many waits.
    pub(crate) waits: u64,
}

/// A release that let a waiter go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HandOver {
    pub(crate) from: (usize, u64),
    pub(crate) to: (usize, u64),
}

impl Figures {
    fn of<'a>(visits: impl Iterator<Item = &'a Visit> + Clone) -> Self {
        let contended = visits.clone().filter(|visit| visit.contended);
        Self {
            acquisitions: visits.clone().count() as u64,
            contended: contended.clone().count() as u64,
            wait: Distribution::of(contended.map(Visit::wait).collect()),
            hold: Distribution::of(visits.map(Visit::hold).collect()),
        }
    }

    /// The share of acquisitions that had to wait.
    pub(crate) fn contended_share(&self) -> f64 {
        if self.acquisitions == 0 { 0.0 } else { self.contended as f64 / self.acquisitions as f64 }
    }
}

/// All visits to the kernel; application processors have a kernel of their own.
fn all(timeline: &Timeline) -> impl Iterator<Item = &Visit> {
    timeline.lines.iter().filter(|line| !line.is_application).flat_map(|line| &line.visits)
}

/// Whether this kernel has a lock.
fn is_present(timeline: &Timeline) -> bool {
    all(timeline).any(|visit| visit.acquired.is_some())
}

/// The visits that had the lock, in the order in which they had it; in a kernel without one, all.
pub(crate) fn in_order(timeline: &Timeline) -> Vec<Visit> {
    let is_present = is_present(timeline);
    let mut visits: Vec<Visit> =
        all(timeline).filter(|visit| visit.acquired.is_some() || !is_present).copied().collect();
    visits.sort_unstable_by_key(|visit| (visit.start(), visit.leave));
    visits
}

/// Figures of visits by what brought the CPU into the kernel, the most time in the kernel first.
fn by_cause<'a>(visits: impl Iterator<Item = &'a Visit>) -> Vec<Named<Figures>> {
    let mut by_cause: BTreeMap<Cause, Vec<Visit>> = BTreeMap::new();
    visits.for_each(|visit| by_cause.entry(visit.cause).or_default().push(*visit));
    let named =
        |(&cause, of): (&Cause, &Vec<Visit>)| Named { name: causes::name(cause), figures: Figures::of(of.iter()) };
    let mut named: Vec<_> = by_cause.iter().map(named).collect();
    named.sort_by_key(|cause| std::cmp::Reverse(cause.figures.hold.total));
    named
}

/// The releases that waiters waited for.
pub(crate) fn hand_overs(visits: &[Visit]) -> impl Iterator<Item = HandOver> {
    visits
        .windows(2)
        .filter(|pair| pair[1].contended && pair[0].cpu != pair[1].cpu)
        .map(|pair| HandOver { from: (pair[0].cpu, pair[0].leave), to: (pair[1].cpu, pair[1].start()) })
}

impl Lock {
    pub(crate) fn of(timeline: &Timeline, visits: &[Visit]) -> Self {
        let present = is_present(timeline);
        let by_cpu =
            timeline.lines.iter().enumerate().filter(|(_, line)| !line.visits.is_empty() && !line.is_application);
        let by_cpu = by_cpu.map(|(cpu, _)| Named {
            name: format!("CPU {cpu}"),
            figures: Figures::of(visits.iter().filter(|visit| visit.cpu == cpu)),
        });
        Self {
            present,
            all: Figures::of(visits.iter()),
            depth: visits.iter().map(|visit| visit.depth).max().unwrap_or(0),
            by_cause: by_cause(visits.iter()),
            lockless: by_cause(all(timeline).filter(|visit| present && visit.acquired.is_none())),
            by_level: by_level(timeline, visits),
            by_cpu: by_cpu.collect(),
            longest_holds: longest(timeline, visits, Visit::hold, |_| None),
            longest_waits: longest(timeline, visits, Visit::wait, |visit| chief_holder(timeline, visits, visit)),
            blame: blame(visits),
        }
    }
}

/// Level 0: the visits. Level 1: what interrupted the kernel, which the giant lock is not asked for. It
/// holds no lock of its own, so its time is its duration.
fn by_level(timeline: &Timeline, visits: &[Visit]) -> Vec<Named<Figures>> {
    let nested: Vec<u64> =
        timeline.lines.iter().flat_map(|line| line.nested.iter().map(|inner| inner.end - inner.start)).collect();
    let level2 =
        Figures { acquisitions: 0, contended: 0, wait: Distribution::default(), hold: Distribution::of(nested) };
    vec![
        Named { name: "0 → 1".into(), figures: Figures::of(visits.iter()) },
        Named { name: "1 → 2".into(), figures: level2 },
    ]
}

fn longest(
    timeline: &Timeline,
    visits: &[Visit],
    measure: impl Fn(&Visit) -> u64,
    holder: impl Fn(&Visit) -> Option<String>,
) -> Vec<Longest> {
    let mut longest: Vec<&Visit> = visits.iter().filter(|visit| measure(visit) > 0).collect();
    longest.sort_by_key(|visit| (std::cmp::Reverse(measure(visit)), visit.enter));
    let entry = |visit: &&Visit| Longest {
        cycles: measure(visit),
        at: visit.enter,
        cpu: visit.cpu,
        who: timeline.name(visit.who),
        cause: causes::name(visit.cause),
        holder: holder(visit),
    };
    longest.iter().take(LONGEST).map(entry).collect()
}

/// The visits that had the lock while `visit` waited, each with the cycles of that.
fn holders<'a>(visits: &'a [Visit], visit: &Visit) -> impl Iterator<Item = (&'a Visit, u64)> + use<'a> {
    let (from, to, cpu) = (visit.requested, visit.start(), visit.cpu);
    // Holds are disjoint and in order; a stamp's width of doubt is no harm.
    let first = visits.partition_point(|holder| holder.leave <= from);
    let holders = visits[first..].iter().take_while(move |holder| holder.start() < to);
    let overlap = move |holder: &Visit| holder.leave.min(to).saturating_sub(holder.start().max(from));
    holders.filter(move |holder| holder.cpu != cpu).map(move |holder| (holder, overlap(holder)))
}

fn chief_holder(timeline: &Timeline, visits: &[Visit], visit: &Visit) -> Option<String> {
    let (holder, _) = holders(visits, visit).max_by_key(|(_, cycles)| *cycles)?;
    Some(format!("CPU {}, {}, {}", holder.cpu, timeline.name(holder.who), causes::name(holder.cause)))
}

fn blame(visits: &[Visit]) -> Blame {
    let mut causes: BTreeMap<(Cause, Cause), (u64, u64)> = BTreeMap::new();
    let mut cpus: BTreeMap<(usize, usize), (u64, u64)> = BTreeMap::new();
    let mut hand_over = 0;
    for visit in visits.iter().filter(|visit| visit.contended) {
        let mut of_causes: BTreeMap<Cause, u64> = BTreeMap::new();
        let mut of_cpus: BTreeMap<usize, u64> = BTreeMap::new();
        let mut left = visit.wait();
        for (holder, cycles) in holders(visits, visit) {
            *of_causes.entry(holder.cause).or_default() += cycles;
            *of_cpus.entry(holder.cpu).or_default() += cycles;
            left = left.saturating_sub(cycles);
        }
        hand_over += left;
        let add = |sum: &mut (u64, u64), cycles: u64| *sum = (sum.0 + cycles, sum.1 + 1);
        of_causes.into_iter().for_each(|(cause, cycles)| add(causes.entry((cause, visit.cause)).or_default(), cycles));
        of_cpus.into_iter().for_each(|(cpu, cycles)| add(cpus.entry((cpu, visit.cpu)).or_default(), cycles));
    }
    let mut causes: Vec<_> = causes
        .into_iter()
        .map(|((holder, waiter), (cycles, waits))| Pair {
            holder: causes::name(holder),
            waiter: causes::name(waiter),
            cycles,
            waits,
        })
        .collect();
    causes.sort_by_key(|pair| std::cmp::Reverse(pair.cycles));
    let cpus = cpus.into_iter().map(|((holder, waiter), (cycles, waits))| Pair { holder, waiter, cycles, waits });
    Blame { causes, cpus: cpus.collect(), hand_over }
}

/// How the counters of two CPUs may differ, by what the lock allows: no one acquires it before it is
/// released. Hand-overs in both directions bound the difference from both sides.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Skew {
    pub(crate) cpu: usize,
    pub(crate) other: usize,
    /// The other's counter is ahead by at least this.
    pub(crate) least: Option<i64>,
    /// And by at most this.
    pub(crate) most: Option<i64>,
    pub(crate) hand_overs: u64,
}

pub(crate) fn skew(visits: &[Visit]) -> Vec<Skew> {
    let mut pairs: BTreeMap<(usize, usize), Skew> = BTreeMap::new();
    for HandOver { from, to } in hand_overs(visits) {
        let gap = to.1 as i64 - from.1 as i64;
        let (cpu, other) = (from.0.min(to.0), from.0.max(to.0));
        let empty = Skew { cpu, other, least: None, most: None, hand_overs: 0 };
        let skew = pairs.entry((cpu, other)).or_insert(empty);
        skew.hand_overs += 1;
        // The receiver's stamp is later in truth: if it is the other's, its lead is at most the gap.
        if to.0 == other {
            skew.most = Some(skew.most.map_or(gap, |most| most.min(gap)));
        } else {
            skew.least = Some(skew.least.map_or(-gap, |least| least.max(-gap)));
        }
    }
    pairs.into_values().collect()
}

/// How often each kind of thing happened.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub(crate) struct Counts {
    pub(crate) system_calls: u64,
    pub(crate) exceptions: u64,
    pub(crate) interrupts: u64,
    pub(crate) level2_interrupts: u64,
    pub(crate) thread_switches: u64,
    pub(crate) page_faults: u64,
    pub(crate) spurious_faults: u64,
    pub(crate) directory_copies: u64,
    pub(crate) ipis: u64,
    pub(crate) answered_while_spinning: u64,
    pub(crate) answered_outside_the_lock: u64,
    pub(crate) shootdowns: u64,
    pub(crate) marks: u64,
}

impl Counts {
    pub(crate) fn of(timeline: &Timeline) -> Self {
        let mut counts = Self::default();
        for line in &timeline.lines {
            counts.level2_interrupts += line.nested.len() as u64;
            for visit in &line.visits {
                match visit.cause.class {
                    Class::SystemCall => counts.system_calls += 1,
                    Class::Exception => counts.exceptions += 1,
                    Class::Interrupt => counts.interrupts += 1,
                }
            }
            for point in &line.points {
                match point.event {
                    Event::Switch { .. } => counts.thread_switches += 1,
                    Event::Fault { end, .. } => {
                        counts.page_faults += 1;
                        let spurious = [trace::FaultEnd::SpuriousDirectory, trace::FaultEnd::SpuriousTlb];
                        counts.spurious_faults += u64::from(spurious.contains(&end));
                    }
                    Event::DirectoryCopy { .. } => counts.directory_copies += 1,
                    Event::IpiSent { .. } => counts.ipis += 1,
                    Event::AnsweredOutside { .. } => counts.answered_outside_the_lock += 1,
                    Event::Answered => counts.answered_while_spinning += 1,
                    Event::Shootdown { .. } => counts.shootdowns += 1,
                    Event::Mark { .. } => counts.marks += 1,
                    _ => {}
                }
            }
        }
        counts
    }
}
