//! What one visit to the kernel may still do, and how far a call has come when it stops there. `tasks::preemption` tells what for.

/// What one visit may still do, in instructions, roughly.
#[derive(Debug)]
pub struct Budget(u64);

impl Budget {
    /// Of one visit. Twice as much is the bound for the longest one: what is spent is an estimate, and the last step
    /// may begin with little left.
    pub const VISIT: u64 = 100_000;

    /// That of a visit which begins.
    pub const fn of_a_visit() -> Budget {
        Budget(Budget::VISIT)
    }

    /// For work whose length no program chooses.
    pub const fn unlimited() -> Budget {
        Budget(u64::MAX)
    }

    /// So many instructions.
    pub const fn of(instructions: u64) -> Budget {
        Budget(instructions)
    }

    /// So many instructions are being done.
    #[inline]
    pub const fn spend(&mut self, instructions: u64) {
        self.0 = self.0.saturating_sub(instructions);
    }

    /// How many are left.
    #[inline]
    pub const fn left(&self) -> u64 {
        self.0
    }

    /// Whether the work is to stop at the next preemption point.
    #[inline]
    pub const fn is_spent(&self) -> bool {
        self.0 == 0
    }
}

/// How far a call has come at a preemption point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Point {
    /// What it returns if it ends here: bytes moved.
    pub progress: u64,
    /// Where it goes on, in whatever it counts.
    pub place: u64,
    /// Whether a signal's handler may end it here. If not, handlers wait until it is over; what ends or stops the process
    /// does not.
    pub ends_for_handlers: bool,
}
