//! Deeds to the device by which a bootstrap thread asks the application kernel.

use crate::{Random, call_on_and_on};
use abi::application::{Call, Context, DEVICE, EXTENDED, General, request};
use libc::*;
use programs::children::{child, leave};
use programs::sys;
use std::ffi::CString;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;

const CALLS: [Call; 10] = [
    Call::Create,
    Call::ExRegs,
    Call::GetRegs,
    Call::Start,
    Call::Activate,
    Call::Hold,
    Call::Wait,
    Call::Copy,
    Call::Exchange,
    Call::Depart,
];

fn ask(fd: u64, call: Call, thread: u32, argument: u64) -> Result<u64, i32> {
    sys!(SYS_ioctl, fd, request(call, thread), argument)
}

/// The descriptor of the device that the launcher has opened.
fn found() -> u64 {
    (0..4096).find(|fd| ask(*fd, Call::Init, 0, 0).is_ok()).expect("the device is open")
}

fn opened() -> u64 {
    let path = CString::new(DEVICE).expect("a path");
    sys!(SYS_open, path.as_ptr(), O_RDWR).expect("the device")
}

/// Registers of no good.
fn nonsense(random: &mut Random) -> Context {
    let mut word = || {
        let wild = random.next();
        random.one_of(&[0, wild, 0xffff_8000_0000_0000, 0x7fff_ffff_f000, 0xffff_ffff_8020_0000, u64::MAX])
    };
    let (rip, rsp, rflags, fs_base, gs_base) = (word(), word(), word(), word(), word());
    let extended = [word() as u8; EXTENDED];
    let with_extended = word() & 1;
    let general = General { rip, rsp, rflags, ..General::default() };
    Context { general, fs_base, gs_base, extended, with_extended, ..Context::ZERO }
}

/// Asks for anything, of the first threads.
fn ask_for_anything(fd: u64, random: &mut Random) {
    for _ in 0..500 {
        let context = nonsense(random);
        let arguments = [random.next(), random.next(), random.below(2000)];
        let argument = random.one_of(&[
            (&raw const context).addr() as u64,
            arguments.as_ptr().addr() as u64,
            8,
            0xffff_8000_0000_0000,
            0x7fff_ffff_eff8,
            u64::MAX,
        ]);
        let _ = ask(fd, random.one_of(&CALLS), random.one_of(&[0, 1, 2, 3, 4, 8191, 8192, u32::MAX >> 8]), argument);
    }
}

pub(crate) fn forge(random: &mut Random) {
    thread::spawn(|| call_on_and_on());
    ask_for_anything(found(), random);
}

/// A thread with a bootstrap thread is none itself.
pub(crate) fn open(random: &mut Random) {
    let mut all = Vec::new();
    while let Ok(fd) = sys!(SYS_dup, opened()) {
        all.push(fd);
        if all.len() == 200 {
            break;
        }
    }
    let page = programs::system::pages(1).addr() as u64;
    assert_eq!(ask(all[0], Call::Create, 0, page), Err(EBUSY));
    assert_eq!(ask(all[0], Call::Create, 0, page + 8), Err(EINVAL));
    assert_eq!(ask(all[0], Call::Create, 0, 0xffff_8000_0000_0000), Err(EFAULT));
    assert_eq!(ask(all[0], Call::GetRegs, 0, page), Err(EINVAL), "of another file");
    ask_for_anything(random.one_of(&all), random);
}

/// Makes the threads that a launcher makes, in a process that stays on the boot CPU.
pub(crate) fn bare(random: &mut Random) {
    let mut command = Command::new("/proc/self/exe");
    let error = command.args(["bare", &random.next().to_string()]).env("NOAPPKERN", "1").exec();
    panic!("{error}");
}

pub(crate) fn make_bare(random: &mut Random) {
    let fd = opened();
    let page = programs::system::pages(1).addr() as u64;
    let number = ask(fd, Call::Create, 0, page).expect("a thread") as u32;
    assert_eq!(ask(fd, Call::Create, 0, page), Err(EBUSY), "one for each");
    let code: extern "C" fn() -> ! = spin;
    let general = General { rip: code as usize as u64, rsp: page + 4000, rflags: 0x202, ..General::default() };
    let context = Context { general, ..Context::ZERO };
    if random.below(3) > 0 {
        assert_eq!(ask(fd, Call::ExRegs, number, (&raw const context).addr() as u64), Ok(0));
    }
    assert_eq!(ask(fd, Call::Start, number, 0), Ok(0));
    for _ in 0..random.below(4) {
        let call = random.one_of(&[Call::Hold, Call::Start, Call::Activate, Call::Hold, Call::GetRegs]);
        let _ = ask(fd, call, number, (&raw const context).addr() as u64);
    }
    match random.below(4) {
        0 => _ = sys!(SYS_close, fd),
        1 => _ = sys!(SYS_munmap, page, 4096),
        2 => _ = child(|| sys!(SYS_close, fd).map_or(1, |_| 0)),
        _ => ask_for_anything(fd, random),
    }
}

extern "C" fn spin() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

/// The descriptor stays, by whichever call the program closes it.
pub(crate) fn close(random: &mut Random) {
    let fd = found();
    if random.below(2) == 0 {
        thread::spawn(|| call_on_and_on());
    }
    assert_eq!(sys!(SYS_close, fd), Err(EBADF));
    assert_eq!(sys!(SYS_close_range, 3, u32::MAX, 0), Ok(0));
    let _ = sys!(SYS_dup2, 0, fd);
    let _ = sys!(SYS_fcntl, fd, F_SETFD, 0);
    let _ = sys!(SYS_setrlimit, RLIMIT_NOFILE, &[1_u64, 1]);
    leave(i32::from(sys!(SYS_getppid).is_err()));
}

/// Another program gets the descriptor, and uses it while this one makes calls.
pub(crate) fn pass_on(_: &mut Random) {
    let fd = found();
    let copy = sys!(SYS_dup, fd).expect("a copy");
    child(|| {
        let error = Command::new("/proc/self/exe").args(["passed", &copy.to_string()]).exec();
        panic!("{error}");
    });
    call_on_and_on();
}

pub(crate) fn use_passed(fd: u64) {
    ask_for_anything(fd, &mut Random(fd + 1));
}
