//! The application kernel beside the papers' figures (papers/000, 003, 004).
//!
//! [`WAITS`], [`LOCAL`] and [`MIGRATE`] are the ways to load it that are measured. For example, `local=getpid` has it
//! answer that call by itself.

mod capacity;
mod forwarded;
mod single;
mod size;

pub(super) use capacity::capacity;
pub(super) use forwarded::forwarded;
pub(super) use single::single;
pub(super) use size::size;

use super::lab::{Job, System};

/// What is said of figures that miss their targets: a page is about them.
const WHY: &str = "docs/application-figures.md says where the time goes";

/// A way to load the application kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Way {
    /// As tables name it.
    name: &'static str,
    /// Its parameters; none are the usual way.
    parameters: &'static str,
}

/// The ways in which a bootstrap thread waits for a message, the usual one first.
const WAITS: [Way; 3] = [
    USUAL,
    Way { name: "`wake=poll`", parameters: "wake=poll" },
    Way { name: "`wake=interrupt`", parameters: INTERRUPT },
];
const INTERRUPT: &str = "wake=interrupt";

/// The application kernel answers `getpid` by itself.
const LOCAL: Way = Way { name: "`local=getpid`", parameters: "local=getpid" };

/// Threads that call the kernel more than they compute go to the boot CPU.
const MIGRATE: Way = Way { name: "`migrate`", parameters: "migrate" };

/// As `--strategy application` loads it: `wake=adaptive`.
const USUAL: Way = Way { name: "application", parameters: "" };

impl Way {
    /// A program on a machine of this number of CPUs, one of which is the boot CPU.
    fn job(self, cpus: u8, program: impl IntoIterator<Item = impl Into<String>>) -> Job {
        Job { parameters: self.parameters, ..Job::new(System::jotun(&format!("application:{cpus}")), program) }
    }
}
