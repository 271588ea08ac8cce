//! `cargo xtask`: everything that is done *with* Jotun, from one command.
//!
//! A file per subcommand in [`commands`]; what they share is beside it: [`build`] makes the kernel and
//! the programs, [`image`] the archives and the bootable ISO, [`machine`] runs QEMU and finds the
//! verdict. The contract with the kernel (framing of the console, control records) is crate `abi`.
//!
//! Deliberately not here: anything the kernel could do itself, and any state between runs besides
//! what lies in Cargo's target directory.

#![deny(unsafe_code)]

mod backtrace;
mod bench;
mod build;
mod child;
mod commands;
mod comparison;
mod guest;
mod image;
mod machine;
mod notes;
mod options;
mod packages;
mod profile;
mod project;
mod suggest;

use std::process::ExitCode;

use clap::{
    Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// The status of a command that failed by itself, before or beside any program: 125, as `timeout` and
/// `docker run` have it. (A wrong command line is 2.)
const OWN_FAILURE: u8 = 125;

/// Build, run, test and debug Jotun.
///
/// Start with `cargo xtask run --smp 2`: it installs what is missing, builds the kernel and its programs,
/// boots them under QEMU on two CPUs and runs the tour. `cargo xtask help run` tells more about a subcommand.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(commands::run::Run),
    Compare(commands::compare::Compare),
    Bench(commands::bench::Bench),
    Profile(commands::profile::ProfileCommand),
    Check(commands::check::Check),
    Test(commands::test::Test),
    Image(commands::image::Image),
    Debug(commands::debug::Debug),
    Doctor(commands::doctor::Doctor),
}

fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| with_tip(error).exit());
    let done = match cli.command {
        Command::Run(run) => run.execute(),
        Command::Compare(compare) => compare.execute(),
        Command::Bench(bench) => bench.execute(),
        Command::Profile(profile) => profile.execute(),
        Command::Check(check) => check.execute(),
        Command::Test(test) => test.execute(),
        Command::Image(image) => image.execute(),
        Command::Debug(debug) => debug.execute(),
        Command::Doctor(doctor) => doctor.execute(),
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            notes::error(&error);
            ExitCode::from(OWN_FAILURE)
        }
    }
}

/// Adds the tips that clap cannot know: a bare word was meant as the program, and why options exclude
/// each other.
fn with_tip(mut error: clap::Error) -> clap::Error {
    let tip = match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(word))) if !word.starts_with('-') => {
            format!("the program and its arguments come after two dashes: `-- {word}`")
        }
        (ErrorKind::ArgumentConflict, _) if error.to_string().contains("'--up'") => {
            "--up is the uniprocessor kernel: it runs on one CPU and has no giant lock".to_owned()
        }
        _ => return error,
    };
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    error
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::options::{Lock, Variant};

    fn refused(words: &[&str]) -> clap::Error {
        match Cli::try_parse_from([&["xtask"], words].concat()) {
            Err(error) => error,
            Ok(_) => panic!("{words:?} was accepted"),
        }
    }

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_subcommand_shows_an_example() {
        for command in Cli::command().get_subcommands() {
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains(&format!("cargo xtask {}", command.get_name())), "{help}");
        }
    }

    #[test]
    fn mistyped_flag_names_the_meant_one() {
        let text = refused(&["run", "--memroy", "64"]).to_string();
        assert!(text.contains("'--memroy'") && text.contains("'--memory'"), "{text}");
    }

    #[test]
    fn mistyped_subcommand_names_the_meant_one() {
        let text = refused(&["rum"]).to_string();
        assert!(text.contains("'rum'") && text.contains("'run'"), "{text}");
    }

    #[test]
    fn program_needs_the_two_dashes() {
        let text = with_tip(refused(&["run", "hello-std"])).to_string();
        assert!(text.contains("two dashes: `-- hello-std`"), "{text}");
        assert!(Cli::try_parse_from(["xtask", "run", "--up", "--", "hello-std", "--flag", "-x"]).is_ok());
    }

    #[test]
    fn values_out_of_range_are_refused() {
        assert_eq!(refused(&["run", "--memory", "1"]).kind(), ErrorKind::ValueValidation);
        assert_eq!(refused(&["run", "--timeout", "0"]).kind(), ErrorKind::ValueValidation);
        assert_eq!(refused(&["run", "--timeout", "soon"]).kind(), ErrorKind::ValueValidation);
        assert_eq!(refused(&["run", "--accel", "xen"]).kind(), ErrorKind::InvalidValue);
    }

    #[test]
    fn the_cpus_decide_on_the_kernel() {
        let parsed = |words: &[&str]| {
            let cli = Cli::try_parse_from([&["xtask", "run"], words].concat()).unwrap_or_else(|error| error.exit());
            let Command::Run(run) = cli.command else { panic!("another subcommand") };
            (run.build.cpus(), run.build.variant())
        };
        assert_eq!(parsed(&[]), (2, Variant::giant(Lock::Ticket)));
        assert_eq!(parsed(&["--up"]), (1, Variant::UP));
        assert_eq!(parsed(&["--smp", "1"]), (1, Variant::giant(Lock::Ticket)));
        assert_eq!(parsed(&["--smp", "64", "--lock", "clh"]), (64, Variant::giant(Lock::Clh)));
        assert_eq!(parsed(&["--strategy", "up"]), (1, Variant::UP));
        assert_eq!(parsed(&["--strategy", "baton", "--smp", "3"]).0, 3);
    }

    #[test]
    fn refused_cpus_and_locks_come_with_what_is_possible() {
        for command in ["run", "image", "debug"] {
            for (words, part) in [
                (&["--smp", "0"][..], "1 to 64 CPUs are possible"),
                (&["--smp", "65"], "1 to 64 CPUs are possible"),
                (&["--smp", "many"], "1 to 64 CPUs are possible"),
                (&["--lock", "foo"], "[possible values: ticket, mcs, clh, tas]"),
                (&["--up", "--smp", "2"], "it runs on one CPU"),
                (&["--lock", "ticket", "--up"], "has no giant lock"),
            ] {
                let text = with_tip(refused(&[&[command], words].concat())).to_string();
                assert!(text.contains(part), "{words:?}: {text}");
            }
        }
    }
}
