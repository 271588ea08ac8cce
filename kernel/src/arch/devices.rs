//! The part of an interrupt handler that runs at any level: it answers the device and returns a note of the work left.

use super::deferred::Notes;
use abi::vectors;
use hardware::{apic, serial};

/// Answers the device behind a vector; returns the work that is left for level 1.
pub fn interrupt(vector: u8) -> Notes {
    if vector == vectors::SERIAL {
        serial::interrupt();
    }
    acknowledge(vector)
}

/// Acknowledges an interrupt at the local APIC, for a CPU that is not in the kernel yet and must not touch the device;
/// returns the work that is left for level 1. The serial line is answered at level 1 too: its interrupt is an edge, so
/// no further one comes before that.
#[inline(never)]
pub fn acknowledge(vector: u8) -> Notes {
    // A spurious interrupt has no bit in service, so there is nothing to acknowledge (SDM volume 3, section 11.9).
    if vector == apic::SPURIOUS {
        return Notes::empty();
    }
    apic::end_of_interrupt();
    // Most interrupts are the timer's, and a `match` would search its arms by halves.
    if vector == vectors::TIMER {
        return Notes::TIMER;
    }
    match vector {
        vectors::SERIAL => Notes::SERIAL,
        #[cfg(feature = "smp")]
        vectors::RESCHEDULE => Notes::LOOK,
        // A CPU at level 1 is never asked for anything, so this request was answered before its interrupt came. A
        // request that came at level 0 has been acknowledged already; it is alone in service, so acknowledging it twice
        // does no harm.
        #[cfg(feature = "smp")]
        vectors::REQUEST => Notes::empty(),
        _ if vectors::EXTENSIONS.contains(&vector) => Notes::of_extension(vector),
        _ => unknown(vector),
    }
}

#[cold]
#[inline(never)]
fn unknown(vector: u8) -> Notes {
    log::warn!("interrupt {vector:#x} from nobody known");
    Notes::empty()
}
