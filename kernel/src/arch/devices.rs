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
        // Not acknowledged: nothing was raised (SDM volume 3, section 11.9).
        idt::SPURIOUS => Notes::empty(),
        _ => {
            log::warn!("interrupt {vector:#x} from nobody known");
            apic::end_of_interrupt();
            Notes::empty()
        }
    }
}
