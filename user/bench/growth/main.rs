//! What an operation costs among more and more strangers: `growth NAME... SIZE...`, the same program on Jotun and on
//! Linux.
//!
//! A stranger is an object that the operation has nothing to do with: for example, a descriptor that is watched but
//! not ready, or a process that waits for something else. For each size a child makes the strangers and times the
//! operation among them; they go when the child ends. A line `figure NAME-SIZE MEDIAN LEAST MOST` tells the ticks of
//! one operation, in hundredths; `failed NAME-SIZE: WHY` that it cannot be made. On a machine that counts
//! instructions a tick is an instruction.
//!
//! A further operation is a line of [`OPERATIONS`] here and one of `ROWS` in `xtask/src/bench/growth.rs`.
//!
//! Run by: `tests/tests/boot/bochs.rs`, `xtask/src/bench/growth.rs`.

mod having;
mod waiting;

use libc::{RLIMIT_NOFILE, SIGKILL, SYS_exit_group, SYS_fork, SYS_getpid, SYS_kill, SYS_setpgid, SYS_wait4};
use programs::sys;
use std::arch::x86_64::_rdtsc;
use std::io::Write;

/// Median, least and most ticks of an operation, in hundredths; or why it cannot be done.
type Figure = Result<[u64; 3], String>;

/// An operation: its name, the most strangers that it is timed among, and the function that makes a number of them and
/// times it.
type Operation = (&'static str, usize, fn(usize) -> Figure);

const OPERATIONS: [Operation; 15] = [
    ("epoll-idle", 10_000, waiting::epoll_idle),
    ("epoll-one", 10_000, waiting::epoll_one),
    ("epoll-ctl", 10_000, waiting::epoll_ctl),
    ("epoll-shared", 1_000, waiting::epoll_shared),
    ("poll", 10_000, waiting::poll),
    ("herd", 1_000, waiting::herd),
    ("futex-wake", 1_000, waiting::futex_wake),
    ("fork", 1_000, having::fork),
    ("wait", 1_000, having::wait),
    ("kill-group", 1_000, having::kill_group),
    ("load-average", 1_000, having::load_average),
    ("open", 10_000, having::open),
    ("map", 10_000, having::mapping),
    ("protect", 10_000, having::protecting),
    ("touch", 10_000, having::touching),
];

/// Rounds of which the median is taken.
const ROUNDS: usize = 5;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let sizes: Vec<usize> = words.iter().filter_map(|word| word.parse().ok()).collect();
    // Strangers need descriptors; where the kernel grants fewer, the larger sizes fail and say so.
    for limit in [65_536, 4_096] {
        // SAFETY: the limit is a structure of this function's.
        if unsafe { libc::setrlimit(RLIMIT_NOFILE, &libc::rlimit { rlim_cur: limit, rlim_max: limit }) } == 0 {
            break;
        }
    }
    for name in words.iter().filter(|word| word.parse::<usize>().is_err()) {
        let operation = OPERATIONS.iter().find(|(known, ..)| known == name);
        let &(_, most, run) = operation.unwrap_or_else(|| panic!("there is no operation {name}"));
        for size in sizes.iter().copied().filter(|size| *size <= most) {
            let told = in_a_child(|| match run(size) {
                Ok([median, least, most]) => println!("figure {name}-{size} {median} {least} {most}"),
                Err(why) => println!("failed {name}-{size}: {why}"),
            });
            told.unwrap_or_else(|why| println!("failed {name}-{size}: {why}"));
        }
    }
}

/// Does something in a child, and waits for its end. Whatever the child has started ends with it: it leads a group.
fn in_a_child(work: impl FnOnce()) -> Result<(), String> {
    let child = sys!(SYS_fork).map_err(errno)?;
    if child == 0 {
        let _ = sys!(SYS_setpgid, 0, 0);
        work();
        let _ = std::io::stdout().flush();
        end_group();
    }
    let mut status = 0_i32;
    sys!(SYS_wait4, child, &mut status, 0, 0).map_err(errno)?;
    if libc::WTERMSIG(status) == SIGKILL { Ok(()) } else { Err(format!("its process ended with status {status:#x}")) }
}

/// Ends the caller and all processes that it has started.
fn end_group() -> ! {
    let own = sys!(SYS_getpid).unwrap_or(0);
    loop {
        let _ = sys!(SYS_kill, (own as i64).wrapping_neg(), SIGKILL);
        let _ = sys!(SYS_exit_group, 1);
    }
}

/// Starts this number of processes that do this.
fn strangers(count: usize, act: impl Fn()) -> Result<(), String> {
    for _ in 0..count {
        if sys!(SYS_fork).map_err(errno)? == 0 {
            act();
            let _ = sys!(SYS_exit_group, 0);
        }
    }
    Ok(())
}

/// Times an operation: in each round it is done this number of times between two readings of the time-stamp counter.
fn times(count: u64, mut operation: impl FnMut() -> Result<(), i32>) -> Figure {
    let mut round = |count: u64| {
        let before = now();
        (0..count).try_for_each(|_| operation()).map_err(errno)?;
        Ok::<_, String>((now() - before) * 100 / count)
    };
    // What happens at first only.
    round(count.div_ceil(10))?;
    let mut each = (0..ROUNDS).map(|_| round(count)).collect::<Result<Vec<_>, _>>()?;
    each.sort_unstable();
    Ok([each[ROUNDS / 2], each[0], each[ROUNDS - 1]])
}

/// A figure for each of this number of parts of the operation.
fn for_each(parts: usize, figure: Figure) -> Figure {
    figure.map(|ticks| ticks.map(|ticks| ticks / parts as u64))
}

/// The time-stamp counter.
fn now() -> u64 {
    // SAFETY: every 64-bit CPU has it, and the kernel lets programs read it.
    unsafe { _rdtsc() }
}

/// An error number in words.
fn errno(number: i32) -> String {
    std::io::Error::from_raw_os_error(number).to_string()
}
