//! Calls and exceptions that application processors forward to the boot CPU (papers/000): how long a thread waits for them,
//! and where that time goes.
//!
//! For example, a thread calls `getpid` on CPU 1 at cycle 100. Its message is posted at 150, its bootstrap thread makes the
//! call on CPU 0 from 180 to 240, the answer is there at 270, and the thread goes on at 300, on CPU 2: 200 cycles from trap to
//! return, of which it waited 120 for the boot CPU.

use std::collections::BTreeMap;

use serde::Serialize;
use trace::{Cause, Event, From, To};

use super::{
    causes,
    distribution::Distribution,
    timeline::{Line, Visit, Who},
};

/// A call or exception that was forwarded and has been answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Forwarded {
    pub(crate) cause: Cause,
    pub(crate) who: Who,
    /// The thread trapped.
    pub(crate) trap: u64,
    /// Its message was posted: CPU and moment.
    pub(crate) posted: (usize, u64),
    /// The answer came.
    pub(crate) answered: u64,
    /// The thread went on.
    pub(crate) returned: (usize, u64),
    /// When the boot CPU was in its kernel for it, as far as the records tell.
    pub(crate) made: Option<(u64, u64)>,
}

/// What of one name was forwarded. Times are in cycles.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) name: String,
    /// From trap to return; how many there are.
    pub(crate) all: Distribution,
    /// Of that, from post to answer.
    pub(crate) waiting: Distribution,
    /// Of that, in the boot CPU's kernel, those calls that are found there.
    pub(crate) made: Distribution,
}

/// One that is under way.
struct Open {
    cause: Cause,
    trap: u64,
    posted: (usize, u64),
    answered: Option<u64>,
}

/// Puts together what was forwarded, from the events of the application processors; the boot CPU's visits are those of `boot`.
pub(crate) fn of(moments: &[Vec<(u64, Event)>], boot: &Line) -> Vec<Forwarded> {
    let mut events: Vec<(u64, usize, Event)> = Vec::new();
    for (cpu, line) in moments.iter().enumerate().skip(1) {
        events.extend(line.iter().map(|(at, event)| (*at, cpu, *event)));
    }
    events.sort_by_key(|event| event.0);
    let visits = by_thread(&boot.visits);
    let mut running: Vec<(Who, Option<(Cause, u64)>)> = vec![(Who::default(), None); moments.len()];
    let mut open: BTreeMap<Who, Open> = BTreeMap::new();
    let mut done = Vec::new();
    for (at, cpu, event) in events {
        let (who, entered) = &mut running[cpu];
        match event {
            Event::Switch { thread, process } => *who = Who { thread, process },
            Event::Enter { cause, from: From::User } => *entered = Some((cause, at)),
            Event::Posted => {
                if let Some((cause, trap)) = *entered {
                    open.insert(*who, Open { cause, trap, posted: (cpu, at), answered: None });
                }
            }
            Event::Replied { cycles } => {
                if let Some(open) = open.get_mut(who) {
                    open.answered = Some(at.saturating_sub(cycles.into()).max(open.posted.1));
                }
            }
            Event::Leave { to: To::User } if open.get(who).is_some_and(|open| open.answered.is_some()) => {
                if let Some(Open { cause, trap, posted, answered: Some(answered) }) = open.remove(who) {
                    let made = made(visits.get(&who.thread), cause, posted.1, answered);
                    done.push(Forwarded { cause, who: *who, trap, posted, answered, returned: (cpu, at), made });
                }
            }
            _ => {}
        }
    }
    done
}

fn by_thread(visits: &[Visit]) -> BTreeMap<u32, Vec<Visit>> {
    let mut threads: BTreeMap<u32, Vec<Visit>> = BTreeMap::new();
    visits.iter().for_each(|visit| threads.entry(visit.who.thread).or_default().push(*visit));
    threads
}

/// When the boot CPU's kernel did for a thread what it had trapped for: the first such visit in this time, to the last one,
/// since a call that waits is made again.
fn made(visits: Option<&Vec<Visit>>, cause: Cause, from: u64, to: u64) -> Option<(u64, u64)> {
    let visits = visits?;
    let first = visits.partition_point(|visit| visit.enter < from);
    let mut of_it = visits[first..].iter().take_while(|visit| visit.enter < to).filter(|visit| visit.cause == cause);
    let first = of_it.next()?;
    let last = of_it.last().unwrap_or(first);
    Some((first.enter, last.leave.min(to)))
}

/// The figures by name, those that took most in all first.
pub(crate) fn figures(forwarded: &[Forwarded]) -> Vec<Figures> {
    let mut by_cause: BTreeMap<Cause, Vec<&Forwarded>> = BTreeMap::new();
    forwarded.iter().for_each(|one| by_cause.entry(one.cause).or_default().push(one));
    let mut figures: Vec<Figures> = by_cause
        .into_iter()
        .map(|(cause, those)| Figures {
            name: causes::name(cause),
            all: Distribution::of(those.iter().map(|one| one.returned.1 - one.trap).collect()),
            waiting: Distribution::of(those.iter().map(|one| one.answered - one.posted.1).collect()),
            made: Distribution::of(those.iter().filter_map(|one| one.made).map(|(from, to)| to - from).collect()),
        })
        .collect();
    figures.sort_by_key(|figures| std::cmp::Reverse(figures.all.total));
    figures
}

/// The arrows of what was forwarded: from the post to the boot CPU's kernel, and from there to the answer.
pub(crate) fn arrows(forwarded: &[Forwarded]) -> impl Iterator<Item = [(usize, u64); 2]> {
    forwarded.iter().filter_map(|one| Some((one, one.made?))).flat_map(|(one, (from, to))| {
        [[one.posted, (0, from)], [(0, to), (one.returned.0, one.answered.min(one.returned.1))]]
    })
}
