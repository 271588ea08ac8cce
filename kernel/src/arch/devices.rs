//! What an interrupt handler does at any level: answer the device, and leave a note.

use super::deferred::Notes;
use super::{apic, idt, serial};

/// Answers the device behind a vector; returns what is left to be done at level 1.
pub fn interrupt(vector: u8) -> Notes {
    if vector == idt::SERIAL {
        serial::interrupt();
    }
    acknowledge(vector)
}

/// Acknowledges an interrupt at the local APIC, for a CPU that is not in the kernel yet and must not touch the
/// device; returns what is left to be done at level 1. The serial line is answered there too: its interrupt is
/// an edge, so the next does not come before.
#[inline(never)]
pub fn acknowledge(vector: u8) -> Notes {
    // Nobody's: nothing was raised that could be acknowledged (SDM volume 3, section 11.9).
    if vector == idt::SPURIOUS {
        return Notes::empty();
    }
    apic::end_of_interrupt();
    // Most are, and a `match` looks through its arms by halves.
    if vector == idt::TIMER {
        return Notes::TIMER;
    }
    match vector {
        idt::SERIAL => Notes::SERIAL,
        #[cfg(feature = "smp")]
        idt::RESCHEDULE => Notes::LOOK,
        // At level 1 nobody is asked for anything, so it was answered before its interrupt came. One from level 0
        // has been acknowledged already, and is by itself: that is done twice without harm.
        #[cfg(feature = "smp")]
        idt::REQUEST => Notes::empty(),
        _ => {
            log::warn!("interrupt {vector:#x} from nobody known");
            Notes::empty()
        }
    }
}
