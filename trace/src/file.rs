//! Reading regions and files, and writing files. For example, `profile` reads the region that the kernel has left in
//! memory, and writes it to `trace.jotun` without its unused part.

extern crate alloc;

use crate::layout::*;
use crate::{Event, Record};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// A trace.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trace {
    /// Ticks of the cycle counter in a second.
    pub tsc_hz: u64,
    /// The recordings, one for each CPU.
    pub streams: Vec<Stream>,
    /// Cycles that writing 1024 records took; 0: not measured.
    pub record_cost: u64,
    /// Text about the run: lines `name value`. Empty in a region, where the kernel writes none.
    pub about: String,
}

/// The recording of one CPU.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stream {
    /// Its records in the order of their stamps.
    pub records: Vec<Record>,
    /// The number of records for which there was no room.
    pub dropped: u64,
    /// Ticks by which its counter was found to be ahead of CPU 0's.
    pub skew: i64,
    /// The greatest error of `skew`, in ticks.
    pub skew_error: u64,
}

impl Stream {
    /// The ticks to subtract from its stamps to get CPU 0's clock: the skew, unless it may be measurement error only.
    pub fn correction(&self) -> i64 {
        if self.skew.unsigned_abs() > self.skew_error { self.skew } else { 0 }
    }
}

/// The reason why bytes cannot be read as a trace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Error {
    /// It does not begin with the magic number.
    NotATrace,
    /// Another version of the format.
    Version(u32),
    /// It is shorter than its header says.
    Truncated {
        /// Bytes according to the header.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// The header contradicts itself.
    Header(&'static str),
    /// A record has no valid event, or is in the wrong place.
    Record {
        /// The CPU that recorded it.
        cpu: usize,
        /// Its index, from 0.
        index: usize,
        /// What is wrong.
        why: &'static str,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotATrace => write!(f, "this is no trace: it does not begin with JOTUNTRC"),
            Error::Version(found) => {
                write!(f, "this trace has version {found} of the format, and only version {VERSION} can be read")
            }
            Error::Truncated { expected, found } => {
                write!(f, "the trace is cut short: it has {found} bytes, and {expected} are expected")
            }
            Error::Header(why) => write!(f, "the trace's header is corrupt: {why}"),
            Error::Record { cpu, index, why } => {
                write!(f, "the trace is corrupt: record {index} of CPU {cpu} {why}")
            }
        }
    }
}

impl core::error::Error for Error {}

fn word(bytes: &[u8], index: usize) -> u64 {
    let at = bytes.get(index * 8..index * 8 + 8);
    at.and_then(|word| word.try_into().ok()).map_or(0, u64::from_le_bytes)
}

fn part(bytes: &[u8], offset: u64, length: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    bytes.get(start..start.checked_add(usize::try_from(length).ok()?)?)
}

impl Trace {
    /// Reads a file or a region; bytes behind the end that the header gives are ignored.
    pub fn read(bytes: &[u8]) -> Result<Trace, Error> {
        let found = bytes.len() as u64;
        if found < 8 || word(bytes, MAGIC_WORD) != MAGIC {
            return Err(Error::NotATrace);
        }
        let least = HEADER_WORDS as u64 * 8;
        if found < least {
            return Err(Error::Truncated { expected: least, found });
        }
        let (version, cpus) = (word(bytes, VERSION_WORD) as u32, (word(bytes, VERSION_WORD) >> 32) as usize);
        if version != VERSION {
            return Err(Error::Version(version));
        }
        if !(1..=MAX_CPUS).contains(&cpus) {
            return Err(Error::Header("it has no CPUs, or too many"));
        }
        let expected = word(bytes, BYTES_WORD);
        if expected > found {
            return Err(Error::Truncated { expected, found });
        }
        let bytes = &bytes[..expected as usize];
        if bytes.len() < cpu_words(cpus) * 8 {
            return Err(Error::Header("it is longer than the trace"));
        }
        let tsc_hz = word(bytes, HZ_WORD);
        if tsc_hz == 0 {
            return Err(Error::Header("the cycle counter stands still"));
        }
        let about = match word(bytes, ABOUT_WORD) {
            0 => "",
            offset => part(bytes, offset, word(bytes, ABOUT_BYTES_WORD))
                .and_then(|text| core::str::from_utf8(text).ok())
                .ok_or(Error::Header("the text about the run is not there"))?,
        };
        let streams = (0..cpus).map(|cpu| stream(bytes, cpu)).collect::<Result<_, _>>()?;
        Ok(Trace { tsc_hz, streams, record_cost: word(bytes, COST_WORD), about: about.to_string() })
    }

    /// The bytes of a file.
    pub fn write(&self) -> Vec<u8> {
        let cpus = self.streams.len();
        let mut header = alloc::vec![0; cpu_words(cpus)];
        let mut offset = header.len() * 8;
        for (cpu, stream) in self.streams.iter().enumerate() {
            let line = &mut header[cpu_words(cpu)..];
            line[CPU_OFFSET] = offset as u64;
            line[CPU_CAPACITY] = stream.records.len() as u64;
            line[CPU_DROPPED] = stream.dropped;
            line[CPU_SKEW] = stream.skew as u64;
            line[CPU_SKEW_ERROR] = stream.skew_error;
            offset += stream.records.len() * RECORD_BYTES;
        }
        header[MAGIC_WORD] = MAGIC;
        header[VERSION_WORD] = u64::from(VERSION) | (cpus as u64) << 32;
        header[HZ_WORD] = self.tsc_hz;
        header[COST_WORD] = self.record_cost;
        header[BYTES_WORD] = (offset + self.about.len()) as u64;
        if !self.about.is_empty() {
            header[ABOUT_WORD] = offset as u64;
            header[ABOUT_BYTES_WORD] = self.about.len() as u64;
        }
        let records = self.streams.iter().flat_map(|stream| &stream.records);
        let words = header.into_iter().chain(records.flat_map(|record| [record.stamp, record.word]));
        let mut bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        bytes.extend_from_slice(self.about.as_bytes());
        bytes
    }

    /// A line of the text about the run.
    pub fn about(&self, name: &str) -> Option<&str> {
        self.about.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
    }
}

fn stream(bytes: &[u8], cpu: usize) -> Result<Stream, Error> {
    let line = |index| word(bytes, cpu_words(cpu) + index);
    let length = line(CPU_CAPACITY).checked_mul(RECORD_BYTES as u64);
    let place = length.and_then(|length| part(bytes, line(CPU_OFFSET), length));
    let place = place.ok_or(Error::Header("a CPU's records lie outside of the trace"))?;
    let mut records = Vec::new();
    let mut last = 0;
    for (index, bytes) in place.chunks_exact(RECORD_BYTES).enumerate() {
        let record = Record { stamp: word(bytes, 0), word: word(bytes, 1) };
        if record.word == 0 {
            break;
        }
        let wrong = |why| Error::Record { cpu, index, why };
        match Event::of(record.word) {
            None => return Err(wrong("is of no known kind")),
            Some(Event::Name { .. }) => {}
            Some(_) if record.stamp < last => return Err(wrong("is older than the one before it")),
            Some(_) => last = record.stamp,
        }
        records.push(record);
    }
    Ok(Stream { records, dropped: line(CPU_DROPPED), skew: line(CPU_SKEW) as i64, skew_error: line(CPU_SKEW_ERROR) })
}
