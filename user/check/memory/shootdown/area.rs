//! What an area's owner and its touchers share.

use programs::system::{PAGE, pages};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

/// Pages of an area.
pub(super) const PAGES: usize = 8;

/// Most touchers: each has a word of its own in every page, the first word being the owner's.
pub(super) const TOUCHERS: usize = 63;

/// What the taken pages of an area are. The other pages are always open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
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
pub(super) struct State(pub(super) u64);

impl State {
    pub(super) fn new(number: u64, kind: Kind) -> Self {
        Self(number << 8 | kind as u64)
    }

    pub(super) fn kind(self) -> Kind {
        KINDS[(self.0 & 0xff) as usize]
    }

    pub(super) fn number(self) -> u64 {
        self.0 >> 8
    }
}

pub(super) struct Area {
    pub(super) base: usize,
    pub(super) state: AtomicU64,
    /// The first taken page, and the first behind them.
    pub(super) from: AtomicUsize,
    pub(super) to: AtomicUsize,
    /// What the owner's word of every taken page is, in a state in which they can be read.
    pub(super) stamp: AtomicU64,
    pub(super) touchers: Vec<Toucher>,
}

/// What a toucher tells an area's owner.
pub(super) struct Toucher {
    /// The last state in which it has made accesses to all pages, or seen that it must not.
    pub(super) seen: AtomicU64,
    /// The last value that it has stored in each page.
    pub(super) stored: [AtomicU64; PAGES],
}

impl Area {
    pub(super) fn new(touchers: usize) -> Self {
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

    pub(super) fn state(&self) -> State {
        State(self.state.load(SeqCst))
    }

    pub(super) fn page(&self, page: usize) -> usize {
        self.base + page * PAGE
    }
}

/// A toucher's word in the page at `page`.
pub(super) fn word(page: usize, toucher: usize) -> usize {
    page + (toucher + 1) * size_of::<u64>()
}
