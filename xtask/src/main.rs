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
mod build;
mod commands;
mod image;
mod machine;
mod notes;
mod options;
mod packages;
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
/// Start with `cargo xtask run --up`: it installs what is missing, builds the kernel and its programs,
/// boots them under QEMU and runs the tour. `cargo xtask help run` tells more about a subcommand.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(commands::run::Run),
    Test(commands::test::Test),
    Image(commands::image::Image),
    Debug(commands::debug::Debug),
    Doctor(commands::doctor::Doctor),
}

fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| with_dashes(error).exit());
    let done = match cli.command {
        Command::Run(run) => run.execute(),
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

/// Adds the tip that clap cannot know: a bare word was meant as the program.
fn with_dashes(mut error: clap::Error) -> clap::Error {
    let word = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(word)) if error.kind() == ErrorKind::UnknownArgument => word.clone(),
        _ => return error,
    };
    if !word.starts_with('-') {
        let tip = format!("the program and its arguments come after two dashes: `-- {word}`");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

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
        let text = with_dashes(refused(&["run", "hello-std"])).to_string();
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
}
