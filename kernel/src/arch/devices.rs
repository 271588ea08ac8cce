//! What an interrupt handler does at any level: answer the device, and leave a note.

use super::{apic, idt, serial};
use crate::boundary::deferred::Notes;

/// Answers the device behind a vector; returns what is left to be done at level 1.
pub fn interrupt(vector: u8) -> Notes {
    match vector {
        idt::TIMER => {
            apic::end_of_interrupt();
            Notes::TIMER
        }
        idt::SERIAL => {
            serial::interrupt();
            apic::end_of_interrupt();
            Notes::SERIAL
        }
        #[cfg(feature = "smp")]
        idt::RESCHEDULE => {
            apic::end_of_interrupt();
            Notes::LOOK
        }
        // At level 1 nobody is asked for anything, so it was answered before its interrupt came. One from level 0
        // has been acknowledged already, and is by itself: that is done twice without harm.
        #[cfg(feature = "smp")]
        idt::REQUEST => {
            apic::end_of_interrupt();
            Notes::empty()
        }
        // Not acknowledged: nothing was raised (SDM volume 3, section 11.9).
        idt::SPURIOUS => Notes::empty(),
        _ => {
            log::warn!("interrupt {vector:#x} from nobody known");
            apic::end_of_interrupt();
            Notes::empty()
        }
    }
}

/// Acknowledges an interrupt of a CPU that is not in the kernel yet and must not touch the devices; what is to
/// be done is left for level 1.
#[cfg(feature = "smp")]
pub fn postpone(vector: u8) -> Notes {
    if vector == idt::SPURIOUS {
        return Notes::empty();
    }
    apic::end_of_interrupt();
    match vector {
        idt::TIMER => Notes::TIMER,
        idt::SERIAL => Notes::SERIAL,
        idt::RESCHEDULE => Notes::LOOK,
        _ => Notes::empty(),
    }
}
