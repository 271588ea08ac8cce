//! User contexts: what a thread has on a CPU while it is in user mode.
//!
//! A context is *resident* on the CPU that runs its thread: that CPU's vector registers and segment bases are the thread's,
//! and those in the context may be older. Otherwise it is *evicted*: all of it is here, and any CPU can work for its
//! thread. Only the scheduler loads and stores contexts, each on its own CPU. The general registers are here whenever the
//! kernel looks at them: an entry into the kernel stores them.
//!
//! For example, a thread waits in `read`, so its context is evicted. Another CPU writes into the pipe, copies the bytes
//! to the thread's memory and stores the result in [`Context::registers`]; the CPU that runs the thread next loads it.

pub use abi::registers::Registers;
use alloc::boxed::Box;
use cpulocal::Cpu;

/// Bytes of the extended state: the legacy area, the XSAVE header and the upper halves of AVX, and behind them room for
/// what a signal frame adds.
pub const EXTENDED_STATE: usize = 512 + 64 + 256 + 8;

/// A thread's x87, SSE and AVX state as `xsave` or `fxsave` stores it; opaque here.
#[repr(C, align(64))]
#[derive(Clone, Debug)]
pub struct ExtendedState {
    /// What the CPU saves and loads.
    pub area: [u8; EXTENDED_STATE],
    /// Whether a program has written the area, by returning from a signal handler. Then it may hold the program's bytes
    /// where the CPU never writes, and is to be cleared before another program gets it.
    pub is_from_program: bool,
}

impl ExtendedState {
    /// A state of zeroes. It has an allocation of its own, so that a control block is cheap to move.
    pub fn zero() -> Box<ExtendedState> {
        Box::new(ExtendedState { area: [0; EXTENDED_STATE], is_from_program: false })
    }
}

/// A thread's user context.
#[repr(C)]
pub struct Context {
    /// The general registers; the entry code knows that they come first.
    pub registers: Registers,
    /// The extended state. While the context is resident, the CPU's registers are newer.
    pub extended: Box<ExtendedState>,
    /// The FS base, which only the kernel sets.
    pub fs_base: u64,
    /// The GS base, which only the kernel sets.
    pub gs_base: u64,
    /// The CPU on which it is resident.
    resident: Option<Cpu>,
}

impl Context {
    /// An evicted context with cleared registers.
    #[inline(always)]
    pub fn new(extended: Box<ExtendedState>) -> Context {
        let registers = Registers { vector: Registers::SET, ..Registers::default() };
        Context { registers, extended, fs_base: 0, gs_base: 0, resident: None }
    }

    /// Whether it is resident on a CPU.
    #[inline]
    pub fn is_resident(&self, cpu: Cpu) -> bool {
        self.resident == Some(cpu)
    }

    /// Makes it resident on a CPU, which has just loaded it.
    #[inline]
    pub fn set_resident(&mut self, cpu: Cpu) {
        debug_assert!(self.resident.is_none(), "a context on two CPUs");
        self.resident = Some(cpu);
    }

    /// Evicts it from a CPU, if it is resident there: `save` stores that CPU's registers. A context that has been made
    /// anew meanwhile, as by `execve`, is not, and keeps what it has.
    #[inline]
    pub fn evict(&mut self, cpu: Cpu, save: impl FnOnce(&mut ExtendedState)) {
        if self.is_resident(cpu) {
            save(&mut self.extended);
            self.resident = None;
        }
    }
}
