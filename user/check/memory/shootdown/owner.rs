//! The thread that takes the pages away.

use super::area::{Area, Kind, PAGES, State, word};
use libc::*;
use programs::cpus::{self, Random};
use programs::probe;
use programs::sys;
use programs::system::{PAGE, pages};
use std::ops::Range;
use std::sync::atomic::Ordering::SeqCst;

const RW: i32 = PROT_READ | PROT_WRITE;
const ANONYMOUS: i32 = MAP_PRIVATE | MAP_ANONYMOUS;

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
pub(super) struct Owner<'a> {
    area: &'a Area,
    number: u64,
    /// Where pages are moved to.
    other: usize,
    /// Where the canaries are.
    canaries: usize,
}

impl<'a> Owner<'a> {
    /// The owner of `area`.
    pub(super) fn new(area: &'a Area) -> Self {
        let [other, canaries] = [pages(PAGES), pages(PAGES)].map(|start| start.expose_provenance());
        Self { area, number: 0, other, canaries }
    }

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
    pub(super) fn work(&mut self, rounds: usize, seed: u64) {
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

    fn taken(&self) -> Range<usize> {
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

    /// After the pages were taken: the frames may be used again, and no CPU may reach them by the old translations.
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
