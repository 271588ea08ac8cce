//! Records what this CPU does (feature `trace`; the crate `trace` says what a record is).
//!
//! Each CPU has a ring of its own in a region of physical memory that the boot sets aside: no lock, and no cache line
//! that another CPU writes. The host takes the region out of the machine's memory when the run is over, so the report
//! does not disturb the measurement. For example, a system call leaves a record at its entry and one at its exit, each
//! with the time-stamp counter.
//!
//! Level 1 writes with interrupts off, or switches them off for the moment, because level 2 writes to this ring too.

use super::bootinfo::BootInfo;
use super::cpulocal;
use super::layout::DIRECT_MAP;
use ::cpulocal::{InKernel, cpu_local};
use abi::channel::{TRACE, TRACE_CPU_WORD, TRACE_REGION_WORD, TRACE_WORD};
use core::cell::Cell;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use hardware::{clock, debugcon, exit, interrupts};
use trace::layout::{self, CPU_CAPACITY, CPU_DROPPED, CPU_OFFSET};
use trace::{Cause, Class, Event, From, Record, To};

/// Physical memory that the boot's first page tables reach.
const EARLY_END: u64 = 4 << 30;

/// How much memory is left for everything else.
const LEFT: u64 = 16 << 20;

/// How many records are written to measure the cost of one.
const MEASURED: u64 = 1024;

/// 0 while recording is off, else how many times it has been switched on. Every CPU reads it; it is written when a
/// program asks for it.
static ON: AtomicU32 = AtomicU32::new(0);
/// How many times recording has been switched on.
static TIMES: AtomicU32 = AtomicU32::new(0);

/// The region's address; 0: there is none. The boot writes this and the following statics.
static REGION: AtomicU64 = AtomicU64::new(0);
/// How many rings it has.
static RINGS: AtomicU64 = AtomicU64::new(0);
/// The only CPU that records.
static ONLY: AtomicU64 = AtomicU64::new(u64::MAX);
/// Whether recording begins when a program asks for it.
static REGION_ONLY: AtomicU32 = AtomicU32::new(0);

cpu_local! {
    /// The address of the next record.
    static NEXT: Cell<u64> = Cell::new(0);
    /// The end of this CPU's ring.
    static LIMIT: Cell<u64> = Cell::new(0);
    /// The address of this CPU's words in the region's header; 0: the CPU has no ring, or has not looked for it yet.
    static LINE: Cell<u64> = Cell::new(0);
    /// The value of [`ON`] since which the running thread has been recorded.
    static SEEN: Cell<u32> = Cell::new(0);
    /// Numbers of the running thread and its process.
    static RUNNING: Cell<(u32, u32)> = Cell::new((0, 0));
    /// Programs whose names this CPU has recorded, a bit for each value of a hash.
    static NAMED: [Cell<u64>; 4] = [const { Cell::new(0) }; 4];
}

/// The number of rings, and of records in each, that the command line asks for.
fn wanted(command_line: &str) -> Option<(u64, u64)> {
    let words = || command_line.split_ascii_whitespace();
    let (rings, records) = words().find_map(|word| word.strip_prefix(TRACE_WORD))?.split_once('x')?;
    if let Some(only) = words().find_map(|word| word.strip_prefix(TRACE_CPU_WORD)?.parse().ok()) {
        ONLY.store(only, Relaxed);
    }
    REGION_ONLY.store(words().any(|word| word == TRACE_REGION_WORD).into(), Relaxed);
    let rings = rings.parse().ok().filter(|rings| (1..=layout::MAX_CPUS as u64).contains(rings))?;
    Some((rings, records.parse().ok().filter(|records| (1..=1 << 28).contains(records))?))
}

/// Sets memory aside for the rings that the command line asks for, and tells the host where.
pub fn reserve(info: &mut BootInfo) {
    let Some((rings, records)) = wanted(info.command_line) else { return };
    // A cache line more for each ring, since they begin with one.
    let ring = (records as usize * layout::RECORD_WORDS).next_multiple_of(layout::CPU_WORDS);
    let words = (layout::cpu_words(rings as usize) + rings as usize * ring).next_multiple_of(512);
    let bytes = words as u64 * 8;
    let early = info.free.iter().map(|range| range.start..range.end.min(EARLY_END));
    let largest = early.max_by_key(|range| range.end.saturating_sub(range.start));
    let place = largest.filter(|range| range.end.saturating_sub(range.start) >= bytes + LEFT);
    let Some(place) = place.map(|range| range.end - bytes..range.end) else {
        exit::fatal(format_args!("no memory for {rings} rings of {records} records each; give the machine more"));
    };
    info.free.remove(&place);
    // SAFETY: usable memory, mapped, and taken out of the free ranges just now.
    let region = unsafe {
        let start = (DIRECT_MAP + place.start) as *mut u64;
        core::ptr::write_bytes(start, 0, words);
        core::slice::from_raw_parts_mut(start, words)
    };
    layout::prepare(region, rings as usize, clock::tsc_hz());
    REGION.store(region.as_ptr() as u64, Relaxed);
    RINGS.store(rings, Relaxed);
    debugcon::record(TRACE, format_args!("{:x} {bytes:x}", place.start));
}

/// The physical address of the region; 0: there is none.
pub fn region() -> u64 {
    match REGION.load(Relaxed) {
        0 => 0,
        address => address - DIRECT_MAP,
    }
}

/// A word of the region's header.
fn header(index: usize) -> *mut u64 {
    (REGION.load(Relaxed) + index as u64 * 8) as *mut u64
}

/// Looks for this CPU's ring. A CPU without a ring records nothing, and looks each time.
#[cold]
fn attach(cpu: &InKernel) {
    let number = u64::from(cpulocal::number(cpu).0);
    let only = ONLY.load(Relaxed);
    if REGION.load(Relaxed) == 0 || number >= RINGS.load(Relaxed) || (only != u64::MAX && only != number) {
        return;
    }
    let line = header(layout::cpu_words(number as usize));
    // SAFETY: `prepare` has written these words of the region, which nothing else uses.
    let (offset, capacity) = unsafe { (*line.add(CPU_OFFSET), *line.add(CPU_CAPACITY)) };
    let start = REGION.load(Relaxed) + offset;
    NEXT.get(cpu).set(start);
    LIMIT.get(cpu).set(start + capacity * layout::RECORD_BYTES as u64);
    LINE.get(cpu).set(line as u64);
}

/// Writes a record, whether recording is on or not. Interrupts are off.
#[inline(always)]
fn put(cpu: &InKernel, stamp: u64, word: u64) {
    let next = NEXT.get(cpu);
    if next.get() == LIMIT.get(cpu).get() {
        return full(cpu, stamp, word);
    }
    // SAFETY: below the limit, so within this CPU's ring.
    unsafe { (next.get() as *mut Record).write(Record { stamp, word }) };
    next.set(next.get() + layout::RECORD_BYTES as u64);
}

/// Handles a record for which the ring has no room, or for which this CPU has no ring yet.
#[cold]
#[inline(never)]
fn full(cpu: &InKernel, stamp: u64, word: u64) {
    if LINE.get(cpu).get() == 0 {
        attach(cpu);
        if NEXT.get(cpu).get() != LIMIT.get(cpu).get() {
            put(cpu, stamp, word);
        }
        return;
    }
    // SAFETY: a word of the header, which only this CPU writes.
    unsafe { *(LINE.get(cpu).get() as *mut u64).add(CPU_DROPPED) += 1 };
}

/// Records that the level rises from 0 to 1.
#[inline(always)]
pub fn entry(cpu: &InKernel, class: Class, number: u64, from: From) {
    let on = ON.load(Relaxed);
    if on == 0 {
        return;
    }
    let now = clock::rdtsc();
    if SEEN.get(cpu).get() != on {
        see(cpu, now, on);
    }
    put(cpu, now, Event::Enter { cause: Cause::new(class, number), from }.word());
}

/// Records which thread runs: recording has been switched on since this CPU switched threads.
#[cold]
fn see(cpu: &InKernel, stamp: u64, on: u32) {
    SEEN.get(cpu).set(on);
    let (thread, process) = RUNNING.get(cpu).get();
    put(cpu, stamp, Event::Switch { thread, process: process & 0xff_ffff }.word());
}

/// Records that the level falls to 0.
#[inline(always)]
pub fn exit(cpu: &InKernel, to: To) {
    record(cpu, Event::Leave { to });
}

/// Records an event at this moment; interrupts are off.
#[inline(always)]
pub fn record(cpu: &InKernel, event: Event) {
    if ON.load(Relaxed) != 0 {
        put(cpu, clock::rdtsc(), event.word());
    }
}

/// Records an event at this moment.
#[inline(always)]
pub fn event(cpu: &InKernel, event: Event) {
    if ON.load(Relaxed) != 0 {
        interrupts::without(|| put(cpu, clock::rdtsc(), event.word()));
    }
}

/// Records that another thread runs here from now on.
pub fn switch(cpu: &InKernel, thread: u32, process: u32, name: &[u8]) {
    RUNNING.get(cpu).set((thread, process));
    interrupts::without(|| {
        // The names of programs that begin while recording is off are wanted too.
        if REGION.load(Relaxed) != 0 {
            record_name(cpu, process, name);
        }
        SEEN.get(cpu).set(ON.load(Relaxed));
        record(cpu, Event::Switch { thread, process: process & 0xff_ffff });
    });
}

/// Records a program's name, unless this CPU has recorded it or a name with an equal hash.
fn record_name(cpu: &InKernel, process: u32, name: &[u8]) {
    let hash = (name.as_ptr() as u64 >> 4) ^ u64::from(process);
    let (word, bit) = (&NAMED.get(cpu)[(hash >> 6 & 3) as usize], 1 << (hash & 63));
    if word.get() & bit != 0 {
        return;
    }
    word.set(word.get() | bit);
    for (part, bytes) in name.chunks(8).take(2).enumerate() {
        let mut text = [0; 8];
        text[..bytes.len()].copy_from_slice(bytes);
        put(cpu, u64::from_le_bytes(text), Event::Name { process, part: part as u8 }.word());
    }
}

/// Called at the end of the boot: measures the cost of a record, and begins recording if it is to begin at once.
pub fn start(cpu: &InKernel) {
    if REGION.load(Relaxed) == 0 {
        return;
    }
    measure(cpu);
    #[cfg(feature = "smp")]
    for number in 0..RINGS.load(Relaxed) {
        let (skew, doubt) = hardware::startup::skew(containers::Cpu(number as u8));
        let line = header(layout::cpu_words(number as usize));
        // SAFETY: words of the header, which no other CPU writes.
        unsafe {
            *line.add(layout::CPU_SKEW) = skew as u64;
            *line.add(layout::CPU_SKEW_ERROR) = doubt;
        }
    }
    if REGION_ONLY.load(Relaxed) == 0 {
        switch_on(cpu);
        record(cpu, Event::Begin);
    }
}

fn switch_on(_: &InKernel) {
    let times = TIMES.load(Relaxed) + 1;
    TIMES.store(times, Relaxed);
    ON.store(times, Relaxed);
}

/// Ends recording, at the end of the run.
pub fn stop(cpu: &InKernel) {
    record(cpu, Event::End);
    ON.store(0, Relaxed);
}

/// Switches recording as a program has asked by a system call of number `call`. False: this run records nothing.
pub fn control(cpu: &InKernel, wish: Event, call: u64) -> bool {
    if REGION.load(Relaxed) == 0 {
        return false;
    }
    match wish {
        Event::Begin if ON.load(Relaxed) == 0 => {
            switch_on(cpu);
            record(cpu, wish);
            // This call has been under way for a while: its entry is recorded now.
            entry(cpu, Class::SystemCall, call, From::User);
            if cfg!(feature = "smp") {
                record(cpu, Event::Acquired { depth: 1, contended: false });
            }
        }
        Event::Begin => {}
        Event::End => stop(cpu),
        mark => event(cpu, mark),
    }
    true
}

/// Writes records to measure their cost, and removes them.
fn measure(cpu: &InKernel) {
    attach(cpu);
    let start = NEXT.get(cpu).get();
    if LIMIT.get(cpu).get() - start < MEASURED * layout::RECORD_BYTES as u64 {
        return;
    }
    ON.store(1, Relaxed);
    let before = clock::rdtsc();
    for value in 0..MEASURED as u32 {
        record(cpu, Event::Mark { value });
    }
    let cost = clock::rdtsc() - before;
    ON.store(0, Relaxed);
    let bytes = NEXT.get(cpu).replace(start) - start;
    // SAFETY: records written just now, in this CPU's ring; and the header's word, which only the boot writes.
    unsafe {
        core::ptr::write_bytes(start as *mut u8, 0, bytes as usize);
        *header(layout::COST_WORD) = cost;
    }
}
