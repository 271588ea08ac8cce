//! Options that several subcommands share, each written and explained once.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use abi::strategies::{GIANT, STRATEGIES, SUBSYSTEMS, Strategy, UP};
use anyhow::bail;
use clap::{Args, ValueEnum};

/// CPUs that a machine can have at most.
pub(crate) const MOST_CPUS: u8 = 64;

/// The CPUs, and the kernel that is built for them.
#[derive(Args, Clone)]
pub(crate) struct Build {
    /// The uniprocessor kernel, on one CPU: the strategy `up`
    #[arg(long, conflicts_with_all = ["smp", "lock", "affinity", "strategy"])]
    pub(crate) up: bool,

    /// How many CPUs, 1 to 64, with a kernel for several [default: 2]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = cpus)]
    pub(crate) smp: Option<u8>,

    /// How the CPUs share the kernel
    #[arg(long, value_name = "NAME", default_value = GIANT, value_parser = strategy)]
    pub(crate) strategy: &'static Strategy,

    /// The giant lock's queue algorithm
    #[arg(long, value_enum, default_value_t = Lock::Ticket)]
    pub(crate) lock: Lock,

    /// How a thread is tied to the CPU that it ran on
    #[arg(long, value_enum, default_value_t = Affinity::Soft)]
    pub(crate) affinity: Affinity,

    /// Take what the last build left, look at no source
    #[arg(long, hide = true)]
    pub(crate) no_build: bool,
}

impl Build {
    /// How many CPUs the machine has.
    pub(crate) fn cpus(&self) -> u8 {
        self.smp.unwrap_or(if self.variant().strategy.several { 2 } else { 1 })
    }

    /// Refuses what no kernel can do.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let Variant { strategy: Strategy { name, several, locks, load, .. }, lock } = self.variant();
        if !several && self.cpus() != 1 {
            bail!("the strategy `{name}` is for one CPU: leave --smp out, or take another strategy");
        }
        if load.is_some() && self.cpus() == 1 {
            bail!("the strategy `{name}` needs a CPU beside the boot CPU: take --smp 2 or more");
        }
        if !locks && lock != Lock::Ticket {
            bail!("the strategy `{name}` has one lock: --lock is for `{GIANT}` and `{SUBSYSTEMS}`");
        }
        if !several && self.affinity == Affinity::Strict {
            bail!("the strategy `{name}` is for one CPU: --affinity is for several");
        }
        Ok(())
    }

    /// Which kernel runs on them.
    pub(crate) fn variant(&self) -> Variant {
        if self.up { Variant::UP } else { Variant { strategy: self.strategy, lock: self.lock } }
    }
}

/// A kernel among those that the features of its package make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Variant {
    /// How its CPUs share it.
    pub(crate) strategy: &'static Strategy,
    /// The queue algorithm, of a strategy that has several.
    pub(crate) lock: Lock,
}

impl Variant {
    /// For one CPU.
    pub(crate) const UP: Self = Self { strategy: &STRATEGIES[0], lock: Lock::Ticket };

    /// With the giant lock in this form.
    pub(crate) const fn giant(lock: Lock) -> Self {
        Self { strategy: &STRATEGIES[1], lock }
    }

    /// All kernels that there are: an extension is none.
    pub(crate) fn all() -> Vec<Self> {
        let of = |strategy: &'static Strategy| {
            let locks = if strategy.locks { Lock::value_variants() } else { &[Lock::Ticket] };
            locks.iter().map(move |&lock| Self { strategy, lock })
        };
        STRATEGIES.iter().filter(|strategy| strategy.load.is_none()).flat_map(of).collect()
    }

    /// The name that its files bear.
    pub(crate) fn name(self) -> &'static str {
        match (self.strategy.name, self.lock) {
            (GIANT, Lock::Ticket) => "giant-ticket",
            (GIANT, Lock::Mcs) => "giant-mcs",
            (GIANT, Lock::Clh) => "giant-clh",
            (GIANT, Lock::Tas) => "giant-tas",
            (SUBSYSTEMS, Lock::Ticket) => "subsystems-ticket",
            (SUBSYSTEMS, Lock::Mcs) => "subsystems-mcs",
            (SUBSYSTEMS, Lock::Clh) => "subsystems-clh",
            (SUBSYSTEMS, Lock::Tas) => "subsystems-tas",
            _ if self.strategy.load.is_some() => UP,
            (name, _) => name,
        }
    }

    /// The features of the package `kernel`, as `cargo --features` takes them.
    pub(crate) fn features(self) -> String {
        let lock = match self.lock {
            Lock::Ticket => "",
            Lock::Mcs => "lock-mcs",
            Lock::Clh => "lock-clh",
            Lock::Tas => "lock-tas",
        };
        [self.strategy.features, lock].join(",")
    }
}

/// The giant lock's queue algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Lock {
    /// First come, first served; all wait on one word
    Ticket,
    /// A queue in which each waits on a word of its own
    Mcs,
    /// A queue in which each waits on its predecessor's word
    Clh,
    /// Test and set: the CPU that comes at the right moment
    Tas,
}

/// How the scheduler of several CPUs ties a thread to the CPU that it ran on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Affinity {
    /// It moves to a CPU that has time for it
    Soft,
    /// It stays where it started, as in papers/001
    Strict,
}

/// The strategy of a name.
pub(crate) fn strategy(name: &str) -> Result<&'static Strategy, String> {
    abi::strategies::find(name).ok_or_else(|| {
        let known: Vec<_> =
            STRATEGIES.iter().map(|strategy| format!("{} ({})", strategy.name, strategy.about)).collect();
        format!("there is no such strategy, only {}", known.join(", "))
    })
}

/// What the image holds besides the base, and what it runs.
#[derive(Args, Clone)]
pub(crate) struct Payload {
    /// Lay this directory over the image's file system
    #[arg(long, value_name = "DIR")]
    pub(crate) rootfs: Option<PathBuf>,

    /// Set a variable in the program's environment; without a value, as it is on the host
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    pub(crate) environment: Vec<OsString>,

    /// Take this file as the base archive
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) base: Option<PathBuf>,

    /// Words put at the end of the kernel's command line
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    pub(crate) append: Option<String>,

    /// The program and its arguments: a name in the image's /bin or /pkg, a path in the image, or the
    /// path of a static Linux binary on the host. Without it: the tour
    #[arg(last = true, value_name = "PROGRAM")]
    pub(crate) program: Vec<OsString>,
}

/// The machine, and its emulator.
#[derive(Args, Clone)]
pub(crate) struct Machine {
    /// The emulator [default: qemu; of `compare`, bochs where there is no KVM]
    #[arg(long = "machine", value_enum)]
    pub(crate) kind: Option<Kind>,

    /// Memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(8..=1 << 20))]
    pub(crate) memory: u32,

    /// Boot by UEFI (OVMF) instead of BIOS
    #[arg(long)]
    pub(crate) uefi: bool,

    /// The accelerator of the emulator
    #[arg(long, value_enum, default_value_t = Accel::Auto)]
    pub(crate) accel: Accel,

    /// CPU model, as QEMU or Bochs names it [default: max of QEMU, corei7_skylake_x of Bochs]
    #[arg(long, value_name = "MODEL")]
    pub(crate) cpu: Option<String>,

    /// A further argument for QEMU, as `--qemu=ARG`; may be repeated
    #[arg(long = "qemu", value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) further: Vec<OsString>,

    /// Show the command that starts the machine on standard error; what it boots stays until the next run
    #[arg(long)]
    pub(crate) print: bool,
}

impl Machine {
    /// The emulator.
    pub(crate) fn kind(&self) -> Kind {
        self.kind.unwrap_or(Kind::Qemu)
    }

    /// Lets the machine be of that kind, unless the user has said which, or has asked for what only QEMU can do.
    pub(crate) fn prefer(&mut self, kind: Kind) {
        if !self.uefi && self.accel == Accel::Auto && self.further.is_empty() {
            self.kind.get_or_insert(kind);
        }
    }

    /// A machine of that kind, with what there is by default.
    pub(crate) fn of(kind: Kind) -> Self {
        Self {
            kind: Some(kind),
            memory: 256,
            uefi: false,
            accel: Accel::Auto,
            cpu: None,
            further: Vec::new(),
            print: false,
        }
    }
}

/// The emulators that play the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Kind {
    /// As fast as can be
    Qemu,
    /// QEMU as a counter of instructions, on one CPU: as Bochs, and many times faster
    Icount,
    /// Counts instructions: a run is the same every time, to the last of them
    Bochs,
}

/// The parts of QEMU that execute the guest's instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Accel {
    /// KVM if the host's CPU really has it, else TCG
    Auto,
    /// QEMU's translator
    Tcg,
    /// The host's CPU
    Kvm,
}

/// Parses a number of CPUs.
pub(crate) fn cpus(text: &str) -> Result<u8, String> {
    let possible = text.parse().ok().filter(|cpus| (1..=MOST_CPUS).contains(cpus));
    possible.ok_or_else(|| format!("1 to {MOST_CPUS} CPUs are possible; --up is the uniprocessor kernel on one"))
}

/// Parses a positive number of seconds, fractions allowed.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || "a number of seconds above 0 is expected, such as 20 or 0.5".to_owned();
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_positive_numbers() {
        assert_eq!(seconds("2"), Ok(Duration::from_secs(2)));
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for wrong in ["0", "-1", "", "ten", "inf", "NaN", "1e300"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
