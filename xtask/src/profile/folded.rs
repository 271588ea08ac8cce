//! Folded stacks, `program;state;cause cycles`, a line each, and the flame graph that they make.

use std::{collections::BTreeMap, fmt::Write};

use anyhow::{Context, Result};
use inferno::flamegraph::{self, Options};

use super::{
    causes,
    timeline::{State, Timeline},
};
use crate::guest;

/// The lines, in alphabetical order.
pub(crate) fn folded(timeline: &Timeline) -> String {
    let mut stacks: BTreeMap<String, u64> = BTreeMap::new();
    for line in &timeline.lines {
        for span in &line.spans {
            let program = guest::frame(&timeline.name(span.who));
            let cause = |cause| guest::frame(&causes::name(cause));
            let stack = match span.state {
                State::Idle => "idle".to_owned(),
                State::User => format!("{program};user"),
                State::Kernel(None) => format!("{program};kernel"),
                State::Kernel(Some(why)) => format!("{program};kernel;{}", cause(why)),
                State::Spin(why) => format!("{program};spinning;{}", cause(why)),
            };
            *stacks.entry(stack).or_default() += span.end - span.start;
        }
        // What interrupted the kernel is within the kernel's time: it is shown apart, and taken off there.
        for inner in &line.nested {
            let Some(visit) = line.visits.iter().rfind(|visit| visit.enter <= inner.start && inner.end <= visit.leave)
            else {
                continue;
            };
            let program = guest::frame(&timeline.name(visit.who));
            let stack = format!("{program};kernel;{}", guest::frame(&causes::name(visit.cause)));
            let cycles = inner.end - inner.start;
            if let Some(outer) = stacks.get_mut(&stack).filter(|outer| **outer >= cycles) {
                *outer -= cycles;
                *stacks.entry(format!("{stack};{}", guest::frame(&causes::name(inner.cause)))).or_default() += cycles;
            }
        }
    }
    stacks.into_iter().fold(String::new(), |mut text, (stack, cycles)| {
        let _ = writeln!(text, "{stack} {cycles}");
        text
    })
}

/// The flame graph of such lines, an SVG image; none if there are no lines.
pub(crate) fn graph(stacks: &str) -> Result<Option<Vec<u8>>> {
    if stacks.is_empty() {
        return Ok(None);
    }
    let mut options = Options::default();
    (options.title, options.count_name) = ("Where the time of all CPUs went".to_owned(), "cycles".to_owned());
    let mut image = Vec::new();
    flamegraph::from_lines(&mut options, stacks.lines(), &mut image).context("cannot draw the flame graph")?;
    Ok(Some(image))
}
