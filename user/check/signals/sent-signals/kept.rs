//! Signals that are pending, actions and their flags, and the frame.

use crate::whom::queue;
use crate::*;
use programs::children::{End, child, end_of};
use std::arch::asm;

pub(crate) fn pending_ones() {
    let set = bit(SIGUSR1) | bit(SIGUSR2);
    mask(SIG_BLOCK, set);
    [SIGUSR2, SIGUSR1, SIGUSR2, SIGUSR1].into_iter().for_each(send);
    assert_eq!(pending() & set, set);
    assert_eq!(numbers(), [0; 0]);
    mask(SIG_UNBLOCK, set);
    // Once each. The frame of the lowest is made first, so its handler runs last.
    assert_eq!(numbers(), [SIGUSR2, SIGUSR1]);
    assert_eq!(pending() & set, 0);
}

pub(crate) fn real_time() {
    let set = bit(REAL_TIME[0]) | bit(REAL_TIME[1]);
    mask(SIG_BLOCK, set);
    for (signal, value) in [(41, 1), (40, 2), (41, 3), (40, 4), (40, 5)] {
        assert_eq!(queue(signal, value), Ok(0));
    }
    let mut taken = Vec::new();
    while pending() & set != 0 {
        let mut info = [0u64; 16];
        let signal = sys!(SYS_rt_sigtimedwait, &set, &mut info, 0, 8).expect("it is pending");
        assert_eq!(info[0], signal);
        taken.push((signal, info[3]));
    }
    assert_eq!(taken, [(40, 2), (40, 4), (40, 5), (41, 1), (41, 3)], "all of them, in order");
    mask(SIG_UNBLOCK, set);
    assert_eq!(numbers(), [0; 0]);
}

/// A real-time signal is remembered with what is told of it, or refused.
pub(crate) fn no_room() {
    let signal = REAL_TIME[0];
    let queued = || {
        mask(SIG_BLOCK, bit(signal));
        let refused =
            (0..100_000).find(|value| queue(signal, *value) == Err(EAGAIN)).expect("some time there is no room");
        // `kill` tells nothing, so it needs none.
        send(signal);
        send(SIGUSR1);
        let mut taken = 0;
        while sys!(SYS_rt_sigtimedwait, &bit(signal), 0, &[0u64; 2], 8) == Ok(signal as u64) {
            taken += 1;
        }
        i32::from(numbers() == [SIGUSR1] && refused > 0 && (refused..=refused + 1).contains(&taken))
    };
    let limited = || {
        assert_eq!(sys!(SYS_setrlimit, RLIMIT_SIGPENDING, &[10u64, 10]), Ok(0));
        queued()
    };
    assert_eq!(end_of(child(limited)), End::Exited(1));
}

/// What is ignored is pending no more, and what is to be ignored never is, unless it is blocked.
pub(crate) fn ignored() {
    mask(SIG_BLOCK, bit(SIGUSR1) | bit(SIGCHLD));
    send(SIGUSR1);
    set_action(SIGUSR1, SIG_IGN, 0, 0);
    assert_eq!(pending() & bit(SIGUSR1), 0, "forgotten");
    send(SIGUSR1);
    assert_eq!(pending() & bit(SIGUSR1), bit(SIGUSR1), "but it could still be handled");
    install(SIGUSR1, 0, 0);
    mask(SIG_UNBLOCK, bit(SIGUSR1));
    assert_eq!(numbers(), [SIGUSR1]);
    send(SIGCHLD);
    assert_eq!(pending() & bit(SIGCHLD), bit(SIGCHLD));
    set_action(SIGCHLD, SIG_DFL, 0, 0);
    assert_eq!(pending() & bit(SIGCHLD), 0, "by default nothing happens on it either");
    mask(SIG_UNBLOCK, bit(SIGCHLD));
    [SIGCHLD, SIGURG, SIGWINCH, SIGCONT].into_iter().for_each(send);
}

pub(crate) fn flags() {
    let open = mask(SIG_BLOCK, 0);
    install(SIGUSR1, 0, bit(SIGUSR2));
    send(SIGUSR1);
    assert_eq!(MASK.load(SeqCst), open | bit(SIGUSR1) | bit(SIGUSR2), "itself and what its action says");
    assert_eq!(mask(SIG_BLOCK, 0), open, "for so long as the handler runs");
    install(SIGUSR1, SA_NODEFER, 0);
    send(SIGUSR1);
    assert_eq!(MASK.load(SeqCst), open);
    install(SIGUSR1, 0, bit(SIGKILL) | bit(SIGSTOP));
    send(SIGUSR1);
    assert_eq!(MASK.load(SeqCst), open | bit(SIGUSR1), "these are never blocked");
    install(SIGURG, SA_RESETHAND, 0);
    send(SIGURG);
    send(SIGURG);
    assert_eq!(numbers(), [SIGUSR1, SIGUSR1, SIGUSR1, SIGURG], "the last for once only");
    let mut after = [1u64; 4];
    assert_eq!(sys!(SYS_rt_sigaction, SIGURG, 0, &mut after, 8), Ok(0));
    assert_eq!(
        (after[0], after[1] as i32 & SA_RESETHAND),
        (SIG_DFL as u64, SA_RESETHAND),
        "the rest of the action stays"
    );
    install(SIGUSR1, 0, 0);
}

/// Of the last frame: `uc_flags`; the extended state's marks, components and size; the mark behind it.
static FRAME: [AtomicU64; 6] = [const { AtomicU64::new(0) }; 6];

extern "C" fn look(_: i32, _: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: a frame is laid out so (`arch/x86/include/uapi/asm/sigcontext.h` and `ucontext.h`).
    unsafe {
        let context = context.cast::<u64>();
        let state = ptr::with_exposed_provenance::<u8>(context.add(28).read() as usize);
        let word = |at: usize| state.add(at).cast::<u32>().read_unaligned();
        let size = word(480);
        let words = [context.read(), u64::from(word(464)), u64::from(word(472)), u64::from(word(468)), u64::from(size)];
        FRAME.iter().zip(words).for_each(|(to, word)| to.store(word, SeqCst));
        if word(464) != 0 {
            FRAME[5].store(u64::from(word(size as usize)), SeqCst);
        }
        assert!(state.addr().is_multiple_of(64), "as XRSTOR wants it");
        assert_eq!(word(24), 0x1f80, "MXCSR");
    }
}

/// The frame says what extended state is in it.
pub(crate) fn frame() {
    set_action(SIGUSR1, look as *const () as usize, SA_SIGINFO, 0);
    send(SIGUSR1);
    let [flags, begin, components, whole, size, end] = FRAME.each_ref().map(|word| word.load(SeqCst));
    if begin == 0 {
        assert_eq!(flags, 6, "no XSAVE here");
    } else {
        assert_eq!((flags, begin, end), (7, 0x4650_5853, 0x4650_5845));
        assert_eq!((components & 3, whole), (3, size + 4));
    }
    install(SIGUSR1, 0, 0);
}

/// The control words of SSE and x87, as the last handler found them.
static CONTROL: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

extern "C" fn note_control(_: i32) {
    let (mut sse, mut x87) = (0_u32, 0_u16);
    // SAFETY: stores the two.
    unsafe { asm!("stmxcsr [{}]", "fnstcw [{}]", in(reg) &raw mut sse, in(reg) &raw mut x87) };
    CONTROL.iter().zip([sse, x87.into()]).for_each(|(to, word)| to.store(word.into(), SeqCst));
}

/// A handler begins with the extended state of a new program, and the one before is back afterwards.
pub(crate) fn fresh() {
    set_action(SIGUSR1, note_control as *const () as usize, 0, 0);
    // Rounding towards zero; and x87 with less precision.
    const CHANGED: (u32, u16) = (0x7f80, 0x27f);
    const FRESH: (u32, u16) = (0x1f80, 0x37f);
    let mut after = (0_u32, 0_u16);
    // SAFETY: `kill`, around which the two have other values.
    unsafe {
        asm!(
            "ldmxcsr [{sse}]", "fldcw [{x87}]",
            "syscall",
            "stmxcsr [{sse_after}]", "fnstcw [{x87_after}]",
            "ldmxcsr [{fresh_sse}]", "fldcw [{fresh_x87}]",
            sse = in(reg) &CHANGED.0, x87 = in(reg) &CHANGED.1,
            fresh_sse = in(reg) &FRESH.0, fresh_x87 = in(reg) &FRESH.1,
            sse_after = in(reg) &raw mut after.0, x87_after = in(reg) &raw mut after.1,
            inlateout("rax") SYS_kill => _, in("rdi") pid(), in("rsi") SIGUSR1, out("rcx") _, out("r11") _,
        );
    }
    let found = CONTROL.each_ref().map(|word| word.load(SeqCst));
    assert_eq!((found, after), ([FRESH.0.into(), FRESH.1.into()], CHANGED));
    install(SIGUSR1, 0, 0);
}

/// An address where nothing is makes a call fail, whatever signals are blocked.
pub(crate) fn nowhere() {
    let before = mask(SIG_SETMASK, !0);
    let nothing = 8;
    assert_eq!(sys!(SYS_rt_sigaction, SIGUSR1, nothing, 0, 8), Err(EFAULT));
    assert_eq!(sys!(SYS_rt_sigaction, SIGUSR1, 0, nothing, 8), Err(EFAULT));
    assert_eq!(sys!(SYS_sigaltstack, nothing, 0), Err(EFAULT));
    assert_eq!(sys!(SYS_sched_getaffinity, 0, 8, nothing), Err(EFAULT));
    mask(SIG_SETMASK, before);
}
