//! The targets of signals, and the information that they carry.

use crate::*;
use programs::cpus;
use std::hint;
use std::sync::atomic::AtomicBool;
use std::thread;

/// `siginfo_t` as `rt_sigqueueinfo` takes it.
#[repr(C)]
struct Info {
    signal: i32,
    errno: i32,
    code: i32,
    pad: i32,
    sender: i32,
    user: i32,
    value: u64,
    rest: [u64; 12],
}

/// Queues a signal with a value to this process.
pub(crate) fn queue(signal: i32, value: u64) -> programs::system::Result {
    let code = SI_QUEUE;
    let info = Info { signal: 0, errno: 0, code, pad: 0, sender: pid(), user: 0, value, rest: [0; 12] };
    sys!(SYS_rt_sigqueueinfo, pid(), signal, &info)
}

pub(crate) fn told() {
    let me = cpus::thread_number();
    let expected = |signal, code, value| Seen { signal, code, sender: pid(), value, thread: me };
    send(SIGUSR1);
    let first = seen();
    assert_eq!(first, [Seen { value: first[0].value, ..expected(SIGUSR1, SI_USER, 0) }]);
    assert_eq!(sys!(SYS_tgkill, pid(), me, SIGUSR2), Ok(0));
    let second = seen();
    assert_eq!(second, [Seen { value: second[0].value, ..expected(SIGUSR2, SI_TKILL, 0) }]);
    assert_eq!(queue(SIGUSR1, 0x1234_5678_9abc), Ok(0));
    assert_eq!(seen(), [expected(SIGUSR1, SI_QUEUE, 0x1234_5678_9abc)]);
}

pub(crate) fn errors() {
    const NOBODY: i32 = (1 << 22) - 3;
    let me = cpus::thread_number();
    for (result, what) in [
        (sys!(SYS_kill, pid(), 0), Ok(0)),
        (sys!(SYS_kill, 0, 0), Ok(0)),
        (sys!(SYS_kill, pid(), 65), Err(EINVAL)),
        (sys!(SYS_kill, pid(), -1), Err(EINVAL)),
        (sys!(SYS_kill, NOBODY, SIGTERM), Err(ESRCH)),
        (sys!(SYS_kill, NOBODY, 65), Err(ESRCH)),
        (sys!(SYS_kill, -NOBODY, SIGTERM), Err(ESRCH)),
        (sys!(SYS_kill, i32::MIN, SIGTERM), Err(ESRCH)),
        (sys!(SYS_tkill, me, 0), Ok(0)),
        (sys!(SYS_tkill, 0, 0), Err(EINVAL)),
        (sys!(SYS_tkill, -1, 0), Err(EINVAL)),
        (sys!(SYS_tkill, NOBODY, 0), Err(ESRCH)),
        (sys!(SYS_tgkill, pid(), me, 65), Err(EINVAL)),
        (sys!(SYS_tgkill, NOBODY, me, SIGTERM), Err(ESRCH)),
        (sys!(SYS_tgkill, 0, me, SIGTERM), Err(EINVAL)),
        (sys!(SYS_tgkill, pid(), 0, SIGTERM), Err(EINVAL)),
        (sys!(SYS_rt_sigqueueinfo, pid(), SIGUSR1, 8), Err(EFAULT)),
        (sys!(SYS_rt_sigsuspend, 0, 4), Err(EINVAL)),
        (sys!(SYS_rt_sigsuspend, 8, 8), Err(EFAULT)),
        (sys!(SYS_rt_sigtimedwait, 0, 0, 0, 4), Err(EINVAL)),
        (sys!(SYS_rt_sigtimedwait, 8, 0, 0, 8), Err(EFAULT)),
    ] {
        assert_eq!(result, what);
    }
    assert_eq!(numbers(), [0; 0]);
}

/// What is sent to a process goes to a thread that does not block it, the main one if it can be.
pub(crate) fn threads() {
    let main = cpus::thread_number();
    let (other, step) = (AtomicI32::new(0), AtomicI32::new(0));
    let until = |wanted| cpus::spin_until(|| step.load(SeqCst) == wanted);
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            other.store(cpus::thread_number(), SeqCst);
            step.store(1, SeqCst);
            until(2);
            // Now both block it, and it is pending: here it comes when it is let through.
            mask(SIG_BLOCK, bit(SIGUSR1));
            step.store(3, SeqCst);
            until(4);
            assert_eq!(pending() & bit(SIGUSR1), bit(SIGUSR1), "pending for the process");
            mask(SIG_UNBLOCK, bit(SIGUSR1));
            assert_eq!(pending() & bit(SIGUSR1), 0);
            step.store(5, SeqCst);
            until(6);
        });
        until(1);
        let other = other.load(SeqCst);
        let taker = |expected: i32| {
            cpus::spin_until(|| COUNT.load(SeqCst) == 1);
            assert_eq!(seen().iter().map(|seen| seen.thread).collect::<Vec<_>>(), [expected]);
        };
        send(SIGUSR1);
        taker(main);
        mask(SIG_BLOCK, bit(SIGUSR1));
        send(SIGUSR1);
        taker(other);
        step.store(2, SeqCst);
        until(3);
        send(SIGUSR1);
        assert_eq!(pending() & bit(SIGUSR1), bit(SIGUSR1));
        assert_eq!(COUNT.load(SeqCst), 0);
        step.store(4, SeqCst);
        until(5);
        taker(other);
        // To that thread alone: it is not the process's.
        assert_eq!(sys!(SYS_tgkill, pid(), main, SIGUSR1), Ok(0));
        assert_eq!(pending() & bit(SIGUSR1), bit(SIGUSR1));
        step.store(6, SeqCst);
        mask(SIG_UNBLOCK, bit(SIGUSR1));
        taker(main);
        thread.join().expect("it ends");
    });
}

/// A thread that makes no calls gets a signal at once, wherever it runs; if there is no other thread for its
/// CPU, no timer would do it.
pub(crate) fn elsewhere() {
    let all = cpus::allowed();
    let (here, there) = (all[0], all[all.len() - 1]);
    let (number, done) = (AtomicI32::new(0), AtomicBool::new(false));
    cpus::stay_on(here);
    thread::scope(|scope| {
        let spinner = scope.spawn(|| {
            cpus::stay_on(there);
            number.store(cpus::thread_number(), SeqCst);
            while !done.load(SeqCst) {
                hint::spin_loop();
            }
        });
        cpus::spin_until(|| number.load(SeqCst) != 0);
        for round in 1..=20 {
            assert_eq!(sys!(SYS_tgkill, pid(), number.load(SeqCst), SIGUSR1), Ok(0));
            cpus::spin_until(|| COUNT.load(SeqCst) == round);
        }
        done.store(true, SeqCst);
        spinner.join().expect("it ends");
    });
    assert!(seen().iter().all(|seen| seen.thread == number.load(SeqCst)));
    cpus::set_affinity(0, all.iter().fold(0, |mask, cpu| mask | 1 << cpu)).expect("the CPUs of before");
}
