//! The table of the calls on files: each arm names the subsystems that the call touches.

use super::{attributes, io, opening};
use crate::calls::{Answer, Caller};
use crate::kernel::Kernel;
use syscalls::Sysno;

/// Makes a call, if it is one on files.
pub fn call(number: Sysno, c: &Caller, k: &mut Kernel) -> Option<Answer> {
    use Sysno::*;
    Some(match number {
        read => io::read(c, &mut k.memory, &mut k.tasks, &mut k.files, &mut k.console, &mut k.random),
        write => io::write(c, &mut k.memory, &mut k.tasks, &mut k.files, &mut k.console),

        open => opening::open(c, &mut k.memory, &mut k.tasks, &mut k.files),
        openat => opening::openat(c, &mut k.memory, &mut k.tasks, &mut k.files),
        creat => opening::creat(c, &mut k.memory, &mut k.tasks, &mut k.files),
        close => opening::close(c, &mut k.memory, &mut k.tasks, &mut k.files),

        fstat => attributes::fstat(c, &mut k.memory, &k.tasks, &k.files),
        _ => return None,
    })
}
