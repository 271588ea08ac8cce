//! Numbers, flags and addresses that calls may not expect.

use programs::cpus::Random;

/// Pieces of memory that addresses are taken from.
pub(super) struct Places {
    /// Memory that all processes share.
    pub(super) shared: u64,
    /// Memory of the process.
    pub(super) own: u64,
    /// Names, each in 64 bytes, and how many.
    pub(super) names: (u64, u64),
}

/// Bytes of the shared memory and of a process's own.
pub(super) const SIZE: u64 = 16 << 12;

const EDGES: [u64; 22] = [
    u64::MAX,
    u64::MAX - 1,
    -100_i64 as u64,
    -4095_i64 as u64,
    -4096_i64 as u64,
    i64::MAX as u64,
    i64::MIN as u64,
    i32::MAX as u64,
    i32::MIN as u64,
    u32::MAX as u64,
    1 << 32,
    0xfff,
    0x1000,
    0x3fff_ffe0_0000,
    0x4000_0000_0000,
    0x7fff_ffff_e000,
    0x7fff_ffff_f000,
    0x8000_0000_0000,
    0xffff_8000_0000_0000,
    0xffff_ffff_8020_0000,
    0xffff_ffff_c000_0000,
    0x5555_5555_0000,
];

/// Something for an argument.
pub(super) fn word(random: &mut Random, places: &Places) -> u64 {
    match random.below(20) {
        0 | 1 => 0,
        2 | 3 => random.below(9),
        4 | 5 => random.below(24),
        6 => random.below(5000),
        7 => EDGES[random.below(EDGES.len() as u64) as usize],
        8 => (1 << random.below(64)) + random.below(3) - 1,
        9 => (1 << random.below(64)) | (1 << random.below(64)) | (1 << random.below(64)),
        10 => random.below(64) << 12,
        11 => random.below(u64::MAX),
        12 => (random.below(100) as i64 - 100) as u64,
        13 | 14 => inside(random, places.shared),
        15..18 => inside(random, places.own),
        _ => name(random, places),
    }
}

/// An address in a piece of memory: often even, sometimes at the very end of it.
fn inside(random: &mut Random, start: u64) -> u64 {
    match random.below(8) {
        0 => start + SIZE - random.below(64),
        1 => start + random.below(SIZE),
        2 => start + (random.below(SIZE) & !0xfff),
        _ => start + (random.below(SIZE) & !7),
    }
}

/// A file's name.
pub(super) fn name(random: &mut Random, places: &Places) -> u64 {
    places.names.0 + 64 * random.below(places.names.1)
}
