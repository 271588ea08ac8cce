//! Deeds that pass nonsense to system calls, and must be survived.

use abi::native;
use libc::*;
use programs::sys;
use programs::system::{PAGE, Result, call, pages};
use std::arch::asm;

/// Addresses at which a program may have nothing read or written.
fn bad_addresses() -> Vec<u64> {
    let page = pages(2) as u64;
    let end = page + PAGE as u64;
    assert_eq!(sys!(SYS_munmap, end, PAGE), Ok(0));
    vec![
        7,
        0xfff,
        0xdead_beef_0001,
        0x7fff_ffff_effc,
        0x7fff_ffff_f000,
        0x8000_0000_0000,
        0x8000_0000_0000_0000,
        0xffff_8000_0000_0000,
        0xffff_ff40_0000_0000,
        0xffff_ffff_8000_0000,
        0xffff_ffff_8020_0000,
        0xffff_ffff_c000_0000,
        u64::MAX - 7,
        u64::MAX,
        // Three bytes of a page, and nothing behind them.
        end - 3,
    ]
}

/// Calls whose pointers are looked at in any case: number, name, and arguments from a descriptor of
/// a file with contents and the pointer.
type Pointed = (i64, &'static str, fn(fd: u64, pointer: u64) -> [u64; 6]);

const HERE: u64 = AT_FDCWD as u64;
const MONOTONIC: u64 = CLOCK_MONOTONIC as u64;

const POINTED: [Pointed; 38] = [
    (SYS_read, "read", |fd, p| [fd, p, 64, 0, 0, 0]),
    (SYS_write, "write", |fd, p| [fd, p, u64::MAX >> 1, 0, 0, 0]),
    (SYS_pread64, "pread64", |fd, p| [fd, p, 64, 0, 0, 0]),
    (SYS_readv, "readv", |fd, p| [fd, p, 1, 0, 0, 0]),
    (SYS_writev, "writev", |fd, p| [fd, p, 1, 0, 0, 0]),
    (SYS_open, "open", |_, p| [p, 0, 0, 0, 0, 0]),
    (SYS_openat, "openat", |_, p| [HERE, p, 0, 0, 0, 0]),
    (SYS_stat, "stat", |_, p| [p, p, 0, 0, 0, 0]),
    (SYS_lstat, "lstat", |_, p| [p, p, 0, 0, 0, 0]),
    (SYS_fstat, "fstat", |fd, p| [fd, p, 0, 0, 0, 0]),
    (SYS_newfstatat, "newfstatat", |_, p| [HERE, p, p, 0, 0, 0]),
    (SYS_statx, "statx", |_, p| [HERE, p, 0, 0x7ff, p, 0]),
    (SYS_access, "access", |_, p| [p, 0, 0, 0, 0, 0]),
    (SYS_faccessat, "faccessat", |_, p| [HERE, p, 0, 0, 0, 0]),
    (SYS_readlink, "readlink", |_, p| [p, p, 64, 0, 0, 0]),
    (SYS_readlinkat, "readlinkat", |_, p| [HERE, p, p, 64, 0, 0]),
    (SYS_getcwd, "getcwd", |_, p| [p, 4096, 0, 0, 0, 0]),
    (SYS_chdir, "chdir", |_, p| [p, 0, 0, 0, 0, 0]),
    (SYS_mkdir, "mkdir", |_, p| [p, 0o755, 0, 0, 0, 0]),
    (SYS_rmdir, "rmdir", |_, p| [p, 0, 0, 0, 0, 0]),
    (SYS_unlink, "unlink", |_, p| [p, 0, 0, 0, 0, 0]),
    (SYS_unlinkat, "unlinkat", |_, p| [HERE, p, 0, 0, 0, 0]),
    (SYS_rename, "rename", |_, p| [p, p, 0, 0, 0, 0]),
    (SYS_poll, "poll", |_, p| [p, 1, 0, 0, 0, 0]),
    (SYS_clock_gettime, "clock_gettime", |_, p| [MONOTONIC, p, 0, 0, 0, 0]),
    (SYS_clock_getres, "clock_getres", |_, p| [MONOTONIC, p, 0, 0, 0, 0]),
    (SYS_gettimeofday, "gettimeofday", |_, p| [p, 0, 0, 0, 0, 0]),
    (SYS_nanosleep, "nanosleep", |_, p| [p, 0, 0, 0, 0, 0]),
    (SYS_clock_nanosleep, "clock_nanosleep", |_, p| [MONOTONIC, 0, p, 0, 0, 0]),
    (SYS_rt_sigaction, "rt_sigaction", |_, p| [SIGUSR1 as u64, p, 0, 8, 0, 0]),
    (SYS_rt_sigprocmask, "rt_sigprocmask", |_, p| [0, p, 0, 8, 0, 0]),
    (SYS_sigaltstack, "sigaltstack", |_, p| [p, 0, 0, 0, 0, 0]),
    (SYS_uname, "uname", |_, p| [p, 0, 0, 0, 0, 0]),
    (SYS_sysinfo, "sysinfo", |_, p| [p, 0, 0, 0, 0, 0]),
    (SYS_getrandom, "getrandom", |_, p| [p, 64, 0, 0, 0, 0]),
    (SYS_prlimit64, "prlimit64", |_, p| [0, RLIMIT_NOFILE as u64, 0, p, 0, 0]),
    (SYS_sched_getaffinity, "sched_getaffinity", |_, p| [0, 128, p, 0, 0, 0]),
    (SYS_getdents64, "getdents64", |fd, p| [fd + 1, p, 4096, 0, 0, 0]),
];

/// A file with contents, and the next descriptor a directory.
fn descriptors() -> u64 {
    let path = c"/tmp/hostile.file";
    let fd = sys!(SYS_open, path, O_RDWR | O_CREAT | O_TRUNC, 0o600).expect("a file can be made");
    assert_eq!(sys!(SYS_unlink, path), Ok(0));
    let contents = [b'x'; 4096];
    assert_eq!(sys!(SYS_write, fd, &contents, 4096), Ok(4096));
    assert_eq!(sys!(SYS_lseek, fd, 0, SEEK_SET), Ok(0));
    assert_eq!(sys!(SYS_open, c"/", O_RDONLY), Ok(fd + 1));
    fd
}

pub(super) fn pointers() {
    let fd = descriptors();
    for pointer in bad_addresses() {
        let half_mapped = pointer & 0xfff == 0xffd;
        for (number, name, arguments) in POINTED {
            assert_eq!(sys!(SYS_lseek, fd, 0, SEEK_SET), Ok(0));
            if half_mapped {
                // Text without an end, so that no path ends before the page does.
                // SAFETY: the last three bytes of a page of ours.
                unsafe { std::ptr::with_exposed_provenance_mut::<[u8; 3]>(pointer as usize).write(*b"aaa") };
            }
            let result = call(number as u64, &arguments(fd, pointer));
            // Three bytes can be read or written there, and the name of the root is two.
            let some = [SYS_read, SYS_write, SYS_pread64, SYS_getrandom, SYS_getcwd].contains(&number);
            assert!(
                result == Err(EFAULT) || half_mapped && some && matches!(result, Ok(1..=3)),
                "{name} with {pointer:#x}: {result:?}"
            );
        }
    }
    unharmed(fd);
}

/// The program still has its file, its memory and its threads.
fn unharmed(fd: u64) {
    let mut contents = vec![0u8; 5000];
    let length = sys!(SYS_pread64, fd, contents.as_mut_ptr(), contents.len(), 0);
    assert!(matches!(length, Ok(1..)), "the file: {length:?}");
    let numbers: Vec<u64> = (0..100_000).collect();
    assert_eq!(numbers.iter().sum::<u64>(), 4_999_950_000);
    assert_eq!(std::thread::spawn(|| 42).join().expect("a thread"), 42);
}

/// Calls that would end, wait, move memory from under the program, or take its output from it. Each
/// has checks of its own elsewhere.
const SPARED: [i64; 34] = [
    SYS_exit,
    SYS_exit_group,
    SYS_rt_sigreturn,
    SYS_pause,
    SYS_rt_sigsuspend,
    SYS_fork,
    SYS_vfork,
    SYS_clone,
    SYS_execve,
    SYS_execveat,
    SYS_select,
    SYS_pselect6,
    SYS_ppoll,
    SYS_mmap,
    SYS_munmap,
    SYS_mremap,
    SYS_mprotect,
    SYS_brk,
    SYS_madvise,
    SYS_remap_file_pages,
    SYS_pkey_mprotect,
    SYS_arch_prctl,
    SYS_kill,
    SYS_tkill,
    SYS_tgkill,
    SYS_rt_sigqueueinfo,
    SYS_rt_tgsigqueueinfo,
    SYS_pidfd_send_signal,
    SYS_alarm,
    SYS_setitimer,
    SYS_dup2,
    SYS_dup3,
    SYS_close,
    SYS_close_range,
];

pub(super) fn everything() {
    let fd = descriptors();
    let numbers = (0..=460).chain(native::FIRST..=native::LAST + 8).chain([1 << 20, 1 << 32, 1 << 63, u64::MAX]);
    let spared_natives = [native::BURN, native::THREAD];
    let (mut calls, mut unknown) = (0u64, 0u64);
    for number in numbers.filter(|number| !SPARED.contains(&(*number as i64)) && !spared_natives.contains(number)) {
        for p in [0].into_iter().chain(bad_addresses()) {
            // A time-out of its own for what may wait.
            if number == native::RECEIVE || number == native::WAIT {
                assert!(call(number, &[p, p, p, 0]).is_err());
                continue;
            }
            let shapes: [[u64; 6]; 6] = [
                [p, p, p, p, p, p],
                [fd, p, 64, p, p, 0],
                [p, 64, 0, 0, 0, 0],
                [HERE, p, 0, p, 0, p],
                [fd, p, p, 0, p, p],
                [0, p, p, p, p, 8],
            ];
            // Standard input may have nothing to say for ever.
            let reads = [SYS_read, SYS_readv, SYS_preadv2].contains(&(number as i64));
            for arguments in shapes.into_iter().filter(|arguments| !(reads && arguments[0] == 0)) {
                calls += 1;
                unknown += u64::from(call(number, &arguments) == Err(ENOSYS));
            }
        }
    }
    // A wild place to clear at the end, and a wild list of locks to walk.
    for p in bad_addresses() {
        let _: Result = sys!(SYS_set_tid_address, p);
        let _: Result = sys!(SYS_set_robust_list, p, 24);
    }
    let _: Result = sys!(native::PRIORITY, 0, native::NORMAL_PRIORITY);
    bases();
    println!("{calls} calls, {unknown} of them unknown to the kernel");
    unharmed_alone(fd);
}

/// Like [`unharmed`], but without threads: the C library's own word for them was overwritten.
fn unharmed_alone(fd: u64) {
    let mut contents = [0u8; 64];
    let result = sys!(SYS_pread64, fd, &mut contents, 64, 0);
    assert!(result.is_ok(), "the file: {result:?}");
    let numbers: Vec<u64> = (0..100_000).collect();
    assert_eq!(numbers.iter().sum::<u64>(), 4_999_950_000);
}

/// Segment bases that are no user addresses are refused.
fn bases() {
    const SET_GS: i32 = 0x1001;
    const SET_FS: i32 = 0x1002;
    const GET_FS: i32 = 0x1003;
    for base in [0x7fff_ffff_f000u64, 0x8000_0000_0000, 0x8000_0000_0000_0000, 0xffff_8000_0000_0000, u64::MAX] {
        assert_eq!(sys!(SYS_arch_prctl, SET_FS, base), Err(EPERM), "FS base {base:#x}");
        assert_eq!(sys!(SYS_arch_prctl, SET_GS, base), Err(EPERM), "GS base {base:#x}");
        assert_eq!(sys!(SYS_arch_prctl, GET_FS, base), Err(EFAULT), "FS base to {base:#x}");
    }
    assert_eq!(sys!(SYS_arch_prctl, 99, 0), Err(EINVAL), "no such base");
}

/// The kernel must not run with a program's flags.
pub(super) fn flags() {
    const DIRECTION: u64 = 1 << 10;
    const NESTED: u64 = 1 << 14;
    const ALIGNMENT: u64 = 1 << 18;
    let mut random = [0u8; 256];
    for flag in [DIRECTION, NESTED, ALIGNMENT, DIRECTION | NESTED | ALIGNMENT] {
        random.fill(0);
        let length: u64;
        let after: u64;
        // SAFETY: the call fills `random`; the direction flag is as the compiler wants it in the end.
        // The fault in the midst, `getrandom`'s copy and the timer all enter the kernel with the flag.
        unsafe {
            asm!(
                "pushfq", "or [rsp], {flag}", "popfq",
                "syscall",
                "pushfq", "pop {after}",
                "mov {flag}, {after}", "and {flag}, ~0x44400", "push {flag}", "popfq",
                flag = inout(reg) flag => _, after = out(reg) after,
                inout("rax") SYS_getrandom => length,
                in("rdi") random.as_mut_ptr(), in("rsi") 256, in("rdx") 0,
                out("rcx") _, out("r11") _,
            );
        }
        assert_eq!(length, 256, "with flags {flag:#x}");
        assert!(random.iter().filter(|byte| **byte != 0).count() > 200, "all of it was written");
        assert_eq!(after & (DIRECTION | ALIGNMENT), flag & (DIRECTION | ALIGNMENT), "the program keeps its flags");
    }
}
