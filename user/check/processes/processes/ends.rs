//! Waiting for the end of children, and what the parent is told.

use super::Check;
use libc::*;
use programs::children::*;
use programs::sys;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};

pub(crate) const CHECKS: &[Check] = &[
    ("statuses", statuses),
    ("no-children", none),
    ("no-hang", no_hang),
    ("any-child", any),
    ("groups", groups),
    ("waitid", by_id),
    ("ignored-children", ignored),
    ("handler", handler),
    ("orphans", orphans),
    ("threads-wait", threads),
    ("times", times),
];

fn statuses() {
    for status in [0, 1, 42, 255] {
        assert_eq!(end_of(child(|| status)), End::Exited(status));
    }
    assert_eq!(end_of(child(|| 256)), End::Exited(0), "eight bits");
    // Other threads end with the process, or it ends with the last of them.
    for call in [SYS_exit_group, SYS_exit] {
        let pid = child(|| {
            std::thread::spawn(move || {
                let _ = sys!(SYS_nanosleep, &[if call == SYS_exit { 0i64 } else { 1000 }, 1_000_000], 0);
                leave(6)
            });
            sys!(call, 5).map_or(100, |_| 101)
        });
        assert_eq!(end_of(pid), End::Exited(if call == SYS_exit { 6 } else { 5 }));
    }
    for signal in [SIGKILL, SIGTERM] {
        let pid = child(|| {
            sys!(SYS_kill, sys!(SYS_getpid).unwrap(), signal).unwrap();
            0
        });
        assert_eq!(end_of(pid), End::Killed(signal));
    }
    let waiting = child(|| {
        loop {
            let _ = sys!(SYS_pause);
            let _ = sys!(SYS_nanosleep, &[1i64, 0], 0);
        }
    });
    sys!(SYS_kill, waiting, SIGKILL).unwrap();
    assert_eq!(end_of(waiting), End::Killed(SIGKILL));
}

fn none() {
    assert_eq!(wait_for(-1, 0), Err(ECHILD));
    assert_eq!(wait_for(-1, WNOHANG), Err(ECHILD));
    assert_eq!(wait_for(sys!(SYS_getpid).unwrap() as i32, 0), Err(ECHILD));
    assert_eq!(wait_for(0, 0), Err(ECHILD));
    assert_eq!(wait_for(-1, 0x100), Err(EINVAL));
    let pid = child(|| 0);
    assert_eq!(end_of(pid), End::Exited(0));
    assert_eq!(wait_for(pid, 0), Err(ECHILD), "only once");
}

fn no_hang() {
    let [output, input] = pipe_ends();
    let pid = child(|| {
        take(output);
        3
    });
    assert_eq!(wait_for(-1, WNOHANG), Ok(None));
    assert_eq!(wait_for(pid, WNOHANG | __WALL), Ok(None));
    give(input, 0);
    assert_eq!(end_of(pid), End::Exited(3));
    close_all(&[output, input]);
}

fn any() {
    let mut pids: Vec<i32> = (0..8).map(|n| child(|| n)).collect();
    while !pids.is_empty() {
        let (pid, end) = wait_for(-1, 0).unwrap().unwrap();
        let at = pids.iter().position(|there| *there == pid).expect("a child of mine");
        pids.swap_remove(at);
        assert!(matches!(end, End::Exited(0..8)));
    }
    assert_eq!(wait_for(-1, 0), Err(ECHILD));
}

fn groups() {
    let [output, input] = pipe_ends();
    let other = child(|| {
        take(output);
        1
    });
    sys!(SYS_setpgid, other, 0).unwrap();
    assert_eq!(wait_for(0, 0), Err(ECHILD), "it is in another group");
    assert_eq!(wait_for(-other, WNOHANG), Ok(None));
    let mine = child(|| 2);
    assert_eq!(wait_for(0, 0), Ok(Some((mine, End::Exited(2)))));
    give(input, 0);
    assert_eq!(wait_for(-other, 0), Ok(Some((other, End::Exited(1)))));
    close_all(&[output, input]);
}

/// What `waitid` says: signal, code, number, status.
fn told(kind: u32, number: i32, options: i32) -> Result<[i32; 4], i32> {
    let mut info = [-1i32; 32];
    sys!(SYS_waitid, kind, number, &mut info, options, 0)?;
    Ok([info[0], info[2], info[4], info[6]])
}

fn by_id() {
    let pid = child(|| 9);
    assert_eq!(told(P_PID, pid, WEXITED | WNOWAIT), Ok([SIGCHLD, CLD_EXITED, pid, 9]));
    assert_eq!(told(P_ALL, 0, WEXITED), Ok([SIGCHLD, CLD_EXITED, pid, 9]));
    assert_eq!(told(P_ALL, 0, WEXITED), Err(ECHILD));
    let [output, input] = pipe_ends();
    let pid = child(|| {
        take(output);
        sys!(SYS_kill, sys!(SYS_getpid).unwrap(), SIGTERM).unwrap();
        0
    });
    assert_eq!(told(P_PID, pid, WEXITED | WNOHANG).map(|info| (info[0], info[2])), Ok((0, 0)));
    assert_eq!(told(P_PID, pid, 0), Err(EINVAL));
    assert_eq!(told(P_PID, 0, WEXITED), Err(EINVAL));
    assert_eq!(told(7, pid, WEXITED), Err(EINVAL));
    give(input, 0);
    assert_eq!(told(P_PGID, 0, WEXITED), Ok([SIGCHLD, CLD_KILLED, pid, SIGTERM]));
    close_all(&[output, input]);
}

fn set_handler(signal: i32, handler: usize, flags: i32) {
    // SAFETY: the structure is filled in whole; handlers here touch atomics only.
    unsafe {
        let mut action: sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        assert_eq!(sigaction(signal, &action, std::ptr::null_mut()), 0);
    }
}

/// Children whose ends are ignored leave nothing, and a parent that waits is told when there are no more.
fn ignored() {
    for (handler, flags) in [(SIG_IGN, 0), (SIG_DFL, SA_NOCLDWAIT)] {
        set_handler(SIGCHLD, handler, flags);
        let pid = child(|| 1);
        assert_eq!(wait_for(pid, 0), Err(ECHILD));
        (0..4).for_each(|_| _ = child(|| 0));
        assert_eq!(wait_for(-1, 0), Err(ECHILD));
    }
    set_handler(SIGCHLD, SIG_DFL, 0);
}

static CALLED: AtomicI32 = AtomicI32::new(0);

extern "C" fn count(_: i32) {
    CALLED.fetch_add(1, SeqCst);
}

extern "C" fn count_and_wait(_: i32) {
    CALLED.fetch_add(1, SeqCst);
    assert_eq!(wait_for(-1, WNOHANG), Err(ECHILD), "who has waited longer has it");
}

/// The handler comes, and a wait that was under way has the child, whatever the handler does.
fn handler() {
    for (function, flags) in [(count as *const () as usize, 0), (count_and_wait as *const () as usize, SA_RESTART)] {
        CALLED.store(0, SeqCst);
        set_handler(SIGCHLD, function, flags);
        let [output, input] = pipe_ends();
        let pid = child(|| {
            take(output);
            // Long enough for the parent to wait; nothing depends on it.
            let _ = sys!(SYS_nanosleep, &[0i64, 20_000_000], 0);
            6
        });
        give(input, 0);
        assert_eq!(end_of(pid), End::Exited(6));
        assert_eq!(CALLED.load(SeqCst), 1);
        close_all(&[output, input]);
    }
    set_handler(SIGCHLD, SIG_DFL, 0);
}

/// A process whose parent ends first has another one, and nothing is left of it.
fn orphans() {
    let (alive, told) = (pipe_ends(), pipe_ends());
    let pid = child(|| {
        let parent = sys!(SYS_getpid).unwrap();
        let _ = child(|| {
            close_all(&[alive[1]]);
            take(alive[0]);
            while sys!(SYS_getppid) == Ok(parent) {
                let _ = sys!(SYS_sched_yield);
            }
            give(told[1], 1);
            0
        });
        0
    });
    assert_eq!(end_of(pid), End::Exited(0));
    assert_eq!(wait_for(-1, 0), Err(ECHILD), "a grandchild is no child");
    close_all(&[alive[1]]);
    assert_eq!(take(told[0]), Some(1));
    close_all(&[alive[0], told[0], told[1]]);
}

/// Any thread may wait for a child that another one has made.
fn threads() {
    let [output, input] = pipe_ends();
    let pid = child(|| {
        take(output);
        4
    });
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| end_of(pid));
        give(input, 0);
        assert_eq!(waiter.join().unwrap(), End::Exited(4));
    });
    close_all(&[output, input]);
}

/// Times of children count when they have been waited for.
fn times() {
    let mut usage = [0i64; 18];
    let mut children = || {
        sys!(SYS_getrusage, RUSAGE_CHILDREN, &mut usage).unwrap();
        usage[0] * 1_000_000 + usage[1] + usage[2] * 1_000_000 + usage[3]
    };
    let before = children();
    let pid = child(|| {
        let mut usage = [0i64; 18];
        while usage[0] == 0 && usage[1] + usage[3] < 20_000 {
            sys!(SYS_getrusage, RUSAGE_SELF, &mut usage).unwrap();
        }
        0
    });
    let mut own = [0i64; 18];
    assert_eq!(sys!(SYS_wait4, pid, 0, 0, &mut own), Ok(pid as u64));
    let used = own[0] * 1_000_000 + own[1] + own[3];
    assert!(used >= 20_000, "{used} µs");
    assert!(children() - before >= used, "{before} µs before, {used} µs of the child");
    // Those in the kernel and those in user mode are told apart.
    let mut both = |done: &dyn Fn(i64, i64) -> bool, act: &dyn Fn()| loop {
        sys!(SYS_getrusage, RUSAGE_SELF, &mut usage).unwrap();
        if done(usage[0] * 1_000_000 + usage[1], usage[2] * 1_000_000 + usage[3]) {
            return;
        }
        act();
    };
    both(&|user, _| user > 20_000, &|| (0..1_000_000).for_each(|_| std::hint::spin_loop()));
    if programs::native::present() {
        both(&|_, system| system > 20_000, &|| _ = sys!(abi::native::BURN, 10_000_000));
    }
    let mut ticks = [0i64; 4];
    assert!(sys!(SYS_times, &mut ticks).is_ok() && ticks[2] + ticks[3] >= 1, "{ticks:?}");
}
