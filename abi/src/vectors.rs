//! Interrupt vectors, which traces show.

/// The local APIC's timer.
pub const TIMER: u8 = 0x40;

/// The serial line.
pub const SERIAL: u8 = 0x44;

/// What a vector is for.
pub fn name(vector: u8) -> Option<&'static str> {
    match vector {
        TIMER => Some("timer"),
        SERIAL => Some("serial"),
        _ => None,
    }
}
