//! Ends of what has much.

use super::memory;
use libc::*;
use programs::children::{End, end_of, fork_raw, give, leave, pipe_ends, take};
use programs::sys;
use programs::system::PAGE;

/// A process with thousands of descriptors ends, and closes them; a reader finds the end of its pipe when it does.
pub(super) fn descriptors() {
    const DESCRIPTORS: u64 = 3_000;
    let limit = [u64::from(DESCRIPTORS as u32) + 100; 2];
    sys!(SYS_setrlimit, RLIMIT_NOFILE, limit.as_ptr().expose_provenance()).expect("more descriptors");
    for way in 0..4 {
        let [reader, writer] = pipe_ends();
        let child = fork_raw().expect("a child");
        if child == 0 {
            // Each an open file of its own.
            (0..DESCRIPTORS).for_each(|_| assert!(sys!(SYS_open, c"/dev/null", O_RDONLY | O_CLOEXEC).is_ok()));
            match way {
                0 => leave(3),
                1 => {
                    sys!(SYS_close_range, writer + 1, u32::MAX, 0).expect("all above");
                    leave(3)
                }
                2 => {
                    give(writer, 1);
                    loop {
                        _ = sys!(SYS_pause);
                    }
                }
                _ => _ = sys!(SYS_exit, 3),
            }
        }
        sys!(SYS_close, writer).expect("the child's alone");
        if way == 2 {
            assert_eq!(take(reader), Some(1));
            sys!(SYS_kill, child, SIGKILL).expect("it is there");
        }
        assert_eq!(take(reader), None, "the end of the pipe");
        assert_eq!(end_of(child), if way == 2 { End::Killed(SIGKILL) } else { End::Exited(3) });
        sys!(SYS_close, reader).expect("it is open");
    }
}

/// A process with many children ends; those that live go on without it.
pub(super) fn children() {
    const CHILDREN: usize = 400;
    let [reader, writer] = pipe_ends();
    let child = fork_raw().expect("a child");
    if child == 0 {
        let parent = sys!(SYS_getpid);
        for n in 0..CHILDREN {
            if fork_raw() == Ok(0) {
                // Every other is a zombie when its parent ends.
                if n % 2 == 0 {
                    leave(0);
                }
                sys!(SYS_close, writer).expect("it is open");
                while sys!(SYS_getppid) == parent {
                    sys!(SYS_sched_yield).expect("others' turn");
                }
                leave(0);
            }
        }
        leave(4);
    }
    sys!(SYS_close, writer).expect("it is open");
    assert_eq!(take(reader), None);
    assert_eq!(end_of(child), End::Exited(4));
    sys!(SYS_close, reader).expect("it is open");
}

/// A process with many threads ends, by a call and by a signal.
pub(super) fn threads() {
    const THREADS: usize = 1_000;
    const STACK: usize = 2 * PAGE;
    for signal in [0, SIGKILL] {
        let [reader, writer] = pipe_ends();
        let child = fork_raw().expect("a child");
        if child == 0 {
            let stacks = memory(THREADS * STACK, PROT_READ | PROT_WRITE);
            for n in 1..=THREADS {
                wait_forever(stacks + (n * STACK) as u64);
            }
            give(writer, 1);
            if signal == 0 {
                leave(5);
            }
            loop {
                _ = sys!(SYS_pause);
            }
        }
        assert_eq!(take(reader), Some(1));
        if signal != 0 {
            sys!(SYS_kill, child, signal).expect("it is there");
        }
        assert_eq!(end_of(child), if signal == 0 { End::Exited(5) } else { End::Killed(signal) });
        [reader, writer].iter().for_each(|end| assert!(sys!(SYS_close, *end).is_ok()));
    }
}

/// A thread on a stack of its own that waits, and never returns.
fn wait_forever(stack: u64) {
    const FLAGS: i32 = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD;
    // SAFETY: the new thread uses registers alone, and goes round in `pause` until its process ends.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 3f",
            "2: mov eax, {pause}",
            "syscall",
            "jmp 2b",
            "3:",
            pause = const SYS_pause,
            inlateout("rax") SYS_clone => _,
            in("rdi") FLAGS as u64, in("rsi") stack, in("rdx") 0, in("r10") 0, in("r8") 0,
            lateout("rcx") _, lateout("r11") _,
        );
    }
}
