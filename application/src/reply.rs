//! The hand-over of an answer to a CPU that waits for it beside the thread that has asked.
//!
//! A CPU that has posted a message and has no other thread to run keeps the thread and *watches* for the answer, for
//! some time: then neither the scheduler nor a call of the device is in between. The word that the two agree by lies in
//! the program's memory, beside the message. It is [`WATCHED`] from the message on, until either the bootstrap thread
//! answers or the CPU gives up, whichever comes first; whoever is second finds out. For example, the bootstrap thread
//! of a shell waits in `read` for a minute: the CPU has given up long before and blocked the thread, so the bootstrap
//! thread activates it.

use crate::sync::{AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

/// A CPU watches, and there is no answer.
pub const WATCHED: u32 = 0;
/// There is an answer.
pub const ANSWERED: u32 = 1;
/// No CPU watches: an answer has to activate the thread.
pub const UNWATCHED: u32 = 2;

/// The CPU watches from now on: it has still to post the message.
#[inline]
pub fn watch(word: &AtomicU32) {
    word.store(WATCHED, Relaxed);
}

/// Whether the answer has come: the CPU sees all that the bootstrap thread did before.
#[inline]
pub fn has_come(word: &AtomicU32) -> bool {
    word.load(Acquire) == ANSWERED
}

/// The CPU watches no longer; false if the answer has come.
#[inline]
pub fn give_up(word: &AtomicU32) -> bool {
    word.compare_exchange(WATCHED, UNWATCHED, Relaxed, Acquire) != Err(ANSWERED)
}

/// The bootstrap thread has dealt with the message, and its result is there; whether the CPU that watches takes it.
#[inline]
pub fn answer(word: &AtomicU32) -> bool {
    word.compare_exchange(WATCHED, ANSWERED, Release, Relaxed).is_ok()
}
