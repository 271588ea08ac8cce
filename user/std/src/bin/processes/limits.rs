//! Limits of processes, address space and stack.

use super::Check;
use libc::*;
use programs::children::*;
use programs::sys;
use programs::system::PAGE;

pub(crate) const CHECKS: &[Check] = &[
    ("limits-are-inherited", inherited),
    ("RLIMIT_NPROC", processes),
    ("RLIMIT_AS", address_space),
    ("RLIMIT_STACK", stack),
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

/// Goes down the stack by so many pages.
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

/// The role for it.
pub(crate) fn play_descend(pages: u64) -> i32 {
    // Rust catches the overflow of its own stacks, and would call abort.
    let default = [0u64; 4];
    sys!(SYS_rt_sigaction, SIGSEGV, &default, 0, 8).unwrap();
    i32::from(descend(pages as usize) != pages as usize)
}
