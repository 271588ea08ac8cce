//! The registry of strategies, which the kernel's command line, xtask, the tests and the documents share. For example,
//! `--strategy baton` of `cargo xtask run` selects the Cargo features of the entry with that name.

/// One CPU.
pub const UP: &str = "up";
/// The giant lock of papers/001.
pub const GIANT: &str = "giant";
/// The baton, a strategy as an example.
pub const BATON: &str = "baton";

/// The application kernel of papers/000.
pub const APPLICATION: &str = "application";

/// The locks of subsystems of papers/001, section 7.
pub const SUBSYSTEMS: &str = "subsystems";

/// A strategy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Strategy {
    /// What it is called, on every command line.
    pub name: &'static str,
    /// The Cargo features of the kernel that has it.
    pub features: &'static str,
    /// Whether it is for several CPUs.
    pub several: bool,
    /// Whether its lock has several queue algorithms to choose from.
    pub locks: bool,
    /// The extension of the kernel that it is, if it is one: the kernel is then that of [`UP`].
    pub load: Option<&'static str>,
    /// What it is.
    pub about: &'static str,
}

/// All strategies.
pub const STRATEGIES: [Strategy; 5] = [
    Strategy { name: UP, features: "", several: false, locks: false, load: None, about: "one CPU" },
    Strategy {
        name: GIANT,
        features: "smp",
        several: true,
        locks: true,
        load: None,
        about: "one CPU at a time in the kernel (papers/001)",
    },
    Strategy {
        name: BATON,
        features: "smp,baton",
        several: true,
        locks: false,
        load: None,
        about: "the same with the simplest lock, for show",
    },
    Strategy {
        name: SUBSYSTEMS,
        features: "smp,subsystems",
        several: true,
        locks: true,
        load: None,
        about: "calls that concern the caller alone take no lock (papers/001, section 7)",
    },
    Strategy {
        name: APPLICATION,
        features: "",
        several: true,
        locks: false,
        load: Some("/lib/apkern.ko"),
        about: "the uniprocessor kernel on one CPU, programs on the others (papers/000)",
    },
];

/// The strategy of a name.
pub fn find(name: &str) -> Option<&'static Strategy> {
    STRATEGIES.iter().find(|strategy| strategy.name == name)
}
