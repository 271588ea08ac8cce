//! The scheduler of application threads: where each one is, the ready queue, and the CPUs that wait for work.
//!
//! One spin lock guards it all. A thread has a number below `N`; its control block is found by that number elsewhere.
//!
//! | place | whose is the thread's context | it gets there by |
//! | --- | --- | --- |
//! | blocked | its bootstrap thread's | a trap that posts a message; creation |
//! | ready | nobody's: it lies in the control block | activation, the end of a time slice |
//! | running | that CPU's | [`Scheduler::end_spin`], or the end of another thread's turn |
//!
//! A thread can be *held*, by the boot CPU: because its process stops, because a signal is to be delivered, or because
//! it is about to be removed. A held thread does not run. For example, `kill -9` ends a process one of whose threads
//! runs on CPU 2: [`Scheduler::hold`] answers `Some(2)`, the boot CPU interrupts CPU 2 and waits until
//! [`Scheduler::is_running`] says no, and only then is the address space taken down.

use crate::sync::{AtomicU32, Lock, Ordering::Relaxed};

/// A thread's number.
pub type Number = u16;

/// A CPU's number.
pub type Cpu = u8;

/// The end of a list.
const NONE: Number = Number::MAX;

/// Where a thread is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// There is no such thread.
    Free,
    /// Its bootstrap thread works for it, or has not started it yet.
    Blocked,
    /// In the ready queue.
    Ready,
    /// On a CPU.
    Running(Cpu),
}

/// The scheduling state of one thread.
#[derive(Clone, Copy)]
struct Node {
    place: Place,
    /// How often it is held.
    holds: u8,
    /// It is to be ready once it is no longer held.
    wants: bool,
    /// Its bootstrap thread is to be woken: it is in that list.
    rung: bool,
    /// Neighbours in the ready queue; `next` also links free nodes.
    next: Number,
    previous: Number,
    /// The next thread whose bootstrap thread is to be woken.
    next_rung: Number,
}

impl Node {
    const FREE: Node =
        Node { place: Place::Free, holds: 0, wants: false, rung: false, next: NONE, previous: NONE, next_rung: NONE };
}

/// All that the lock guards.
struct State<const N: usize> {
    nodes: [Node; N],
    /// Nodes from here on have never been used.
    unused: Number,
    free: Number,
    first: Number,
    last: Number,
    first_rung: Number,
    /// CPUs that look at the length of the queue all the time.
    spinning: u32,
    /// CPUs that have halted, a bit each.
    halted: u64,
}

/// The scheduler of at most `N` threads.
pub struct Scheduler<const N: usize> {
    state: Lock<State<N>>,
    /// The length of the ready queue, for CPUs that spin. It changes under the lock only.
    ready: AtomicU32,
}

/// A CPU that has halted and has to be interrupted, because there is a thread for it.
pub type Wake = Option<Cpu>;

/// The end of a thread's turn on a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Turn {
    /// The thread that the CPU is to run now; without one it spins.
    pub next: Option<Number>,
    /// Another CPU to interrupt.
    pub wake: Wake,
}

macro_rules! const_fn {
    ($(#[$doc:meta])* $visibility:vis fn $($rest:tt)*) => {
        #[cfg(not(loom))]
        $(#[$doc])* $visibility const fn $($rest)*
        #[cfg(loom)]
        $(#[$doc])* $visibility fn $($rest)*
    };
}

impl<const N: usize> Scheduler<N> {
    const_fn! {
        /// Without threads. `N` is below 65,535.
        #[expect(clippy::new_without_default, reason = "a static has no use for it")]
        pub fn new() -> Scheduler<N> {
            assert!(N < NONE as usize, "more threads than numbers");
            let state = State {
                nodes: [Node::FREE; N],
                unused: 0,
                free: NONE,
                first: NONE,
                last: NONE,
                first_rung: NONE,
                spinning: 0,
                halted: 0,
            };
            Scheduler { state: Lock::new(state), ready: AtomicU32::new(0) }
        }
    }

    /// How many threads are ready.
    pub fn ready(&self) -> u32 {
        self.ready.load(Relaxed)
    }

    /// Makes a thread, blocked: `None` if there are `N`.
    pub fn create(&self) -> Option<Number> {
        self.state.with(|state| {
            let number = if state.free != NONE {
                state.free
            } else {
                Some(state.unused).filter(|unused| usize::from(*unused) < N)?
            };
            match state.free {
                NONE => state.unused += 1,
                _ => state.free = state.node(number).next,
            }
            *state.node(number) = Node { place: Place::Blocked, ..Node::FREE };
            Some(number)
        })
    }

    /// Removes a thread that is held and runs nowhere; its number may be given again.
    pub fn remove(&self, number: Number) {
        self.state.with(|state| {
            let node = *state.node(number);
            assert!(node.place == Place::Blocked && node.holds > 0, "a thread removed from {:?}", node.place);
            if node.rung {
                state.take_rung(number);
            }
            *state.node(number) = Node { next: state.free, ..Node::FREE };
            state.free = number;
        });
    }

    /// Puts a blocked thread into the ready queue. If it is held, or its CPU is still about to block it, it is there as
    /// soon as it can be.
    #[must_use = "the CPU counts as awake and would sleep on"]
    pub fn activate(&self, number: Number) -> Wake {
        self.state.with(|state| {
            let node = state.node(number);
            node.wants |= !matches!(node.place, Place::Ready | Place::Free);
            self.settle(state, number);
            self.wake(state)
        })
    }

    /// Blocks the thread that this CPU runs and that has posted a message; the answer may have come already. The CPU
    /// does not touch the thread afterwards.
    pub fn block(&self, cpu: Cpu, number: Number) -> Turn {
        self.state.with(|state| {
            state.node(number).place = Place::Blocked;
            self.turn(state, cpu, number)
        })
    }

    /// Ends the turn of the thread that this CPU runs: it is ready again, behind the others, or blocked if it is held.
    pub fn preempt(&self, cpu: Cpu, number: Number) -> Turn {
        self.state.with(|state| {
            let node = state.node(number);
            (node.place, node.wants) = (Place::Blocked, true);
            self.turn(state, cpu, number)
        })
    }

    /// Keeps a thread from running until [`Scheduler::release`]: the CPU that still runs it, which is to be interrupted
    /// and then calls [`Scheduler::preempt`].
    pub fn hold(&self, number: Number) -> Option<Cpu> {
        self.state.with(|state| {
            let node = state.node(number);
            node.holds = node.holds.checked_add(1).expect("fewer holds than reasons for one");
            match node.place {
                Place::Running(cpu) => return Some(cpu),
                Place::Ready => {
                    self.take(state, number);
                    let node = state.node(number);
                    (node.place, node.wants) = (Place::Blocked, true);
                }
                Place::Blocked | Place::Free => {}
            }
            None
        })
    }

    /// Takes back one [`Scheduler::hold`]; a thread that would have been ready meanwhile is so now.
    #[must_use = "the CPU counts as awake and would sleep on"]
    pub fn release(&self, number: Number) -> Wake {
        self.state.with(|state| {
            let node = state.node(number);
            node.holds = node.holds.checked_sub(1).expect("a thread that is held");
            self.settle(state, number);
            self.wake(state)
        })
    }

    /// Whether a thread is held.
    pub fn is_held(&self, number: Number) -> bool {
        self.state.with(|state| state.node(number).holds > 0)
    }

    /// Whether a held thread would be ready if it were not held: no message of its is under way.
    pub fn wants_to_run(&self, number: Number) -> bool {
        self.state.with(|state| state.node(number).wants)
    }

    /// Whether a thread is on a CPU.
    pub fn is_running(&self, number: Number) -> bool {
        self.state.with(|state| matches!(state.node(number).place, Place::Running(_)))
    }

    /// Notes that a CPU that has come up spins: it looks at [`Scheduler::ready`] until there is a thread, and halts some
    /// time later.
    pub fn spin(&self) {
        self.state.with(|state| state.spinning += 1);
    }

    /// The thread that this CPU, which spins, is to run, if there is one: then it no longer spins. In one step, or a
    /// thread that becomes ready in between would be left to a CPU that has found its own.
    pub fn end_spin(&self, cpu: Cpu) -> Option<Number> {
        self.state.with(|state| {
            let number = self.take_first(state, cpu)?;
            state.spinning -= 1;
            Some(number)
        })
    }

    /// A CPU that has spun is about to halt: whether it may. From then on it is interrupted when there is a thread for
    /// it.
    pub fn halt(&self, cpu: Cpu) -> bool {
        self.state.with(|state| {
            if state.first != NONE {
                return false;
            }
            state.spinning -= 1;
            state.halted |= 1 << cpu;
            true
        })
    }

    /// A CPU that had halted goes on: it spins again.
    pub fn end_halt(&self, cpu: Cpu) {
        self.state.with(|state| {
            state.halted &= !(1 << cpu);
            state.spinning += 1;
        });
    }

    /// Notes that a thread's bootstrap thread is to be woken; whether the boot CPU is to be interrupted, which it is
    /// not if it has still to look at the list.
    pub fn ring(&self, number: Number) -> bool {
        self.state.with(|state| {
            let (first, node) = (state.first_rung, state.node(number));
            if node.rung {
                return false;
            }
            (node.rung, node.next_rung) = (true, first);
            state.first_rung = number;
            first == NONE
        })
    }

    /// The next thread whose bootstrap thread is to be woken.
    pub fn rung(&self) -> Option<Number> {
        self.state.with(|state| {
            let number = Some(state.first_rung).filter(|first| *first != NONE)?;
            state.first_rung = state.node(number).next_rung;
            state.node(number).rung = false;
            Some(number)
        })
    }

    /// Where a thread is.
    pub fn place(&self, number: Number) -> Place {
        self.state.with(|state| state.node(number).place)
    }

    /// Gives a CPU the thread to run after this one, whose turn there has ended.
    fn turn(&self, state: &mut State<N>, cpu: Cpu, ended: Number) -> Turn {
        self.settle(state, ended);
        let next = self.take_first(state, cpu);
        state.spinning += u32::from(next.is_none());
        Turn { next, wake: self.wake(state) }
    }

    /// Makes a thread ready if it wants to be and nothing is in the way: it is held no more, and no CPU has still to
    /// block it.
    fn settle(&self, state: &mut State<N>, number: Number) {
        let node = state.node(number);
        if node.place == Place::Blocked && node.holds == 0 && core::mem::take(&mut node.wants) {
            self.append(state, number);
        }
    }

    /// Appends a thread to the ready queue.
    fn append(&self, state: &mut State<N>, number: Number) {
        let last = core::mem::replace(&mut state.last, number);
        *state.node(number) = Node { place: Place::Ready, next: NONE, previous: last, ..*state.node(number) };
        match last {
            NONE => state.first = number,
            _ => state.node(last).next = number,
        }
        self.ready.store(self.ready.load(Relaxed) + 1, Relaxed);
    }

    /// The CPU to wake, unless enough CPUs look at the queue by themselves.
    fn wake(&self, state: &mut State<N>) -> Wake {
        if self.ready.load(Relaxed) <= state.spinning || state.halted == 0 {
            return None;
        }
        let cpu = state.halted.trailing_zeros() as Cpu;
        // Its interrupt is on the way, and it takes one thread.
        state.halted &= !(1 << cpu);
        Some(cpu)
    }

    /// Gives the thread at the head of the ready queue to a CPU.
    fn take_first(&self, state: &mut State<N>, cpu: Cpu) -> Option<Number> {
        let number = Some(state.first).filter(|first| *first != NONE)?;
        self.take(state, number);
        state.node(number).place = Place::Running(cpu);
        Some(number)
    }

    /// Takes a thread out of the ready queue.
    fn take(&self, state: &mut State<N>, number: Number) {
        let Node { next, previous, .. } = *state.node(number);
        match previous {
            NONE => state.first = next,
            _ => state.node(previous).next = next,
        }
        match next {
            NONE => state.last = previous,
            _ => state.node(next).previous = previous,
        }
        self.ready.store(self.ready.load(Relaxed) - 1, Relaxed);
    }
}

impl<const N: usize> State<N> {
    fn node(&mut self, number: Number) -> &mut Node {
        &mut self.nodes[usize::from(number)]
    }

    /// Takes a thread out of the list of those whose bootstrap threads are to be woken.
    fn take_rung(&mut self, number: Number) {
        let next = self.node(number).next_rung;
        if self.first_rung == number {
            self.first_rung = next;
            return;
        }
        let mut at = self.first_rung;
        while self.node(at).next_rung != number {
            at = self.node(at).next_rung;
        }
        self.node(at).next_rung = next;
    }
}
