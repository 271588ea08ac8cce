//! Top-level slots of an address space, 512 GiB each, on several CPUs: `slots [slots] [cpus]`.
//!
//! A CPU that runs a container for the first time gets a copy of its page directory: one page of 512 entries, each a
//! slot. All CPUs share the tables below. So a page in a new slot enters the container's directory and that of the
//! CPU that touches it first. Every other CPU that already has a copy takes one *spurious fault* for the slot,
//! however many pages it touches there; a CPU whose copy is made later finds the slot in it. On Linux the program
//! makes the same accesses and counts nothing.
//!
//! Run by: `tests/tests/boot/programs.rs`, `tests/tests/smp.rs`.

use libc::*;
use programs::cpus::{self, statistic};
use programs::sys;
use programs::system::PAGE;
use std::ptr::with_exposed_provenance;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// Bytes of a slot.
const SLOT: usize = 1 << 39;

/// The first slot in which nothing lies: neither programs nor libraries, heaps, stacks or packages.
const FIRST: usize = 0x10;

/// Pages touched in each slot.
const PAGES: usize = 3;

/// The page `page` of the slot `slot`.
fn address(slot: usize, page: usize) -> usize {
    (FIRST + slot) * SLOT + page * PAGE
}

/// Adds one to a word of each page of a slot; what the words were before.
fn touch(slot: usize) -> Vec<u64> {
    let word = |page| {
        // SAFETY: `map` has made these pages, and all threads reach them as atomics.
        unsafe { &*with_exposed_provenance::<AtomicU64>(address(slot, page)) }
    };
    (0..PAGES).map(|page| word(page).fetch_add(1, SeqCst)).collect()
}

fn map(slot: usize) {
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    let at = address(slot, 0);
    assert_eq!(sys!(SYS_mmap, at, PAGES * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0), Ok(at as u64), "slot {slot}");
}

fn unmap(slot: usize) {
    assert_eq!(sys!(SYS_munmap, address(slot, 0), PAGES * PAGE), Ok(0));
}

/// A thread that stays on one CPU and does what it is told.
struct Hand {
    orders: Sender<usize>,
    results: Receiver<Vec<u64>>,
}

impl Hand {
    /// Starts it; it is there when this returns.
    fn new(cpu: u32) -> Self {
        let (orders, orders_in) = channel();
        let (results_out, results) = channel();
        thread::spawn(move || {
            cpus::stay_on(cpu);
            results_out.send(Vec::new()).expect("the starter listens");
            orders_in.into_iter().for_each(|slot| results_out.send(touch(slot)).expect("the starter listens"));
        });
        let hand = Self { orders, results };
        assert!(hand.results.recv().expect("it starts").is_empty());
        hand
    }

    /// Has it touch a slot, and checks that `before` others have done so before.
    fn touch(&self, slot: usize, before: u64) {
        self.orders.send(slot).expect("it listens");
        assert_eq!(self.results.recv().expect("it goes on"), [before; PAGES], "slot {slot}");
    }
}

fn main() {
    let mut allowed = cpus::allowed();
    let slots = cpus::argument(1, 8).clamp(1, 64);
    allowed.truncate(cpus::argument(2, allowed.len()).max(1));
    let cpus = allowed.len() as u64;
    cpus::stay_on(allowed[0]);

    // All slots but the last few: copies are there before the slots are.
    let copies = Count::of("directory_copies_made");
    let hands: Vec<_> = allowed.iter().map(|cpu| Hand::new(*cpu)).collect();
    let copies = copies.grown();
    println!("a thread on each of {cpus} CPUs: {} copies of the page directory", shown(copies));
    expect(copies, cpus - 1, "a copy for each CPU but the owner");

    (0..slots).for_each(map);
    let faults = Count::of("spurious_faults_directory");
    for slot in 0..slots {
        // Each time another CPU is the first.
        for turn in 0..hands.len() {
            hands[(slot + turn) % hands.len()].touch(slot, turn as u64);
        }
    }
    let spurious = faults.grown();
    println!("{slots} new slots touched by each of {cpus} CPUs: {} spurious faults", shown(spurious));
    // The owner's directory is the container's own, which has an entry as soon as any CPU has it.
    let owner_first = (0..slots as u64).filter(|slot| slot % cpus == 0).count() as u64;
    let expected = owner_first * (cpus - 1) + (slots as u64 - owner_first) * cpus.saturating_sub(2);
    expect(spurious, expected, "one for each slot and each CPU that had a copy without it");

    let faults = Count::of("spurious_faults_directory");
    for slot in 0..slots {
        hands.iter().zip(cpus..).for_each(|(hand, before)| hand.touch(slot, before));
    }
    expect(faults.grown(), 0, "once there, an entry stays");

    let live = statistic("directory_copies_live");
    expect(live, cpus - 1, "copies while the program runs");
    (0..slots).for_each(unmap);
    println!("ok slots: {slots} slots on {cpus} CPUs");
}

/// A statistic at one moment; none on Linux.
struct Count(&'static str, Option<u64>);

impl Count {
    fn of(name: &'static str) -> Self {
        Self(name, statistic(name))
    }

    fn grown(self) -> Option<u64> {
        Some(statistic(self.0)? - self.1?)
    }
}

/// Asserts a count where there is one.
fn expect(count: Option<u64>, expected: u64, what: &str) {
    if let Some(count) = count {
        assert_eq!(count, expected, "{what}");
    }
}

fn shown(count: Option<u64>) -> String {
    count.map_or("unknown".into(), |count| count.to_string())
}
