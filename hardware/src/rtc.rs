//! The real-time clock (MC146818), read once at boot.

use super::tsc::rdtsc;
use x86_64::instructions::port::Port;

const UPDATING: u8 = 1 << 7;
const BINARY: u8 = 1 << 2;
const HOURS_24: u8 = 1 << 1;
const AFTERNOON: u8 = 1 << 7;

fn register(index: u8) -> u8 {
    // SAFETY: selecting and reading a register of the clock; bit 7 clear leaves NMIs enabled.
    unsafe {
        Port::<u8>::new(0x70).write(index);
        Port::<u8>::new(0x71).read()
    }
}

/// Seconds since 1970, taking the clock to run in UTC; `None` without a believable clock, or if it updates itself for
/// longer than `patience`, in ticks of the time-stamp counter.
pub(crate) fn read(patience: u64) -> Option<u64> {
    // Two equal readings outside an update are valid.
    let mut last = None;
    for _ in 0..8 {
        let from = rdtsc();
        while register(0x0a) & UPDATING != 0 {
            if rdtsc() - from > patience {
                return None;
            }
        }
        let now = [0u8, 2, 4, 7, 8, 9].map(register);
        if last == Some(now) {
            return seconds(now, register(0x0b));
        }
        last = Some(now);
    }
    None
}

fn seconds(raw: [u8; 6], mode: u8) -> Option<u64> {
    let number = |byte: u8| u64::from(if mode & BINARY != 0 { byte } else { (byte >> 4) * 10 + (byte & 15) });
    let [second, minute, hour, day, month, year] = raw;
    let hour = match (mode & HOURS_24 != 0, hour & AFTERNOON != 0) {
        (true, _) => number(hour),
        (false, false) => number(hour) % 12,
        (false, true) => number(hour & !AFTERNOON) % 12 + 12,
    };
    let (second, minute, day, month) = (number(second), number(minute), number(day), number(month));
    // A year of two digits is in this century, until 2070.
    let year = match number(year) {
        year @ 0..70 => 2000 + year,
        year => 1900 + year,
    };
    let believable = second < 60 && minute < 60 && hour < 24 && (1..=31).contains(&day) && (1..=12).contains(&month);
    believable.then(|| days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days from 1970 to a date of the Gregorian calendar, years counted from March.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_year = (153 * month + 2) / 5 + day - 1;
    365 * year + year / 4 - year / 100 + year / 400 + of_year - 719_468
}
