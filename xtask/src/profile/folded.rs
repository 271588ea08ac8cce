//! Folded stacks for flame graphs: `program;state;cause cycles`, a line each. `inferno-flamegraph` and
//! `flamegraph.pl` draw them.

use std::{collections::BTreeMap, fmt::Write};

use super::{
    causes,
    timeline::{State, Timeline},
};

/// The lines, in alphabetical order.
pub(crate) fn folded(timeline: &Timeline) -> String {
    let mut stacks: BTreeMap<String, u64> = BTreeMap::new();
    for line in &timeline.lines {
        for span in &line.spans {
            // Semicolons and blanks mean something here.
            let program = timeline.name(span.who).replace([';', ' '], "_");
            let cause = |cause| causes::name(cause).replace(' ', "_");
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
            let program = timeline.name(visit.who).replace([';', ' '], "_");
            let stack = format!("{program};kernel;{}", causes::name(visit.cause).replace(' ', "_"));
            let cycles = inner.end - inner.start;
            if let Some(outer) = stacks.get_mut(&stack).filter(|outer| **outer >= cycles) {
                *outer -= cycles;
                *stacks.entry(format!("{stack};{}", causes::name(inner.cause).replace(' ', "_"))).or_default() +=
                    cycles;
            }
        }
    }
    stacks.into_iter().fold(String::new(), |mut text, (stack, cycles)| {
        let _ = writeln!(text, "{stack} {cycles}");
        text
    })
}
