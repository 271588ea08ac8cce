//! Programs that attack their own thread pair, of which `docs/application.md` tells: `own-pair [rounds]`.
//!
//! Each deed is a child's. The child may hang or die of it, and is killed after some time; its parent, other processes
//! and the kernel must not notice, and after each deed all processes, address spaces, threads and application threads are
//! back.
//!
//! Run by: `tests/tests/boot/application.rs`.

mod device;
mod memory;

use libc::*;
use programs::children::{child, end_of, fork_raw, leave, pipe_ends, take, wait_for};
use programs::{cpus, sys};
use std::{fs, thread};

/// A deed, by its name.
type Deed = (&'static str, fn(&mut Random));

const DEEDS: [Deed; 14] = [
    ("writes to the shared page", memory::scribble_shared),
    ("writes to its bootstrap thread's stack", memory::scribble_stacks),
    ("writes to its bootstrap thread's code", memory::scribble_code),
    ("unmaps the shared page", memory::unmap_shared),
    ("unmaps its bootstrap thread's stack", memory::unmap_stacks),
    ("unmaps its bootstrap thread's code", memory::unmap_code),
    ("forges messages and answers", memory::forge),
    ("forges calls of the device", device::forge),
    ("opens the device and makes threads", device::open),
    ("makes threads of its own", device::bare),
    ("closes the device", device::close),
    ("passes the device on", device::pass_on),
    ("kills its bootstrap threads", kill_threads),
    ("forks 500 times", fork_many),
];

/// Random numbers, which differ from round to round (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    match words.get(1).map(String::as_str) {
        Some("bare") => device::make_bare(&mut Random(words[2].parse().expect("a number"))),
        Some("passed") => device::use_passed(words[2].parse().expect("a descriptor")),
        _ => all(cpus::argument(1, 3)),
    }
}

fn all(rounds: usize) {
    let counts = || {
        let kernels = ["processes_live", "threads_live", "containers_live"]
            .map(|name| cpus::statistic(name).expect("a statistic"));
        let text = fs::read_to_string("/proc/apkern").expect("it reads");
        (kernels, text.lines().filter(|line| line.starts_with("thread ")).count())
    };
    let before = counts();
    for (name, deed) in DEEDS {
        for round in 0..rounds {
            let seed = (round as u64 + 1) * 0x9e37_79b9_7f4a_7c15;
            let pid = child(|| {
                deed(&mut Random(seed));
                0
            });
            end(pid);
        }
        // What the children began has ended too.
        cpus::spin_until(|| counts() == before);
        println!("{name}");
    }
    println!("ok own-pair");
}

/// Waits until a child has ended, and kills it if it does not in 200 ms.
fn end(pid: i32) {
    for _ in 0..20 {
        if wait_for(pid, WNOHANG).expect("a child").is_some() {
            return;
        }
        let _ = sys!(SYS_nanosleep, &[0_u64, 10_000_000], 0);
    }
    let _ = sys!(SYS_kill, pid, SIGKILL);
    end_of(pid);
}

/// Makes calls for as long as the process lives.
fn call_on_and_on() -> ! {
    loop {
        let _ = sys!(SYS_getppid);
    }
}

/// One of several threads, which compute and make calls, sends signals to one of them.
fn kill_threads(random: &mut Random) {
    let [to, from] = pipe_ends();
    let tell = move || sys!(SYS_write, from, &cpus::thread_number(), 4);
    thread::spawn(move || tell().map(|_| call_on_and_on()));
    thread::spawn(move || {
        let _ = tell();
        loop {
            std::hint::spin_loop();
        }
    });
    let threads = [(); 2].map(|()| {
        let mut number = 0_i32;
        assert_eq!(sys!(SYS_read, to, &mut number, 4), Ok(4));
        number
    });
    let thread = random.one_of(&[threads[0], threads[1], cpus::thread_number()]);
    let signal = random.one_of(&[SIGKILL, SIGSEGV, SIGBUS, SIGTRAP, SIGTERM]);
    let _ = sys!(SYS_tgkill, std::process::id(), thread, signal);
}

/// 500 children at a time, most of which are left to end by themselves.
fn fork_many(random: &mut Random) {
    let [to, from] = pipe_ends();
    for _ in 0..500 {
        match fork_raw() {
            Ok(0) => {
                let _ = sys!(SYS_close, from);
                take(to);
                leave(0);
            }
            Ok(pid) if random.below(4) == 0 => _ = sys!(SYS_kill, pid, SIGKILL),
            Ok(_) => {}
            Err(error) => assert!([EAGAIN, ENOMEM].contains(&error), "{error}"),
        }
    }
}
