//! A thread pair: the bootstrap thread's side.
//!
//! The bootstrap thread waits for a message from its application thread, makes the call on the boot CPU, and activates
//! the application thread with the result (papers/000, figure 2; papers/004, figure 4). Page faults are made by
//! touching the page. A few calls are about the pair itself: those go to [`cloning`](crate::cloning) and
//! [`signals`](crate::signals). For example, `write(1, …)` is made as it is; a `close` of the device's descriptor the
//! program is told that there is no such file ([`device`](crate::device)).
//!
//! The pair lies at the start of its bootstrap thread's stack; the FS base points to it.

use crate::call::{AGAIN, call, own, touch};
use crate::signals::{self, Process, Saved, StackT};
use crate::{affinity, away, cloning, device, futex, memory};
use abi::application::{Call, Context, EXCEPTION, LOOK_ON, MESSAGES, Message, YIELD, request};
use application::reply;
use core::arch::asm;
use core::cell::{Cell, UnsafeCell};
use core::sync::atomic::{AtomicU32, Ordering::Acquire, Ordering::Relaxed};
use linux_raw_sys::general::*;

/// Bytes of a pair and its bootstrap thread's stack.
pub const REGION: u64 = 32 << 10;

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// How often a bootstrap thread looks for a message before it asks the application kernel what to do, as long as the boot
/// CPU has nothing else to run: rounds, and looks in each. Otherwise it looks once.
const ROUNDS: u32 = 50;
const LOOKS: u32 = 20;

/// How often it lets other threads run, without a message, before it asks again.
const YIELDS: u32 = 2;

/// Exceptions, and bits of a page fault's error code.
const PAGE_FAULT: u64 = 14;
const PRESENT: u64 = 1;
const WRITE: u64 = 2;
const FETCH: u64 = 16;

const EINTR: i64 = -4;
const EBADF: i64 = -9;

/// A thread pair.
#[repr(C)]
pub struct Pair {
    /// The address of this value, at the FS base.
    pub itself: *const Pair,
    /// Whether a signal is to be delivered to the application thread.
    pub pending: Cell<bool>,
    /// The message, in a page of a shared mapping: after `fork` its frame is still the one that the application kernel
    /// holds.
    pub message: Cell<*const Message>,
    /// The device's descriptor.
    pub device: Cell<u64>,
    /// The application thread's number.
    pub number: Cell<u32>,
    /// What the threads of a process have in common.
    pub process: *const Process,
    /// The application thread's alternate signal stack.
    pub alternate: Cell<StackT>,
    /// What the signal that is pending has brought.
    pub saved: UnsafeCell<Saved>,
    /// The mask during the call that a signal has ended, if that is not the program's.
    pub waited_with: Cell<Option<u64>>,
    /// The head of the application thread's list of robust futexes, if not zero.
    pub robust: Cell<u64>,
    /// For a child's bootstrap thread: the signals that it blocks, and whether it is to open the device anew.
    pub mask: Cell<u64>,
    pub opens: Cell<bool>,
    /// Whether it is in its parent's memory, and whether the parent waits for it, to give the pair's memory back.
    pub shares: Cell<bool>,
    pub lent: Cell<bool>,
    /// Its parent's pair, which waits to be told whether there is an application thread; and what its own child tells.
    pub parent: Cell<*const Pair>,
    pub verdict: AtomicU32,
    /// Whether its process has signal actions of its own.
    pub is_alone: Cell<bool>,
    /// The CPUs that the program has chosen for the thread, if not zero.
    pub affinity: Cell<u64>,
    /// How many messages are to come until it asks whether to depart.
    pub until_asked: Cell<u32>,
    /// What it has been told to do without a message.
    pub told: Cell<i64>,
    /// The application thread's registers, when they are looked at.
    pub context: UnsafeCell<Context>,
}

impl Pair {
    /// The pair of a program that starts.
    pub fn first(device: u64) -> Option<&'static Pair> {
        let process = map(size_of::<Process>() as u64, MAP_PRIVATE)? as *mut Process;
        let pair = Pair::new(device, process)?;
        pair.is_alone.set(true);
        Some(pair)
    }

    /// A pair whose application thread is still to be made.
    pub fn new(device: u64, process: *const Process) -> Option<&'static Pair> {
        let place = map(REGION, MAP_PRIVATE)? as *mut Pair;
        // SAFETY: new memory, zero and large enough; zero is a value of all fields that are not set.
        unsafe {
            (*place).itself = place;
            (*place).device.set(device);
            (*place).process = process;
            (*place).alternate.set(StackT::NONE);
            (*place).waited_with.set(None);
            (*place).until_asked.set(MESSAGES);
            let pair = &*place;
            pair.renew().then_some(pair)
        }
    }

    /// Makes a page for messages; false if there is no memory.
    pub fn renew(&self) -> bool {
        let before = self.message.replace(map(PAGE, MAP_SHARED).unwrap_or(0) as *const Message);
        if !before.is_null() {
            own!(__NR_munmap, before.addr(), PAGE);
        }
        !self.message.get().is_null()
    }

    /// Gives the memory of a pair back that has no threads, and the actions too if they are its own.
    pub fn release(&self, own_actions: bool) {
        own!(__NR_munmap, self.message.get().addr(), PAGE);
        if own_actions {
            own!(__NR_munmap, self.process.addr(), size_of::<Process>());
        }
        own!(__NR_munmap, self.itself.addr(), REGION);
    }

    /// Notes that there is another thread with these descriptors.
    pub fn note_companions(&self) {
        // SAFETY: a process lives as long as its threads.
        unsafe { &*self.process }.has_threads.store(true, Relaxed);
    }

    /// Whether there has been another thread with these descriptors.
    pub fn has_companions(&self) -> bool {
        // SAFETY: as above.
        unsafe { &*self.process }.has_threads.load(Relaxed)
    }

    /// The top of the bootstrap thread's stack.
    pub fn stack(&self) -> u64 {
        self.itself.addr() as u64 + REGION
    }

    /// Asks the application kernel.
    pub fn ask(&self, what: Call, argument: u64) -> i64 {
        own!(__NR_ioctl, self.device.get(), request(what, self.number.get()), argument)
    }

    /// The registers, to be read and changed.
    #[expect(clippy::mut_from_ref, reason = "the bootstrap thread alone uses them, and its signal handler does not")]
    pub fn context(&self) -> &mut Context {
        // SAFETY: as just said.
        unsafe { &mut *self.context.get() }
    }

    /// Gets the application thread's registers, which does not run.
    pub fn get(&self) -> &mut Context {
        self.ask(Call::GetRegs, self.context.get().addr() as u64);
        self.context()
    }

    /// Makes the application thread; false if there is no room for it.
    pub fn create(&self) -> bool {
        let number = own!(__NR_ioctl, self.device.get(), request(Call::Create, 0), self.message.get().addr());
        self.number.set(number as u32);
        number >= 0 && self.ask(Call::ExRegs, self.context.get().addr() as u64) == 0
    }

    /// The message.
    pub fn message(&self) -> &Message {
        // SAFETY: the page stays; the application kernel writes it while no message is there, and nobody else does.
        unsafe { &*self.message.get() }
    }

    /// Gives the application thread the registers of [`Pair::context`].
    pub fn set(&self) {
        if self.ask(Call::ExRegs, self.context.get().addr() as u64) < 0 {
            // The CPU would not take them.
            signals::die(SIGSEGV);
        }
    }

    /// Lets the application thread go on with the registers of [`Pair::context`]; its message has been dealt with.
    fn resume(&self) {
        self.set();
        self.ask(Call::Start, 0);
    }

    /// Gets the application thread's registers as they were before its call, or before the instruction that has faulted.
    pub fn rewind(&self) {
        const SYSCALL_LENGTH: u64 = 2;
        let context = self.get();
        if self.message().kind != EXCEPTION {
            context.general.rip -= SYSCALL_LENGTH;
            context.general.rax = self.message().number;
        }
    }
}

/// New memory of zeros.
pub fn map(length: u64, how: u32) -> Option<u64> {
    let mapped = own!(__NR_mmap, 0, length, PROT_READ | PROT_WRITE, how | MAP_ANONYMOUS, u64::MAX, 0);
    u64::try_from(mapped).ok()
}

/// Begins a program: makes its application thread with these registers, and becomes its bootstrap thread. Without room
/// for the thread it does something else.
pub fn begin(pair: &'static Pair, context: &Context, otherwise: impl FnOnce()) -> ! {
    const ARCH_SET_FS: u64 = 0x1002;
    *pair.context() = *context;
    if !pair.create() {
        otherwise();
    }
    own!(__NR_arch_prctl, ARCH_SET_FS, pair.itself.addr());
    // SAFETY: nothing of the old stack is used afterwards.
    unsafe {
        asm!("mov rsp, {}", "xor ebp, ebp", "call {}", in(reg) pair.stack(), sym run, in("rdi") pair, options(noreturn))
    }
}

/// The bootstrap thread.
pub extern "C" fn run(pair: &'static Pair) -> ! {
    pair.ask(Call::Start, 0);
    loop {
        wait(pair);
        away::consider(pair);
        let message = pair.message();
        match message.kind {
            EXCEPTION => exception(pair, message),
            _ => system_call(pair, message),
        }
    }
}

/// Waits for a message and takes it; delivers signals that come meanwhile.
fn wait(pair: &Pair) {
    let looks_on = |_: &u32| pair.message().others.load(Relaxed) == 0;
    loop {
        let found = match pair.told.get() {
            _ if has_come(pair) => true,
            LOOK_ON => (0..ROUNDS).take_while(looks_on).any(|_| (0..LOOKS).any(|_| has_come(pair))),
            YIELD => (0..YIELDS).any(|_| {
                own!(__NR_sched_yield);
                has_come(pair)
            }),
            _ => false,
        };
        if found {
            return;
        }
        let (number, told) = (request(Call::Wait, pair.number.get()), pair.told.get());
        // SAFETY: the call waits, and touches no memory.
        let told = unsafe { call(__NR_ioctl.into(), &[pair.device.get(), number.into(), told as u64, 0, 0, 0]) };
        pair.told.set(told);
    }
}

/// Takes a message if there is one, and delivers a signal that has come.
#[inline(always)]
fn has_come(pair: &Pair) -> bool {
    if pair.pending.get() {
        deliver(pair);
    }
    let posted = &pair.message().posted;
    let has_come = posted.load(Acquire) != 0;
    if has_come {
        posted.store(0, Relaxed);
    } else {
        core::hint::spin_loop();
    }
    has_come
}

/// Delivers a signal while no message is being dealt with.
#[cold]
fn deliver(pair: &Pair) {
    let under_way = pair.ask(Call::Hold, 0) == 1;
    if under_way {
        // The thread is in a call or at an exception that has not been dealt with: it comes again after the handler.
        pair.ask(Call::Start, 0);
        while pair.message().posted.swap(0, Acquire) == 0 {
            core::hint::spin_loop();
        }
        return again(pair);
    }
    pair.get();
    signals::enter(pair);
    pair.resume();
}

/// Has the application thread make its call again, or execute the faulting instruction again; before that, a handler.
fn again(pair: &Pair) {
    pair.rewind();
    signals::enter(pair);
    pair.resume();
}

/// Ends a call with a result; before the application thread goes on, a handler if a signal has come.
pub fn finish(pair: &Pair, result: i64) {
    if result == AGAIN {
        return again(pair);
    }
    if pair.pending.get() {
        pair.get().general.rax = result as u64;
        signals::enter(pair);
        return pair.resume();
    }
    let message = pair.message();
    message.result.store(result as u64, Relaxed);
    if !reply::answer(&message.answer) {
        pair.ask(Call::Activate, result as u64);
    }
}

/// Makes the application thread's call.
fn system_call(pair: &'static Pair, message: &Message) {
    let (number, arguments) = (message.number as u32, &message.arguments);
    let result = match number {
        _ if message.number > u64::from(u32::MAX) => -i64::from(linux_raw_sys::errno::ENOSYS),
        __NR_rt_sigaction => signals::action(pair, arguments),
        __NR_sigaltstack => signals::alternate_stack(pair, message),
        __NR_rt_sigreturn => {
            signals::leave(pair, message.rsp);
            return pair.resume();
        }
        __NR_clone | __NR_fork | __NR_vfork => cloning::clone(pair, number, arguments),
        __NR_exit => cloning::exit(pair, arguments[0]),
        __NR_exit_group => {
            futex::release_robust(pair);
            own!(__NR_exit_group, arguments[0])
        }
        __NR_futex if arguments[1] as u32 & !FUTEX_PRIVATE_FLAG == FUTEX_WAKE_OP => futex::wake_op(pair, arguments),
        __NR_close if device::is(pair, arguments[0]) => EBADF,
        __NR_close_range => device::close_range(pair, arguments),
        __NR_dup2 | __NR_dup3 if device::is(pair, arguments[1]) && !device::makes_way(pair) => EBADF,
        __NR_sched_getaffinity => affinity::get(pair, arguments),
        __NR_getcpu => affinity::getcpu(pair, arguments),
        __NR_sched_setaffinity => affinity::set(pair, arguments),
        __NR_arch_prctl => base(pair, arguments),
        __NR_set_robust_list => set_robust_list(pair, arguments),
        // SAFETY: the program's own call.
        _ => unsafe { call(number.into(), arguments) },
    };
    if result == EINTR && pair.pending.get() {
        pair.waited_with.set(signals::mask_of_wait(pair, number, arguments));
    }
    finish(pair, result);
}

/// `set_robust_list(head, length)`
fn set_robust_list(pair: &Pair, arguments: &[u64; 6]) -> i64 {
    let result = own!(__NR_set_robust_list, arguments[0], arguments[1]);
    if result == 0 {
        pair.robust.set(arguments[0]);
    }
    result
}

/// `arch_prctl` as far as the application kernel has not answered it: where are the bases?
fn base(pair: &Pair, &[code, address, ..]: &[u64; 6]) -> i64 {
    const ARCH_GET_FS: u64 = 0x1003;
    const ARCH_GET_GS: u64 = 0x1004;
    let context = pair.get();
    let base = match code {
        ARCH_GET_FS => context.fs_base,
        ARCH_GET_GS => context.gs_base,
        _ => return -i64::from(linux_raw_sys::errno::EINVAL),
    };
    memory::put(pair, address, base)
}

/// Deals with an exception of the application thread: makes the page fault here, or sends the signal.
fn exception(pair: &Pair, message: &Message) {
    let &Message { number, address, code, rip, .. } = message;
    if number != PAGE_FAULT || code & (PRESENT | FETCH) == PRESENT | FETCH {
        signals::raise_exception(pair, number, rip, address);
        return again(pair);
    }
    // SAFETY: a read, or a write of what is there already: what the program itself was about to do.
    unsafe { touch(address, code & WRITE != 0) };
    if pair.pending.get() {
        return again(pair);
    }
    if !reply::answer(&message.answer) {
        pair.ask(Call::Start, 0);
    }
}
