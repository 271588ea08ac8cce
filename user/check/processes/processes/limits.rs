//! Limits of processes, address space, data, stack and files.

use super::Check;
use libc::*;
use programs::children::*;
use programs::sys;
use programs::system::PAGE;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

pub(crate) const CHECKS: &[Check] = &[
    ("limits-are-inherited", inherited),
    ("RLIMIT_NPROC", processes),
    ("RLIMIT_AS", address_space),
    ("RLIMIT_STACK", stack),
    ("RLIMIT_AS-and-stack", stack_in_address_space),
    ("RLIMIT_DATA", data),
    ("RLIMIT_FSIZE", file_size),
    ("SIGXFSZ", too_long),
];

fn limit(which: i32) -> [u64; 2] {
    let mut limit = [0u64; 2];
    sys!(SYS_getrlimit, which, &mut limit).unwrap();
    limit
}

fn set_limit(which: i32, soft: u64, hard: u64) -> Result<u64, i32> {
    sys!(SYS_setrlimit, which, &[soft, hard])
}

fn inherited() {
    let pid = child(|| {
        set_limit(RLIMIT_STACK, 1 << 20, 2 << 20).unwrap();
        end_of(child(|| i32::from(limit(RLIMIT_STACK) != [1 << 20, 2 << 20]))).status()
    });
    assert_eq!(end_of(pid), End::Exited(0));
}

/// The processes that there may be are the limit: then `EAGAIN`, until one has ended.
fn processes() {
    if !programs::native::present() {
        return;
    }
    let pid = child(|| {
        let most = 12;
        set_limit(RLIMIT_NPROC, most, most).unwrap();
        let [output, input] = pipe_ends();
        let mut made = Vec::new();
        let refused = loop {
            match sys!(SYS_fork) {
                Ok(0) => {
                    close_all(&[input]);
                    take(output);
                    leave(0);
                }
                Ok(pid) => made.push(pid as i32),
                Err(errno) => break errno,
            }
        };
        // Two were there before: this process and its parent.
        assert_eq!((refused, made.len() as u64), (EAGAIN, most - 2));
        assert!(std::thread::Builder::new().spawn(|| {}).is_err(), "nor a thread");
        close_all(&[input]);
        made.iter().for_each(|pid| assert_eq!(end_of(*pid), End::Exited(0)));
        assert_eq!(end_of(child(|| 0)), End::Exited(0), "there is room again");
        close_all(&[output]);
        0
    });
    assert_eq!(end_of(pid), End::Exited(0));
}

fn address_space() {
    let pid = child(|| {
        set_limit(RLIMIT_AS, 64 << 20, u64::MAX).unwrap();
        let map = |bytes: usize| {
            sys!(SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0).map(|_| ())
        };
        assert_eq!(map(100 << 20), Err(ENOMEM));
        assert_eq!(map(1 << 20), Ok(()));
        // A child has the same space, and is under the same limit.
        end_of(child(|| i32::from(map(100 << 20) != Err(ENOMEM)))).status()
    });
    assert_eq!(end_of(pid), End::Exited(0));
}

/// Goes down the stack by this number of pages.
fn descend(pages: usize) -> usize {
    let mut page = [0u8; PAGE];
    std::hint::black_box(&mut page);
    if pages <= 1 { 1 } else { descend(pages - 1) + usize::from(std::hint::black_box(page[0]) == 0) }
}

fn stack() {
    for (bytes, pages, end) in [(4 << 20, 600, End::Exited(0)), (1 << 20, 600, End::Killed(SIGSEGV))] {
        let pid = child(|| {
            set_limit(RLIMIT_STACK, bytes, u64::MAX).unwrap();
            super::running::run_as(&["me", "as:descend", &pages.to_string()])
        });
        assert_eq!(end_of(pid), end, "{bytes} bytes");
    }
}

/// A stack that grows takes of the address space.
fn stack_in_address_space() {
    for (more, end) in [(32 << 20, End::Exited(0)), (1 << 20, End::Killed(SIGSEGV))] {
        let pid = child(|| {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            let bytes = |line: &str| {
                let (start, end) = line.split(' ').next()?.split_once('-')?;
                Some(u64::from_str_radix(end, 16).ok()? - u64::from_str_radix(start, 16).ok()?)
            };
            let now: u64 = maps.lines().filter_map(bytes).sum();
            set_limit(RLIMIT_STACK, 64 << 20, u64::MAX).unwrap();
            set_limit(RLIMIT_AS, now + more, u64::MAX).unwrap();
            // No stack has so much from the start.
            play_descend((12 << 20) / PAGE as u64)
        });
        assert_eq!(end_of(pid), end, "{more} bytes more");
    }
}

fn data() {
    let pid = child(|| {
        const LENGTH: usize = 32 << 20;
        let map = |rights, flags| sys!(SYS_mmap, 0, LENGTH, rights, flags | MAP_ANONYMOUS, -1, 0);
        let protect = |start, rights| sys!(SYS_mprotect, start, LENGTH, rights);
        const RW: i32 = PROT_READ | PROT_WRITE;
        let before = map(RW, MAP_PRIVATE).unwrap();
        set_limit(RLIMIT_DATA, 48 << 20, u64::MAX).unwrap();
        assert_eq!(map(RW, MAP_PRIVATE), Err(ENOMEM));
        assert!(map(RW, MAP_SHARED).is_ok(), "what is shared is no data");
        let read = map(PROT_READ, MAP_PRIVATE).expect("nor what cannot be written");
        assert_eq!(protect(read, RW), Err(ENOMEM));
        assert_eq!(protect(before, RW), Ok(0), "it is there");
        let heap = sys!(SYS_brk, 0).unwrap();
        assert_eq!(sys!(SYS_brk, heap + LENGTH as u64), Ok(heap));
        set_limit(RLIMIT_DATA, 80 << 20, u64::MAX).unwrap();
        assert_eq!(protect(read, RW), Ok(0));
        0
    });
    assert_eq!(end_of(pid), End::Exited(0));
}

/// Times that a file would have become too long.
static REFUSED: AtomicU32 = AtomicU32::new(0);

extern "C" fn refuse(_: i32) {
    REFUSED.fetch_add(1, SeqCst);
}

fn file_size() {
    const PATH: &std::ffi::CStr = c"/tmp/processes.long";
    let pid = child(|| {
        // SAFETY: the handler counts.
        unsafe { signal(SIGXFSZ, refuse as *const () as usize) };
        set_limit(RLIMIT_FSIZE, 8192, u64::MAX).unwrap();
        let open = || sys!(SYS_open, PATH, O_RDWR | O_CREAT | O_TRUNC, 0o600).unwrap();
        let (fd, other) = (open(), open());
        let bytes = [7_u8; 12_288];
        let write = |length: usize, at: u64| sys!(SYS_pwrite64, fd, &bytes, length, at);
        assert_eq!(
            [write(4096, 0), write(8192, 4096), write(2, 8191), write(0, 9000)],
            [Ok(4096), Ok(4096), Ok(1), Ok(0)]
        );
        assert_eq!(REFUSED.load(SeqCst), 0, "a part found room");
        let resize = |size: u64| sys!(SYS_ftruncate, fd, size);
        assert_eq!([resize(8192), resize(100), resize(8192), sys!(SYS_fallocate, fd, 1, 0, 12_288)], [Ok(0); 4]);
        let buffers = [iovec { iov_base: bytes.as_ptr() as *mut _, iov_len: 4096 }; 3];
        assert_eq!(sys!(SYS_pwritev, fd, &buffers, 3, 0), Ok(8192));
        assert_eq!(REFUSED.load(SeqCst), 0);
        let mut from = 0_u64;
        let refused = [
            write(1, 8192),
            sys!(SYS_pwritev, fd, &buffers, 3, 8192),
            resize(8193),
            sys!(SYS_truncate, PATH, 10_000),
            sys!(SYS_fallocate, fd, 0, 0, 8193),
            sys!(SYS_lseek, other, 8192, SEEK_SET).and_then(|_| sys!(SYS_sendfile, other, fd, &mut from, 10)),
        ];
        assert_eq!(refused, [Err(EFBIG); 6]);
        assert_eq!(REFUSED.load(SeqCst), 6);
        i32::from(sys!(SYS_unlink, PATH) != Ok(0))
    });
    assert_eq!(end_of(pid), End::Exited(0));
}

/// It ends a process that has no handler for it.
fn too_long() {
    let pid = child(|| {
        set_limit(RLIMIT_FSIZE, 0, u64::MAX).unwrap();
        let fd = sys!(SYS_open, c"/tmp/processes.long", O_WRONLY | O_CREAT, 0o600).unwrap();
        sys!(SYS_write, fd, b"x", 1).map_or(0, |_| 1)
    });
    assert_eq!(end_of(pid), End::Killed(SIGXFSZ));
}

/// The role for it.
pub(crate) fn play_descend(pages: u64) -> i32 {
    // Rust catches the overflow of its own stacks, and would call abort.
    let default = [0u64; 4];
    sys!(SYS_rt_sigaction, SIGSEGV, &default, 0, 8).unwrap();
    i32::from(descend(pages as usize) != pages as usize)
}
