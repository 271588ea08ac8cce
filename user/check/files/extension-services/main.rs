//! What the kernel does for its extensions: held pages, interrupts, waiting, and what the machine has.
//!
//! It asks `/dev/probe`, whose extension (`user/extension/probe.rs`) calls the kernel's services. For example, a thread waits in
//! an `ioctl`, and another one has the extension send itself an interrupt, whose handler wakes the first.
//! Run by: `tests/tests/boot/extensions.rs`.

mod companions;

use abi::probe::{CALLER, CPUS, FIRE, HOLD, LATE, LINES, LOW, NOTHING, OTHERS, RELEASE, TIME, WAIT, WAITS, WORD};
use libc::{
    EBUSY, EFAULT, EINTR, EINVAL, ENOENT, MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE, SA_RESTART,
    SIGKILL, SIGUSR1, SYS_delete_module, SYS_finit_module, SYS_getpid, SYS_gettid, SYS_ioctl, SYS_kill, SYS_mmap,
    SYS_munmap, SYS_tgkill,
};
use programs::children::{self, End};
use programs::counts::Counts;
use programs::{cpus, sys};
use std::fs::{File, read_to_string};
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering::SeqCst};
use std::thread;

const PAGE: usize = 4096;

type Result<T> = std::result::Result<T, i32>;

fn main() {
    // The counting process stays on its CPU, so that it has one page directory.
    let all = cpus::affinity(0).expect("the CPUs");
    cpus::stay_on(cpus::current());
    // The first round makes page tables and tables of the heap, which stay.
    by_child(all);
    let before = Counts::now();
    by_child(all);
    assert_eq!(Counts::now(), before, "after the extension has ended");
    println!("ok extension-services");
}

/// Loads the extension, tries it in children that run on all CPUs, and ends it.
fn by_child(all: cpus::Mask) {
    let file = File::open("/lib/probe.ko").expect("the extension");
    sys!(SYS_finit_module, file.as_raw_fd(), c"".as_ptr(), 0).expect("loaded");
    for part in [
        machine,
        text,
        callers,
        held_pages,
        waiting,
        interrupted_waits,
        ended_waits,
        companions::ends,
        companions::ends_of_threads,
        companions::rights,
        companions::stops,
        companions::times,
    ] {
        let child = children::child(|| {
            cpus::set_affinity(0, all).expect("all CPUs");
            let device = File::options().read(true).write(true).open("/dev/probe").expect("the device");
            part(&device);
            0
        });
        assert_eq!(children::end_of(child), End::Exited(0));
    }
    companions::stay();
    end_with_open_text();
}

/// Ends the extension while a process reads its text, which then has what was written before.
fn end_with_open_text() {
    let ([told, tell], [wait, go]) = (children::pipe_ends(), children::pipe_ends());
    let child = children::child(|| {
        let mut text = File::open(TEXT).expect("the text");
        let mut start = [0; 100];
        text.read_exact(&mut start).expect("its start");
        children::give(tell, 0);
        assert_eq!(children::take(wait), Some(0));
        assert!(File::open(TEXT).is_err(), "its extension has ended");
        let mut rest = Vec::new();
        text.read_to_end(&mut rest).expect("what has been written of it");
        assert!(lines().as_bytes()[start.len()..].starts_with(&rest));
        assert_eq!(text.rewind().and_then(|()| text.read(&mut start)).ok(), Some(0), "nothing is written any more");
        0
    });
    assert_eq!(children::take(told), Some(0));
    assert_eq!(end_extension(), Ok(()));
    children::give(go, 0);
    assert_eq!(children::end_of(child), End::Exited(0));
    children::close_all(&[told, tell, wait, go]);
}

/// The extension's text, and what it says.
const TEXT: &str = "/proc/probe";

fn lines() -> String {
    (0..LINES).map(|line| format!("line {line}\n")).collect()
}

/// The text is written in portions, from any place on, and is nobody's to change.
fn text(_: &File) {
    let all = lines();
    assert_eq!(read_to_string(TEXT).expect("the text"), all);
    let mut file = File::open(TEXT).expect("the text");
    let middle = all.len() / 2;
    file.seek(SeekFrom::Start(middle as u64)).expect("sought");
    let mut rest = String::new();
    file.read_to_string(&mut rest).expect("the rest");
    assert_eq!(rest, all[middle..]);
    assert!(File::options().write(true).open(TEXT).is_err() && std::fs::remove_file(TEXT).is_err());
}

fn end_extension() -> Result<()> {
    sys!(SYS_delete_module, c"probe".as_ptr(), 0).map(drop)
}

fn ask(device: &File, request: u32, argument: u64) -> Result<u64> {
    sys!(SYS_ioctl, device.as_raw_fd(), request, argument)
}

/// What the machine has: its CPUs, memory below 1 MiB, a clock.
fn machine(device: &File) {
    assert_eq!(ask(device, NOTHING, 0), Ok(0));
    let cpus = ask(device, CPUS, 0).expect("a number");
    assert!(cpus >= thread::available_parallelism().map_or(1, |many| many.get()) as u64, "{cpus} CPUs");
    // The pages are handed out once in a run.
    if let Ok(low) = ask(device, LOW, 0) {
        assert!(low != 0 && low % 4096 == 0 && low + 4 * 4096 <= 1 << 20, "{low:#x}");
    }
    assert_eq!(ask(device, LOW, 0), Err(ENOENT), "they have been handed out");
    let times = [monotonic(), ask(device, TIME, 0).expect("a time"), monotonic()];
    // The kernel's own clock multiplies instead of dividing, and loses one part in 2^22.
    let lost = times[1] >> 22;
    assert!(times[0] <= times[1] && times[1] <= times[2] + lost + 2, "{times:?}");
    assert_eq!(ask(device, LATE, 0), Err(EINVAL), "an interrupt after the start");
}

fn monotonic() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    sys!(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, &mut time).expect("the time");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The numbers of the calling process and thread, and whether another thread is runnable.
fn callers(device: &File) {
    let me = || sys!(SYS_getpid).expect("a number") << 32 | sys!(SYS_gettid).expect("a number");
    assert_eq!(ask(device, CALLER, 0), Ok(me()));
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(ask(device, CALLER, 0), Ok(me())));
    });
    if cpus::allowed().len() > 1 {
        return;
    }
    // The parent waits, and the thread ends soon.
    cpus::spin_until(|| ask(device, OTHERS, 0) == Ok(0));
    let child = children::child(|| {
        loop {
            std::hint::spin_loop();
        }
    });
    assert_eq!(ask(device, OTHERS, 0), Ok(1), "the child can run");
    sys!(SYS_kill, child, SIGKILL).expect("killed");
    assert_eq!(children::end_of(child), End::Killed(SIGKILL));
}

fn map(rights: i32, kind: i32) -> *mut u64 {
    sys!(SYS_mmap, 0, PAGE, rights, kind | MAP_ANONYMOUS, -1, 0).expect("a mapping") as *mut u64
}

fn store(at: *mut u64, word: u64) {
    // SAFETY: a mapped page that is aligned for words.
    unsafe { at.write_volatile(word) }
}

/// A held frame is the caller's page, until the process gets another frame for the page.
fn held_pages(device: &File) {
    let page = map(PROT_READ | PROT_WRITE, MAP_PRIVATE);
    let word = |expected, why: &str| assert_eq!(ask(device, WORD, 0), Ok(expected), "{why}");
    assert_eq!(ask(device, WORD, 0), Err(ENOENT));
    assert_eq!(ask(device, HOLD, page as u64), Ok(0));
    word(0, "the page has been made present");
    store(page, 1);
    word(1, "it is the page itself");
    let child = children::child(|| {
        store(page, 2);
        0
    });
    assert_eq!(children::end_of(child), End::Exited(0));
    word(1, "the child has a copy");
    store(page, 3);
    word(1, "the parent has a copy, and the holder the older frame");
    assert_eq!(ask(device, HOLD, page as u64), Ok(0));
    word(3, "held again");
    sys!(SYS_munmap, page, PAGE).expect("unmapped");
    word(3, "the frame stays allocated");

    let shared = map(PROT_READ | PROT_WRITE, MAP_SHARED);
    assert_eq!(ask(device, HOLD, shared as u64), Ok(0));
    let child = children::child(|| {
        store(shared, 4);
        0
    });
    assert_eq!(children::end_of(child), End::Exited(0));
    word(4, "a shared page stays the same");

    let read_only = map(PROT_READ, MAP_PRIVATE);
    for bad in [read_only as u64, 0, 0x7fff_ffff_f000, 1 << 47, 0xffff_8000_0000_0000, u64::MAX] {
        assert_eq!(ask(device, HOLD, bad), Err(EFAULT), "{bad:#x}");
    }
    word(4, "nothing has changed");
    assert_eq!(ask(device, RELEASE, 0), Ok(0));
    assert_eq!(ask(device, RELEASE, 0), Err(ENOENT));
}

/// Waits until one more caller waits than before.
fn until_one_waits(device: &File, before: u64) {
    cpus::spin_until(|| ask(device, WAITS, 0) == Ok(before + 1));
}

/// The extension's interrupt wakes the thread that waits.
fn waiting(device: &File) {
    for _ in 0..100 {
        let before = ask(device, WAITS, 0).expect("a number");
        thread::scope(|scope| {
            let waiter = scope.spawn(|| ask(device, WAIT, 0));
            until_one_waits(device, before);
            assert_eq!(end_extension(), Err(EBUSY), "a thread waits");
            assert_eq!(ask(device, FIRE, 0), Ok(0));
            assert_eq!(waiter.join().expect("it has ended"), Ok(0), "woken up");
        });
    }
    assert_eq!(ask(device, FIRE, 0), Ok(0));
    assert_eq!(ask(device, WAIT, 0), Ok(1), "the interrupt has come before");
}

static HANDLED: AtomicU32 = AtomicU32::new(0);
static WAITER: AtomicI32 = AtomicI32::new(0);

extern "C" fn handle(_: i32) {
    HANDLED.fetch_add(1, SeqCst);
}

/// A signal's handler ends the wait, or not if it has been set so.
fn interrupted_waits(device: &File) {
    for (flags, result) in [(0, Err(EINTR)), (SA_RESTART, Ok(0))] {
        // SAFETY: the handler only counts.
        unsafe {
            let mut action: libc::sigaction = core::mem::zeroed();
            (action.sa_sigaction, action.sa_flags) = (handle as *const () as usize, flags);
            assert_eq!(libc::sigaction(SIGUSR1, &action, core::ptr::null_mut()), 0);
        }
        let (before, handled) = (ask(device, WAITS, 0).expect("a number"), HANDLED.load(SeqCst));
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                WAITER.store(cpus::thread_number(), SeqCst);
                ask(device, WAIT, 0)
            });
            until_one_waits(device, before);
            sys!(SYS_tgkill, std::process::id(), WAITER.load(SeqCst), SIGUSR1).expect("sent");
            cpus::spin_until(|| HANDLED.load(SeqCst) == handled + 1);
            if result.is_ok() {
                until_one_waits(device, before + 1);
                assert_eq!(ask(device, FIRE, 0), Ok(0));
            }
            assert_eq!(waiter.join().expect("it has ended"), result);
        });
    }
}

/// A process that is killed waits no more.
fn ended_waits(device: &File) {
    let before = ask(device, WAITS, 0).expect("a number");
    let child = children::child(|| ask(device, WAIT, 0).map_or(1, |_| 0));
    until_one_waits(device, before);
    sys!(SYS_kill, child, SIGKILL).expect("killed");
    assert_eq!(children::end_of(child), End::Killed(SIGKILL));
}
