//! The budget of one visit to the kernel, and the point at which a call stops when the budget is spent.
//! [`crate::preemption`] explains why visits are bounded. For example, a `read` of 10 MiB spends its budget after some
//! 100 KiB; it stops there with a [`Point`] whose `progress` is the number of bytes read so far.

/// The instructions that one visit may still execute, estimated.
#[derive(Debug)]
pub struct Budget(u64);

impl Budget {
    /// The budget of one visit. The longest visit is bounded by twice as much, because spending is an estimate and the
    /// last step may begin with little left.
    pub const VISIT: u64 = 100_000;

    /// The budget with which a visit begins.
    pub const fn of_a_visit() -> Budget {
        Budget(Budget::VISIT)
    }

    /// A budget that is never spent, for work whose length no program chooses.
    pub const fn unlimited() -> Budget {
        Budget(u64::MAX)
    }

    /// A budget of this number of instructions.
    pub const fn of(instructions: u64) -> Budget {
        Budget(instructions)
    }

    /// Takes this number of instructions off the budget, for work that is about to be done.
    #[inline]
    pub const fn spend(&mut self, instructions: u64) {
        self.0 = self.0.saturating_sub(instructions);
    }

    /// The instructions that are left.
    #[inline]
    pub const fn left(&self) -> u64 {
        self.0
    }

    /// Whether the work must stop at its next preemption point.
    #[inline]
    pub const fn is_spent(&self) -> bool {
        self.0 == 0
    }
}

/// How far a call has come when it stops at a preemption point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Point {
    /// The bytes moved so far, which the call returns if it ends here.
    pub progress: u64,
    /// Where the call continues, in a unit of its own: for example, an index of pages or of files.
    pub place: u64,
    /// Whether a signal handler may end the call here. If not, handlers wait until the call is over. A signal that ends
    /// or stops the process takes effect in either case.
    pub ends_for_handlers: bool,
}
