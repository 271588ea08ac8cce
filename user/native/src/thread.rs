//! Further threads of the process.

use crate::calls::Errno;
use crate::system;
use abi::native;
use alloc::boxed::Box;
use core::arch::naked_asm;
use core::sync::atomic::{AtomicU32, Ordering};

/// Bytes of a thread's stack.
const STACK: usize = 16 << 10;

/// What starter and started share: what to do, and whether it is done.
struct Work {
    function: fn(u64),
    argument: u64,
    /// 0 while it runs, 1 when it has returned.
    done: AtomicU32,
}

/// A stack as the ABI wants it.
#[repr(C, align(16))]
struct Stack([u8; STACK]);

/// A thread that was started.
pub struct Thread {
    work: &'static Work,
    /// Its number in system calls.
    pub tid: i32,
}

/// Starts a thread that runs `function(argument)`. Its stack comes from the heap, for good.
pub fn spawn(function: fn(u64), argument: u64, priority: u64) -> Result<Thread, Errno> {
    let work: &'static Work = Box::leak(Box::new(Work { function, argument, done: AtomicU32::new(0) }));
    let top = Box::into_raw(Box::<Stack>::new_uninit()).expose_provenance() + STACK;
    let entry: extern "C" fn(u64) -> ! = enter;
    let arguments = [entry as usize as u64, top as u64, (&raw const *work).expose_provenance() as u64, priority, 0, 0];
    // SAFETY: the stack is the thread's alone, the work stays for ever, `enter` takes it.
    let tid = Errno::check(unsafe { system::call(native::THREAD, arguments) })? as i32;
    Ok(Thread { work, tid })
}

impl Thread {
    /// Waits until the thread's function has returned.
    pub fn join(&self) {
        while self.work.done.load(Ordering::Acquire) == 0 {
            system::wait(&self.work.done, 0);
        }
    }
}

/// Where a thread begins: `rdi` is its [`Work`], `rsp` its stack's top.
#[unsafe(naked)]
extern "C" fn enter(work: u64) -> ! {
    naked_asm!("xor ebp, ebp", "call {run}", "ud2", run = sym run)
}

extern "C" fn run(work: &'static Work) -> ! {
    (work.function)(work.argument);
    work.done.store(1, Ordering::Release);
    system::wake(&work.done);
    system::exit_thread()
}
