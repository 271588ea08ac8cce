//! Whether a thread calls the kernel or computes: with `migrate`, the one is done on the boot CPU and the other on
//! application processors (papers/000, "Conclusions"; papers/004, section 4.3).
//!
//! On application processors the thread's messages are counted, and its time in user mode is known. On the boot CPU the
//! application kernel sees neither; it looks at the thread now and then. For example, a compiler reads its files by
//! hundreds of calls and then computes: it goes to the boot CPU, and comes back after eight looks.

use core::cell::Cell;

/// How often in a row a thread has been in user mode for less than half of the time when it goes. Once is not enough:
/// every program begins with page faults.
pub const TIMES: u8 = 2;

/// After how many looks at a thread on the boot CPU there is a decision.
pub const LOOKS: u8 = 8;
/// In how many of them a thread that computes is found in user mode.
pub const MOST: u8 = 7;

/// What has been seen of a thread.
pub struct Habits {
    /// The moment at which its messages were looked at last, and its time in user mode by then, in ticks.
    since: Cell<u64>,
    user: Cell<u64>,
    times: Cell<u8>,
    looks: Cell<u8>,
    in_user_mode: Cell<u8>,
}

impl Habits {
    /// Those of a thread that has been made now.
    pub const fn new(now: u64) -> Habits {
        let (times, looks, in_user_mode) = (Cell::new(0), Cell::new(0), Cell::new(0));
        Habits { since: Cell::new(now), user: Cell::new(0), times, looks, in_user_mode }
    }

    /// Whether a thread calls the kernel, which has posted a number of messages since it was looked at last; its time in
    /// user mode is that since it was made.
    pub fn calls(&self, now: u64, user: u64) -> bool {
        let in_user_mode = user - self.user.replace(user);
        let is_little = in_user_mode <= now.saturating_sub(self.since.replace(now)) / 2;
        let times = if is_little { self.times.get() + 1 } else { 0 };
        self.times.set(times % TIMES);
        times == TIMES
    }

    /// Notes a look at a thread on the boot CPU; whether it computes.
    pub fn computes(&self, in_user_mode: bool) -> bool {
        let (looks, found) = (self.looks.get() + 1, self.in_user_mode.get() + u8::from(in_user_mode));
        let (looks_now, found_now) = if looks == LOOKS { (0, 0) } else { (looks, found) };
        self.looks.set(looks_now);
        self.in_user_mode.set(found_now);
        looks == LOOKS && found >= MOST
    }

    /// A thread has come back at this moment.
    pub fn is_back(&self, now: u64) {
        self.since.set(now);
    }
}
