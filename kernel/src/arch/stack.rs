//! Kernel stacks: one per CPU, and one for each interrupt that must always have a good stack.
//!
//! Below every stack lies a page that is never mapped, so that an overflow is a page fault instead of a silent
//! overwrite; and as the page fault finds no stack either, it becomes a double fault, on a stack of its own.

use super::image;
use super::layout::STACKS;
use super::paging::{self, DATA};
use super::physical::Frames;
use containers::{Cpu, OutOfFrames, PAGE_SIZE, PhysicalMemory};
use core::cell::Cell;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use cpulocal::{InKernel, cpu_local};
use hardware::gdt::Special;
use x86_64::VirtAddr;

/// Bytes in a CPU's kernel stack (papers/001: one per CPU, not per thread).
pub const KERNEL_STACK_SIZE: u64 = 128 << 10;

/// Bytes in each stack of [`Special`].
const SPECIAL_STACK_SIZE: u64 = 16 << 10;

/// Addresses set aside for one stack, its guard page included.
const STRIDE: u64 = 256 << 10;

/// Addresses set aside for the stacks of one CPU.
const CPU_STRIDE: u64 = 4 * STRIDE;

cpu_local! {
    /// The top of this CPU's kernel stack, from which it grows down.
    pub static KERNEL_STACK: Cell<u64> = Cell::new(0);
}

fn stack(cpu: Cpu, index: u64, size: u64) -> Range<u64> {
    let top = STACKS.start + u64::from(cpu.0) * CPU_STRIDE + (index + 1) * STRIDE;
    top - size..top
}

/// The addresses of a CPU's kernel stack.
pub fn kernel(cpu: Cpu) -> Range<u64> {
    stack(cpu, 0, KERNEL_STACK_SIZE)
}

/// The addresses of a CPU's stack for a special interrupt.
pub fn special(cpu: Cpu, which: Special) -> Range<u64> {
    stack(cpu, 1 + which as u64, SPECIAL_STACK_SIZE)
}

/// How many CPUs' stacks are mapped; CPUs get them in the order of their numbers.
static MAPPED: AtomicU64 = AtomicU64::new(0);

/// Maps all stacks of a CPU.
pub fn map(frames: &mut Frames, cpu: Cpu) -> Result<(), OutOfFrames> {
    let special = [Special::DoubleFault, Special::NonMaskable, Special::MachineCheck].map(|which| special(cpu, which));
    for range in special.into_iter().chain([kernel(cpu)]) {
        for page in range.step_by(PAGE_SIZE) {
            let frame = frames.allocate()?;
            paging::map_kernel(frames, VirtAddr::new(page), frame, DATA)?;
        }
    }
    MAPPED.store(u64::from(cpu.0) + 1, Ordering::Relaxed);
    Ok(())
}

/// The mapped stack that an address lies in, if it is one of the kernel's.
pub fn containing(address: u64) -> Option<Range<u64>> {
    if image::boot_stack().contains(&address) {
        return Some(image::boot_stack());
    }
    let offset = address.checked_sub(STACKS.start).filter(|_| address < STACKS.end)?;
    let (cpu, index) = (offset / CPU_STRIDE, offset % CPU_STRIDE / STRIDE);
    if cpu >= MAPPED.load(Ordering::Relaxed) {
        return None;
    }
    let size = if index == 0 { KERNEL_STACK_SIZE } else { SPECIAL_STACK_SIZE };
    Some(stack(Cpu(cpu as u8), index, size)).filter(|range| range.contains(&address))
}

/// Whether an address lies in the guard page below a kernel stack.
pub fn is_guard(address: u64) -> bool {
    STACKS.contains(&address) && containing(address).is_none() && containing(address + PAGE_SIZE as u64).is_some()
}

/// Sets this CPU's kernel stack for the entry code.
pub fn set_kernel_stack(cpu: &InKernel, number: Cpu) {
    KERNEL_STACK.get(cpu).set(kernel(number).end);
}

/// Leaves the current stack for good and calls `then(argument)` on this CPU's kernel stack.
pub fn continue_on_kernel_stack<T>(argument: T, then: fn(T) -> !) -> ! {
    /// Runs on the new stack; its arguments still lie on the old one.
    extern "C" fn landing<T>(arguments: *const (T, fn(T) -> !)) -> ! {
        // SAFETY: the old stack is intact, and no code returns to it to drop the argument.
        let (argument, then) = unsafe { arguments.read() };
        then(argument)
    }
    let arguments = core::mem::ManuallyDrop::new((argument, then));
    // SAFETY: the boot is in the kernel, and CPU-local data is mapped.
    set_kernel_stack(&unsafe { InKernel::new() }, Cpu(0));
    // SAFETY: `map` has mapped the stack, nothing lies on it yet, and `landing` never returns.
    unsafe {
        core::arch::asm!(
            "mov rsp, {top}",
            "xor ebp, ebp",
            "call {landing}",
            "ud2",
            top = in(reg) kernel(Cpu(0)).end,
            landing = in(reg) landing::<T> as extern "C" fn(*const (T, fn(T) -> !)) -> !,
            in("rdi") &raw const *arguments,
            options(noreturn)
        )
    }
}
