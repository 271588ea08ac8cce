//! Processes that are stopped and go on.

use crate::*;

pub(crate) const CHECKS: &[Check] = &[
    ("stop", plain),
    ("stopped threads", threads),
    ("stopped in a call", in_a_call),
    ("killed while stopped", killed),
    ("signals that stop", by_default),
    ("pending while stopped", pending),
    ("nobody to go on", orphans),
];

/// A child that counts with this number of threads.
fn counting(counters: &'static [AtomicU64]) -> i32 {
    let count = |counter: &AtomicU64| {
        loop {
            counter.fetch_add(1, SeqCst);
        }
    };
    child(move || {
        not_left_alone();
        for counter in &counters[1..] {
            thread::spawn(move || count(counter));
        }
        count(&counters[0])
    })
}

fn stop_and_go_on(counters: &'static [AtomicU64], rounds: u32) {
    let pid = counting(counters);
    for _ in 0..rounds {
        counters.iter().for_each(goes_on);
        send(pid, SIGSTOP);
        assert_eq!(next(pid), Change::Stopped(SIGSTOP));
        stands_still(counters);
        assert_eq!(change(pid, WNOHANG), Ok(None), "told once");
        send(pid, SIGCONT);
        assert_eq!(next(pid), Change::Continued);
        assert_eq!(change(pid, WNOHANG), Ok(None), "told once");
    }
    counters.iter().for_each(goes_on);
    send(pid, SIGKILL);
    assert_eq!(next(pid), Change::Killed(SIGKILL));
}

fn plain() {
    stop_and_go_on(&shared()[..1], 10);
}

fn threads() {
    stop_and_go_on(&shared()[..4], 5);
}

/// A call that waits goes on waiting; what it comes to is seen when the process goes on.
fn in_a_call() {
    let ([there, to], [from, back]) = (pipe_ends(), pipe_ends());
    let pid = child(|| {
        give(back, b'a');
        give(back, take(there).unwrap_or(0));
        // A sleep whose time is over while the process is stopped is over.
        assert_eq!(sys!(SYS_nanosleep, &[0u64, 1_000_000], 0), Ok(0));
        give(back, b'c');
        0
    });
    assert_eq!(take(from), Some(b'a'));
    send(pid, SIGSTOP);
    assert_eq!(next(pid), Change::Stopped(SIGSTOP));
    give(to, b'b');
    let mut entry = [from as u64 | 1 << 32];
    assert_eq!(sys!(SYS_poll, &mut entry, 1, 20), Ok(0), "nothing comes back");
    send(pid, SIGCONT);
    assert_eq!(take(from), Some(b'b'));
    send(pid, SIGSTOP);
    send(pid, SIGCONT);
    assert_eq!(take(from), Some(b'c'));
    loop {
        match next(pid) {
            Change::Exited(status) => break assert_eq!(status, 0),
            // Whether the second stop was seen is a matter of time.
            Change::Stopped(SIGSTOP) | Change::Continued => {}
            other => panic!("{other:?}"),
        }
    }
    close_all(&[there, to, from, back]);
}

fn killed() {
    for signal in [SIGKILL, SIGTERM] {
        let pid = counting(&shared()[..3]);
        send(pid, SIGSTOP);
        assert_eq!(next(pid), Change::Stopped(SIGSTOP));
        send(pid, signal);
        if signal != SIGKILL {
            assert_eq!(change(pid, WNOHANG), Ok(None), "it is for when the process goes on");
            send(pid, SIGCONT);
        }
        let end = match next(pid) {
            Change::Continued => next(pid),
            end => end,
        };
        assert_eq!(end, Change::Killed(signal));
    }
}

extern "C" fn nothing(_: i32) {}

/// SIGTSTP, SIGTTIN and SIGTTOU stop, but can be handled, ignored, and blocked.
fn by_default() {
    let ([output, input], [there, to]) = (pipe_ends(), pipe_ends());
    let pid = child(|| {
        // A group that its parent could make go on.
        assert_eq!(sys!(SYS_setpgid, 0, 0), Ok(0));
        for signal in [SIGTSTP, SIGTTIN, SIGTTOU] {
            send(pid(), signal);
            take(there);
            give(input, b'1');
            set_action(signal, SIG_IGN, 0);
            send(pid(), signal);
            set_action(signal, nothing as *const () as usize, 0);
            send(pid(), signal);
            set_action(signal, SIG_DFL, 0);
            mask(SIG_BLOCK, &[signal]);
            send(pid(), signal);
            // SIGCONT takes it back.
            send(pid(), SIGCONT);
            mask(SIG_UNBLOCK, &[signal]);
            mask(SIG_BLOCK, &[signal]);
            send(pid(), signal);
            give(input, b'2');
            mask(SIG_UNBLOCK, &[signal]);
            take(there);
            give(input, b'3');
        }
        0
    });
    for signal in [SIGTSTP, SIGTTIN, SIGTTOU] {
        for step in [b"1" as &[u8], b"23"] {
            assert_eq!(next(pid), Change::Stopped(signal));
            if step.len() == 2 {
                assert_eq!(take(output), Some(step[0]), "blocked");
            }
            send(pid, SIGCONT);
            assert_eq!(next(pid), Change::Continued);
            give(to, 0);
            assert_eq!(take(output), Some(step[step.len() - 1]));
        }
    }
    assert_eq!(next(pid), Change::Exited(0));
    close_all(&[output, input, there, to]);
}

/// What comes while a process is stopped is there when it goes on; a second stop says nothing.
fn pending() {
    let [output, input] = pipe_ends();
    let pid = child(|| {
        set_action(SIGUSR1, nothing as *const () as usize, 0);
        give(input, b'1');
        let ended = sys!(SYS_pause);
        give(input, if ended == Err(EINTR) { b'2' } else { b'?' });
        0
    });
    assert_eq!(take(output), Some(b'1'));
    send(pid, SIGSTOP);
    assert_eq!(next(pid), Change::Stopped(SIGSTOP));
    send(pid, SIGSTOP);
    assert_eq!(change(pid, WNOHANG), Ok(None));
    // It may not have come to its call yet: then the handler has run before, and another one is needed.
    loop {
        send(pid, SIGUSR1);
        send(pid, SIGCONT);
        let mut entry = [output as u64 | 1 << 32];
        if sys!(SYS_poll, &mut entry, 1, 20) == Ok(1) {
            break;
        }
    }
    assert_eq!(take(output), Some(b'2'));
    let end = match next(pid) {
        Change::Continued => next(pid),
        end => end,
    };
    assert_eq!(end, Change::Exited(0));
    close_all(&[output, input]);
}

/// A group that has nobody in its session to make it go on is not stopped by the terminal's signals, and is hung
/// up if it is stopped when it loses its last one.
fn orphans() {
    let [output, input] = pipe_ends();
    let alone = child(|| {
        sys!(SYS_setsid).expect("a session");
        [SIGTSTP, SIGTTIN, SIGTTOU].into_iter().for_each(|signal| send(pid(), signal));
        give(input, b'1');
        0
    });
    assert_eq!(take(output), Some(b'1'), "it was not stopped");
    assert_eq!(next(alone), Change::Exited(0));
    let between = child(|| {
        let stopped = child(|| {
            assert_eq!(sys!(SYS_setpgid, 0, 0), Ok(0));
            send(pid(), SIGTSTP);
            give(input, b'?');
            0
        });
        assert_eq!(next(stopped), Change::Stopped(SIGTSTP));
        0
    });
    close_all(&[input]);
    assert_eq!(next(between), Change::Exited(0));
    assert_eq!(take(output), None, "SIGHUP has ended it");
    close_all(&[output]);
}
