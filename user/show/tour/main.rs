//! The tour: starts programs, and tells in words and small tables what the kernel did for them.
//!
//! It runs if no program is named. It has measured everything it shows, by the kernel's statistics before and after,
//! and takes a few seconds.
//!
//! Run by: `tests/tests/smp.rs`.

mod report;
mod scenes;
mod several;

use std::process::ExitCode;

fn main() -> ExitCode {
    if !programs::native::present() {
        eprintln!("tour: this is not Jotun; there is nothing to show");
        return ExitCode::from(2);
    }
    match scenes::all() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tour: {error}");
            ExitCode::FAILURE
        }
    }
}
