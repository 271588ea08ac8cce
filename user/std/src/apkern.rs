//! The application kernel, for programs that know of it.

use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What there is to see of it; no such file on other kernels.
pub const STATE: &str = "/proc/apkern";

/// In a program's environment: the program stays on the boot CPU.
pub const ON_BOOT_CPU: &str = "NOAPPKERN";

/// Begins this program anew on the boot CPU, with the same arguments, unless it is there because of that already.
pub fn stay_on_boot_cpu() -> io::Result<()> {
    if env::var_os(ON_BOOT_CPU).is_some() {
        return Ok(());
    }
    Err(Command::new("/proc/self/exe").args(env::args_os().skip(1)).env(ON_BOOT_CPU, "1").exec())
}
