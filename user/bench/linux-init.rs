//! The first process of a Linux that runs one program and stops: `cargo xtask bench --against linux`.
//!
//! Its arguments are the number of the boot, the program and the program's arguments. It mounts the file systems that
//! programs expect, tells which clock the kernel has and how often the timer interrupts it, runs the program, tells
//! its status in a last line and switches the machine off. The number of the boot decides at which moment between two
//! timer interrupts the program begins, and which random numbers it gets.
//!
//! Run by: `xtask/src/bench/linux.rs`.

use programs::cpus;
use std::arch::asm;
use std::arch::x86_64::_rdtsc;
use std::ffi::CStr;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::ptr;

/// The port by which Bochs is told to end, and what it wants to hear.
const POWER: u16 = 0x8900;
const OFF: &[u8] = b"Shutdown";

fn main() {
    if std::process::id() != 1 {
        eprintln!("linux-init: only as the first process of a machine");
        std::process::exit(1);
    }
    mount(c"devtmpfs", c"/dev");
    mount(c"proc", c"/proc");
    mount(c"tmpfs", c"/tmp");
    mount(c"sysfs", c"/sys");
    tell_clock();
    let boot = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    differ(boot);
    let words: Vec<_> = std::env::args_os().skip(2).collect();
    let status = words.split_first().map(|(program, arguments)| Command::new(program).args(arguments).status());
    match status {
        Some(Ok(status)) => {
            let number = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
            println!("linux-init: status {number}");
        }
        Some(Err(error)) => println!("linux-init: {}: {error}", words[0].display()),
        None => println!("linux-init: no program was named"),
    }
    switch_off();
}

/// What a further boot waits longer, in ticks: no simple part of any timer's period.
const SHIFT: u64 = 61_803;

/// Makes this boot another one than those of other numbers, on a machine that does the same every time.
fn differ(boot: u64) {
    // Random numbers are mixed with what is written there.
    let _ = fs::write("/dev/urandom", boot.to_le_bytes());
    let start = ticks();
    while ticks() - start < boot * SHIFT {}
}

/// Interrupts of the timer that are waited for.
const WATCHED: u64 = 40;

/// Ticks after which a timer that is too slow is not waited for any longer.
const PATIENCE: u64 = 400_000_000;

/// Tells the kernel's clock, and the ticks between two interrupts of a CPU's timer while the CPU is busy.
fn tell_clock() {
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let clock = fs::read_to_string(path).unwrap_or_else(|_| "unknown".to_owned());
    let mask = cpus::affinity(0).unwrap_or(1);
    cpus::stay_on(0);
    let (start, before) = next_interrupt();
    let (mut end, mut last) = (start, before);
    while last - before < WATCHED && end - start < PATIENCE {
        (end, last) = next_interrupt();
    }
    let _ = cpus::set_affinity(0, mask);
    println!("linux-clock: {} {}", clock.trim(), (end - start).checked_div(last - before).unwrap_or(u64::MAX));
}

/// Waits for the timer's next interrupt, or until that has no end: the time-stamp counter and the number of interrupts.
fn next_interrupt() -> (u64, u64) {
    let (start, before) = (ticks(), timer_interrupts());
    loop {
        let (now, interrupts) = (ticks(), timer_interrupts());
        if interrupts > before || now - start > PATIENCE {
            return (now, interrupts);
        }
    }
}

fn ticks() -> u64 {
    // SAFETY: every 64-bit CPU has the counter, and Linux lets programs read it.
    unsafe { _rdtsc() }
}

/// The interrupts of CPU 0's timer so far.
fn timer_interrupts() -> u64 {
    let all = fs::read_to_string("/proc/interrupts").unwrap_or_default();
    let line = all.lines().find_map(|line| line.trim_start().strip_prefix("LOC:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn mount(kind: &CStr, at: &CStr) {
    // SAFETY: the strings outlive the call, and there are no options.
    if unsafe { libc::mount(kind.as_ptr(), at.as_ptr(), kind.as_ptr(), 0, ptr::null()) } != 0 {
        println!("linux-init: cannot mount {}: {}", at.to_string_lossy(), std::io::Error::last_os_error());
    }
}

/// Ends the machine when all that was written has left it.
fn switch_off() -> ! {
    // SAFETY: nothing here touches memory; no other program uses the port.
    unsafe {
        libc::tcdrain(1);
        if libc::ioperm(POWER.into(), 1, 1) == 0 {
            for byte in OFF {
                asm!("out dx, al", in("dx") POWER, in("al") *byte, options(nomem, nostack));
            }
        }
        libc::reboot(libc::RB_POWER_OFF);
    }
    loop {
        std::thread::park();
    }
}
