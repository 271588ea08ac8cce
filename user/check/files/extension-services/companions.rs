//! Threads that an extension accompanies: it is told when they leave, when their process stops, and when rights are taken from
//! their address space.

use super::{PAGE, ask, end_extension, map, store, until_one_waits};
use abi::probe::{ACCOMPANY, CPU, LEFT, LEFT_WORDS, RIGHTS, SECONDS, STOPPED, TAKEN, WAIT, WAITS};
use libc::{
    EBUSY, EEXIST, MADV_DONTNEED, MAP_PRIVATE, PROT_READ, PROT_WRITE, RUSAGE_CHILDREN, RUSAGE_SELF, RUSAGE_THREAD,
    SIGCONT, SIGKILL, SIGSTOP, SYS_execve, SYS_exit, SYS_exit_group, SYS_getpid, SYS_getrusage, SYS_kill, SYS_madvise,
    SYS_mprotect, SYS_munmap, WCONTINUED, WUNTRACED,
};
use programs::children::{self, End};
use programs::{cpus, sys};
use std::fs::{File, read_to_string};
use std::process::Command;
use std::ptr::null;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

/// The word of an accompanied thread, by which the extension shows that it can still read the thread's memory.
const WORD: u64 = 7;

/// Accompanies the calling thread; returns its word's page.
fn accompany(device: &File) -> *mut u64 {
    let page = map(PROT_READ | PROT_WRITE, MAP_PRIVATE);
    store(page, WORD);
    assert_eq!(ask(device, ACCOMPANY, page as u64), Ok(0));
    page
}

fn number(device: &File, request: u32) -> u64 {
    ask(device, request, 0).expect("a number")
}

/// Begins another program, which ends with the status 0.
fn execute() {
    let arguments = [c"exit-code".as_ptr(), c"0".as_ptr(), null()];
    let _ = sys!(SYS_execve, c"/bin/exit-code".as_ptr(), arguments.as_ptr(), [null::<u8>()].as_ptr());
}

/// Accompanies a further thread, which then stays.
fn with_thread(device: &File) {
    let device = device.try_clone().expect("a descriptor");
    let ready: &AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
    thread::spawn(move || {
        accompany(&device);
        ready.store(true, SeqCst);
        loop {
            let _ = sys!(libc::SYS_pause);
        }
    });
    cpus::spin_until(|| ready.load(SeqCst));
}

/// More threads than the kernel ends in one visit.
const MANY: u64 = 150;

/// However a thread ends, the extension is told once, while the thread's memory is still there.
pub(super) fn ends(device: &File) {
    type Part<'a> = (&'a str, End, u64, fn());
    let exit = || _ = sys!(SYS_exit, 0);
    let exit_group = || _ = sys!(SYS_exit_group, 0);
    let kill = || _ = sys!(SYS_kill, sys!(SYS_getpid).unwrap_or(0), SIGKILL);
    let fault = || store(std::ptr::without_provenance_mut(8), 1);
    // How many further threads are accompanied; 0: the main thread is.
    let parts: [Part; 11] = [
        ("exit", End::Exited(0), 0, exit),
        ("exit_group", End::Exited(0), 0, exit_group),
        ("a signal", End::Killed(SIGKILL), 0, kill),
        ("a fault", End::Killed(libc::SIGSEGV), 0, fault),
        ("execve", End::Exited(0), 0, execute),
        ("exit_group of another thread", End::Exited(0), 1, exit_group),
        ("a signal with another thread", End::Killed(SIGKILL), 1, kill),
        ("a fault of another thread", End::Killed(libc::SIGSEGV), 1, fault),
        ("execve of another thread", End::Exited(0), 1, execute),
        ("a signal with many threads", End::Killed(SIGKILL), MANY, kill),
        ("execve with many threads", End::Exited(0), MANY, execute),
    ];
    for (why, how, further, end) in parts {
        let [left, words] = [LEFT, LEFT_WORDS].map(|request| number(device, request));
        let child = children::child(|| {
            if further == 0 {
                accompany(device);
            }
            (0..further).for_each(|_| with_thread(device));
            assert_eq!(number(device, LEFT), left, "{why}: not yet");
            end();
            1
        });
        assert_eq!(children::end_of(child), how, "{why}");
        let (many, now) = (further.max(1), [LEFT, LEFT_WORDS].map(|request| number(device, request)));
        assert_eq!(now, [left + many, words + many * WORD], "{why}");
    }
}

/// A thread that ends by itself has left; the children that an accompanied thread makes are not accompanied.
pub(super) fn ends_of_threads(device: &File) {
    let left = number(device, LEFT);
    for round in 1..=20 {
        thread::scope(|scope| {
            scope.spawn(|| {
                let page = accompany(device);
                assert_eq!(ask(device, ACCOMPANY, page as u64), Err(EEXIST));
                assert!(Command::new("/bin/exit-code").arg("0").status().is_ok_and(|status| status.success()));
            });
        });
        // The scope is over when the thread's work is, perhaps before the thread has ended.
        cpus::spin_until(|| number(device, LEFT) == left + round);
    }
}

/// Each call that takes rights from the address space is told before memory is given back.
pub(super) fn rights(device: &File) {
    let page = accompany(device);
    let mut taken = number(device, TAKEN);
    let mut expect = |rights, why: &str| {
        let now = number(device, TAKEN);
        assert!(now > taken, "{why}: {now} times");
        assert_eq!(number(device, RIGHTS), rights, "{why}");
        taken = now;
    };
    let [wait, go] = children::pipe_ends();
    let child = children::child(|| {
        sys!(libc::SYS_close, go).ok();
        i32::from(children::take(wait).is_some())
    });
    expect(1, "fork makes pages read-only");
    store(page, WORD);
    expect(0, "a frame is replaced by copy on write");
    children::close_all(&[go]);
    assert_eq!(children::end_of(child), End::Exited(0));
    sys!(SYS_mprotect, page, PAGE, PROT_READ).expect("protected");
    expect(1, "mprotect");
    sys!(SYS_mprotect, page, PAGE, PROT_READ | PROT_WRITE).expect("not protected");
    store(page, WORD);
    sys!(SYS_madvise, page, PAGE, MADV_DONTNEED).expect("discarded");
    expect(0, "madvise");
    store(page, WORD);
    let at = page as u64;
    thread::scope(|scope| {
        scope.spawn(|| sys!(SYS_munmap, at, PAGE).expect("unmapped"));
    });
    expect(0, "munmap of another thread");
}

/// Stops and continuations are told, whether the thread runs or waits.
pub(super) fn stops(device: &File) {
    for waits in [true, false] {
        let before = number(device, WAITS);
        let [told, tell] = children::pipe_ends();
        let child = children::child(|| {
            accompany(device);
            children::give(tell, 0);
            loop {
                if waits {
                    let _ = ask(device, WAIT, 0);
                }
            }
        });
        assert_eq!(children::take(told), Some(0));
        if waits {
            until_one_waits(device, before);
        }
        let stopped = number(device, STOPPED);
        for _ in 0..20 {
            sys!(SYS_kill, child, SIGSTOP).expect("sent");
            children::wait_for(child, WUNTRACED).expect("it stops");
            has_told(device, stopped + 1);
            sys!(SYS_kill, child, SIGCONT).expect("sent");
            children::wait_for(child, WCONTINUED).expect("it continues");
            has_told(device, stopped);
        }
        sys!(SYS_kill, child, SIGKILL).expect("killed");
        assert_eq!(children::end_of(child), End::Killed(SIGKILL));
        children::close_all(&[told, tell]);
    }
}

/// With one CPU the extension knows of a stop before any program can; with several the CPU that tells it may be another one.
fn has_told(device: &File, stopped: u64) {
    if cpus::allowed().len() == 1 {
        assert_eq!(number(device, STOPPED), stopped);
    }
    cpus::spin_until(|| number(device, STOPPED) == stopped);
}

/// The numbers and the state in `/proc/PID/stat`.
fn stat(process: &str) -> Vec<String> {
    let text = read_to_string(format!("/proc/{process}/stat")).expect("a process's file");
    text.split_whitespace().map(Into::into).collect()
}

/// Seconds in user mode by `getrusage`.
fn user(who: i32) -> u64 {
    // SAFETY: zeros are a value of it.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    sys!(SYS_getrusage, who, &mut usage).expect("the usage");
    usage.ru_utime.tv_sec as u64
}

/// The time for which an accompanied thread has run on the extension's CPUs is its process's, while it runs and when it has
/// left; it is not its children's. The thread's state is that of one that runs there.
pub(super) fn times(device: &File) {
    const HZ: u64 = 100;
    let is_about = |seconds: u64, times: u64| assert_eq!(seconds / SECONDS, times, "{seconds} seconds");
    is_about(user(RUSAGE_SELF), 0);
    let before = user(RUSAGE_CHILDREN);
    let [told, tell] = children::pipe_ends();
    let [wait, go] = children::pipe_ends();
    let child = children::child(|| {
        accompany(device);
        with_thread(device);
        is_about(user(RUSAGE_SELF), 2);
        is_about(user(RUSAGE_THREAD), 1);
        let mut clocks = [libc::tms { tms_utime: 0, tms_stime: 0, tms_cutime: 0, tms_cstime: 0 }];
        sys!(libc::SYS_times, clocks.as_mut_ptr()).expect("times");
        is_about(clocks[0].tms_utime as u64 / HZ, 2);
        for (clock, times) in [(libc::CLOCK_PROCESS_CPUTIME_ID, 2), (libc::CLOCK_THREAD_CPUTIME_ID, 1)] {
            let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            sys!(libc::SYS_clock_gettime, clock, &mut time).expect("a clock");
            is_about(time.tv_sec as u64, times);
        }
        children::give(tell, 0);
        i32::from(children::take(wait).is_none())
    });
    assert_eq!(children::take(told), Some(0));
    let of_child = stat(&child.to_string());
    assert_eq!((of_child[2].as_str(), of_child[38].parse()), ("R", Ok(CPU)), "it waits on the kernel's CPU");
    is_about(of_child[13].parse::<u64>().expect("the user time") / HZ, 2);
    assert!(read_to_string(format!("/proc/{child}/status")).is_ok_and(|text| text.contains("\nState:\tR (running)")));
    children::give(go, 0);
    assert_eq!(children::end_of(child), End::Exited(0));
    is_about(user(RUSAGE_CHILDREN) - before, 2);
    is_about(user(RUSAGE_SELF), 0);
    children::close_all(&[told, tell, wait, go]);
}

/// An extension cannot be unloaded while it accompanies a thread, also if the thread has no descriptor of its.
pub(super) fn stay() {
    let [told, tell] = children::pipe_ends();
    let child = children::child(|| {
        let device = File::options().read(true).write(true).open("/dev/probe").expect("the device");
        accompany(&device);
        drop(device);
        children::give(tell, 0);
        loop {
            let _ = sys!(libc::SYS_pause);
        }
    });
    assert_eq!(children::take(told), Some(0));
    assert_eq!(end_extension(), Err(EBUSY));
    sys!(SYS_kill, child, SIGKILL).expect("killed");
    assert_eq!(children::end_of(child), End::Killed(SIGKILL));
    children::close_all(&[told, tell]);
}
