//! No data of a process gets to another one: `remains [fill | look]`.
//!
//! `remains fill` writes one byte wherever a program can leave any: pages, stack, pipes, files, all registers, and
//! the bytes of the extended state that belong to no register. `remains look`, the next program of this process and
//! the next process, looks for runs of this byte in everything that the kernel hands out. Without a word the program
//! runs the two in turn.
//!
//! Run by: `tests/tests/boot/programs.rs`.

use libc::*;
use programs::system::PAGE;
use std::arch::asm;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::{env, ptr, slice, thread};

/// What is written everywhere.
const MARK: u8 = 0xa7;

/// This number of them in a row is no accident.
const RUN: usize = 6;

/// Bytes that are filled and looked at, of each kind of memory.
const AMOUNT: usize = 4 << 20;

/// Bytes of the stack that are.
const DEEP: usize = 512 << 10;

/// Bytes of the extended state in a signal's frame, without AVX.
const LEGACY: usize = 512;

/// Runs of the mark that the handler has seen, when it looks.
static FOUND: AtomicUsize = AtomicUsize::new(0);

fn main() {
    match env::args().nth(1).as_deref() {
        Some("fill") => {
            fill();
            panic!("{}", Command::new(env::current_exe().expect("a path")).arg("look").exec());
        }
        Some("look") => look(),
        _ => {
            let me = env::current_exe().expect("a path");
            for word in ["look", "fill", "look", "fill", "look", "fill", "look"] {
                let status = Command::new(&me).arg(word).status().expect("it runs");
                assert!(status.success(), "{word}: {status}");
            }
            println!("ok remains");
        }
    }
}

/// Leaves the mark everywhere.
fn fill() {
    pages().fill(MARK);
    deep(|stack| stack.fill(MARK));
    let mut file = File::create("/tmp/marked").expect("a file");
    file.write_all(&[MARK; 3 * PAGE + 100]).expect("room");
    drop(file);
    fs::remove_file("/tmp/marked").expect("it is there");
    let (_reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(&[MARK; 60_000]).expect("room");
    // Calls whose arguments the kernel copies, and threads, whose control blocks are used again.
    let name = String::from_utf8(vec![b'n'; 200]).expect("letters");
    let _ = fs::read_link(name);
    let threads: Vec<_> = (0..4).map(|_| thread::spawn(registers)).collect();
    threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
    signal_with(mark_state, 0);
    registers();
    // A thread that ends leaves its extended state to the next program.
    thread::spawn(|| signal_across_pages(mark_state)).join().expect("it ends");
}

/// Looks at all that the kernel gives a new process.
fn look() {
    let mut places: Vec<(&str, usize)> = vec![("the stack", deep(|stack| runs(stack))), ("new pages", runs(pages()))];
    places.push(("a file's pages", file_pages()));
    places.push(("what calls write", structures()));
    signal_across_pages(look_at_state);
    signal_with(look_at_state, 0);
    places.push(("a signal's frame", FOUND.load(Relaxed)));
    let threads: Vec<_> = (0..4).map(|_| thread::spawn(|| signal_with(look_at_state, 0))).collect();
    threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
    places.push(("a thread's signal frame", FOUND.load(Relaxed)));
    places.retain(|(_, found)| *found > 0);
    assert!(places.is_empty(), "another process's bytes are in {places:?}");
}

/// How many runs of the mark there are.
fn runs(bytes: &[u8]) -> usize {
    bytes.chunk_by(|a, b| a == b).filter(|run| run.len() >= RUN && run[0] == MARK).count()
}

/// Memory that no program has touched.
fn pages() -> &'static mut [u8] {
    // SAFETY: a new mapping, which stays.
    unsafe {
        let (rights, kind) = (PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
        let start = mmap(ptr::null_mut(), AMOUNT, rights, kind, -1, 0);
        assert_ne!(start, MAP_FAILED);
        slice::from_raw_parts_mut(start.cast(), AMOUNT)
    }
}

/// Does something with the stack below this function: with pages of it that are still to come.
#[inline(never)]
fn deep<T>(act: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut below = MaybeUninit::<[u8; DEEP]>::uninit();
    // SAFETY: memory of that size; whatever bytes are in it are bytes, and the compiler is told that they are there.
    let stack = unsafe {
        asm!("/* {0} */", in(reg) below.as_mut_ptr(), options(nostack, preserves_flags));
        slice::from_raw_parts_mut(below.as_mut_ptr().cast(), DEEP)
    };
    act(stack)
}

/// Runs of the mark behind a file's end, in a hole, and in what a file grows by.
fn file_pages() -> usize {
    let file = File::options().create(true).truncate(true).read(true).write(true).open("/tmp/looked").expect("a file");
    (&file).write_all(b"x").expect("room");
    file.set_len((AMOUNT + 1) as u64).expect("room");
    let mut content = Vec::new();
    (&file).read_to_end(&mut content).expect("it is read");
    let mut found = 1;
    // SAFETY: maps what the file has, its last page too, and looks at that.
    unsafe {
        let whole = AMOUNT + PAGE;
        let start = mmap(ptr::null_mut(), whole, PROT_READ, MAP_SHARED, file.as_raw_fd(), 0);
        if start != MAP_FAILED {
            found = runs(slice::from_raw_parts(start.cast(), whole));
        }
    }
    fs::remove_file("/tmp/looked").expect("it is there");
    found + runs(&content) + usize::from(!content[2..].iter().all(|byte| *byte == 0))
}

/// Runs of the mark in the structures that calls fill.
fn structures() -> usize {
    let mut found = 0;
    let mut look = |call: &mut dyn FnMut(*mut c_void)| {
        let mut space = [0_u64; 512];
        call(space.as_mut_ptr().cast());
        found += runs(space.map(u64::to_ne_bytes).as_flattened());
    };
    let root = c"/".as_ptr();
    // SAFETY: each call writes one structure of its, shorter than the space.
    unsafe {
        look(&mut |to| _ = stat(root, to.cast()));
        look(&mut |to| _ = statx(AT_FDCWD, root, 0, STATX_ALL, to.cast()));
        look(&mut |to| _ = statfs(root, to.cast()));
        look(&mut |to| _ = sysinfo(to.cast()));
        look(&mut |to| _ = uname(to.cast()));
        look(&mut |to| _ = getrusage(RUSAGE_SELF, to.cast()));
        look(&mut |to| _ = times(to.cast()));
        look(&mut |to| _ = getrlimit(RLIMIT_STACK, to.cast()));
        look(&mut |to| _ = sigaction(SIGUSR1, ptr::null(), to.cast()));
        look(&mut |to| _ = sigaltstack(ptr::null(), to.cast()));
        look(&mut |to| _ = sched_getaffinity(0, 64, to.cast()));
        look(&mut |to| _ = ioctl(0, TCGETS as _, to));
        look(&mut |to| {
            let directory = open(root, O_RDONLY | O_DIRECTORY);
            syscall(SYS_getdents64, directory, to, 4096);
            close(directory);
        });
    }
    found
}

/// Fills the vector registers, as far as every CPU has them.
fn registers() {
    let bytes = [MARK; 16];
    // SAFETY: loads registers that are the program's, and says so.
    unsafe {
        asm!(
            "movdqu xmm0, [{0}]", "movdqa xmm1, xmm0", "movdqa xmm2, xmm0", "movdqa xmm3, xmm0", "movdqa xmm4, xmm0",
            "movdqa xmm5, xmm0", "movdqa xmm6, xmm0", "movdqa xmm7, xmm0", "movdqa xmm8, xmm0", "movdqa xmm9, xmm0",
            "movdqa xmm10, xmm0", "movdqa xmm11, xmm0", "movdqa xmm12, xmm0", "movdqa xmm13, xmm0", "movdqa xmm14, xmm0",
            "movdqa xmm15, xmm0",
            in(reg) bytes.as_ptr(),
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _, out("xmm6") _,
            out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _, out("xmm12") _,
            out("xmm13") _, out("xmm14") _, out("xmm15") _,
            options(nostack, readonly)
        );
    }
}

/// What takes a signal.
type Handler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

/// Sends this thread a signal in whose frame the extended state lies on both sides of a page's end: then the kernel
/// copies the state that it has in the control block.
fn signal_across_pages(handler: Handler) {
    let stack = &mut pages()[..4 * PAGE + LEGACY / 2];
    let stack = stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: stack.len() };
    // SAFETY: memory that is used for nothing else, and stays.
    assert_eq!(unsafe { sigaltstack(&stack, ptr::null_mut()) }, 0);
    signal_with(handler, SA_ONSTACK);
}

/// Sends this thread a signal that `handler` takes.
fn signal_with(handler: Handler, flags: c_int) {
    // SAFETY: an action that is whole; the handler touches its own frame only.
    unsafe {
        let mut action: sigaction = MaybeUninit::zeroed().assume_init();
        (action.sa_sigaction, action.sa_flags) = (handler as usize, SA_SIGINFO | flags);
        assert_eq!(sigaction(SIGUSR1, &action, ptr::null_mut()), 0);
        assert_eq!(raise(SIGUSR1), 0);
    }
}

/// The extended state of a signal's frame.
fn state(context: *mut c_void) -> &'static mut [u8] {
    // SAFETY: a handler's third argument, whose frame outlives the handler's use of it. Behind the general registers
    // is the address of the state; crate `libc` has no name for it.
    unsafe {
        let general = &raw const (*context.cast::<ucontext_t>()).uc_mcontext.gregs;
        slice::from_raw_parts_mut(general.add(1).cast::<*mut u8>().read(), LEGACY)
    }
}

/// Writes the mark wherever the kernel takes it back: all but the control words, and MXCSR with its mask.
extern "C" fn mark_state(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
    let state = state(context);
    state[8..24].fill(MARK);
    state[32..464].fill(MARK);
}

/// Counts the runs of the mark in the whole frame: registers, information and extended state.
extern "C" fn look_at_state(_: c_int, information: *mut siginfo_t, context: *mut c_void) {
    let mut found = runs(state(context));
    // SAFETY: two structures that the kernel has written, of these sizes.
    unsafe {
        found += runs(slice::from_raw_parts(information.cast(), size_of::<siginfo_t>()));
        found += runs(slice::from_raw_parts(context.cast(), size_of::<ucontext_t>()));
    }
    FOUND.fetch_add(found, Relaxed);
}
