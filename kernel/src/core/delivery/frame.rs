//! The frame that a signal handler finds on its stack, as Linux lays it out for x86-64
//! (`arch/x86/include/uapi/asm/sigcontext.h` and `ucontext.h` give the shapes).
//!
//! ```text
//!   higher   extended state (64-byte aligned) | magic
//!            siginfo, 128 bytes
//!            ucontext: flags, link, stack, registers, mask
//!   rsp →    return address (the action's restorer)
//! ```

use super::Signal;
use crate::arch::extended;
use crate::core::actions::{Action, DEFAULT, SA_NODEFER, SA_ONSTACK, SA_RESETHAND, SA_RESTART, SA_RESTORER};
use crate::core::kernel::{Kernel, Memory};
use crate::core::linux;
use crate::core::schedule;
use ::files::Errno;
use containers::directory::USER_END;
use containers::thread::SignalStack;
use containers::{
    ExtendedState, Fault, Frame as Page, PAGE_SIZE, PhysicalMemory, Registers, Rights, SignalInfo, Space, Thread,
    ThreadId,
};
use cpulocal::InKernel;
use hardware::fpu;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Bytes below the stack pointer that a leaf function may use (System V ABI, section 3.2.2).
const RED_ZONE: u64 = 128;

/// Flags that a program may set in its own flags register; interrupts stay on.
const USER_FLAGS: u64 = 0x24_4dd5;
const INTERRUPTS_ON: u64 = 0x202;

/// `stack_t`
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct StackT {
    /// Lowest address.
    pub base: u64,
    /// `SS_ONSTACK`, `SS_DISABLE`.
    pub flags: i32,
    /// Nothing.
    pub pad: u32,
    /// Bytes.
    pub size: u64,
}

/// `SS_ONSTACK`
pub const ON_STACK: i32 = linux::SS_ONSTACK as i32;
/// `SS_DISABLE`
pub const DISABLED: i32 = linux::SS_DISABLE as i32;
/// `SS_AUTODISARM`
const DISARMS: i32 = linux::SS_AUTODISARM as i32;

/// `struct sigcontext`, gregs in Linux's order.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct SignalContext {
    r8_to_r15: [u64; 8],
    rdi: u64,
    rsi: u64,
    rbp: u64,
    rbx: u64,
    rdx: u64,
    rax: u64,
    rcx: u64,
    rsp: u64,
    rip: u64,
    rflags: u64,
    /// cs, gs, fs, ss
    segments: [u16; 4],
    error: u64,
    vector: u64,
    old_mask: u64,
    fault_address: u64,
    extended: u64,
    reserved: [u64; 8],
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct UserContext {
    flags: u64,
    link: u64,
    stack: StackT,
    registers: SignalContext,
    mask: u64,
}

/// `siginfo_t`
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Info {
    number: i32,
    errno: i32,
    code: i32,
    pad: i32,
    first: u64,
    second: u64,
    rest: [u64; 12],
}

impl From<SignalInfo> for Info {
    fn from(SignalInfo { number, code, first, second }: SignalInfo) -> Info {
        Info { number: number.into(), errno: 0, code, pad: 0, first, second, rest: [0; 12] }
    }
}

impl Info {
    /// The signal with a given number and the contents that the sending program has put here.
    pub fn of(&self, number: u8) -> SignalInfo {
        SignalInfo { number, code: self.code, first: self.first, second: self.second }
    }
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Frame {
    restorer: u64,
    context: UserContext,
    info: Info,
}

/// The alternate stack as `sigaltstack` describes it to a program with a given stack pointer.
pub fn describe(stack: SignalStack, rsp: u64) -> StackT {
    let flags = match stack.size {
        0 => DISABLED,
        _ if on_stack(stack, rsp) => ON_STACK,
        _ if stack.disarms => DISARMS,
        _ => 0,
    };
    StackT { base: stack.base, flags, pad: 0, size: stack.size }
}

/// Whether a stack pointer is on the alternate stack. It is never on a stack that disarms, because such a stack is no
/// alternate stack while a handler runs on it.
pub fn on_stack(stack: SignalStack, rsp: u64) -> bool {
    !stack.disarms && is_within(stack, rsp)
}

fn is_within(stack: SignalStack, rsp: u64) -> bool {
    stack.size != 0 && rsp > stack.base && rsp - stack.base <= stack.size
}

/// Gives a thread another alternate stack, or none, as `sigaltstack` does.
pub fn set_stack(thread: &mut Thread, wanted: &StackT) -> Result<(), Errno> {
    const SMALLEST: u64 = linux::MINSIGSTKSZ as u64;
    if on_stack(thread.signal_stack, thread.context.registers.rsp) {
        return Err(Errno::EPERM);
    }
    thread.signal_stack = match wanted.flags & !DISARMS {
        DISABLED => SignalStack::default(),
        0 | ON_STACK if wanted.size < SMALLEST => return Err(Errno::ENOMEM),
        0 | ON_STACK => SignalStack { base: wanted.base, size: wanted.size, disarms: wanted.flags & DISARMS != 0 },
        _ => return Err(Errno::EINVAL),
    };
    Ok(())
}

/// Makes the frame for a signal and points the thread at its handler.
pub fn push(kernel: &mut Kernel, cpu: &InKernel, id: ThreadId, signal: &Signal, action: Action) -> Result<(), Fault> {
    if action.flags & SA_RESTORER == 0 || action.handler >= USER_END {
        return Err(Fault::NoRegion);
    }
    // If the process shares its actions with others, resetting one makes a copy, which needs memory.
    if action.flags & SA_RESETHAND != 0 && !kernel.memory.physical.has_room_for_bookkeeping() {
        return Err(Fault::OutOfMemory);
    }
    let thread = kernel.tasks.thread_mut(id).ok_or(Fault::NoRegion)?;
    let space = Space { container: thread.container, cpu: schedule::this_cpu(cpu) };
    // The handler makes calls of its own: they must not resume the interrupted call's work.
    if thread.restart.is_some() {
        let call = thread.context.registers;
        let interrupted = thread.settle_restart(action.flags & SA_RESTART != 0, -i64::from(Errno::EINTR.into_raw()));
        if let Some(deadline) = interrupted {
            (kernel.upcalls.tell_rest)(&mut kernel.memory, space, &call, deadline);
        }
    }
    let (stack, meanwhile, rsp) = (thread.signal_stack, thread.signal_mask, thread.context.registers.rsp);
    let mask = thread.saved_mask.unwrap_or(meanwhile);
    let nested = on_stack(stack, rsp);
    let switch = action.flags & SA_ONSTACK != 0 && stack.size != 0 && !nested;
    let top = if switch { stack.base.wrapping_add(stack.size) } else { rsp.wrapping_sub(RED_ZONE) };
    let state_size = extended::size_in_frame();
    let state_at = top.wrapping_sub(state_size as u64) & !63;
    // The stack pointer is as after a call instruction: 8 below a multiple of 16.
    let at = (state_at.wrapping_sub(size_of::<Frame>() as u64) & !15).wrapping_sub(8);
    // A handler's frame must not overwrite what lies below the alternate stack.
    if (switch || nested) && !is_within(stack, at) {
        return Err(Fault::NoRegion);
    }
    let frame = |registers: &Registers| Frame {
        restorer: action.restorer,
        context: UserContext {
            flags: extended::frame_flags(),
            link: 0,
            stack: describe(stack, rsp),
            registers: context(registers, signal, mask, state_at),
            mask,
        },
        info: signal.info.into(),
    };
    // In most cases the thread's context is resident here, and the whole frame lies in one page.
    let length = state_at.wrapping_sub(at) as usize + state_size;
    match kernel.memory.within_page(space, at, length, Rights::WRITE)? {
        Some((page, offset)) if thread.context.is_resident(space.cpu) => {
            let frames = &mut kernel.memory.physical;
            extended::save_described(frames, page, offset + state_at.wrapping_sub(at) as usize);
            frames.write(page, offset, frame(&thread.context.registers).as_bytes());
        }
        _ => {
            schedule::store(thread, space.cpu);
            kernel.memory.copy_out(space, state_at, extended::described(&mut thread.context.extended.area))?;
            kernel.memory.copy_out(space, at, frame(&thread.context.registers).as_bytes())?;
        }
    }
    let number = signal.info.number;
    let to = &mut thread.context.registers;
    to.vector = Registers::SET;
    to.rip = action.handler;
    to.rsp = at;
    to.rax = 0;
    to.rdi = number.into();
    to.rsi = at + core::mem::offset_of!(Frame, info) as u64;
    to.rdx = at + core::mem::offset_of!(Frame, context) as u64;
    // The handler does not inherit the interrupted code's direction and trap flags.
    to.rflags = (to.rflags & USER_FLAGS & !0x500) | INTERRUPTS_ON;
    // As on Linux, a handler starts with a fresh extended state: an x87 exception that is still pending would be raised
    // again by its first x87 instruction.
    schedule::clear_extended(thread, space.cpu);
    thread.saved_mask = None;
    if stack.disarms {
        thread.signal_stack = SignalStack::default();
    }
    let process = thread.process;
    let own = if action.flags & SA_NODEFER == 0 { super::bit(number) } else { 0 };
    super::set_mask(&mut kernel.tasks, id, meanwhile | action.mask | own);
    if action.flags & SA_RESETHAND != 0
        && let Some(process) = kernel.tasks.process_mut(process)
    {
        process.resources.handlers.set(number, Action { handler: DEFAULT, ..action });
    }
    Ok(())
}

#[inline(always)]
fn context(r: &Registers, signal: &Signal, mask: u64, extended: u64) -> SignalContext {
    SignalContext {
        r8_to_r15: [r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15],
        rdi: r.rdi,
        rsi: r.rsi,
        rbp: r.rbp,
        rbx: r.rbx,
        rdx: r.rdx,
        rax: r.rax,
        rcx: r.rcx,
        rsp: r.rsp,
        rip: r.rip,
        rflags: r.rflags,
        segments: [Registers::USER_CODE as u16, 0, 0, Registers::USER_DATA as u16],
        error: signal.code,
        vector: signal.vector,
        old_mask: mask,
        fault_address: signal.address,
        extended,
        reserved: [0; 8],
    }
}

/// Undoes [`push`] after the handler has returned: registers, mask, alternate stack and extended state come from the
/// frame. A frame with a value that a program may not have is an error; flags that it may not have are ignored. Returns
/// rax, the register of a call's result.
///
/// As on Linux, mask and general registers are taken before the rest is checked. An error is a fault of the thread, and
/// the handler of that fault finds these registers in its own frame: it returns to them and not behind the call.
pub fn pop(kernel: &mut Kernel, cpu: &InKernel, id: ThreadId) -> Result<u64, Fault> {
    let thread = kernel.tasks.thread_mut(id).ok_or(Fault::NoRegion)?;
    let space = Space { container: thread.container, cpu: schedule::this_cpu(cpu) };
    // The handler's return has popped the restorer's address.
    let context_at = thread.context.registers.rsp;
    let place = kernel.memory.within_page(space, context_at, size_of::<UserContext>(), Rights::READ)?;
    let context: UserContext = match place {
        Some((page, offset)) => kernel.memory.physical.value(page, offset),
        None => {
            let mut context = UserContext::new_zeroed();
            kernel.memory.copy_in(space, context_at, context.as_mut_bytes())?;
            context
        }
    };
    let from = &context.registers;
    let [cs, _, _, ss] = from.segments.map(u64::from);
    take_general(&mut thread.context.registers, from);
    let state = &mut thread.context.extended;
    let taken = match from.extended {
        0 => {
            fpu::initial(&mut state.area);
            true
        }
        at => {
            // In most cases the state lies in the page in which the context has been found.
            let near = place.filter(|_| at / PAGE_SIZE as u64 == context_at / PAGE_SIZE as u64).map(|(page, _)| page);
            take_extended(&mut kernel.memory, space, (at, near), state).is_ok() && fpu::is_acceptable(&state.area)
        }
    };
    if !taken {
        // Even a thread that is about to end must not keep a state that the CPU does not accept.
        fpu::initial(&mut state.area);
    }
    schedule::reload_extended(thread, space.cpu);
    let is_whole = taken && from.rip < USER_END && cs == Registers::USER_CODE && ss == Registers::USER_DATA;
    if is_whole {
        // As on Linux, an alternate stack that cannot be set is no error here.
        let _ = set_stack(thread, &context.stack);
    }
    super::set_mask(&mut kernel.tasks, id, context.mask);
    if is_whole { Ok(context.registers.rax) } else { Err(Fault::NoRegion) }
}

/// Copies a thread's extended state from a frame into its control block. `page` is the page that it begins in, if that
/// is known.
fn take_extended(
    memory: &mut Memory,
    space: Space,
    (at, page): (u64, Option<Page>),
    state: &mut ExtendedState,
) -> Result<(), Fault> {
    state.is_from_program = true;
    let offset = at as usize % PAGE_SIZE;
    if offset + fpu::size() > PAGE_SIZE {
        return memory.copy_in(space, at, &mut state.area[..fpu::size()]);
    }
    let page = page.map_or_else(|| memory.user_frame(space, at, Rights::READ), Ok)?;
    extended::take(&memory.physical, (page, offset), &mut state.area);
    Ok(())
}

/// Copies the general registers from a frame. An instruction pointer outside user space becomes 0, where nothing is
/// ever mapped.
fn take_general(to: &mut Registers, from: &SignalContext) {
    [to.r8, to.r9, to.r10, to.r11, to.r12, to.r13, to.r14, to.r15] = from.r8_to_r15;
    (to.rdi, to.rsi, to.rbp, to.rbx) = (from.rdi, from.rsi, from.rbp, from.rbx);
    (to.rdx, to.rax, to.rcx, to.rsp) = (from.rdx, from.rax, from.rcx, from.rsp);
    to.rip = if from.rip < USER_END { from.rip } else { 0 };
    to.rflags = (from.rflags & USER_FLAGS) | INTERRUPTS_ON;
    to.vector = Registers::SET;
}
