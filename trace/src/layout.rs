//! The layout of a trace region, and of a trace file, which is a region without its unused part. For example, with 2
//! CPUs the records begin after the header and two cache lines.
//!
//! Everything is in words of 64 bits, little endian. The header is [`HEADER_WORDS`] words, then come
//! [`CPU_WORDS`] words for each CPU, a cache line that no other CPU writes, then the records, two words each.

/// The first word of every trace.
pub const MAGIC: u64 = u64::from_le_bytes(*b"JOTUNTRC");

/// The version of the format that this crate writes, and the only one that it reads.
pub const VERSION: u32 = 2;

/// The greatest number of CPUs in a trace.
pub const MAX_CPUS: usize = 64;

/// Words of the header.
pub const HEADER_WORDS: usize = 8;

/// Words that describe one CPU.
pub const CPU_WORDS: usize = 8;

/// Words of a record.
pub const RECORD_WORDS: usize = 2;

/// Bytes of a record.
pub const RECORD_BYTES: usize = RECORD_WORDS * 8;

/// Index of the word with [`MAGIC`].
pub const MAGIC_WORD: usize = 0;
/// Index of the word with the version in its low half and the number of CPUs in its high half.
pub const VERSION_WORD: usize = 1;
/// Index of the word with the ticks of the cycle counter in a second.
pub const HZ_WORD: usize = 2;
/// Index of the word with the bytes in all.
pub const BYTES_WORD: usize = 3;
/// Index of the word with the offset in bytes of the text about the run; 0: there is none.
pub const ABOUT_WORD: usize = 4;
/// Index of the word with the length in bytes of that text.
pub const ABOUT_BYTES_WORD: usize = 5;
/// Index of the word with the cycles that writing 1024 records took at boot; 0: not measured.
pub const COST_WORD: usize = 6;

/// Of a CPU: the offset in bytes of its records.
pub const CPU_OFFSET: usize = 0;
/// Of a CPU: how many records there is room for.
pub const CPU_CAPACITY: usize = 1;
/// Of a CPU: records that found no room.
pub const CPU_DROPPED: usize = 2;
/// Of a CPU: by how many ticks its counter was found to be ahead of CPU 0's, a signed number.
pub const CPU_SKEW: usize = 3;
/// Of a CPU: at most by how many ticks that is wrong.
pub const CPU_SKEW_ERROR: usize = 4;

/// Index of the first word that describes a CPU.
pub const fn cpu_words(cpu: usize) -> usize {
    HEADER_WORDS + cpu * CPU_WORDS
}

/// The number of records that each CPU has room for in a region of `words` words.
pub const fn capacity(words: usize, cpus: usize) -> usize {
    match words.checked_sub(cpu_words(cpus)) {
        // Whole cache lines, so that no two CPUs share one.
        Some(left) if cpus > 0 => left / cpus / CPU_WORDS * CPU_WORDS / RECORD_WORDS,
        _ => 0,
    }
}

/// Writes the header of an empty region of `words`, whose records must be zero.
pub fn prepare(words: &mut [u64], cpus: usize, tsc_hz: u64) {
    let capacity = capacity(words.len(), cpus);
    let bytes = words.len() as u64 * 8;
    let Some(header) = words.get_mut(..cpu_words(cpus)) else { return };
    header.fill(0);
    for cpu in 0..cpus {
        let line = &mut header[cpu_words(cpu)..];
        line[CPU_OFFSET] = (cpu_words(cpus) + cpu * capacity * RECORD_WORDS) as u64 * 8;
        line[CPU_CAPACITY] = capacity as u64;
    }
    header[VERSION_WORD] = VERSION as u64 | (cpus as u64) << 32;
    header[HZ_WORD] = tsc_hz;
    header[BYTES_WORD] = bytes;
    header[MAGIC_WORD] = MAGIC;
}
