//! What parents are told: SIGCHLD and `waitid`.

use crate::*;

pub(crate) const CHECKS: &[Check] = &[("SIGCHLD", signals), ("waitid", by_id), ("wait again", again)];

/// Takes the next SIGCHLD, which is blocked: `si_code` and `si_status`.
fn told(of: i32) -> (i32, i32) {
    let mut info = [0i32; 32];
    let set = 1u64 << (SIGCHLD - 1);
    assert_eq!(sys!(SYS_rt_sigtimedwait, &set, &mut info, 0, 8), Ok(SIGCHLD as u64));
    assert_eq!((info[0], info[1], info[4]), (SIGCHLD, 0, of));
    (info[2], info[6])
}

fn none_pending() -> bool {
    let mut set = 0u64;
    sys!(SYS_rt_sigpending, &mut set, 8).expect("a set");
    set & 1 << (SIGCHLD - 1) == 0
}

fn signals() {
    mask(SIG_BLOCK, &[SIGCHLD]);
    let pid = child(|| forever());
    send(pid, SIGSTOP);
    assert_eq!(told(pid), (CLD_STOPPED, SIGSTOP));
    send(pid, SIGCONT);
    assert_eq!(told(pid), (CLD_CONTINUED, SIGCONT));
    send(pid, SIGTERM);
    assert_eq!(told(pid), (CLD_KILLED, SIGTERM));
    assert_eq!(next(pid), Change::Killed(SIGTERM));
    let other = child(|| 7);
    assert_eq!(told(other), (CLD_EXITED, 7));
    assert_eq!(next(other), Change::Exited(7));
    // Only of ends.
    set_action(SIGCHLD, SIG_DFL, SA_NOCLDSTOP);
    let pid = child(|| forever());
    send(pid, SIGSTOP);
    assert_eq!(next(pid), Change::Stopped(SIGSTOP), "told to who waits all the same");
    send(pid, SIGCONT);
    assert_eq!(next(pid), Change::Continued);
    assert!(none_pending());
    send(pid, SIGKILL);
    assert_eq!(told(pid), (CLD_KILLED, SIGKILL));
    assert_eq!(next(pid), Change::Killed(SIGKILL));
    // Nothing is left of children that are not wanted.
    set_action(SIGCHLD, SIG_DFL, SA_NOCLDWAIT);
    let pid = child(|| 1);
    assert_eq!(sys!(SYS_wait4, pid, 0, 0, 0), Err(ECHILD));
}

fn by_id() {
    let ask = |pid: i32, options: i32| {
        let mut info = [-1i32; 32];
        sys!(SYS_waitid, P_PID, pid, &mut info, options, 0).map(|_| (info[0], info[2], info[4], info[6]))
    };
    let pid = child(|| forever());
    let nothing = (0, 0, 0, 0);
    assert_eq!(ask(pid, WNOHANG | WSTOPPED | WEXITED | WCONTINUED), Ok(nothing));
    send(pid, SIGSTOP);
    let stopped = (SIGCHLD, CLD_STOPPED, pid, SIGSTOP);
    assert_eq!(ask(pid, WSTOPPED | WNOWAIT), Ok(stopped));
    assert_eq!(ask(pid, WNOHANG | WEXITED | WCONTINUED), Ok(nothing), "not asked for");
    assert_eq!(ask(pid, WSTOPPED), Ok(stopped));
    assert_eq!(ask(pid, WSTOPPED | WNOHANG), Ok(nothing), "told once");
    send(pid, SIGCONT);
    assert_eq!(ask(pid, WSTOPPED | WNOHANG), Ok(nothing));
    assert_eq!(ask(pid, WCONTINUED), Ok((SIGCHLD, CLD_CONTINUED, pid, SIGCONT)));
    // A stop that the parent has not waited for is not reported when it is over.
    send(pid, SIGSTOP);
    assert_eq!(ask(pid, WSTOPPED | WNOWAIT), Ok(stopped));
    send(pid, SIGCONT);
    assert_eq!(ask(pid, WSTOPPED | WNOHANG), Ok(nothing));
    send(pid, SIGKILL);
    assert_eq!(ask(pid, WEXITED), Ok((SIGCHLD, CLD_KILLED, pid, SIGKILL)));
    assert_eq!(ask(pid, WEXITED), Err(ECHILD));
}

extern "C" fn tell(_: i32) {
    COUNT.fetch_add(1, SeqCst);
}

static COUNT: AtomicU64 = AtomicU64::new(0);

/// A wait that a handler interrupts is made again if the handler's action says so.
fn again() {
    let me = pid();
    for (flags, expected) in [(SA_RESTART, Ok(())), (0, Err(EINTR))] {
        set_action(SIGUSR1, tell as *const () as usize, flags);
        COUNT.store(0, SeqCst);
        let [output, input] = pipe_ends();
        // It tells its parent of its wait until it is told that it is enough, or the parent does not wait any more.
        let pid = child(|| {
            let mut entry = [output as u64 | 1 << 32];
            for _ in 0..if flags == 0 { u32::MAX } else { 5 } {
                send(me, SIGUSR1);
                if sys!(SYS_poll, &mut entry, 1, 2) == Ok(1) {
                    break;
                }
            }
            0
        });
        let waited = sys!(SYS_wait4, pid, 0, 0, 0);
        assert_eq!(waited.map(|_| ()), expected);
        assert!(COUNT.load(SeqCst) > 0);
        if flags == 0 {
            give(input, 0);
            while sys!(SYS_wait4, pid, 0, 0, 0) == Err(EINTR) {}
        }
        close_all(&[output, input]);
    }
}
