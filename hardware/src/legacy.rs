//! The two relics in every PC: the 8259 interrupt controllers, which are silenced, and the 8254 timer, against whose
//! known frequency all other clocks are measured.

use crate::tsc::rdtsc;
use x86_64::instructions::port::Port;

/// Ticks per second of the 8254.
const PIT_HZ: u64 = 1_193_182;

/// Ticks of the longest measurement, 10 ms.
const PIT_TICKS: u16 = 11_932;

/// Most looks at the timer in one measurement; a look takes about a microsecond on a real bus.
const PATIENCE: u32 = 2_000_000;

/// Moves the 8259s' interrupts off the exceptions' vectors, to 0x20, and masks them all.
pub(crate) fn silence_8259() {
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
///
/// The host may take the CPU away at any time, and for longer than a measurement lasts. That does harm only at the two
/// moments when the counter is read, so the time-stamp counter times them. If they were not short, the measurement is
/// made again, for a shorter time: a host that gives the CPU by turns would otherwise take it away at that moment
/// again. If no measurement is good, the best is taken.
pub(crate) fn measure(counter: impl Fn() -> u64) -> Option<u64> {
    const ATTEMPTS: u16 = 20;
    const GOOD: u64 = 500;
    let mut best = once(PIT_TICKS, &counter)?;
    for attempt in 1..ATTEMPTS {
        if best.precision() >= GOOD {
            break;
        }
        let next = once(PIT_TICKS / (1 + attempt % 5), &counter)?;
        if next.precision() > best.precision() {
            best = next;
        }
    }
    Some(best.passed * PIT_HZ / u64::from(best.ticks))
}

/// One measurement.
struct Measurement {
    /// Ticks of the 8254.
    ticks: u16,
    /// Ticks of the counter that was measured.
    passed: u64,
    /// Ticks of the time-stamp counter in all.
    whole: u64,
    /// Ticks of the time-stamp counter during which the 8254 may have started, and ended.
    unsure: u64,
}

impl Measurement {
    /// One part in how many it may be wrong by.
    fn precision(&self) -> u64 {
        self.whole / self.unsure.max(1)
    }
}

fn once(ticks: u16, counter: impl Fn() -> u64) -> Option<Measurement> {
    let mut control: Port<u8> = Port::new(0x61);
    // SAFETY: channel 2 of the 8254 counts for the loudspeaker alone; its gate and output are bits 0 and 5 of port
    // 0x61, the loudspeaker's is bit 1.
    unsafe {
        let before = control.read();
        control.write(before & !0b11);
        Port::<u8>::new(0x43).write(0b1011_0000);
        let mut channel: Port<u8> = Port::new(0x42);
        // The count begins when the gate opens, and under QEMU with the second byte.
        let opening = rdtsc();
        channel.write(ticks as u8);
        channel.write((ticks >> 8) as u8);
        control.write(before & !0b11 | 1);
        let start = counter();
        let opened = rdtsc();
        let (mut still_low, mut looks) = (opened, 0);
        while looks < PATIENCE {
            let look = rdtsc();
            if control.read() & 1 << 5 != 0 {
                break;
            }
            still_low = look;
            looks += 1;
        }
        let end = counter();
        let ended = rdtsc();
        control.write(before & !0b11);
        // If the output is up at once or never, there is no timer.
        let passed = end.wrapping_sub(start);
        (looks > 0 && looks < PATIENCE && passed > 0).then(|| Measurement {
            ticks,
            passed,
            whole: ended.wrapping_sub(opening),
            unsure: opened.wrapping_sub(opening) + ended.wrapping_sub(still_low),
        })
    }
}

/// The ticks per second of the time-stamp counter.
pub(crate) fn tsc_hz() -> Option<u64> {
    measure(rdtsc)
}
