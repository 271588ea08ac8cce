//! Interrupt vectors, which also appear in traces.

use core::ops::Range;

/// The local APIC's timer.
pub const TIMER: u8 = 0x40;

/// The serial line.
pub const SERIAL: u8 = 0x44;

/// Those that extensions of the kernel can take.
pub const EXTENSIONS: Range<u8> = 0x50..0x58;

/// Another CPU asks this one to reschedule.
pub const RESCHEDULE: u8 = 0x48;

/// Another CPU waits for this one to do something at once, or to go on waiting for the lock itself.
pub const REQUEST: u8 = 0xe0;

/// What a vector is for.
pub fn name(vector: u8) -> Option<&'static str> {
    match vector {
        TIMER => Some("timer"),
        SERIAL => Some("serial"),
        RESCHEDULE => Some("reschedule"),
        REQUEST => Some("request"),
        _ if EXTENSIONS.contains(&vector) => Some("extension"),
        _ => None,
    }
}
