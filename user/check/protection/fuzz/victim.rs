//! The children: what they are made with, and what they do.
//!
//! A child may have lost anything that a library relies on, so it does nothing but make system calls.
#![expect(non_upper_case_globals, reason = "calls go by the names that libc has for them")]

use crate::nonsense::{Places, SIZE, name, word};
use abi::native;
use libc::*;
use programs::cpus::Random;
use programs::sys;
use programs::system::{Result, call};
use std::arch::asm;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Linux's numbers that are tried.
pub(super) const NUMBERS: usize = 480;

/// Calls that a child's thread makes at most, and what was cloned from it.
const CALLS: u64 = 20_000;
const CALLS_OF_CLONES: u64 = 300;

/// Where in the page with the names a time of one millisecond stands.
const MILLISECOND: u64 = 4096 - 16;

/// A stack, in bytes.
const STACK: u64 = 64 << 10;

/// What all processes share.
pub(super) struct Shared {
    /// Calls made.
    pub(super) calls: AtomicU64,
    /// Those that were not answered with an error.
    pub(super) successes: AtomicU64,
    /// By Linux's number, whether it has been answered otherwise than that it is not there.
    pub(super) known: [AtomicU32; NUMBERS],
}

/// The process that must not be harmed: the first one.
static PARENT: AtomicU32 = AtomicU32::new(0);
static SHARED: AtomicU64 = AtomicU64::new(0);
static NAMES: AtomicU64 = AtomicU64::new(0);
/// Descriptors that the children begin with, of devices that they cannot do away with.
static DEVICES: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
/// Memory of the process, [`SIZE`] bytes.
static OWN: AtomicU64 = AtomicU64::new(0);

/// Names of files, in the directory that is the child's and in general.
const FILES: [&[u8]; 20] = [
    b"a",
    b"b",
    b"c",
    b"d",
    b"a/b",
    b"b/c",
    b"./a/../b",
    b"../fuzz/d",
    b"a/",
    b"",
    b".",
    b"..",
    b"/",
    b"/proc/self/stat",
    b"/proc/self/maps",
    b"/proc/self/fd/4",
    b"/proc",
    b"/proc/self/status",
    b"p",
    b"a-name-that-is-as-long-as-there-is-room-for-it-here-and-not-ended",
];

fn memory(length: u64, flags: i32) -> Result {
    sys!(SYS_mmap, 0, length, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0)
}

/// Memory between two pages where there is none: what is written beyond its ends does not get far.
fn fenced(length: u64, flags: i32) -> Result {
    let start = memory(length + 2 * 4096, flags)?;
    sys!(SYS_mprotect, start, 4096, PROT_NONE)?;
    sys!(SYS_mprotect, start + 4096 + length, 4096, PROT_NONE)?;
    Ok(start + 4096)
}

impl Shared {
    /// Makes what the children are to share.
    pub(super) fn new() -> &'static Shared {
        let length = (size_of::<Shared>() as u64).next_multiple_of(4096);
        let address = fenced(length, MAP_SHARED).expect("shared memory");
        SHARED.store(fenced(SIZE, MAP_SHARED).expect("shared memory"), Relaxed);
        OWN.store(fenced(SIZE, MAP_PRIVATE).expect("memory"), Relaxed);
        let names = fenced(4096, MAP_PRIVATE).expect("memory");
        for (file, at) in FILES.iter().zip((names..).step_by(64)) {
            let to = std::ptr::with_exposed_provenance_mut::<u8>(at as usize);
            // SAFETY: 64 bytes for each, of the page just mapped.
            unsafe { std::ptr::copy_nonoverlapping(file.as_ptr(), to, file.len().min(64)) };
        }
        let millisecond = std::ptr::with_exposed_provenance_mut::<u64>((names + MILLISECOND + 8) as usize);
        // SAFETY: far behind the names.
        unsafe { millisecond.write(1_000_000) };
        sys!(SYS_mprotect, names, 4096, PROT_READ).expect("a page for reading");
        NAMES.store(names, Relaxed);
        for (device, path) in DEVICES.iter().zip([c"/dev/null", c"/dev/zero"]) {
            device.store(sys!(SYS_open, path, O_RDWR).expect("a device"), Relaxed);
        }
        PARENT.store(std::process::id(), Relaxed);
        // SAFETY: mapped above, zeroed, large enough, and never unmapped in the first process.
        unsafe { &*std::ptr::with_exposed_provenance(address as usize) }
    }
}

/// Touches all of the shared memory, so that it has the same pages whatever the children have done to it.
pub(super) fn touch_shared() {
    for page in (0..SIZE).step_by(4096) {
        let address = std::ptr::with_exposed_provenance_mut::<u64>((SHARED.load(Relaxed) + page) as usize);
        // SAFETY: the first process never unmaps it.
        unsafe { address.write_volatile(0) };
    }
}

/// Starts a child; none if the kernel has no room for it now.
pub(super) fn start(shared: &'static Shared, seed: u64) -> Option<i32> {
    match sys!(SYS_fork) {
        Ok(0) => first(shared, seed),
        other => other.ok().map(|pid| pid as i32),
    }
}

/// A child begins: away from its parent's group, terminal and files, and with limits.
fn first(shared: &'static Shared, seed: u64) -> ! {
    let mut random = Random::new(seed);
    let _ = sys!(SYS_setsid);
    let _ = sys!(SYS_mkdir, c"/tmp/fuzz", 0o755);
    let _ = sys!(SYS_chdir, c"/tmp/fuzz");
    (0..3).for_each(|fd| _ = sys!(SYS_dup2, DEVICES[fd / 2].load(Relaxed), fd));
    // A program to be run, written to, and done away with.
    let original = sys!(SYS_open, c"/bin/exit-code", O_RDONLY).unwrap_or(0);
    let copy = sys!(SYS_open, c"p", O_WRONLY | O_CREAT | O_TRUNC, 0o755).unwrap_or(0);
    let _ = sys!(SYS_copy_file_range, original, 0, copy, 0, 1 << 20, 0);
    let _ = sys!(SYS_close, original);
    let _ = sys!(SYS_close, copy);
    for (resource, limit) in [(RLIMIT_AS, 48 << 20), (RLIMIT_NPROC, 80_u64)] {
        let _ = sys!(SYS_setrlimit, resource, &[limit, limit]);
    }
    let victim = Victim { shared, process: sys!(SYS_getpid).unwrap_or(0), depth: 0 };
    for _ in 0..random.below(4) {
        victim.thread(&mut random);
    }
    victim.act(&mut random, CALLS);
    loop {
        let _ = sys!(SYS_exit_group, 0);
    }
}

/// Where clones begin. The low bits of `seed` say how many clones lie between them and the first process.
extern "C" fn begin(seed: u64, shared: &'static Shared) -> ! {
    let victim = Victim { shared, process: sys!(SYS_getpid).unwrap_or(0), depth: seed & 7 };
    victim.act(&mut Random::new(seed), CALLS_OF_CLONES);
    loop {
        let _ = sys!(SYS_exit, 0);
    }
}

struct Victim {
    shared: &'static Shared,
    /// Its process.
    process: u64,
    /// How many clones lie between it and the first process.
    depth: u64,
}

impl Victim {
    /// Makes random calls.
    fn act(&self, random: &mut Random, calls: u64) {
        let places = Places {
            shared: SHARED.load(Relaxed),
            own: OWN.load(Relaxed),
            names: (NAMES.load(Relaxed), FILES.len() as u64),
        };
        for _ in 0..calls {
            let number = match random.below(16) {
                0 => native::FIRST + random.below(native::LAST - native::FIRST + 4),
                1..6 => COMMON[random.below(COMMON.len() as u64) as usize] as u64,
                _ => random.below(NUMBERS as u64),
            };
            let mut arguments = [0; 6];
            arguments.iter_mut().for_each(|argument| *argument = word(random, &places));
            if random.below(2) == 0 {
                // A structure with sense in a field or two.
                let at = places.own + (random.below(SIZE) & !7);
                let value = word(random, &places);
                poke(at, value);
                if random.below(4) == 0 {
                    poke(places.shared + (at - places.own), value);
                }
            }
            if !self.restrain(random, &places, number, &mut arguments) {
                continue;
            }
            self.shared.calls.fetch_add(1, Relaxed);
            let result = match number as i64 {
                SYS_fork | SYS_vfork | SYS_clone | SYS_clone3 => self.clone(random, number, arguments),
                _ => call(number, &arguments),
            };
            if result.is_ok() {
                self.shared.successes.fetch_add(1, Relaxed);
            }
            if let Some(known) = self.shared.known.get(number as usize).filter(|_| result != Err(ENOSYS)) {
                known.store(1, Relaxed);
            }
        }
    }

    /// Keeps a call from ending the fuzzer as a whole, or from all too often ending or stopping a child. False: it
    /// is not made.
    fn restrain(&self, random: &mut Random, places: &Places, number: u64, arguments: &mut [u64; 6]) -> bool {
        let parent = u64::from(PARENT.load(Relaxed));
        if parent == 0 {
            // Its variables are gone, and it knows no process to spare.
            let _ = sys!(SYS_exit_group, 0);
        }
        let me = self.process;
        // Processes near this one, but the first; groups are only named by the child's own number.
        let somebody = |random: &mut Random| {
            match random.below(6) {
                0 => Some(0),
                1 => Some(me.wrapping_neg()),
                2 => Some(random.below(u64::MAX) | 1 << 31),
                _ => Some((me + random.below(8)).wrapping_sub(4)),
            }
            .filter(|pid| {
                *pid as u32 != parent as u32 && *pid as u32 != parent.wrapping_neg() as u32 && *pid as i32 != -1
            })
            .unwrap_or(me)
        };
        match number as i64 {
            SYS_exit | SYS_exit_group | SYS_rt_sigreturn => random.below(50) == 0,
            SYS_pause | SYS_rt_sigsuspend => random.below(200) == 0,
            // What can wait does not wait for long, as a rule.
            SYS_poll | SYS_epoll_wait => {
                arguments[2] = [random.below(3), arguments[2]][usize::from(random.below(50) == 0)];
                true
            }
            SYS_nanosleep | SYS_clock_nanosleep | SYS_ppoll | SYS_select | SYS_pselect6 | SYS_futex
            | SYS_rt_sigtimedwait => {
                let index = match number as i64 {
                    SYS_nanosleep => 0,
                    SYS_clock_nanosleep | SYS_ppoll | SYS_rt_sigtimedwait => 2,
                    SYS_futex => 3,
                    _ => 4,
                };
                if random.below(50) > 0 {
                    arguments[index] = NAMES.load(Relaxed) + MILLISECOND;
                }
                true
            }
            SYS_wait4 | SYS_waitid => {
                let options = if number as i64 == SYS_wait4 { 2 } else { 3 };
                arguments[options] |= u64::from(random.below(20) > 0) * WNOHANG as u64;
                true
            }
            SYS_pipe => random.below(20) == 0,
            SYS_pipe2 => {
                arguments[1] |= u64::from(random.below(20) > 0) * O_NONBLOCK as u64;
                true
            }
            SYS_munmap => random.below(10) == 0,
            SYS_mprotect | SYS_mremap | SYS_arch_prctl | SYS_brk => random.below(3) == 0,
            SYS_kill | SYS_tkill | SYS_tgkill | SYS_rt_sigqueueinfo | SYS_rt_tgsigqueueinfo => {
                arguments[0] = somebody(random);
                if number as i64 == SYS_tgkill || number as i64 == SYS_rt_tgsigqueueinfo {
                    arguments[1] = somebody(random);
                }
                random.below(4) == 0
            }
            SYS_setpgid => {
                *arguments = [somebody(random), [0, me][random.below(2) as usize], 0, 0, 0, 0];
                true
            }
            // The limits that keep the children from taking all memory stay.
            SYS_setrlimit => ![RLIMIT_AS, RLIMIT_NPROC].contains(&(arguments[0] as i32)),
            SYS_prlimit64 => {
                arguments[0] = 0;
                if [RLIMIT_AS, RLIMIT_NPROC].contains(&(arguments[1] as i32)) {
                    arguments[2] = 0;
                }
                true
            }
            SYS_sched_setaffinity | SYS_sched_setscheduler | SYS_sched_setparam | SYS_setpriority => {
                arguments[0] = [0, me][random.below(2) as usize];
                true
            }
            SYS_execve => {
                if random.below(4) == 0 {
                    arguments[0] = name(random, places);
                }
                random.below(10) == 0
            }
            SYS_fork | SYS_vfork | SYS_clone | SYS_clone3 => self.depth < 3 && random.below(8) == 0,
            _ => match number {
                native::BURN => {
                    if arguments[0] <= native::BURN_MAX {
                        arguments[0] %= 20_000;
                    }
                    true
                }
                // No process comes before the first one.
                native::PRIORITY => {
                    arguments[0] = 0;
                    if arguments[1] < native::NORMAL_PRIORITY {
                        arguments[1] += native::NORMAL_PRIORITY;
                    }
                    true
                }
                native::SEND => {
                    arguments[0] = somebody(random);
                    true
                }
                native::WAIT | native::RECEIVE => random.below(4) == 0,
                _ => true,
            },
        }
    }

    /// One more thread of this process.
    fn thread(&self, random: &mut Random) {
        let flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
        if let Ok(stack) = memory(STACK, MAP_PRIVATE) {
            let _ = self.raw_clone(random, SYS_clone as u64, [flags as u64, stack + STACK, 0, 0, 0, 0]);
        }
    }

    /// `fork` and its kin. Whatever comes of it begins at [`begin`].
    fn clone(&self, random: &mut Random, number: u64, mut arguments: [u64; 6]) -> Result {
        if number as i64 == SYS_clone {
            const KINDS: [i32; 6] = [
                SIGCHLD,
                0,
                CLONE_VM | CLONE_VFORK | SIGCHLD,
                CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM,
                CLONE_VM | SIGCHLD,
                CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD,
            ];
            let kind = KINDS[random.below(KINDS.len() as u64) as usize];
            let odd = if random.below(3) == 0 { 1 << random.below(32) } else { 0 };
            arguments[0] = (kind as u32 as u64) ^ odd;
            // Not on this thread's stack, if both run.
            let shares = arguments[0] & (CLONE_VM | CLONE_VFORK) as u64 == CLONE_VM as u64;
            if shares || random.below(2) == 0 {
                arguments[1] = memory(STACK, MAP_PRIVATE).map_or(0, |stack| stack + STACK);
                if arguments[1] == 0 {
                    return Err(ENOMEM);
                }
            } else {
                arguments[1] = 0;
            }
        }
        self.raw_clone(random, number, arguments)
    }

    fn raw_clone(&self, random: &mut Random, number: u64, arguments: [u64; 6]) -> Result {
        let seed = random.below(u64::MAX) & !7 | (self.depth + 1);
        let [a, b, c, d, e, f] = arguments;
        let result: i64;
        // SAFETY: the clone never comes back; it has a stack of its own, a copy of this one, or this one
        // while no other thread uses it, and takes what lies below what is in use here.
        unsafe {
            asm!(
                "syscall",
                "test rax, rax",
                "jnz 2f",
                "xor ebp, ebp",
                "and rsp, -16",
                "mov rdi, r12",
                "mov rsi, r13",
                "call {begin}",
                "ud2",
                "2:",
                begin = sym begin,
                inlateout("rax") number => result,
                in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
                in("r12") seed, in("r13") self.shared,
                lateout("rcx") _, lateout("r11") _,
            );
        }
        if (-4095..0).contains(&result) { Err(-result as i32) } else { Ok(result as u64) }
    }
}

/// Calls that do much, or whose arguments make sense by chance more often.
const COMMON: [i64; 44] = [
    SYS_mmap,
    SYS_munmap,
    SYS_mprotect,
    SYS_mremap,
    SYS_madvise,
    SYS_brk,
    SYS_openat,
    SYS_open,
    SYS_close,
    SYS_read,
    SYS_write,
    SYS_readv,
    SYS_writev,
    SYS_pread64,
    SYS_pwrite64,
    SYS_pipe2,
    SYS_dup,
    SYS_dup2,
    SYS_fcntl,
    SYS_ftruncate,
    SYS_fallocate,
    SYS_lseek,
    SYS_rename,
    SYS_link,
    SYS_symlink,
    SYS_unlink,
    SYS_mkdir,
    SYS_rmdir,
    SYS_getdents64,
    SYS_poll,
    SYS_select,
    SYS_futex,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_tgkill,
    SYS_kill,
    SYS_clone,
    SYS_fork,
    SYS_vfork,
    SYS_wait4,
    SYS_waitid,
    SYS_execve,
    SYS_sendfile,
    SYS_copy_file_range,
];

/// Writes a word. If the memory has been unmapped, that ends the process, which begins anew with all of it.
fn poke(at: u64, value: u64) {
    let to = std::ptr::with_exposed_provenance_mut::<u64>(at as usize);
    // SAFETY: this process looks at this memory by system calls alone.
    unsafe { to.write_volatile(value) };
}
