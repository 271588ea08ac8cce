//! The application kernel: `/lib/apkern.ko`, an extension of the uniprocessor kernel.
//!
//! ```text
//! insmod /lib/apkern.ko local=getpid,gettid
//! ```
//!
//! It starts all other CPUs of the machine, which then run application threads ([`trap`]); the boot CPU's kernel stays
//! as it is, and makes their calls for their bootstrap threads, which reach the application kernel by `/dev/apkern`
//! ([`device`]). For example, a program on CPU 2 calls `write`: [`trap::trapped`] posts a message, the bootstrap thread
//! of the program makes the call on CPU 0, and its [`Call::Activate`](abi::application::Call) puts the thread into the
//! ready queue.
#![no_std]
#![no_main]
#![expect(unreachable_pub, reason = "in a binary `pub` says what a module offers the others")]

mod away;
mod bell;
mod cpu;
mod device;
mod entry;
mod local;
mod memory;
mod processors;
mod records;
mod text;
mod thread;
mod trap;
mod wake;

use abi::extension::{Companions, Device, Report, Services, Text, padded};
use core::alloc::{GlobalAlloc, Layout};
use extension::{EINVAL, Kernel, Portion, answer};

extension::extension!("apkern", start, end);

/// The launcher, through which all programs are entered.
const LAUNCHER: &str = "/lib/bootstrap";

/// There is no heap: a library that would allocate finds none. What the application kernel has are frames and statics.
struct NoHeap;

// SAFETY: it never returns memory.
unsafe impl GlobalAlloc for NoHeap {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static NO_HEAP: NoHeap = NoHeap;

fn start(kernel: &Kernel, parameters: &str) -> Result<(), i32> {
    for parameter in parameters.split_ascii_whitespace() {
        let chosen = match parameter.split_once('=') {
            Some(("local", names)) => local::choose(names),
            Some(("wake", name)) => wake::choose(name),
            None if parameter == "migrate" => {
                away::choose();
                Ok(())
            }
            _ => Err(parameter),
        };
        if chosen.is_err() {
            kernel.log("unknown parameter; there are local=getpid,gettid,sched_yield,clock_gettime, wake=adaptive|poll|interrupt and migrate");
            return Err(EINVAL);
        }
    }
    let vector = kernel.take_interrupt(rung, 0)?;
    kernel.register(&Device { name: padded("apkern"), data: 0, open, ioctl, close })?;
    kernel.register_text(&Text { name: padded("apkern"), data: 0, write })?;
    kernel.register_companions(&Companions { data: 0, left, stopped, rights_taken, report })?;
    kernel.interpret(LAUNCHER)?;
    processors::start(kernel)?;
    bell::hang(vector);
    Ok(())
}

fn end(kernel: &Kernel) {
    processors::end(kernel);
}

/// The bell's interrupt.
unsafe extern "C" fn rung(services: &Services, _: u64) {
    bell::answer(&Kernel::new(services));
}

unsafe extern "C" fn open(services: &Services, _: u64) -> i64 {
    answer(device::open(&Kernel::new(services)))
}

unsafe extern "C" fn ioctl(services: &Services, _: u64, file: u64, request: u32, argument: u64) -> i64 {
    device::ioctl(&Kernel::new(services), file, request, argument)
}

unsafe extern "C" fn close(services: &Services, _: u64, file: u64) {
    device::close(&Kernel::new(services), file);
}

unsafe extern "C" fn left(services: &Services, _: u64, name: u64) {
    device::left(&Kernel::new(services), name);
}

unsafe extern "C" fn stopped(_: &Services, _: u64, name: u64, is_stopped: u32) {
    device::stopped(name, is_stopped != 0);
}

unsafe extern "C" fn rights_taken(_: u64, directory: u64) {
    cpu::forget(directory);
}

unsafe extern "C" fn report(_: u64, name: u64, report: &mut Report) {
    *report = device::report(name);
}

unsafe extern "C" fn write(_: u64, position: &mut u64, bytes: *mut u8, room: usize) -> usize {
    // SAFETY: the kernel's bytes.
    let mut portion = unsafe { Portion::new(bytes, room) };
    *position = text::write(*position, &mut portion);
    portion.written()
}
