//! The tour: starts programs, and tells in words and small tables what the kernel did for them.
//!
//! It runs if no program is named. It has measured everything it shows, by the kernel's statistics before and after,
//! and takes a few seconds. Below the application kernel it stays on the boot CPU and starts parts of itself on the
//! others: `tour PART NUMBER`.
//!
//! Run by: `tests/tests/boot/application.rs`, `tests/tests/smp.rs`.

mod application;
mod report;
mod scenes;
mod several;

use programs::apkern::stay_on_boot_cpu;
use std::process::ExitCode;

fn main() -> ExitCode {
    if !programs::native::present() {
        eprintln!("tour: this is not Jotun; there is nothing to show");
        return ExitCode::from(2);
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tour: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The tour, or the part of it that the arguments name.
fn run() -> Result<(), String> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if application::is_a_part(&words)? {
        return Ok(());
    }
    if application::processors().is_some() {
        stay_on_boot_cpu().map_err(|error| format!("cannot begin anew on the boot CPU: {error}"))?;
    }
    scenes::all()
}
