//! How much processes get done that compute and call the kernel, as papers/004 section 5.2 measured it, by what they
//! count themselves: `callers TICKS POINT...`, on Jotun alone.
//!
//! A point is `PROCESSES:USER:BURN`. PROCESSES processes execute USER instructions in user mode between two calls, each
//! of which executes BURN instructions in the kernel besides coming and going. They run for TICKS ticks of the
//! time-stamp counter, and a line `point POINT ticks=N user=N calls=N` tells how many instructions they have executed
//! in user mode meanwhile and how many calls they have made. What the processes count lies in a file that they share:
//! so the figures are there for CPUs of an application kernel too, which the kernel does not know. The program itself
//! stays on the boot CPU (`NOAPPKERN`), where it looks on time.
//!
//! Run by: `tests/tests/boot/application.rs`, `xtask/src/bench/application/capacity.rs`.

use programs::apkern::{ON_BOOT_CPU, stay_on_boot_cpu};
use programs::{cpus, sys};
use std::arch::{asm, x86_64::_rdtsc};
use std::fs::File;
use std::io::{Read, pipe};
use std::mem::offset_of;
use std::os::fd::AsRawFd;
use std::process::{Child, Command, exit};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The argument by which this program is one of the processes.
const CALLER: &str = "caller";

/// Where the processes count.
const COUNTERS: &str = "/tmp/callers";

/// The most processes.
const MOST: usize = 64;

/// Instructions of a round of the loop in user mode, and of a call besides the loop and the kernel.
const ROUND: u64 = 3;
const BESIDE: u64 = 4;

/// What a process counts, in a cache line of its own; the first field is where the process has it.
#[repr(C, align(64))]
struct Counter {
    /// Rounds in user mode.
    rounds: AtomicU64,
    calls: AtomicU64,
}

/// The processes' counters, in the shared file.
fn counters(file: &File) -> &'static [Counter; MOST] {
    let (rights, fd) = (libc::PROT_READ | libc::PROT_WRITE, file.as_raw_fd());
    let place = sys!(libc::SYS_mmap, 0, size_of::<[Counter; MOST]>(), rights, libc::MAP_SHARED, fd, 0);
    // SAFETY: a new mapping of this size, which stays; all that is ever done with it are atomic accesses.
    unsafe { &*std::ptr::with_exposed_provenance(place.expect("a mapping") as usize) }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == CALLER) {
        let numbers: Vec<u64> = words[1..].iter().map(|word| word.parse().expect("a number")).collect();
        let file = File::options().read(true).write(true).open(COUNTERS).expect("the counters");
        let _ = std::io::stdin().read(&mut [0]);
        call(&counters(&file)[numbers[0] as usize], numbers[1], numbers[2]);
    }
    let ticks: Option<u64> = words.first().and_then(|word| word.parse().ok());
    let points: Option<Vec<_>> = words.iter().skip(1).map(|word| Some((word, point(word)?))).collect();
    let (Some(ticks), Some(points)) = (ticks, points) else {
        eprintln!("usage: callers TICKS PROCESSES:USER:BURN...");
        exit(2);
    };
    stay_on_boot_cpu().expect("a place on the boot CPU");
    let hz = cpus::statistic("tsc_hz").expect("the counter's frequency");
    let window = Duration::from_nanos((u128::from(ticks) * 1_000_000_000 / u128::from(hz)) as u64);
    for (text, point) in points {
        let [ticks, user, calls] = measure(point, window);
        println!("point {text} ticks={ticks} user={user} calls={calls}");
    }
}

/// Reads `PROCESSES:USER:BURN`.
fn point(text: &str) -> Option<[u64; 3]> {
    let numbers: Option<Vec<u64>> = text.split(':').map(|number| number.parse().ok()).collect();
    <[u64; 3]>::try_from(numbers?)
        .ok()
        .filter(|[processes, user, _]| *processes <= MOST as u64 && *user > ROUND + BESIDE)
}

/// Ticks of the window, and the instructions in user mode and the calls in it.
fn measure([processes, user, burn]: [u64; 3], window: Duration) -> [u64; 3] {
    let file = File::options().read(true).write(true).create(true).truncate(true).open(COUNTERS).expect("a file");
    file.set_len(size_of::<[Counter; MOST]>() as u64).expect("room for the counters");
    let counters = counters(&file);
    // They begin together, when the pipe ends: otherwise those that are there would delay the others.
    let (reader, writer) = pipe().expect("a pipe");
    let start = |number| {
        let mut command = Command::new("/proc/self/exe");
        command.stdin(reader.try_clone().expect("a descriptor"));
        command.arg(CALLER).args([number, user, burn].map(|number: u64| number.to_string())).env_remove(ON_BOOT_CPU);
        command.spawn().expect("a process can start")
    };
    let started: Vec<Child> = (0..processes).map(start).collect();
    // From now on this thread runs when its time has come, whatever the others do.
    set_priority(1);
    drop(writer);
    while counters[..started.len()].iter().any(|counter| counter.calls.load(Relaxed) == 0) {
        std::thread::sleep(window / 8);
    }
    let before = snapshot(counters);
    std::thread::sleep(window);
    let after = snapshot(counters);
    for mut child in started {
        child.kill().expect("it runs");
        child.wait().expect("it ends");
    }
    set_priority(abi::native::NORMAL_PRIORITY);
    let [ticks, rounds, calls] = std::array::from_fn(|index| after[index] - before[index]);
    [ticks, rounds * ROUND + calls * BESIDE, calls]
}

/// Sets the priority of this process, which those that it starts have too.
fn set_priority(priority: u64) {
    sys!(abi::native::PRIORITY, 0, priority).expect("a priority");
}

/// The time-stamp counter, and the sums of all counters.
fn snapshot(counters: &[Counter; MOST]) -> [u64; 3] {
    let sum = |of: fn(&Counter) -> &AtomicU64| counters.iter().map(|counter| of(counter).load(Relaxed)).sum();
    [now(), sum(|counter| &counter.rounds), sum(|counter| &counter.calls)]
}

/// The time-stamp counter.
fn now() -> u64 {
    // SAFETY: every 64-bit CPU has it, and the kernel lets programs read it.
    unsafe { _rdtsc() }
}

/// Computes and calls the kernel, without an end.
fn call(counter: &Counter, user: u64, burn: u64) -> ! {
    let rounds = (user - BESIDE) / ROUND;
    // SAFETY: changes the counters, which nothing else writes, and registers; the call touches no memory.
    unsafe {
        asm!(
            // A call changes rax, rcx and r11.
            "2: mov r8, r9",
            "3: inc qword ptr [rsi]", "dec r8", "jnz 3b",
            "mov eax, {burn}", "syscall",
            "inc qword ptr [rsi + {calls}]",
            "jmp 2b",
            burn = const abi::native::BURN, calls = const offset_of!(Counter, calls),
            in("rdi") burn, in("rsi") counter, in("r9") rounds, options(noreturn),
        );
    }
}
