//! Ends with its first argument as exit status: `exit-code N`, or kills itself: `exit-code abort`, `exit-code panic`.
//!
//! Run by: `tests/tests/boot/application.rs`, `tests/tests/boot/command.rs`, `tests/tests/boot/counted.rs`,
//! `tests/tests/boot/profile.rs`.

use std::process::{ExitCode, abort};

fn main() -> ExitCode {
    let argument = std::env::args().nth(1);
    match argument.as_deref() {
        Some("abort") => abort(),
        Some("panic") => panic!("as asked for"),
        Some(number) => match number.parse::<u8>() {
            Ok(status) => ExitCode::from(status),
            Err(error) => {
                eprintln!("exit-code: {number}: {error}");
                ExitCode::from(2)
            }
        },
        None => {
            eprintln!("usage: exit-code 0..255|abort|panic");
            ExitCode::from(2)
        }
    }
}
