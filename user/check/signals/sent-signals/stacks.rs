//! Alternate stacks, and frames that cannot be written or read: a fault, for which there may be a handler.

use crate::*;
use programs::children::{End, child, end_of};
use programs::system::{PAGE, pages};

/// `SS_AUTODISARM`, as C has it.
const DISARMS: i32 = i32::MIN;

/// What a handler found: the stack that `sigaltstack` told it of, and the one in its frame.
static FOUND: [AtomicI32; 2] = [const { AtomicI32::new(0) }; 2];

fn describe(stack: *mut u8, size: usize, flags: i32) -> stack_t {
    stack_t { ss_sp: stack.cast(), ss_flags: flags, ss_size: size }
}

/// Sets the alternate stack, if one is given; returns what it was.
fn exchange(stack: Option<stack_t>) -> Result<stack_t, i32> {
    let mut before = describe(ptr::null_mut(), 0, 0);
    let new = stack.as_ref().map_or(ptr::null(), ptr::from_ref);
    sys!(SYS_sigaltstack, new, &mut before).map(|_| before)
}

fn set(stack: *mut u8, size: usize, flags: i32) {
    exchange(Some(describe(stack, size, flags))).expect("a stack");
}

/// The child's end, whose handler for SIGSEGV ends it with 7.
fn with_handler_for_faults(work: fn()) -> End {
    extern "C" fn leave(_: i32) {
        let _ = sys!(SYS_exit_group, 7);
    }
    end_of(child(|| {
        set_action(SIGSEGV, leave as *const () as usize, 0, 0);
        work();
        1
    }))
}

pub(crate) fn unwritable() {
    let cannot_be_written = || {
        let stack = pages(16);
        set(stack, 16 * PAGE, 0);
        assert_eq!(sys!(SYS_mprotect, stack, 16 * PAGE, PROT_READ), Ok(0));
        install(SIGUSR1, SA_ONSTACK, 0);
        send(SIGUSR1);
    };
    assert_eq!(with_handler_for_faults(cannot_be_written), End::Exited(7));
    let unhandled = || {
        set_action(SIGSEGV, SIG_DFL, 0, 0);
        cannot_be_written();
        1
    };
    assert_eq!(end_of(child(unhandled)), End::Killed(SIGSEGV), "no handler");
    // Too small for the extended state: what lies below is not the handler's.
    let is_too_small = || {
        let stack = pages(2);
        set(stack.wrapping_add(2 * PAGE - 2048), 2048, 0);
        let filler = describe(stack, 2 * PAGE, 0);
        assert!(filler.ss_size > 2048);
        install(SIGUSR1, SA_ONSTACK, 0);
        send(SIGUSR1);
    };
    let end = with_handler_for_faults(is_too_small);
    // Without AVX a frame fits.
    assert!(end == End::Exited(7) || end == End::Exited(1), "{end:?}");
    let cannot_be_read = || {
        // SAFETY: it does not return: there is no frame.
        unsafe { std::arch::asm!("xor esp, esp", "mov eax, 15", "syscall", options(noreturn)) }
    };
    set(pages(16), 16 * PAGE, 0);
    let handled = end_of(child(|| {
        extern "C" fn leave(_: i32) {
            let _ = sys!(SYS_exit_group, 7);
        }
        set_action(SIGSEGV, leave as *const () as usize, SA_ONSTACK, 0);
        cannot_be_read()
    }));
    assert_eq!(handled, End::Exited(7));
    // The runtime of Rust has a handler.
    let unhandled = || {
        set_action(SIGSEGV, SIG_DFL, 0, 0);
        cannot_be_read()
    };
    assert_eq!(end_of(child(unhandled)), End::Killed(SIGSEGV));
    exchange(Some(describe(ptr::null_mut(), 0, SS_DISABLE))).expect("none");
}

extern "C" fn look(_: i32, _: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes the context of the interrupted code.
    let in_frame = unsafe { (*context.cast::<ucontext_t>()).uc_stack.ss_flags };
    let now = exchange(None).map_or(-1, |stack| stack.ss_flags);
    FOUND.iter().zip([now, in_frame]).for_each(|(to, flags)| to.store(flags, SeqCst));
}

/// A stack that disarms is none while a handler runs, and is back after it.
pub(crate) fn disarmed() {
    let stack = pages(16);
    set_action(SIGUSR1, look as *const () as usize, SA_SIGINFO | SA_ONSTACK, 0);
    let seen_with = |flags| {
        set(stack, 16 * PAGE, flags);
        send(SIGUSR1);
        let after = exchange(None).expect("a stack");
        assert_eq!((after.ss_sp, after.ss_flags), (stack.cast(), flags));
        FOUND.each_ref().map(|found| found.load(SeqCst))
    };
    assert_eq!(seen_with(0), [SS_ONSTACK, 0]);
    assert_eq!(seen_with(DISARMS), [SS_DISABLE, DISARMS]);
    for flags in [3, 4, DISARMS | 4] {
        assert_eq!(exchange(Some(describe(stack, 16 * PAGE, flags))).err(), Some(EINVAL), "flags {flags:#x}");
    }
    exchange(Some(describe(ptr::null_mut(), 0, SS_DISABLE))).expect("none");
    install(SIGUSR1, 0, 0);
}

/// Where the extended state lies in a frame, and where the handler is to put it instead; 0: nowhere else.
static STATE: AtomicU64 = AtomicU64::new(0);
static ELSEWHERE: AtomicU64 = AtomicU64::new(0);

/// Gives back another xmm0, in whose place the frame has the one of the interrupted code.
extern "C" fn change(_: i32, _: *mut siginfo_t, context: *mut c_void) {
    const XMM0: usize = 160;
    // SAFETY: a frame is laid out so (`sigcontext.h` and `ucontext.h`); elsewhere is room for it, and the program's own registers are as the compiler wants them.
    unsafe {
        let place = context.cast::<u64>().add(28);
        let state = ptr::with_exposed_provenance_mut::<u8>(place.read() as usize);
        STATE.store(state.addr() as u64, SeqCst);
        let xmm0 = state.add(XMM0).cast::<u64>();
        xmm0.write(!xmm0.read());
        let elsewhere = ELSEWHERE.load(SeqCst);
        if elsewhere != 0 {
            let whole = state.add(468).cast::<u32>().read().max(512) as usize;
            ptr::copy_nonoverlapping(state, ptr::with_exposed_provenance_mut(elsewhere as usize), whole);
            place.write(elsewhere);
        }
    }
}

/// What xmm0 is after a signal, where it was `before`.
fn xmm0_after_signal(before: u64) -> u64 {
    let (after, pid): (u64, u64);
    pid = sys!(SYS_getpid).expect("it has a number");
    // SAFETY: a call, whose handler returns here.
    unsafe {
        std::arch::asm!(
            "movq xmm0, {before}",
            "syscall",
            "movq {after}, xmm0",
            before = in(reg) before,
            after = out(reg) after,
            inout("rax") SYS_kill => _,
            in("rdi") pid,
            in("rsi") SIGUSR1 as u64,
            out("rcx") _,
            out("r11") _,
            out("xmm0") _,
        );
    }
    after
}

/// The state is taken from where the frame says that it is, whether it lies in one page or in two, in that of the registers
/// or in another.
pub(crate) fn anywhere() {
    set_action(SIGUSR1, change as *const () as usize, SA_SIGINFO | SA_ONSTACK, 0);
    let (room, elsewhere) = (pages(8), pages(3));
    let mut in_two = [false; 2];
    for shift in (0..PAGE).step_by(192) {
        set(room.wrapping_add(shift), 4 * PAGE, 0);
        ELSEWHERE.store(0, SeqCst);
        assert_eq!(xmm0_after_signal(0x1234_5678), !0x1234_5678, "{shift}");
        in_two[usize::from(STATE.load(SeqCst) as usize % PAGE + 512 > PAGE)] = true;
        // At the same place of another page, or at one that crosses pages where this does not.
        let state = STATE.load(SeqCst) as usize;
        for there in [elsewhere.addr() + state % PAGE, elsewhere.addr() + PAGE + (state + PAGE / 2) % PAGE] {
            ELSEWHERE.store(there as u64, SeqCst);
            assert_eq!(xmm0_after_signal(there as u64), !(there as u64), "{shift}");
        }
    }
    assert_eq!(in_two, [true; 2], "in one page, and in two");
    set(ptr::null_mut(), 0, SS_DISABLE);
    install(SIGUSR1, 0, 0);
}
