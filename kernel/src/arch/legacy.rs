//! The two relics every PC carries: the 8259 interrupt controllers, which are silenced, and the 8254
//! timer, whose one known frequency all other clocks are measured by.

use super::clock::rdtsc;
use x86_64::instructions::port::Port;

/// Ticks per second of the 8254.
const PIT_HZ: u64 = 1_193_182;

/// Ticks of one measurement, 10 ms.
const PIT_TICKS: u16 = 11_932;

/// Most looks at the timer in one measurement; a look takes about a microsecond on a real bus.
const PATIENCE: u32 = 2_000_000;

/// Moves the 8259s' interrupts off the exceptions' vectors, to 0x20, and masks them all.
pub fn silence_8259() {
    const WORDS: [(u16, u8); 10] = [
        (0x20, 0x11),
        (0xa0, 0x11),
        (0x21, 0x20),
        (0xa1, 0x28),
        (0x21, 4),
        (0xa1, 2),
        (0x21, 1),
        (0xa1, 1),
        (0x21, 0xff),
        (0xa1, 0xff),
    ];
    for (port, word) in WORDS {
        // SAFETY: the 8259s' ports, in the order of their initialisation; interrupts are off.
        unsafe { Port::<u8>::new(port).write(word) };
    }
}

/// How far `counter` moves in a known time: its ticks per second, or `None` without a working 8254.
pub fn measure(counter: impl Fn() -> u64) -> Option<u64> {
    let mut control: Port<u8> = Port::new(0x61);
    // SAFETY: channel 2 of the 8254 counts for the loudspeaker and nobody else; its gate and output are
    // bits 0 and 5 of port 0x61, the loudspeaker's is bit 1.
    unsafe {
        let before = control.read();
        control.write(before & !0b11);
        Port::<u8>::new(0x43).write(0b1011_0000);
        let mut channel: Port<u8> = Port::new(0x42);
        channel.write(PIT_TICKS as u8);
        channel.write((PIT_TICKS >> 8) as u8);
        control.write(before & !0b11 | 1);
        let start = counter();
        let looks = (0..PATIENCE).take_while(|_| control.read() & 1 << 5 == 0).count() as u32;
        let end = counter();
        control.write(before & !0b11);
        // An output that is up at once or never is no timer's.
        let passed = end.wrapping_sub(start);
        (looks > 0 && looks < PATIENCE && passed > 0).then(|| passed * PIT_HZ / u64::from(PIT_TICKS))
    }
}

/// The ticks per second of the time-stamp counter: the middle one of several measurements, since the
/// host may have been busy during any of them.
pub fn tsc_hz() -> Option<u64> {
    let mut measured = [measure(rdtsc)?, measure(rdtsc)?, measure(rdtsc)?];
    measured.sort_unstable();
    Some(measured[1])
}
