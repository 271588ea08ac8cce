//! Options that several subcommands share, each written and explained once.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

/// What is built.
#[derive(Args, Clone)]
pub(crate) struct Build {
    /// The uniprocessor kernel (the only one there is so far)
    #[arg(long)]
    pub(crate) up: bool,

    /// Take what the last build left, look at no source
    #[arg(long, hide = true)]
    pub(crate) no_build: bool,
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

/// The machine, and who plays it.
#[derive(Args, Clone)]
pub(crate) struct Machine {
    /// Who plays the machine
    #[arg(long = "machine", value_enum, default_value_t = Kind::Qemu)]
    pub(crate) kind: Kind,

    /// Memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(8..=1 << 20))]
    pub(crate) memory: u32,

    /// Boot by UEFI (OVMF) instead of BIOS
    #[arg(long)]
    pub(crate) uefi: bool,

    /// Who executes the guest's instructions
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

/// Who plays the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Kind {
    /// As fast as can be
    Qemu,
    /// Counts instructions: a run is the same every time, to the last of them
    Bochs,
}

/// Who executes the guest's instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Accel {
    /// KVM if the host's CPU really has it, else TCG
    Auto,
    /// QEMU's translator
    Tcg,
    /// The host's CPU
    Kvm,
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
