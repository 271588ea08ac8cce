//! `fork`, `vfork`, `clone`, and what a child inherits.

use super::Check;
use libc::*;
use programs::children::*;
use programs::{cpus, sys};
use std::arch::naked_asm;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

pub(crate) const CHECKS: &[Check] = &[
    ("fork-returns-twice", returns_twice),
    ("fork-tree", tree),
    ("inherited", inherited),
    ("descriptors-are-shared", descriptors),
    ("vfork", lends),
    ("vfork-and-signals", interrupted),
    ("spawned", spawned),
    ("clone-refused", refused),
    ("clone-writes-numbers", numbers),
];

fn returns_twice() {
    let parent = sys!(SYS_getpid).unwrap();
    let pid = child(|| {
        let same = sys!(SYS_getpid) != Ok(parent) && sys!(SYS_getppid) == Ok(parent);
        i32::from(!same || sys!(SYS_gettid) != sys!(SYS_getpid))
    });
    assert!(pid > 0 && pid as u64 != parent);
    assert_eq!(end_of(pid), End::Exited(0));
}

/// Each process of a tree has two children and adds up what is below it.
fn tree() {
    fn grow(depth: i32) -> i32 {
        if depth == 0 {
            return 1;
        }
        let branches = [child(|| grow(depth - 1)), child(|| grow(depth - 1))];
        branches.into_iter().map(|pid| if let End::Exited(sum) = end_of(pid) { sum } else { -100 }).sum::<i32>() + 1
    }
    assert_eq!(grow(5), 63);
}

fn inherited() {
    sys!(SYS_chdir, c"/tmp").unwrap();
    let umask = sys!(SYS_umask, 0o027).unwrap();
    let mask = 1u64 << (SIGUSR1 - 1);
    sys!(SYS_rt_sigprocmask, SIG_BLOCK, &mask, 0, 8).unwrap();
    sys!(SYS_tgkill, sys!(SYS_getpid).unwrap(), sys!(SYS_gettid).unwrap(), SIGUSR1).unwrap();
    let affinity = cpus::affinity(0);
    let pid = child(|| {
        let mut there = [0u8; 16];
        let mut blocked = 0u64;
        let mut pending = 0u64;
        sys!(SYS_getcwd, there.as_mut_ptr(), 16).unwrap();
        sys!(SYS_rt_sigprocmask, SIG_BLOCK, 0, &mut blocked, 8).unwrap();
        sys!(SYS_rt_sigpending, &mut pending, 8).unwrap();
        assert_eq!(&there[..5], b"/tmp\0");
        assert_eq!(sys!(SYS_umask, 0), Ok(0o027));
        assert_eq!((blocked & mask, pending & mask), (mask, 0), "the mask is the same, what is pending is not");
        assert_eq!(cpus::affinity(0), affinity);
        assert_eq!(sys!(SYS_getpgid, 0), sys!(SYS_getpgid, sys!(SYS_getppid).unwrap()));
        0
    });
    assert_eq!(end_of(pid), End::Exited(0));
    // Ignored while it is pending, it is gone.
    let old = [SIG_IGN as u64, 0, 0, 0];
    sys!(SYS_rt_sigaction, SIGUSR1, &old, 0, 8).unwrap();
    sys!(SYS_rt_sigprocmask, SIG_UNBLOCK, &mask, 0, 8).unwrap();
    sys!(SYS_umask, umask).unwrap();
    sys!(SYS_chdir, c"/").unwrap();
}

fn descriptors() {
    let file = sys!(SYS_open, c"/tmp/processes.shared", O_RDWR | O_CREAT | O_TRUNC, 0o600).unwrap();
    sys!(SYS_write, file, c"abcdef", 6).unwrap();
    sys!(SYS_lseek, file, 0, SEEK_SET).unwrap();
    let pid = child(|| {
        sys!(SYS_lseek, file, 4, SEEK_SET).unwrap();
        sys!(SYS_close, file).unwrap();
        0
    });
    assert_eq!(end_of(pid), End::Exited(0));
    assert_eq!(sys!(SYS_lseek, file, 0, SEEK_CUR), Ok(4), "the offset is one, the descriptor is not");
    sys!(SYS_close, file).unwrap();
    // A pipe ends when the last of both has closed it.
    let [output, input] = pipe_ends();
    let pid = child(|| {
        close_all(&[output]);
        give(input, 7);
        0
    });
    close_all(&[input]);
    assert_eq!((take(output), take(output)), (Some(7), None));
    close_all(&[output]);
    assert_eq!(end_of(pid), End::Exited(0));
}

/// The parent of `vfork` goes on when the child has ended, and sees what it has done to its memory.
fn lends() {
    for _ in 0..3 {
        let mut word = 1u64;
        // SAFETY: the word lives through the call, and the child touches nothing else.
        let pid = unsafe { store_in_child(&mut word, 77) };
        assert!(pid > 0, "{pid}");
        assert_eq!(word, 77, "the child has been there before the parent goes on");
        assert_eq!(end_of(pid as i32), End::Exited(5));
    }
}

/// Calls `vfork`; the child stores a word and ends with 5. The return address is kept in a register, because
/// the child uses the stack.
#[unsafe(naked)]
unsafe extern "C" fn store_in_child(word: &mut u64, value: u64) -> i64 {
    naked_asm!(
        "pop r8",
        "mov r9, rdi",
        "mov r10, rsi",
        "mov eax, 58",
        "syscall",
        "push r8",
        "test rax, rax",
        "jnz 2f",
        "mov [r9], r10",
        "mov edi, 5",
        "mov eax, 60",
        "syscall",
        "2: ret",
    )
}

/// In which the child of `vfork` finds what it is to do.
struct Lent {
    ready: [i32; 2],
    go: [i32; 2],
}

extern "C" fn wait_there(lent: *mut c_void) -> c_int {
    // SAFETY: the parent waits with what it has lent, or has ended and left it.
    let lent = unsafe { &*lent.cast::<Lent>() };
    give(lent.ready[1], 1);
    i32::from(take(lent.go[0]) != Some(2))
}

/// A signal with a handler comes when the child has left the parent's memory, not earlier; one that kills comes at
/// once, before the handler of any other, and the child goes on in the memory that it has.
fn interrupted() {
    // Linux lets a thread that has not taken one signal yet wait on before it looks at the next.
    let both = if programs::native::present() { &[SIGUSR1, SIGTERM][..] } else { &[SIGTERM] };
    for signals in [&[SIGUSR1][..], &[SIGKILL], both] {
        let lent = Lent { ready: pipe_ends(), go: pipe_ends() };
        let pid = child(|| {
            static CALLED: AtomicBool = AtomicBool::new(false);
            extern "C" fn called(_: c_int) {
                CALLED.store(true, SeqCst);
            }
            let handler: extern "C" fn(c_int) = called;
            // SAFETY: the handler stores a flag; the child has a stack of its own and calls the kernel only.
            let grandchild = unsafe {
                let mut action: sigaction = std::mem::zeroed();
                (action.sa_sigaction, action.sa_flags) = (handler as sighandler_t, SA_RESTART);
                sigfillset(&mut action.sa_mask);
                assert_eq!(sigaction(SIGUSR1, &action, std::ptr::null_mut()), 0);
                let stack = programs::system::pages(4).add(4 * 4096).cast();
                let lent = (&raw const lent).cast_mut().cast();
                clone(wait_there, stack, CLONE_VM | CLONE_VFORK | SIGCHLD, lent)
            };
            assert_eq!(end_of(grandchild), End::Exited(0));
            i32::from(!CALLED.load(SeqCst))
        });
        assert_eq!(take(lent.ready[0]), Some(1));
        signals.iter().for_each(|signal| _ = sys!(SYS_kill, pid, *signal).unwrap());
        if let Some(deadly) = signals.iter().find(|signal| **signal != SIGUSR1) {
            assert_eq!(end_of(pid), End::Killed(*deadly));
            give(lent.go[1], 2);
        } else {
            assert_eq!(wait_for(pid, WNOHANG), Ok(None));
            give(lent.go[1], 2);
            assert_eq!(end_of(pid), End::Exited(0));
        }
        close_all(&[lent.ready[1], lent.go[1]]);
        // When the grandchild has ended no writer is left, and there was one.
        assert_eq!(take(lent.ready[0]), None);
        close_all(&[lent.ready[0], lent.go[0]]);
    }
}

/// Rust's way, and musl's: a child with a stack of its own in the parent's memory.
fn spawned() {
    let me = std::env::current_exe().unwrap();
    for status in [0, 7, 255] {
        let ended = Command::new(&me).args(["as:exit", &status.to_string()]).status().unwrap();
        assert_eq!(ended.code(), Some(status));
    }
    let output = Command::new(&me).args(["as:tell", "a", "b c"]).env("PROCESSES", "yes").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "as:tell|a|b c|yes\n");
    let none = Command::new("/no/such/program").status().unwrap_err();
    assert_eq!(none.raw_os_error(), Some(ENOENT));
    let killed = Command::new(&me).args(["as:abort"]).status().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed), Some(SIGKILL));
}

fn refused() {
    // CLONE_SIGHAND and CLONE_THREAD want the memory shared.
    for flags in [0x800 | SIGCHLD, 0x1_0000 | SIGCHLD] {
        assert_eq!(sys!(SYS_clone, flags, 0, 0, 0, 0).map(|_| ()).map_err(|errno| errno != 0), Err(true));
    }
}

fn numbers() {
    let (mut in_parent, mut in_child) = (0i32, 0i32);
    let flags = CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | SIGCHLD;
    match sys!(SYS_clone, flags, 0, &mut in_parent, &mut in_child, 0).unwrap() {
        0 => leave(i32::from(std::hint::black_box(in_child) as u64 != sys!(SYS_getpid).unwrap())),
        pid => {
            assert_eq!((in_parent as u64, std::hint::black_box(in_child)), (pid, 0));
            assert_eq!(end_of(pid as i32), End::Exited(0));
        }
    }
}
