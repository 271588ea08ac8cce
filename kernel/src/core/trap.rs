//! Exceptions of programs: page faults are resolved, other exceptions become signals. For example, the first write to a
//! page of a new heap finds a fresh frame here; a division by zero becomes SIGFPE.

use crate::arch;
use crate::core::delivery::{self, Signal};
use crate::core::kernel::Kernel;
use crate::core::schedule;
use crate::core::shortage::{self, Need};
use crate::core::signals;
use ::trace::{Event, FaultEnd};
use containers::{Budget, Fault, Rights};
use cpulocal::InKernel;

const PAGE_FAULT: u64 = 14;

/// The address of the last page fault.
pub fn fault_address() -> u64 {
    hardware::cpu::fault_address()
}

/// Handles an exception of the current thread: resolves it, or gives the thread the signal that Linux gives.
///
/// It is not inlined: with several CPUs it is called from two places, and every kernel is to have equal code for it.
#[inline(never)]
pub fn exception(kernel: &mut Kernel, cpu: &InKernel, vector: u64, code: u64, address: u64) {
    let Some(id) = schedule::current(cpu) else { return };
    let Some(thread) = kernel.tasks.thread(id) else { return };
    let (container, rip) = (thread.container, thread.context.registers.rip);
    let signal = match vector {
        PAGE_FAULT if is_implicit(code) => Signal::fault(signals::SIGSEGV, signals::SI_KERNEL, 0),
        PAGE_FAULT => {
            kernel.statistics.page_faults += 1;
            let access = access(code);
            let before = kernel.memory.counts;
            let resolved = kernel.memory.fault(container, schedule::this_cpu(cpu), address, access);
            if cfg!(feature = "trace") {
                let after = kernel.memory.counts;
                let end = match resolved {
                    Err(_) => FaultEnd::Refused,
                    Ok(_) if after.spurious_directory > before.spurious_directory => FaultEnd::SpuriousDirectory,
                    Ok(_) if after.spurious_tlb > before.spurious_tlb => FaultEnd::SpuriousTlb,
                    Ok(_) => FaultEnd::Resolved,
                };
                arch::trace::event(cpu, Event::Fault { end, page: address >> 12 & ((1 << 44) - 1) });
            }
            match resolved {
                Ok(_) => return,
                Err(fault) => match page_fault_signal(fault, address) {
                    Some(signal) => signal,
                    // No frame was free: `relieve` frees some, and the access is made again.
                    None => return shortage::relieve(kernel, cpu, id, Need::Page(address), &mut Budget::of_a_visit()),
                },
            }
        }
        0 => Signal::fault(signals::SIGFPE, signals::FPE_INTDIV, rip),
        1 => Signal::fault(signals::SIGTRAP, signals::TRAP_TRACE, rip),
        3 => Signal::fault(signals::SIGTRAP, signals::SI_KERNEL, 0),
        6 => Signal::fault(signals::SIGILL, signals::ILL_ILLOPN, rip),
        16 | 19 => Signal::fault(signals::SIGFPE, hardware::fpu::cause(vector), rip),
        17 => Signal::fault(signals::SIGBUS, signals::BUS_ADRALN, 0),
        11 | 12 => Signal::fault(signals::SIGBUS, signals::SI_KERNEL, 0),
        // Privileged instructions, non-canonical addresses, wild segments.
        _ => Signal::fault(signals::SIGSEGV, signals::SI_KERNEL, 0),
    };
    delivery::force(kernel, cpu, id, Signal { vector, code, address, ..signal });
}

/// Whether the page is present and was refused to an access that the CPU made as supervisor, on behalf of an
/// instruction in user mode. Such an access must not be repeated: it would be refused for ever. (QEMU 7.2 reads the
/// stack in this way in a far return.)
fn is_implicit(code: u64) -> bool {
    const PRESENT: u64 = 1 << 0;
    const USER: u64 = 1 << 2;
    code & (PRESENT | USER) == PRESENT
}

/// The access that a page fault's error code describes (SDM volume 3, section 4.7).
fn access(code: u64) -> Rights {
    const WRITE: u64 = 1 << 1;
    const FETCH: u64 = 1 << 4;
    if code & FETCH != 0 {
        Rights::EXECUTE
    } else if code & WRITE != 0 {
        Rights::WRITE
    } else {
        Rights::READ
    }
}

/// The signal for a page fault that cannot be resolved; `None` if it could be resolved with more memory.
fn page_fault_signal(fault: Fault, address: u64) -> Option<Signal> {
    let (signal, code) = match fault {
        Fault::NoRegion => (signals::SIGSEGV, signals::SEGV_MAPERR),
        Fault::Rights => (signals::SIGSEGV, signals::SEGV_ACCERR),
        Fault::BeyondEnd | Fault::Full => (signals::SIGBUS, signals::BUS_ADRERR),
        Fault::OutOfMemory => return None,
    };
    Some(Signal::fault(signal, code, address))
}
