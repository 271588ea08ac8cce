//! Application threads: their control blocks, by number.
//!
//! A control block is a frame of its own. Whoever has the thread, as `application::scheduler` says, has its context:
//! the CPU that runs it, or the boot CPU while it is blocked. For example, `Call::GetRegs` of a held thread reads the
//! registers that its CPU has stored on the way in.

use super::away::Return;
use super::records::Stamp;
use abi::application::{Context, EXTENDED, General, Message};
use abi::extension::Report;
pub use abi::registers::Registers;
use application::habits::Habits;
use application::mailbox::{EMPTY, Mailbox};
use application::reply;
use application::scheduler::{Number, Place, Scheduler};
use application::time::Time;
use core::cell::{Cell, UnsafeCell};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed};
use extension::{Frame, PageTable};
use hardware::{clock, fpu};

/// The most application threads.
pub const MOST: usize = 8192;

/// Where they are.
pub static SCHEDULER: Scheduler<MOST> = Scheduler::new();

/// Their control blocks.
static BLOCKS: [AtomicPtr<Block>; MOST] = [const { AtomicPtr::new(ptr::null_mut()) }; MOST];

/// The end of user addresses: the last page of the lower half stays unmapped (see `containers::directory`).
pub const USER_END: u64 = 0x7fff_ffff_f000;

/// What a thread has on a CPU.
pub struct State {
    pub registers: Registers,
    pub fs_base: u64,
    pub gs_base: u64,
}

/// The extended state, where `xsave` wants it.
#[repr(C, align(64))]
struct Extended(UnsafeCell<[u8; EXTENDED]>);

/// A control block.
#[repr(C, align(64))]
pub struct Block {
    state: UnsafeCell<State>,
    extended: Extended,
    /// The CPU whose extended state and bases are this thread's, unless another thread has been loaded there since.
    resident: AtomicU8,
    /// The thread's number.
    pub number: Number,
    /// A name that no other thread ever gets.
    pub name: u64,
    /// The open file through which it was made.
    pub file: u32,
    /// The next thread of that file.
    pub next: AtomicU32,
    /// The numbers of its process and bootstrap thread.
    pub process: u32,
    pub thread: u32,
    /// The page directory of its process, a physical address.
    pub directory: u64,
    /// The tables below that, which are looked at only by the CPU that runs the thread.
    pub tables: PageTable,
    /// Whether it is held by [`Call::Hold`](abi::application::Call), or has never been started; and whether it has.
    pub hold: Cell<bool>,
    pub started: Cell<bool>,
    /// Its message, in the direct map.
    message: *mut Message,
    /// The page of the message.
    page: Frame,
    /// The frame of this control block.
    frame: Frame,
    /// Whether its bootstrap thread sleeps.
    pub mailbox: Mailbox,
    /// Whether it has trapped and a message is under way: from before the message is there until the thread is
    /// dispatched.
    pub has_message: AtomicBool,
    /// Whether that message is there, for the bootstrap thread to take.
    pub is_posted: AtomicBool,
    /// Whether the boot CPU wants the context of the thread, whose CPU still watches for the answer.
    pub is_wanted: AtomicBool,
    /// The result of its call, while `answered` is set.
    result: AtomicU64,
    answered: AtomicBool,
    /// When its message was answered, in a run that is recorded.
    pub answered_at: Stamp,
    /// For how long CPUs have run it.
    pub time: Time,
    /// Whether it calls or computes; and, if it is away, how it comes back.
    pub habits: Habits,
    pub away: Cell<Option<Return>>,
}

const _: () = assert!(size_of::<Block>() <= 4096, "a control block is a frame");

/// On no CPU.
const NOWHERE: u8 = u8::MAX;

// SAFETY: the state and the extended state are reached by whoever has the thread, as the scheduler says; the cells by
// the boot CPU; the message, which is shared with a program, by volatile accesses and as an atomic.
unsafe impl Sync for Block {}

/// What a new thread is made of.
pub struct New {
    pub name: u64,
    pub file: u32,
    /// The next thread of the file.
    pub next: u32,
    pub process: u32,
    pub thread: u32,
    pub directory: u64,
    pub tables: PageTable,
    /// The page of its message, and where in it the message begins.
    pub page: Frame,
    pub offset: usize,
}

impl Block {
    /// Puts a new thread's control block into a frame, from where [`find`] gets it.
    pub fn install(frame: Frame, number: Number, new: New) -> &'static Block {
        let place = frame.start().cast::<Block>();
        let block = Block {
            // A CPU can go to user mode with them, whether others are set before the thread is started or not.
            state: UnsafeCell::new(State { registers: Registers::for_user(0, 0), fs_base: 0, gs_base: 0 }),
            extended: Extended(UnsafeCell::new([0; EXTENDED])),
            resident: AtomicU8::new(NOWHERE),
            number,
            name: new.name,
            file: new.file,
            next: AtomicU32::new(new.next),
            process: new.process,
            thread: new.thread,
            directory: new.directory,
            tables: new.tables,
            hold: Cell::new(true),
            started: Cell::new(false),
            // SAFETY: the message is within its page, as its alignment and size say.
            message: unsafe { new.page.start().cast::<u8>().add(new.offset) }.cast().as_ptr(),
            page: new.page,
            frame,
            mailbox: Mailbox::new(),
            has_message: AtomicBool::new(false),
            is_posted: AtomicBool::new(false),
            is_wanted: AtomicBool::new(false),
            result: AtomicU64::new(0),
            answered: AtomicBool::new(false),
            answered_at: Stamp::new(),
            time: Time::new(),
            habits: Habits::new(clock::rdtsc()),
            away: Cell::new(None),
        };
        // SAFETY: the frame is this thread's from now on, large enough, and mapped in the direct map.
        unsafe { place.write(block) };
        BLOCKS[usize::from(number)].store(place.as_ptr(), Relaxed);
        // SAFETY: written just now; `uninstall` ends it only when nothing runs or refers to the thread.
        let block = unsafe { place.as_ref() };
        // SAFETY: the thread is new.
        fpu::initial(unsafe { &mut *block.extended.0.get() });
        block
    }

    /// Takes the control block of a removed thread away: the frames that it had, its own among them.
    ///
    /// # Safety
    /// The thread is held, runs nowhere, and its block is not used afterwards.
    pub unsafe fn uninstall(&self) -> [Frame; 2] {
        BLOCKS[usize::from(self.number)].store(ptr::null_mut(), Relaxed);
        // SAFETY: the caller has the last reference to the block, and does not use it again.
        unsafe { [ptr::read(&raw const self.page), ptr::read(&raw const self.frame)] }
    }

    /// The thread's state.
    ///
    /// # Safety
    /// The caller has the thread: it runs on this CPU, or it is blocked and this is the boot CPU. No other reference is
    /// in use.
    #[expect(clippy::mut_from_ref, reason = "the scheduler says whose it is")]
    #[inline(always)]
    pub unsafe fn state(&self) -> &mut State {
        // SAFETY: the caller's promise.
        unsafe { &mut *self.state.get() }
    }

    /// The address behind the registers, where a CPU begins to store them.
    pub fn frame_end(&self) -> u64 {
        self.state.get().addr() as u64 + size_of::<Registers>() as u64
    }

    /// Notes the result of the thread's call, for the CPU that runs it next, or the boot CPU if a signal comes before.
    /// The scheduler's lock orders the two.
    pub fn set_result(&self, result: u64) {
        self.result.store(result, Relaxed);
        self.answered.store(true, Relaxed);
    }

    /// Puts the result of the thread's call, if there is one, into its state.
    #[inline(always)]
    pub fn return_result(&self, state: &mut State) {
        if self.answered.load(Relaxed) {
            self.answered.store(false, Relaxed);
            state.registers.rax = self.result.load(Relaxed);
        }
    }

    /// The thread's message.
    pub fn message(&self) -> *mut Message {
        self.message
    }

    /// Saves the extended state of the thread, which this CPU runs.
    #[inline(always)]
    pub fn save_extended(&self) {
        // SAFETY: the area is large enough and aligned, and this CPU's as long as the thread runs here.
        unsafe { fpu::save_at(self.extended.0.get().cast()) };
    }

    /// Loads the extended state on this CPU, which is to run the thread.
    pub fn restore_extended(&self) {
        // SAFETY: as above.
        fpu::restore(unsafe { &*self.extended.0.get() });
    }

    /// Whether this CPU still has the thread's extended state and bases.
    #[inline(always)]
    pub fn is_resident(&self, cpu: u8) -> bool {
        self.resident.load(Relaxed) == cpu
    }

    /// Notes which CPU has them.
    pub fn set_resident(&self, cpu: u8) {
        self.resident.store(cpu, Relaxed);
    }

    /// What the kernel shows of it.
    pub fn report(&self) -> Report {
        let resident = Some(self.resident.load(Relaxed)).filter(|cpu| *cpu != NOWHERE && self.away.get().is_none());
        let cpu = resident.unwrap_or(0);
        let (runs, cpu) = match SCHEDULER.place(self.number) {
            Place::Running(cpu) => (!self.waits(), cpu),
            Place::Ready => (true, cpu),
            // Before it has been started there is no message.
            Place::Blocked | Place::Free => (self.has_message.load(Relaxed) && !self.waits(), cpu),
        };
        Report { ticks: self.time.until(clock::rdtsc), runs: runs.into(), cpu: cpu.into() }
    }

    /// Whether the bootstrap thread has its message and has not answered yet. It counts as running while the message or
    /// the answer is on the way, as a thread does that is being woken.
    fn waits(&self) -> bool {
        // SAFETY: the message's page stays as long as the thread; the words are only ever used as atomics.
        let (posted, answer) = unsafe { (&(*self.message).posted, &(*self.message).answer) };
        self.has_message.load(Acquire)
            && self.is_posted.load(Acquire)
            && posted.load(Relaxed) == EMPTY
            && !reply::has_come(answer)
            && !SCHEDULER.wants_to_run(self.number)
    }

    /// Copies the registers to a context.
    ///
    /// # Safety
    /// As for [`Block::state`].
    pub unsafe fn read(&self, to: &mut Context) {
        // SAFETY: the caller's promise.
        let (state, extended) = unsafe { (self.state(), &*self.extended.0.get()) };
        // A signal has come before any CPU ran the thread.
        self.return_result(state);
        let registers = &state.registers;
        *to = Context {
            general: General {
                r8: registers.r8,
                r9: registers.r9,
                r10: registers.r10,
                r11: registers.r11,
                r12: registers.r12,
                r13: registers.r13,
                r14: registers.r14,
                r15: registers.r15,
                rdi: registers.rdi,
                rsi: registers.rsi,
                rbp: registers.rbp,
                rbx: registers.rbx,
                rdx: registers.rdx,
                rax: registers.rax,
                rcx: registers.rcx,
                rsp: registers.rsp,
                rip: registers.rip,
                rflags: registers.rflags,
            },
            fs_base: state.fs_base,
            gs_base: state.gs_base,
            with_extended: 1,
            reserved: [0; 3],
            extended: *extended,
        };
    }

    /// Sets the registers from a context; false if the CPU would not take them.
    ///
    /// # Safety
    /// As for [`Block::state`].
    pub unsafe fn write(&self, from: &Context) -> bool {
        // The flags that a program may have: arithmetic, direction, trap, alignment check, identification; and
        // interrupts are on.
        const FLAGS: u64 = 0x24_0dd5;
        const ALWAYS: u64 = 0x202;
        let general = &from.general;
        let addresses = [general.rip, from.fs_base, from.gs_base];
        if addresses.iter().any(|address| *address >= USER_END)
            || from.with_extended != 0 && !fpu::is_acceptable(&from.extended)
        {
            return false;
        }
        // SAFETY: the caller's promise.
        let state = unsafe { self.state() };
        (state.fs_base, state.gs_base) = (from.fs_base, from.gs_base);
        state.registers = Registers {
            r15: general.r15,
            r14: general.r14,
            r13: general.r13,
            r12: general.r12,
            rbp: general.rbp,
            rbx: general.rbx,
            r11: general.r11,
            r10: general.r10,
            r9: general.r9,
            r8: general.r8,
            rax: general.rax,
            rcx: general.rcx,
            rdx: general.rdx,
            rsi: general.rsi,
            rdi: general.rdi,
            vector: Registers::SET,
            code: 0,
            rip: general.rip,
            cs: Registers::USER_CODE,
            rflags: general.rflags & FLAGS | ALWAYS,
            rsp: general.rsp,
            ss: Registers::USER_DATA,
        };
        if from.with_extended != 0 {
            // SAFETY: the caller's promise.
            unsafe { *self.extended.0.get() = from.extended };
        }
        self.set_resident(NOWHERE);
        true
    }
}

/// The control block of a thread.
#[inline(always)]
pub fn find(number: Number) -> Option<&'static Block> {
    let block = BLOCKS.get(usize::from(number))?.load(Relaxed);
    // SAFETY: `install` has written it, and `uninstall` takes it out of the table before it ends.
    unsafe { block.as_ref() }
}
