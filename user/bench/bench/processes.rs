//! Processes made, run, ended and waited for.

use super::threads::{ends, pass_on};
use super::{Ticks, errno, timed};
use libc::{SYS_execve, SYS_exit, SYS_fork, SYS_getpid, SYS_vfork, SYS_wait4};
use programs::sys;
use std::arch::asm;
use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;

/// The argument by which this program ends at once.
pub(crate) const END: &str = "end";

/// The status with which a child ends that could not become another program.
const NOT_EXECUTED: u64 = 127;

fn wait(child: u64) -> Result<(), i32> {
    let mut status = 0i32;
    sys!(SYS_wait4, child, &mut status, 0, 0)?;
    if status == 0 { Ok(()) } else { Err(libc::ENOEXEC) }
}

/// A copy of the process, which ends at once.
pub(crate) fn fork(count: u64) -> Ticks {
    timed(|| {
        (0..count).try_for_each(|_| match sys!(SYS_fork)? {
            0 => end(0),
            child => wait(child),
        })
    })
}

/// Ends the process, of which a library might know nothing.
fn end(status: u64) -> ! {
    loop {
        let _ = sys!(SYS_exit, status);
    }
}

/// A child in the parent's memory, which becomes another program or ends at once.
///
/// All that the child does is done in registers: the stack is the parent's.
fn vforked(program: Option<[u64; 3]>) -> Result<(), i32> {
    let [path, arguments, environment] = program.unwrap_or_default();
    // A call that does nothing, if it is to end at once.
    let (becomes, status) = if program.is_some() { (SYS_execve as u64, NOT_EXECUTED) } else { (SYS_getpid as u64, 0) };
    let child: i64;
    // SAFETY: the parent goes on when the child has ended or become another program; until then the child
    // changes registers only, of which it has its own. The strings outlive the call.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov rax, r8", "mov rdi, r9", "mov rsi, r10", "mov rdx, r12", "syscall",
            "mov eax, {exit}", "mov rdi, r13", "syscall",
            "2:",
            exit = const SYS_exit,
            inlateout("rax") SYS_vfork => child,
            in("r8") becomes, in("r9") path, in("r10") arguments, in("r12") environment, in("r13") status,
            out("rdi") _, out("rsi") _, out("rdx") _, out("rcx") _, out("r11") _,
        );
    }
    if child < 0 { Err(-child as i32) } else { wait(child as u64) }
}

/// A child that ends at once.
pub(crate) fn vfork(count: u64) -> Ticks {
    timed(|| (0..count).try_for_each(|_| vforked(None)))
}

/// A child that becomes this program anew, which ends at once.
pub(crate) fn exec(count: u64) -> Ticks {
    let me = std::env::current_exe().map_err(|error| error.to_string())?;
    let path = CString::new(me.into_os_string().into_vec()).map_err(|error| error.to_string())?;
    let argument = CString::new(END).map_err(|error| error.to_string())?;
    let arguments = [path.as_ptr(), argument.as_ptr(), std::ptr::null()];
    let environment = [std::ptr::null::<u8>()];
    let word = |address: usize| address as u64;
    let program = [
        word(path.as_ptr().expose_provenance()),
        word(arguments.as_ptr().expose_provenance()),
        word(environment.as_ptr().expose_provenance()),
    ];
    timed(|| (0..count).try_for_each(|_| vforked(Some(program))))
}

/// A byte through a pipe and one back through another, between two processes on one CPU.
pub(crate) fn pipe(count: u64) -> Ticks {
    let before = programs::cpus::affinity(0).map_err(errno)?;
    programs::cpus::stay_on(programs::cpus::current());
    let ([there, to_there], [back, to_back]) = (ends()?, ends()?);
    let child = sys!(SYS_fork).map_err(errno)?;
    if child == 0 {
        end(u64::from(pass_on(&there, &to_back, count, false).is_err()));
    }
    let ticks = timed(|| pass_on(&back, &to_there, count, true));
    wait(child).map_err(errno)?;
    programs::cpus::set_affinity(0, before).map_err(errno)?;
    ticks
}
