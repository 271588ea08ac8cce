//! Takes pages away while every CPU uses them: `shootdown [rounds] [touchers] [areas]`.
//!
//! Touchers load and store words of an area without a pause. The area's owner takes some of its pages
//! away (`munmap`, `mprotect`, `mremap`, a new mapping over the old one, `madvise`), looks, and gives
//! them back. What an area's pages are to a toucher stands in its [`Area::state`], which the owner
//! changes to [`Taking`](Kind::Taking) *before* the call that takes away and to what holds then *after*
//! that call has returned. A toucher reads the state, makes its accesses, and reads the state again:
//! if it was the same both times, the accesses were made wholly within it. So an access that succeeds
//! where the state forbids it was made by a translation that the kernel has left behind, and no
//! other explanation is possible.
//!
//! The owner makes new pages of the frames that came back and looks whether they change (a *canary*);
//! and what a toucher has stored is compared with what is there after every call that keeps contents.

use libc::*;
use programs::cpus::{self, Random};
use programs::probe;
use programs::sys;
use programs::system::{PAGE, pages};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst, fence};
use std::{hint, thread};

const RW: i32 = PROT_READ | PROT_WRITE;
const ANONYMOUS: i32 = MAP_PRIVATE | MAP_ANONYMOUS;

/// Pages of an area.
const PAGES: usize = 8;

/// Most touchers: each has a word of its own in every page, the first word being the owner's.
const TOUCHERS: usize = 63;

/// What the taken pages of an area are. The other pages are always open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// They can be read and written, and hold what they held before.
    Open,
    /// They can be read and written, and are new: the owner's word is its stamp, touchers' were 0.
    Fresh,
    /// The owner is at it: any access may succeed or fail.
    Taking,
    /// The owner is giving them back: touchers leave all pages alone.
    Giving,
    /// They can be neither read nor written.
    Gone,
    /// They can be read only.
    ReadOnly,
    /// The end.
    Over,
}

const KINDS: [Kind; 7] = [Kind::Open, Kind::Fresh, Kind::Taking, Kind::Giving, Kind::Gone, Kind::ReadOnly, Kind::Over];

/// A state is a number that grows with every change, and a kind.
#[derive(Clone, Copy, PartialEq, Eq)]
struct State(u64);

impl State {
    fn new(number: u64, kind: Kind) -> Self {
        Self(number << 8 | kind as u64)
    }

    fn kind(self) -> Kind {
        KINDS[(self.0 & 0xff) as usize]
    }

    fn number(self) -> u64 {
        self.0 >> 8
    }
}

struct Area {
    base: usize,
    state: AtomicU64,
    /// The first taken page, and the first behind them.
    from: AtomicUsize,
    to: AtomicUsize,
    /// What the owner's word of every taken page is, in a state in which they can be read.
    stamp: AtomicU64,
    touchers: Vec<Toucher>,
}

/// What a toucher tells an area's owner.
struct Toucher {
    /// The last state in which it has made accesses to all pages, or seen that it must not.
    seen: AtomicU64,
    /// The last value that it has stored in each page.
    stored: [AtomicU64; PAGES],
}

impl Area {
    fn new(touchers: usize) -> Self {
        let toucher = || Toucher { seen: AtomicU64::new(0), stored: [const { AtomicU64::new(0) }; PAGES] };
        Self {
            base: pages(PAGES).expose_provenance(),
            state: AtomicU64::new(State::new(0, Kind::Giving).0),
            from: AtomicUsize::new(0),
            to: AtomicUsize::new(PAGES),
            stamp: AtomicU64::new(0),
            touchers: (0..touchers).map(|_| toucher()).collect(),
        }
    }

    fn state(&self) -> State {
        State(self.state.load(SeqCst))
    }

    fn page(&self, page: usize) -> usize {
        self.base + page * PAGE
    }
}

/// A toucher's word in the page at `page`.
fn word(page: usize, toucher: usize) -> usize {
    page + (toucher + 1) * size_of::<u64>()
}

/// A toucher's own knowledge of an area.
#[derive(Clone, Copy, Default)]
struct Memory {
    /// The last value stored in each page.
    stored: [u64; PAGES],
    /// The next value to store.
    next: u64,
    /// The number of the last state in which pages were fresh.
    fresh: u64,
}

/// Goes round the areas until all are over; how many accesses it has made.
fn touch(areas: &[Area], me: usize, crowded: bool, start: &Barrier) -> u64 {
    let mut memories = vec![Memory { next: 1, ..Memory::default() }; areas.len()];
    let mut accesses = 0;
    start.wait();
    loop {
        let mut over = 0;
        for (area, memory) in areas.iter().zip(&mut memories) {
            let state = area.state();
            let seen = &area.touchers[me].seen;
            let again = seen.load(SeqCst) == state.0;
            match state.kind() {
                Kind::Over => over += 1,
                Kind::Giving => seen.store(state.0, SeqCst),
                // One round of faults is enough.
                Kind::Gone | Kind::ReadOnly if again => hint::spin_loop(),
                _ => accesses += visit(area, memory, me, state),
            }
            if crowded && again {
                thread::yield_now();
            }
        }
        if over == areas.len() {
            return accesses;
        }
    }
}

/// One access of each kind to every page of the area.
fn visit(area: &Area, memory: &mut Memory, me: usize, state: State) -> u64 {
    let taken = area.from.load(SeqCst)..area.to.load(SeqCst);
    let stamp = area.stamp.load(SeqCst);
    let toucher = &area.touchers[me];
    if area.state() != state {
        return 0;
    }
    if state.kind() == Kind::Fresh && memory.fresh != state.number() {
        memory.fresh = state.number();
        memory.stored[taken.clone()].fill(0);
    }
    for index in 0..PAGES {
        let kind = if taken.contains(&index) { state.kind() } else { Kind::Open };
        let page = area.page(index);
        let mine = word(page, me);
        let value = memory.next;
        let sign = probe::read(page);
        let before = probe::read(mine);
        let stored = probe::write(mine, value);
        let after = probe::read(mine);
        fence(SeqCst);
        let last = memory.stored[index];
        if stored {
            memory.stored[index] = value;
            toucher.stored[index].store(value, SeqCst);
        }
        memory.next += 1;
        if area.state() != state {
            // The pages outside are not the less open for that.
            if kind == Kind::Open && !taken.contains(&index) {
                assert!(stored && before == Some(last) && after == Some(value), "an open page while others change");
            }
            return 0;
        }
        let place = || format!("{kind:?}, page {index} at {page:#x}, toucher {me} on CPU {}", cpus::current());
        match kind {
            Kind::Open | Kind::Fresh => {
                assert!(stored, "a store failed: {}", place());
                assert_eq!((before, after), (Some(last), Some(value)), "my word before and after: {}", place());
                if taken.contains(&index) {
                    assert_eq!(sign, Some(stamp), "the owner's word: {}", place());
                }
            }
            Kind::ReadOnly => {
                assert!(!stored, "STALE: a store succeeded: {}", place());
                assert_eq!((before, after), (Some(last), Some(last)), "my word: {}", place());
                assert_eq!(sign, Some(stamp), "the owner's word: {}", place());
            }
            Kind::Gone => {
                assert!(!stored, "STALE: a store succeeded: {}", place());
                assert_eq!((sign, before, after), (None, None, None), "STALE: a load succeeded: {}", place());
            }
            Kind::Taking | Kind::Giving | Kind::Over => {}
        }
    }
    toucher.seen.store(state.0, SeqCst);
    4 * PAGES as u64
}

/// What an owner does to the pages it takes.
#[derive(Clone, Copy, Debug)]
enum Deed {
    /// `munmap`, and new pages in their place later.
    Unmap,
    /// `mprotect` to no rights and back.
    Forbid,
    /// `mprotect` to reading and back.
    Protect,
    /// `mremap` to another place and back.
    Move,
    /// `mmap` over them.
    Replace,
    /// `madvise(MADV_DONTNEED)`.
    Discard,
}

const DEEDS: [Deed; 6] = [Deed::Unmap, Deed::Forbid, Deed::Protect, Deed::Move, Deed::Replace, Deed::Discard];

/// An area's owner.
struct Owner<'a> {
    area: &'a Area,
    number: u64,
    /// Where pages are moved to.
    other: usize,
    /// Where the canaries are.
    canaries: usize,
}

impl Owner<'_> {
    /// Announces a state.
    fn announce(&mut self, kind: Kind) {
        self.number += 1;
        self.area.state.store(State::new(self.number, kind).0, SeqCst);
    }

    /// Announces a state, and waits until every toucher has made accesses within it.
    fn enter(&mut self, kind: Kind) {
        self.announce(kind);
        let state = self.area.state().0;
        for toucher in &self.area.touchers {
            cpus::spin_until(|| toucher.seen.load(SeqCst) == state);
        }
    }

    /// Takes pages away and gives them back, as often as `rounds` says. Each round begins and ends with
    /// [`Kind::Giving`], in which touchers do nothing.
    fn work(&mut self, rounds: usize, seed: u64) {
        let mut random = Random::new(seed);
        for round in 0..rounds {
            let from = random.below(PAGES as u64) as usize;
            let to = from + 1 + random.below((PAGES - from) as u64) as usize;
            self.area.from.store(from, SeqCst);
            self.area.to.store(to, SeqCst);
            self.stamp();
            self.enter(Kind::Open);
            self.one(DEEDS[round % DEEDS.len()], self.area.page(from), (to - from) * PAGE);
        }
        self.announce(Kind::Over);
    }

    /// Writes a new stamp to every taken page; touchers are not looking.
    fn stamp(&self) {
        let stamp = self.number;
        self.area.stamp.store(stamp, SeqCst);
        for index in self.taken() {
            assert!(probe::write(self.area.page(index), stamp), "the owner's own page {index}");
        }
    }

    fn taken(&self) -> std::ops::Range<usize> {
        self.area.from.load(SeqCst)..self.area.to.load(SeqCst)
    }

    fn one(&mut self, deed: Deed, start: usize, length: usize) {
        let flags = MREMAP_MAYMOVE | MREMAP_FIXED;
        let replace = || assert_eq!(sys!(SYS_mmap, start, length, RW, ANONYMOUS | MAP_FIXED, -1, 0), Ok(start as u64));
        let protect = |rights: i32| assert_eq!(sys!(SYS_mprotect, start, length, rights), Ok(0));
        let moved = |from: usize, to: usize| {
            assert_eq!(sys!(SYS_mremap, from, length, length, flags, to), Ok(to as u64));
        };
        self.announce(Kind::Taking);
        match deed {
            Deed::Unmap => {
                assert_eq!(sys!(SYS_munmap, start, length), Ok(0));
                self.canary(length);
                self.enter(Kind::Giving);
                replace();
                self.fresh();
                self.enter(Kind::Fresh);
                self.enter(Kind::Giving);
            }
            Deed::Forbid => {
                protect(PROT_NONE);
                self.enter(Kind::Gone);
                self.enter(Kind::Giving);
                protect(RW);
                self.kept(start);
            }
            Deed::Protect => {
                protect(PROT_READ);
                self.enter(Kind::ReadOnly);
                self.kept(start);
                self.enter(Kind::Giving);
                protect(RW);
                self.kept(start);
            }
            Deed::Move => {
                moved(start, self.other);
                self.enter(Kind::Gone);
                self.kept(self.other);
                self.enter(Kind::Giving);
                moved(self.other, start);
                self.kept(start);
            }
            Deed::Replace => {
                replace();
                self.replaced(start);
            }
            Deed::Discard => {
                assert_eq!(sys!(SYS_madvise, start, length, MADV_DONTNEED), Ok(0));
                self.replaced(start);
            }
        }
    }

    /// After the pages were taken: the frames may be used again, and nobody else may reach them.
    fn canary(&mut self, length: usize) {
        let place = sys!(SYS_mmap, self.canaries, length, RW, ANONYMOUS | MAP_FIXED, -1, 0);
        assert_eq!(place, Ok(self.canaries as u64));
        let salt = self.number << 32;
        let words = (self.canaries..self.canaries + length).step_by(size_of::<u64>());
        for address in words.clone() {
            assert_eq!(probe::read(address), Some(0), "STALE: a new page was written to, at {address:#x}");
            assert!(probe::write(address, address as u64 ^ salt), "a new page");
        }
        self.enter(Kind::Gone);
        for address in words {
            let there = probe::read(address);
            assert_eq!(there, Some(address as u64 ^ salt), "STALE: another's page was written to, at {address:#x}");
        }
        assert_eq!(sys!(SYS_munmap, self.canaries, length), Ok(0));
    }

    /// The taken pages are new.
    fn fresh(&self) {
        for index in self.taken() {
            let words = (0..PAGE).step_by(size_of::<u64>());
            for address in words.map(|offset| self.area.page(index) + offset) {
                assert_eq!(probe::read(address), Some(0), "STALE: a new page was written to, at {address:#x}");
            }
            for toucher in &self.area.touchers {
                toucher.stored[index].store(0, SeqCst);
            }
        }
        self.stamp();
    }

    /// What touchers have stored in the taken pages, which are at `place` now and which they cannot
    /// write at present, is there.
    fn kept(&self, place: usize) {
        for (offset, index) in self.taken().enumerate() {
            for (number, toucher) in self.area.touchers.iter().enumerate() {
                let stored = toucher.stored[index].load(SeqCst);
                let there = probe::read(word(place + offset * PAGE, number));
                assert_eq!(there, Some(stored), "LOST: the last store of toucher {number} in page {index}");
            }
        }
    }

    /// Other pages have come in the place of the taken ones, while touchers went on storing: what they
    /// store now must be seen here.
    fn replaced(&mut self, start: usize) {
        self.enter(Kind::Taking);
        for (offset, index) in self.taken().enumerate() {
            let page = start + offset * PAGE;
            assert_eq!(probe::read(page), Some(0), "the owner's word of a new page");
            for (number, toucher) in self.area.touchers.iter().enumerate() {
                let stored = toucher.stored[index].load(SeqCst);
                let there = probe::read(word(page, number)).unwrap_or(0);
                assert!(there >= stored, "STALE: toucher {number} stored {stored} elsewhere, {there} is there");
            }
        }
        self.enter(Kind::Giving);
    }
}

fn main() {
    let cpus = cpus::allowed().len();
    let rounds = cpus::argument(1, 240);
    let touchers = cpus::argument(2, cpus.saturating_sub(1).clamp(1, 15)).clamp(1, TOUCHERS);
    let owners = cpus::argument(3, if cpus > 2 { 2 } else { 1 }).max(1);
    probe::catch_faults();
    let areas: Vec<_> = (0..owners).map(|_| Area::new(touchers)).collect();
    let before = cpus::statistic("shootdowns");
    // Nobody may map anything at an address of the kernel's choosing while there are holes.
    let start = Barrier::new(touchers + owners);
    let accesses = thread::scope(|scope| {
        let areas = &areas[..];
        let start = &start;
        let toucher = |me| scope.spawn(move || touch(areas, me, touchers + owners > cpus, start));
        let threads: Vec<_> = (0..touchers).map(toucher).collect();
        for (seed, area) in areas.iter().enumerate() {
            let (other, canaries) = (pages(PAGES), pages(PAGES));
            let (other, canaries) = (other.expose_provenance(), canaries.expose_provenance());
            scope.spawn(move || {
                start.wait();
                Owner { area, number: 0, other, canaries }.work(rounds, seed as u64);
            });
        }
        threads.into_iter().map(|thread| thread.join().expect("a toucher finds nothing wrong")).sum::<u64>()
    });
    if let (Some(before), Some(after)) = (before, cpus::statistic("shootdowns")) {
        println!("{} shootdowns", after - before);
    }
    println!(
        "ok shootdown: {rounds} rounds in {owners} areas, {touchers} touchers on {cpus} CPUs, {accesses} accesses"
    );
}
