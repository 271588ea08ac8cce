//! Waiting for a signal.

use crate::*;
use programs::children::{child, wait_for};
use programs::cpus;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

/// Runs `wait` on a thread that signals are sent to, by `tgkill`, again and again until it returns. Between two
/// of them is time for it to come to its call.
pub(crate) fn told_until_done<T: Send>(signal: i32, wait: impl FnOnce() -> T + Send) -> T {
    let (number, done) = (AtomicI32::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            number.store(cpus::thread_number(), SeqCst);
            let result = wait();
            done.store(true, SeqCst);
            result
        });
        cpus::spin_until(|| number.load(SeqCst) != 0);
        while !done.load(SeqCst) {
            let _ = sys!(SYS_tgkill, pid(), number.load(SeqCst), signal);
            thread::sleep(Duration::from_millis(2));
        }
        waiter.join().expect("the waiter ends")
    })
}

pub(crate) fn suspend() {
    let open = mask(SIG_BLOCK, bit(SIGUSR1));
    send(SIGUSR1);
    assert_eq!(sys!(SYS_rt_sigsuspend, &(open | bit(SIGUSR2)), 8), Err(EINTR), "it is there already");
    assert_eq!(numbers(), [SIGUSR1]);
    assert_eq!(MASK.load(SeqCst), open | bit(SIGUSR2) | bit(SIGUSR1), "the handler has the other mask");
    assert_eq!(mask(SIG_SETMASK, open), open | bit(SIGUSR1), "and then the first is back");
    // With SA_RESTART too.
    install(SIGUSR2, SA_RESTART, 0);
    let result = told_until_done(SIGUSR2, || {
        mask(SIG_BLOCK, bit(SIGUSR2));
        let result = sys!(SYS_rt_sigsuspend, &0u64, 8);
        assert_eq!(mask(SIG_BLOCK, 0) & bit(SIGUSR2), bit(SIGUSR2));
        result
    });
    assert_eq!(result, Err(EINTR));
    install(SIGUSR2, 0, 0);
}

pub(crate) fn timed_wait() {
    let set = bit(SIGUSR1) | bit(SIGUSR2);
    let before = mask(SIG_BLOCK, set);
    let wait = |set: u64, info: &mut [u64; 16], time: &[u64; 2]| sys!(SYS_rt_sigtimedwait, &set, info, time, 8);
    let mut info = [0u64; 16];
    assert_eq!(wait(set, &mut info, &[0, 0]), Err(EAGAIN));
    assert_eq!(wait(set, &mut info, &[0, 2_000_000]), Err(EAGAIN), "after a while");
    assert_eq!(wait(set, &mut info, &[0, 1_000_000_000]), Err(EINVAL));
    send(SIGUSR2);
    send(SIGUSR1);
    assert_eq!(wait(set, &mut info, &[0, 0]), Ok(SIGUSR1 as u64));
    assert_eq!((info[0], info[1] as u32, info[2] as i32), (SIGUSR1 as u64, SI_USER as u32, pid()));
    assert_eq!(sys!(SYS_rt_sigtimedwait, &set, 0, 0, 8), Ok(SIGUSR2 as u64));
    // One that comes while it is waited for, though it is ignored: it is blocked.
    set_action(SIGUSR2, SIG_IGN, 0, 0);
    let taken = told_until_done(SIGUSR2, || {
        mask(SIG_BLOCK, set);
        sys!(SYS_rt_sigtimedwait, &set, 0, 0, 8)
    });
    assert_eq!(taken, Ok(SIGUSR2 as u64));
    install(SIGUSR2, 0, 0);
    // To the process: the thread that waits takes it, all block it.
    let waiting = AtomicBool::new(false);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            waiting.store(true, SeqCst);
            sys!(SYS_rt_sigtimedwait, &set, 0, 0, 8)
        });
        cpus::spin_until(|| waiting.load(SeqCst));
        send(SIGUSR1);
        assert_eq!(waiter.join().ok(), Some(Ok(SIGUSR1 as u64)));
    });
    assert_eq!(numbers(), [0; 0], "no handler");
    // Another signal's handler ends it.
    install(REAL_TIME[0], SA_RESTART, 0);
    let ended = told_until_done(REAL_TIME[0], || sys!(SYS_rt_sigtimedwait, &set, 0, 0, 8));
    assert_eq!(ended, Err(EINTR));
    install(REAL_TIME[0], 0, 0);
    mask(SIG_SETMASK, before);
}

/// A wait is quicker than the handler of a signal that is not blocked.
pub(crate) fn unblocked() {
    let set = bit(SIGUSR1);
    assert_eq!(told_until_done(SIGUSR1, || sys!(SYS_rt_sigtimedwait, &set, 0, 0, 8)), Ok(SIGUSR1 as u64));
    // Those that came before the thread waited have been handled; afterwards the mask is as before.
    let before = numbers().len();
    assert_eq!(mask(SIG_BLOCK, 0) & set, 0);
    send(SIGUSR1);
    assert_eq!(numbers(), [SIGUSR1], "after {before}");
    // A handler that ends the wait runs with the thread's own mask.
    assert_eq!(told_until_done(SIGUSR2, || sys!(SYS_rt_sigtimedwait, &set, 0, 0, 8)), Err(EINTR));
    assert_eq!(MASK.load(SeqCst) & (set | bit(SIGUSR2)), bit(SIGUSR2));
    seen();
    // What is not handled ends the process, waited for or not.
    let waits = || {
        set_action(SIGUSR1, SIG_DFL, 0, 0);
        sys!(SYS_rt_sigtimedwait, &set, 0, 0, 8).map_or(1, |_| 0)
    };
    let waiter = child(waits);
    while wait_for(waiter, WNOHANG) == Ok(None) {
        assert_eq!(sys!(SYS_kill, waiter, 0), Ok(0));
        let _ = sys!(SYS_kill, waiter, SIGUSR1);
        thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn pause() {
    assert_eq!(told_until_done(SIGUSR1, || sys!(SYS_pause)), Err(EINTR));
    install(SIGUSR1, SA_RESTART, 0);
    assert_eq!(told_until_done(SIGUSR1, || sys!(SYS_pause)), Err(EINTR));
    install(SIGUSR1, 0, 0);
}
