//! Waiting at several files at once (`poll`): a thread has a *seat* in the *audience* of each file that it asks about.
//!
//! The seats are taken before the thread parks, and given up with its wait, however that ends: so an event on a file reaches
//! those who wait for it, and no others.
//!
//! Seats may be too many for one visit: then the thread keeps those that it has at a preemption point
//! ([`Tasks::preempt_polling`]), and does not park if it has been told of an event meanwhile.
//!
//! **Invariant: a thread has seats exactly while it is parked on [`Channel::Poll`], or is about to be.**

use crate::arena::{Arena, Full, Id};
use crate::budget::Point;
use crate::ids::ThreadId;
use crate::tasks::thread::Restart;
use crate::tasks::wait::{Channel, Wait};
use crate::tasks::{MAX_PROCESSES, MAX_THREADS, Tasks};
use alloc::vec::Vec;
use core::num::NonZeroU64;

/// Audiences there can be: as many as files that are open.
const AUDIENCES: u32 = 131_072;

/// Seats that are allocated at once: a piece of memory so small that the heap finds it without a search.
pub const ROW: usize = 16;

/// The threads that poll a file, each by a seat.
pub(crate) struct Audience {
    first: Option<Place>,
    last: Option<Place>,
}

/// What one thread polls.
pub struct Poll {
    thread: ThreadId,
    /// There has been an event at one of its seats.
    is_told: bool,
    /// Rows of [`ROW`] seats, so that many seats need no large piece of memory.
    rows: Vec<Vec<Seat>>,
}

/// The name of what a thread polls.
pub type PollId = Id<Poll>;

/// Which seat of which poll.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    poll: PollId,
    seat: u32,
}

struct Seat {
    audience: Id<Audience>,
    /// The events that concern it.
    bits: u32,
    previous: Option<Place>,
    next: Option<Place>,
}

/// All audiences, and the seats in them.
pub(crate) struct Polls {
    polls: Arena<Poll>,
    audiences: Arena<Audience>,
}

impl Poll {
    fn seat_mut(&mut self, seat: usize) -> Option<&mut Seat> {
        self.rows.get_mut(seat / ROW)?.get_mut(seat % ROW)
    }
}

impl Polls {
    pub(crate) const fn new() -> Polls {
        Polls { polls: Arena::new(MAX_PROCESSES + MAX_THREADS), audiences: Arena::new(AUDIENCES) }
    }

    fn seat_mut(&mut self, place: Place) -> Option<&mut Seat> {
        self.polls.get_mut(place.poll)?.seat_mut(place.seat as usize)
    }

    /// Takes a seat at the end of an audience, or has the last one, if it is of this poll, stand for these events too.
    fn join(&mut self, poll: PollId, audience: Id<Audience>, bits: u32) {
        let previous = self.audiences.get(audience).and_then(|audience| audience.last);
        if let Some(last) = previous.filter(|last| last.poll == poll) {
            self.seat_mut(last).into_iter().for_each(|seat| seat.bits |= bits);
            return;
        }
        let Some(Poll { rows, .. }) = self.polls.get_mut(poll) else { return };
        if rows.last().is_none_or(|row| row.len() == ROW) {
            rows.push(Vec::with_capacity(ROW));
        }
        let seat = ((rows.len() - 1) * ROW) as u32;
        let Some(row) = rows.last_mut() else { return };
        let place = Place { poll, seat: seat + row.len() as u32 };
        row.push(Seat { audience, bits, previous, next: None });
        self.connect(audience, (previous, Some(place)), (Some(place), None));
    }

    /// Makes the second of each pair follow the first, where there are both; else it is an end of the audience.
    fn connect(
        &mut self,
        audience: Id<Audience>,
        before: (Option<Place>, Option<Place>),
        after: (Option<Place>, Option<Place>),
    ) {
        match before.0 {
            Some(place) => self.seat_mut(place).into_iter().for_each(|seat| seat.next = before.1),
            None => self.audiences.get_mut(audience).into_iter().for_each(|audience| audience.first = before.1),
        }
        match after.1 {
            Some(place) => self.seat_mut(place).into_iter().for_each(|seat| seat.previous = after.0),
            None => self.audiences.get_mut(audience).into_iter().for_each(|audience| audience.last = after.0),
        }
    }

    /// Gives up all seats of a poll. Audiences without seats go too.
    pub(crate) fn end(&mut self, poll: PollId) {
        let Some(Poll { rows, .. }) = self.polls.remove(poll) else { return };
        for Seat { audience, previous, next, .. } in rows.into_iter().flatten() {
            self.connect(audience, (previous, next), (previous, next));
            if self.audiences.get(audience).is_some_and(|audience| audience.first.is_none()) {
                self.audiences.remove(audience);
            }
        }
    }
}

impl<R> Tasks<R> {
    /// A thread is going to poll: it has no seats yet.
    pub fn begin_poll(&mut self, thread: ThreadId) -> Result<PollId, Full> {
        self.polls.polls.insert(Poll { thread, is_told: false, rows: Vec::new() })
    }

    /// Takes a seat in a file's audience for these events; `audience` is the name that the file has from the last time, and
    /// the result the one to keep. An audience goes with its last seat, and then its name finds nothing.
    pub fn attend(&mut self, poll: PollId, audience: Option<NonZeroU64>, bits: u32) -> Result<NonZeroU64, Full> {
        let known = audience.map(Id::from_name).filter(|id| self.polls.audiences.get(*id).is_some());
        let audience = match known {
            Some(audience) => audience,
            None => self.polls.audiences.insert(Audience { first: None, last: None })?,
        };
        self.polls.join(poll, audience, bits);
        Ok(audience.name())
    }

    /// Parks a thread until an event at one of its seats, or the deadline.
    pub fn park_polling(&mut self, thread: ThreadId, poll: PollId, deadline: Option<u64>) {
        self.park(thread, Wait::restart(Channel::Poll(poll), deadline));
    }

    /// A call that polls has come to a preemption point before it could park: the thread keeps its seats. The call goes on at
    /// `place`, with the same deadline.
    pub fn preempt_polling(&mut self, id: ThreadId, place: u64, deadline: Option<u64>, poll: Option<PollId>) {
        self.preempt(id, Point { progress: 0, place, ends_for_handlers: false });
        let Some(thread) = self.threads.get_mut(id) else { return };
        thread.seats = poll;
        thread.restart = thread.restart.map(|call| Restart { deadline, ..call });
    }

    /// The seats that a thread's call has kept, which are the call's again.
    pub fn kept_seats(&mut self, id: ThreadId) -> Option<PollId> {
        self.threads.get_mut(id)?.seats.take()
    }

    /// Whether there has been an event at one of the seats.
    pub fn is_told(&self, poll: PollId) -> bool {
        self.polls.polls.get(poll).is_none_or(|poll| poll.is_told)
    }

    /// Gives up the seats of a thread that does not park after all.
    pub fn give_up_poll(&mut self, poll: PollId) {
        self.polls.end(poll);
    }

    /// Wakes the threads of an audience whom one of these events concerns; returns how many.
    pub fn call_audience(&mut self, audience: NonZeroU64, bits: u32) -> usize {
        let mut woken = 0;
        let mut next = self.polls.audiences.get(Id::from_name(audience)).and_then(|audience| audience.first);
        while let Some(place) = next {
            // A thread has one seat in an audience, so the next one stays when its seats go.
            let Some(seat) = self.polls.seat_mut(place) else { break };
            next = seat.next;
            if seat.bits & bits == 0 {
                continue;
            }
            let Some(poll) = self.polls.polls.get_mut(place.poll) else { break };
            poll.is_told = true;
            let thread = poll.thread;
            self.resume(thread, crate::tasks::wait::Resume::Restart);
            woken += 1;
        }
        woken
    }

    /// Seats and audiences there are.
    pub fn seats(&self) -> (usize, u32) {
        let polls = self.polls.polls.ids().filter_map(|id| self.polls.polls.get(id));
        (polls.flat_map(|poll| &poll.rows).map(Vec::len).sum(), self.polls.audiences.live())
    }
}
