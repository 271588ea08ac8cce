//! Groups and sessions, and signals to them.

use crate::*;

pub(crate) const CHECKS: &[Check] = &[
    ("groups", members),
    ("refused", refused),
    ("after exec", after_exec),
    ("to groups", to_groups),
    ("just ended", just_ended),
];

fn group(of: i32) -> Result<u64, i32> {
    sys!(SYS_getpgid, of)
}

fn join(which: i32, group: i32) -> Result<u64, i32> {
    sys!(SYS_setpgid, which, group)
}

/// A child that waits for ever.
fn waiting() -> i32 {
    child(|| forever())
}

fn end(children: &[i32]) {
    for pid in children {
        send(*pid, SIGKILL);
        assert_eq!(next(*pid), Change::Killed(SIGKILL));
    }
}

fn members() {
    let me = pid();
    assert_eq!((group(0), group(me), sys!(SYS_getsid, 0)), (Ok(me as u64), Ok(me as u64), Ok(me as u64)));
    let [one, two] = [waiting(), waiting()];
    assert_eq!((group(one), sys!(SYS_getsid, one)), (Ok(me as u64), Ok(me as u64)), "inherited");
    assert_eq!(join(one, 0), Ok(0));
    assert_eq!(join(two, one), Ok(0));
    assert_eq!((group(one), group(two)), (Ok(one as u64), Ok(one as u64)));
    assert_eq!(sys!(SYS_getsid, two), Ok(me as u64));
    assert_eq!(join(two, me), Ok(0), "and back");
    assert_eq!(join(two, two), Ok(0));
    end(&[one, two]);
    // A session of its own, which another one cannot lead.
    let told = shared();
    let other = child(|| {
        let number = sys!(SYS_setsid).expect("a session");
        told[0].store(u64::from([group(0), sys!(SYS_getsid, 0), Ok(pid() as u64)] == [Ok(number); 3]), SeqCst);
        i32::from(sys!(SYS_setsid) != Err(EPERM))
    });
    assert_eq!(next(other), Change::Exited(0));
    assert_eq!(told[0].load(SeqCst), 1);
}

fn refused() {
    const NOBODY: i32 = (1 << 22) - 3;
    let me = pid();
    let [one, two] = [waiting(), waiting()];
    assert_eq!(join(one, one), Ok(0));
    for (result, error) in [
        (join(0, -1), EINVAL),
        (join(-1, 0), EINVAL),
        (join(-1, me), ESRCH),
        (join(NOBODY, 0), ESRCH),
        (join(1, 0), ESRCH),
        (join(two, NOBODY), EPERM),
        (join(0, 0), EPERM),
        (join(0, one), EPERM),
        (sys!(SYS_setsid), EPERM),
        (group(NOBODY), ESRCH),
        (group(-1), ESRCH),
        (sys!(SYS_getsid, NOBODY), ESRCH),
    ] {
        assert_eq!(result, Err(error));
    }
    // The leader of a group is not the leader of a session: it may leave its group, even while another process is in it.
    assert_eq!(join(two, one), Ok(0));
    assert_eq!(join(one, me), Ok(0));
    end(&[one, two]);
    let [output, input] = pipe_ends();
    let leader = child(|| {
        let _ = sys!(SYS_setsid);
        give(input, 1);
        forever()
    });
    take(output);
    assert_eq!(join(leader, 0), Err(EPERM), "it is in another session");
    end(&[leader]);
    // Its own child's child is not its child.
    let told = shared();
    let between = child(|| {
        let inner = waiting();
        told[0].store(inner as u64, SeqCst);
        give(input, 1);
        let _ = next(inner);
        0
    });
    take(output);
    let inner = told[0].load(SeqCst) as i32;
    assert_eq!(join(inner, 0), Err(ESRCH));
    send(inner, SIGKILL);
    assert_eq!(next(between), Change::Exited(0));
    close_all(&[output, input]);
}

/// What the program that a check has started does: it says that it is there, and waits.
pub(crate) fn wait() -> i32 {
    give(1, b'!');
    forever()
}

fn after_exec() {
    let [output, input] = pipe_ends();
    let other = child(|| {
        sys!(SYS_dup2, input, 1).expect("it is standard output now");
        let words = [c"jobs".as_ptr(), c"wait".as_ptr(), ptr::null()];
        sys!(SYS_execve, c"/proc/self/exe", words.as_ptr(), [ptr::null::<u8>()].as_ptr()).unwrap_err()
    });
    assert_eq!(take(output), Some(b'!'));
    assert_eq!(join(other, 0), Err(EACCES));
    end(&[other]);
    close_all(&[output, input]);
}

fn to_groups() {
    let [one, two, three] = [waiting(), waiting(), waiting()];
    assert_eq!((join(one, one), join(two, one)), (Ok(0), Ok(0)));
    assert_eq!(sys!(SYS_kill, -one, 0), Ok(0));
    send(-one, SIGTERM);
    assert_eq!((next(one), next(two)), (Change::Killed(SIGTERM), Change::Killed(SIGTERM)));
    assert_eq!(sys!(SYS_kill, -one, 0), Err(ESRCH), "nobody is left");
    set_action(SIGTERM, SIG_IGN, 0);
    send(0, SIGTERM);
    assert_eq!(next(three), Change::Killed(SIGTERM), "the sender's group");
}

/// A process that has ended takes signals until its parent has waited for it.
fn just_ended() {
    let gone = child(|| 5);
    let mut info = [0i32; 32];
    assert_eq!(sys!(SYS_waitid, P_PID, gone, &mut info, WEXITED | WNOWAIT, 0), Ok(0));
    for signal in [0, SIGTERM, SIGKILL, SIGSTOP, SIGCONT] {
        assert_eq!(sys!(SYS_kill, gone, signal), Ok(0));
        assert_eq!(sys!(SYS_tgkill, gone, gone, signal), Ok(0));
    }
    assert_eq!((group(gone), join(gone, 0)), (Ok(pid() as u64), Ok(0)));
    assert_eq!(next(gone), Change::Exited(5));
    assert_eq!(sys!(SYS_kill, gone, 0), Err(ESRCH));
    // Signals and ends at the same time, many times.
    for _ in 0..50 {
        let children: Vec<i32> = (0..4).map(|n| child(move || n)).collect();
        for signal in [SIGCONT, SIGTERM, SIGCONT, SIGKILL] {
            children.iter().for_each(|pid| send(*pid, signal));
        }
        for (n, pid) in children.into_iter().enumerate() {
            let end = next(pid);
            assert!(matches!(end, Change::Killed(SIGTERM | SIGKILL)) || end == Change::Exited(n as i32), "{end:?}");
        }
    }
}

/// Ends all processes but the first and itself.
pub(crate) fn everybody() {
    let me = child(|| {
        sys!(SYS_setsid).expect("a session");
        let others = [waiting(), waiting()];
        assert_eq!(join(others[0], 0), Ok(0));
        send(-1, SIGTERM);
        others.map(next).iter().for_each(|end| assert_eq!(*end, Change::Killed(SIGTERM)));
        assert_eq!(sys!(SYS_kill, -1, SIGTERM), Err(ESRCH), "nobody else is there");
        0
    });
    assert_eq!(end_of(me), End::Exited(0));
    println!("ok jobs: everybody");
}
