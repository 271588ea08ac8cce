//! What an application processor does when a thread traps, and which thread it runs next.
//!
//! A system call, a page fault or another exception becomes a message to the thread's bootstrap thread; the thread is
//! blocked, and the CPU runs another one or idles. Interrupts are few: the end of a time slice, and the boot CPU's
//! requests. For example, a program writes to a page that it shares with its parent since `fork`: the CPU posts the
//! fault, the bootstrap thread touches the page, which makes the copy, and activates the thread, whose instruction is
//! executed again.

use super::cpu::{Cpu, NEUTRAL};
use super::local::{self, Answer};
use super::thread::{self, Block, MOST, Registers, SCHEDULER, State};
use super::{away, bell, cpu, processors};
use abi::application::{EXCEPTION, SYSTEM_CALL};
use abi::vectors::TIMER;
use application::reply;
use application::scheduler::{self, Number, Scheduler, Turn};
use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed, Ordering::Release};
use hardware::{apic, clock, exit, interrupts};
use x86_64::VirtAddr;
use x86_64::registers::model_specific::{FsBase, KernelGsBase};

/// Vectors below are exceptions.
const EXCEPTIONS: u64 = 32;
const PAGE_FAULT: u64 = 14;
const FLOATING_POINT: [u64; 2] = [16, 19];

/// A time slice, in nanoseconds. One as long as the bootstrap kernel's, 10 ms, would be longer than what threads compute
/// between two barriers: where there is one thread more than CPUs, all would wait for the last one to begin.
const SLICE: u64 = 1_000_000;

/// How often a CPU looks for an answer before it blocks the thread, and for a thread before it halts. A call that the
/// boot CPU answers at once takes less.
const LOOKS: u32 = 2_000;

/// A thread has come in; its registers are in its control block. Returns the registers to go on with.
pub extern "C" fn trapped(cpu: &'static Cpu) -> *const Registers {
    let block = cpu.current.get().expect("a trap from user mode is a thread's");
    // SAFETY: the thread runs on this CPU.
    let state = unsafe { block.state() };
    cpu.ring.trapped(&state.registers);
    let registers = handle(cpu, block, state);
    cpu.ring.returns();
    registers
}

/// Handles a trap of a thread; the registers to go on with.
#[inline(always)]
fn handle(cpu: &'static Cpu, block: &'static Block, state: &'static mut State) -> *const Registers {
    let kind = match state.registers.vector {
        Registers::SYSTEM_CALL => match local::answer(block, state) {
            Answer::Is(result) => {
                state.registers.rax = result;
                return &raw const state.registers;
            }
            Answer::Yields => {
                state.registers.rax = 0;
                return preempt(cpu, block);
            }
            Answer::Forwarded => SYSTEM_CALL,
        },
        vector if vector < EXCEPTIONS => EXCEPTION,
        vector => return interrupt(cpu, block, vector, &raw const state.registers),
    };
    post(cpu, block, kind, &mut state.registers)
}

/// Handles an interrupt that came while a thread ran; the registers to go on with, which may be the thread's.
fn interrupt(cpu: &'static Cpu, block: &'static Block, vector: u64, interrupted: *const Registers) -> *const Registers {
    if vector == u64::from(apic::SPURIOUS) {
        return interrupted;
    }
    apic::end_of_interrupt();
    let slice_ends = vector == u64::from(TIMER);
    if slice_ends {
        cpu.armed.set(false);
        away::slice_ended(cpu.number);
    }
    // Before the look at the thread, whatever has interrupted: see `application::requests`.
    let request = cpu.requests.pending();
    if SCHEDULER.is_held(block.number) || slice_ends && SCHEDULER.ready() > 0 {
        block.time.end(clock::rdtsc());
        let turn = evict(cpu, block, Scheduler::preempt);
        cpu.answer(request);
        return dispatch(cpu, turn.next);
    }
    arm(cpu);
    cpu.answer(request);
    interrupted
}

/// An interrupt in the idle loop, which goes on afterwards; or an exception in the application kernel, a fault of its.
pub extern "C" fn interrupted(registers: &Registers) {
    if registers.vector < EXCEPTIONS {
        let at = registers.rip;
        exit::fatal(format_args!(
            "the application kernel: exception {} (code {:#x}, address {:#x}) at {at:#x}",
            registers.vector,
            registers.code,
            hardware::cpu::fault_address()
        ));
    }
    if registers.vector == u64::from(TIMER) {
        // SAFETY: in the idle loop GS is this CPU's.
        let cpu = unsafe { Cpu::this() };
        cpu.armed.set(false);
        away::slice_ended(cpu.number);
    }
    if registers.vector != u64::from(apic::SPURIOUS) {
        apic::end_of_interrupt();
    }
}

/// A double fault, an NMI or a machine check.
pub extern "C" fn special(vector: u32) -> ! {
    exit::fatal(format_args!("the application kernel: exception {vector}"))
}

/// Leaves a thread's context and address space, and only then has the scheduler end the thread's turn: from then on
/// another CPU may run it, or the boot CPU remove it and its address space.
fn evict(cpu: &'static Cpu, block: &'static Block, end: fn(&Scheduler<MOST>, scheduler::Cpu, Number) -> Turn) -> Turn {
    block.save_extended();
    cpu.load_directory(NEUTRAL.load(Relaxed));
    cpu.current.set(None);
    let turn = end(&SCHEDULER, cpu.number, block.number);
    cpu::wake(turn.wake);
    turn
}

/// Lets other threads run before this one.
fn preempt(cpu: &'static Cpu, block: &'static Block) -> *const Registers {
    block.time.end(clock::rdtsc());
    dispatch(cpu, evict(cpu, block, Scheduler::preempt).next)
}

/// Writes a thread's message, wakes its bootstrap thread if that sleeps, and watches for the answer. If that does not
/// come, blocks the thread. The registers to go on with.
#[inline(always)]
fn post(cpu: &'static Cpu, block: &'static Block, kind: u32, registers: &mut Registers) -> *const Registers {
    block.time.end(clock::rdtsc());
    if block.mailbox.rouse() {
        wake(block);
    }
    match kind {
        SYSTEM_CALL => cpu.counts.call(registers.code),
        _ => cpu.counts.exception(registers.vector),
    }
    // The bootstrap thread may change the address space.
    cpu.load_directory(NEUTRAL.load(Relaxed));
    cpu.ring.posted();
    let is_asleep = block.mailbox.post(write(block, kind, registers));
    block.is_posted.store(true, Relaxed);
    if is_asleep {
        wake(block);
    }
    if watch(cpu, block) {
        cpu.ring.answered();
        block.has_message.store(false, Relaxed);
        if kind == SYSTEM_CALL {
            // SAFETY: as in `watch`; a false result harms the program alone.
            registers.rax = unsafe { &(*block.message()).result }.load(Relaxed);
        }
        cpu.load_directory(block.directory);
        block.time.begin(clock::rdtsc());
        return registers;
    }
    dispatch(cpu, evict(cpu, block, Scheduler::block).next)
}

/// Has the boot CPU wake a thread's bootstrap thread.
fn wake(block: &Block) {
    if SCHEDULER.ring(block.number) {
        bell::ring();
    }
}

/// Writes a thread's message: the word that says that it is there.
fn write(block: &'static Block, kind: u32, registers: &Registers) -> &'static AtomicU32 {
    block.is_wanted.store(false, Relaxed);
    block.is_posted.store(false, Relaxed);
    block.has_message.store(true, Release);
    let message = block.message();
    // SAFETY: the message lies in a page that the thread holds, in the direct map. The program may write it at the same
    // time, which harms the program alone: the accesses are volatile or atomic, and nothing is read back.
    unsafe {
        ptr::write_volatile(&raw mut (*message).kind, kind);
        let (number, address) = match kind {
            SYSTEM_CALL => (registers.code, 0),
            _ if registers.vector == PAGE_FAULT => (registers.vector, hardware::cpu::fault_address()),
            _ if FLOATING_POINT.contains(&registers.vector) => {
                (registers.vector, hardware::fpu::cause(registers.vector) as u64)
            }
            _ => (registers.vector, 0),
        };
        ptr::write_volatile(&raw mut (*message).number, number);
        let arguments = [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9];
        ptr::write_volatile(&raw mut (*message).arguments, arguments);
        ptr::write_volatile(&raw mut (*message).address, address);
        ptr::write_volatile(&raw mut (*message).code, registers.code);
        ptr::write_volatile(&raw mut (*message).rip, registers.rip);
        ptr::write_volatile(&raw mut (*message).rsp, registers.rsp);
        reply::watch(&(*message).answer);
        &(*message).posted
    }
}

/// Watches for the answer to a thread's message, as long as this CPU has nothing else to do: whether it has come.
fn watch(cpu: &'static Cpu, block: &'static Block) -> bool {
    // SAFETY: the message's page stays; the word is only ever used as an atomic.
    let answer = unsafe { &(*block.message()).answer };
    for _ in 0..LOOKS {
        if reply::has_come(answer) {
            return true;
        }
        if SCHEDULER.ready() > 0 || block.is_wanted.load(Relaxed) {
            break;
        }
        if let Some(request) = cpu.requests.pending() {
            if SCHEDULER.is_held(block.number) {
                // This CPU answers once it has left the thread.
                break;
            }
            cpu.answer(Some(request));
        }
        core::hint::spin_loop();
    }
    !reply::give_up(answer)
}

/// Runs the thread that the scheduler has given this CPU, or waits for one: its registers.
pub fn dispatch(cpu: &'static Cpu, next: Option<Number>) -> *const Registers {
    let number = next.unwrap_or_else(|| idle(cpu));
    let block = thread::find(number).expect("a ready thread has a control block");
    cpu.load_directory(block.directory);
    // SAFETY: the thread runs on this CPU from now on.
    let state = unsafe { block.state() };
    cpu.ring.chosen(block);
    block.has_message.store(false, Relaxed);
    block.return_result(state);
    if !(ptr::eq(cpu.resident.get(), block) && block.is_resident(cpu.number)) {
        block.restore_extended();
        FsBase::write(VirtAddr::new_truncate(state.fs_base));
        KernelGsBase::write(VirtAddr::new_truncate(state.gs_base));
        cpu.resident.set(block);
        block.set_resident(cpu.number);
    }
    cpu.set_frame(block);
    cpu.known_result.set(block.process.into());
    cpu.current.set(Some(block));
    arm(cpu);
    block.time.begin(clock::rdtsc());
    &raw const state.registers
}

/// Arms the timer, unless it is armed.
fn arm(cpu: &Cpu) {
    if !cpu.armed.replace(true) {
        apic::arm(clock::ticks(SLICE));
    }
}

/// Waits for a thread, on a CPU that the scheduler knows to spin; it halts after some time, until there may be one.
fn idle(cpu: &'static Cpu) -> Number {
    cpu.ring.idle();
    cpu.answer(cpu.requests.pending());
    loop {
        for _ in 0..LOOKS {
            if SCHEDULER.ready() > 0
                && let Some(number) = SCHEDULER.end_spin(cpu.number)
            {
                cpu.ring.woken();
                return number;
            }
            cpu.answer(cpu.requests.pending());
            processors::park_if_asked();
            core::hint::spin_loop();
        }
        if SCHEDULER.halt(cpu.number) {
            if away::counts(cpu.number) {
                arm(cpu);
            }
            interrupts::wait();
            SCHEDULER.end_halt(cpu.number);
            cpu.answer(cpu.requests.pending());
        }
    }
}
