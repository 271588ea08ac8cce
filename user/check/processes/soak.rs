//! Threads, `fork`, `vfork`, `execve`, signals and ends in any order: `soak [rounds] [seed]`.
//!
//! Each round makes a few processes whose threads do at random what could get into each other's way: they make
//! children of each kind, execute programs, end alone or with all other threads, send and get signals that kill, stop
//! or do nothing, and leave orphans. Each process ends by itself or is killed. When none is left, all is as it was
//! before: the kernel's counts of processes, threads, containers, objects, open files and frames, and but for the shape
//! of a tree the bytes of its heap.
//!
//! It runs on Linux as well and counts nothing there.
//!
//! Run by: `tests/tests/boot/checked.rs`, `tests/tests/smp.rs`.

use libc::*;
use programs::children::{End, close_all, end_of, fork_raw, give, leave, pipe_ends, take, wait_for};
use programs::counts::{self, Counts, nap};
use programs::cpus::{self, Random};
use programs::{native, sys, system};
use std::arch::naked_asm;
use std::ffi::CStr;
use std::io::Write;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::SystemTime;
use std::{env, ptr, thread};

/// This program.
const ME: &CStr = c"/proc/self/exe";

/// Processes that a round begins with.
const FIRST: u64 = 4;

/// Processes and threads there may be at a time, beside those of the system.
const MOST: u64 = 100;

/// Bytes of the kernel's heap by which two shapes of the tree with the names in `/proc` differ: whether the dozen that have stayed
/// are in one leaf, or in two below a node. That depends on the names that have come and gone.
const SPLIT: i64 = 2 * 576;

/// Executes this program so that it ends at once with this status. Returns only if that fails.
fn run_exit(status: &CStr) -> i32 {
    let words = [c"soak".as_ptr(), c"exit".as_ptr(), status.as_ptr(), ptr::null()];
    sys!(SYS_execve, ME, words.as_ptr(), &[0u64]).map_or(97, |_| 98)
}

/// Executes this program as another process of the soak.
fn run_act(random: &mut Random, depth: u64) -> i32 {
    // Not the C library's memory, which other threads may have locked.
    let mut text = [0u8; 24];
    let mut number = random.below(1 << 40);
    for byte in text[..20].iter_mut().rev() {
        (*byte, number) = (b'0' + (number % 10) as u8, number / 10);
    }
    let depth = if depth > 1 { c"1" } else { c"0" };
    let words = [c"soak".as_ptr(), c"act".as_ptr(), text.as_ptr().cast(), depth.as_ptr(), ptr::null()];
    sys!(SYS_execve, ME, words.as_ptr(), &[0u64]).map_or(97, |_| 98)
}

/// Calls `vfork`; the child executes a program, or ends if it cannot. The return address is kept in a register,
/// because the child uses the stack.
#[unsafe(naked)]
unsafe extern "C" fn run_in_child(path: *const c_char, words: *const *const c_char, none: &u64) -> i64 {
    naked_asm!(
        "pop r8",
        "mov r9, rdx",
        "mov eax, 58",
        "syscall",
        "push r8",
        "test rax, rax",
        "jnz 2f",
        "mov rdx, r9",
        "mov eax, 59",
        "syscall",
        "mov edi, 3",
        "mov eax, 231",
        "syscall",
        "2: ret",
    )
}

static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn handler(_: c_int) {
    HANDLED.fetch_add(1, Relaxed);
    let _ = sys!(SYS_getppid);
}

/// What one thread does, or a process: a few things at random. `plain`: the C library may be called. Returns unless
/// one of them is the end.
fn act(random: &mut Random, depth: u64, plain: bool) {
    for _ in 0..random.below(6) {
        step(random, depth, plain);
    }
}

fn step(random: &mut Random, depth: u64, plain: bool) {
    match random.below(17) {
        0 => leave(random.below(3) as i32),
        1 => leave(run_exit(c"2")),
        2 if depth > 0 => leave(run_act(random, depth)),
        3..=6 => make_child(random, depth),
        7 => {
            let words = [c"soak".as_ptr(), c"exit".as_ptr(), c"4".as_ptr(), ptr::null()];
            let path = if random.below(4) > 0 { ME } else { c"/no/such/program" };
            // SAFETY: the child does nothing but these two calls.
            unsafe { run_in_child(path.as_ptr(), words.as_ptr(), &0) };
        }
        8 if plain => {
            // The child has a stack of its own, in this memory.
            _ = Command::new("/proc/self/exe").args(["exit", "5"]).status();
        }
        9 => {
            let me = sys!(SYS_getpid).unwrap_or(0);
            let signal = [SIGUSR1, SIGUSR1, SIGUSR2, SIGCHLD, SIGTERM, SIGRTMIN()][random.below(6) as usize];
            let thread = if random.below(2) == 0 { me } else { sys!(SYS_gettid).unwrap_or(0) };
            let _ = sys!(SYS_tgkill, me, thread, signal);
        }
        10 => stop_for_a_while(),
        11 => {
            let action = [[handler as *const () as u64, 0x1400_0000], [SIG_IGN as u64, 0]][random.below(2) as usize];
            // A handler needs a way back, which the C library has; without it there is none.
            if plain && action[0] != SIG_IGN as u64 {
                // SAFETY: the handler touches an atomic and makes a call.
                unsafe { signal(SIGALRM, action[0] as sighandler_t) };
            } else {
                let _ = sys!(SYS_rt_sigaction, SIGALRM, &[SIG_IGN as u64, 0, 0, 0], 0, 8);
            }
            let _ = sys!(SYS_setitimer, ITIMER_REAL, &[0, random.below(2000), 0, 1 + random.below(2000)], 0);
        }
        12 => nap(random.below(2000)),
        13 => {
            let mut word = 1u32;
            let _ = sys!(SYS_futex, &mut word, FUTEX_WAIT, 1, &[0, random.below(1_000_000)]);
        }
        14 => _ = sys!(SYS_wait4, -1, 0, [0, WNOHANG][random.below(2) as usize], 0),
        15 => look_around(random),
        _ => touch(random),
    }
}

/// Makes a child, which shares nothing that the C library may have locked; perhaps kills it, perhaps waits for it.
fn make_child(random: &mut Random, depth: u64) {
    let Ok(pid) = fork_raw() else { return };
    if pid == 0 {
        match random.below(6) {
            0 => leave(6),
            1 => leave(run_exit(c"7")),
            2 if depth > 0 => leave(run_act(random, depth)),
            3 => {
                // An orphan, in a session of its own or not.
                if fork_raw() == Ok(0) {
                    if random.below(2) == 0 {
                        let _ = sys!(SYS_setsid);
                    }
                    nap(random.below(5000));
                }
                leave(8);
            }
            4 => nap(random.below(20_000)),
            _ if depth > 0 => act(random, depth - 1, false),
            _ => touch(random),
        }
        leave(9);
    }
    match random.below(5) {
        0 => _ = sys!(SYS_kill, pid, [SIGKILL, SIGTERM, SIGUSR1, SIGABRT][random.below(4) as usize]),
        1 => {
            let _ = sys!(SYS_setpgid, pid, pid);
            let _ = sys!(SYS_kill, -pid, SIGKILL);
        }
        2 => _ = sys!(SYS_wait4, pid, 0, 0, 0),
        _ => {}
    }
}

/// The process stops until a child makes it go on. Its own parent waits for it, so no process kills it before.
fn stop_for_a_while() {
    let me = sys!(SYS_getpid).unwrap_or(0);
    match fork_raw() {
        Ok(0) => {
            // Signals that the parent ignores or handles are no end for the child.
            let _ = sys!(SYS_setsid);
            let _ = sys!(SYS_setitimer, ITIMER_REAL, &[0u64; 4], 0);
            if sys!(SYS_getppid) == Ok(me) {
                let _ = sys!(SYS_kill, me, SIGSTOP);
                let _ = sys!(SYS_sched_yield);
                let _ = sys!(SYS_kill, me, SIGCONT);
            }
            leave(0);
        }
        Ok(pid) => _ = sys!(SYS_wait4, pid, 0, 0, 0),
        Err(_) => {}
    }
}

/// Opens something, a pipe or a file of `/proc`, and leaves it open or not.
fn look_around(random: &mut Random) {
    let mut ends = [0i32; 2];
    let mut text = [0u8; 256];
    let path =
        [c"/proc/self/stat", c"/proc/self/maps", c"/proc/self/fd/1", c"/proc/1/status"][random.below(4) as usize];
    let _ = sys!(SYS_pipe2, &mut ends, [0, O_CLOEXEC][random.below(2) as usize]);
    if let Ok(file) = sys!(SYS_open, path, O_RDONLY) {
        let _ = sys!(SYS_read, file, &mut text, text.len());
        if random.below(4) > 0 {
            let _ = sys!(SYS_close, file);
        }
    }
    if random.below(4) > 0 {
        let _ = sys!(SYS_close, ends[0]);
        // There is no reader any more: a signal, perhaps the end.
        let _ = sys!(SYS_write, ends[1], &text, 1);
        let _ = sys!(SYS_close, ends[1]);
    }
}

/// Maps pages, writes to them, perhaps beside a child that has them too.
fn touch(random: &mut Random) {
    let pages = 1 + random.below(8) as usize;
    let flags = MAP_ANONYMOUS | [MAP_PRIVATE, MAP_SHARED][random.below(2) as usize];
    let length = pages * system::PAGE;
    let Ok(area) = sys!(SYS_mmap, 0, length, PROT_READ | PROT_WRITE, flags, -1, 0) else { return };
    let fill = || {
        for page in 0..pages {
            let at = ptr::with_exposed_provenance_mut::<u64>(area as usize + page * system::PAGE);
            // SAFETY: it has just been mapped, and is this thread's.
            unsafe { at.write_volatile(page as u64) };
        }
    };
    fill();
    if random.below(3) == 0 && fork_raw() == Ok(0) {
        fill();
        leave(0);
    }
    fill();
    if random.below(2) == 0 {
        let _ = sys!(SYS_munmap, area, length);
    }
}

/// A process of the soak: threads that act, and the main thread, which acts as well and ends before them or with
/// them.
fn process(seed: u64, depth: u64) -> i32 {
    let mut random = Random::new(seed);
    // SAFETY: the handler touches an atomic and makes a call.
    unsafe {
        signal(SIGUSR1, handler as *const () as sighandler_t);
        signal(SIGHUP, SIG_DFL);
    }
    for _ in 0..random.below(4) {
        let seed = random.below(u64::MAX);
        // Without room for a thread there is one less.
        let _ = thread::Builder::new().stack_size(64 << 10).spawn(move || act(&mut Random::new(seed), depth, true));
    }
    act(&mut random, depth, true);
    match random.below(3) {
        0 => _ = sys!(SYS_exit, 10),
        1 => nap(random.below(3000)),
        _ => {}
    }
    11
}

/// Makes this number of rounds.
fn soak(rounds: u64, seed: u64) {
    let mut random = Random::new(seed);
    for _ in 0..rounds {
        for _ in 0..FIRST {
            let seed = random.below(u64::MAX);
            match fork_raw().expect("a child") {
                0 => {
                    let _ = sys!(SYS_setrlimit, RLIMIT_NPROC, &[MOST, MOST]);
                    // Memory that is mapped and filled until there is none left is not what this is about.
                    let _ = sys!(SYS_setrlimit, RLIMIT_AS, &[64u64 << 20; 2]);
                    leave(process(seed, 2));
                }
                pid if random.below(4) == 0 => {
                    nap(random.below(3000));
                    let signal = [SIGKILL, SIGKILL, SIGTERM, SIGUSR1, SIGQUIT][random.below(5) as usize];
                    let _ = sys!(SYS_kill, pid, signal);
                }
                _ => {}
            }
        }
        for _ in 0..FIRST {
            let (_, end) = wait_for(-1, 0).expect("a child").expect("that has ended");
            // 0 is that of a thread that has ended last, 101 of a panic.
            assert!(!matches!(end, End::Exited(12..)), "{end:?}");
        }
    }
}

/// More at a time than the soak ever has, so that no table of the kernel, which never shrinks, grows in it. All are there
/// before the first one goes.
fn crowd() {
    let ([over, go_on], [there, say_there]) = (pipe_ends(), pipe_ends());
    for _ in 0..MOST {
        if fork_raw().expect("a child") == 0 {
            close_all(&[go_on]);
            for _ in 0..2 {
                let _ = thread::Builder::new().stack_size(64 << 10).spawn(move || take(over));
            }
            let mut ends = [0i32; 2];
            (0..4).for_each(|_| _ = sys!(SYS_pipe2, &mut ends, 0));
            // What has been read of `/proc`, and interval timers: trees, each of which keeps a node when its last entry goes.
            if let Ok(file) = sys!(SYS_open, c"/proc/self/stat", O_RDONLY) {
                let _ = sys!(SYS_read, file, &mut [0u8; 8], 8);
            }
            let _ = sys!(SYS_setitimer, ITIMER_REAL, &[0u64, 0, 1000, 0], 0);
            give(say_there, 0);
            let _ = take(over);
            leave(0);
        }
    }
    (0..MOST).for_each(|_| assert_eq!(take(there), Some(0), "a child is there"));
    close_all(&[over, go_on, there, say_there]);
    (0..MOST).for_each(|_| _ = wait_for(-1, 0));
}

/// Has a child do something, and waits until all that has come of it is gone. This process does nothing else, so its
/// own memory is the same each time, and it stays on one CPU, as another would need a copy of its page directory. The child
/// may run on all that are `allowed`.
fn by_child(allowed: cpus::Mask, work: impl FnOnce()) {
    match fork_raw().expect("a child") {
        0 => {
            cpus::set_affinity(0, allowed).expect("the CPUs that there are");
            work();
            leave(0);
        }
        pid => assert_eq!(end_of(pid), End::Exited(0)),
    }
    counts::alone();
}

fn main() {
    match env::args().nth(1).as_deref() {
        Some("exit") => leave(cpus::argument(2, 0) as i32),
        Some("act") => leave(process(cpus::argument(2, 0) as u64, cpus::argument(3, 0) as u64)),
        _ => {}
    }
    // A process that stands between this group and a further one, as one that has been given a group of its own does for its
    // children, may end while another of this group is stopped: all of the group are hung up then.
    // SAFETY: no handler is called.
    unsafe { signal(SIGHUP, SIG_IGN) };
    let rounds = cpus::argument(1, 40) as u64;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_nanos() as usize);
    let seed = cpus::argument(2, now >> 8 & 0xffff_ffff) as u64;
    println!("soak of {rounds} rounds with the seed {seed}");
    std::io::stdout().flush().expect("standard output");
    if !native::present() {
        soak(rounds, seed);
        return println!("ok soak");
    }
    let allowed = cpus::affinity(0).expect("a mask of CPUs");
    cpus::stay_on(cpus::current());
    // Its directory there is made when somebody looks, which one of the processes to come may do or not.
    std::fs::read_dir("/proc/self/fd").expect("this process's descriptors").for_each(drop);
    by_child(allowed, crowd);
    by_child(allowed, || soak(rounds / 4 + 1, seed + 1));
    let (before, heap) = (Counts::now(), counts::heap());
    by_child(allowed, || soak(rounds, seed));
    let after = Counts::now();
    assert_eq!(before, after, "before and after");
    let grown = counts::heap() as i64 - heap as i64;
    assert!([0, SPLIT, -SPLIT].contains(&grown), "{grown} bytes of the kernel's heap have not come back");
    println!("before and after: {after:?}; {} processes", cpus::statistic("processes_made").unwrap_or(0));
    println!("ok soak");
}
