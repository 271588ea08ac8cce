//! The hand-over of a message from an application thread to its bootstrap thread, which polls for it or sleeps.
//!
//! The message and the word that says that it is there ([`Mailbox::post`]'s `posted`) lie in the program's memory,
//! where the bootstrap thread polls without a call. Whether it sleeps is noted in the kernel's memory. Each side writes
//! its own word and then looks at the other's, with a fence in between: so either the poster sees that the bootstrap
//! thread sleeps and wakes it, or the bootstrap thread sees the message and does not sleep.
//!
//! For example, the bootstrap thread of a shell has nothing to do while the shell computes and sleeps in `ioctl`. The
//! shell calls `read`; its CPU posts the message, sees the note and interrupts the boot CPU.

use crate::sync::{
    AtomicBool, AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, Ordering::SeqCst, fence,
};

/// No message, or one that has been taken.
pub const EMPTY: u32 = 0;
/// A message.
pub const POSTED: u32 = 1;

/// The kernel's side of a mailbox.
pub struct Mailbox {
    sleeps: AtomicBool,
}

impl Mailbox {
    /// One whose bootstrap thread does not sleep.
    #[expect(clippy::new_without_default, reason = "there is no default mailbox")]
    pub fn new() -> Mailbox {
        Mailbox { sleeps: AtomicBool::new(false) }
    }

    /// Whether the bootstrap thread sleeps and is to be woken. A poster asks before it writes the message, so that the
    /// bootstrap thread wakes up meanwhile; should that find no message yet, it sleeps again before [`Mailbox::post`].
    #[inline]
    pub fn rouse(&self) -> bool {
        self.sleeps.load(Relaxed) && self.sleeps.swap(false, Relaxed)
    }

    /// Says that the message has been written; whether the bootstrap thread is to be woken.
    #[inline]
    pub fn post(&self, posted: &AtomicU32) -> bool {
        posted.store(POSTED, Release);
        fence(SeqCst);
        self.rouse()
    }

    /// Notes that the bootstrap thread is about to sleep; whether it may. It has taken all messages that it has seen.
    #[inline]
    pub fn sleep(&self, posted: &AtomicU32) -> bool {
        self.sleeps.store(true, Relaxed);
        fence(SeqCst);
        if posted.load(Acquire) == EMPTY {
            return true;
        }
        self.sleeps.store(false, Relaxed);
        false
    }

    /// The bootstrap thread does not sleep any more, whatever has woken it.
    #[inline]
    pub fn wake(&self) {
        self.sleeps.store(false, Relaxed);
    }
}
