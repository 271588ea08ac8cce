//! The page tables and control registers of a machine that is running a program, as QEMU's monitor
//! shows them: no page both written and executed, nothing of the kernel's for programs.

use std::{thread, time::Duration};

use boot_tests::{Jotun, Monitor, MonitorSocket, Scratch, busybox};

/// Where the kernel's half begins.
const HIGH: u64 = 0xffff_8000_0000_0000;
/// Where the kernel image is.
const IMAGE: u64 = 0xffff_ffff_8000_0000;
const CPULOCAL: u64 = 0xffff_ffff_c000_0000;
const PAGE: u64 = 4096;

/// A CPU register in `info registers`.
fn register(text: &str, name: &str) -> u64 {
    let at = text.find(&format!("{name}=")).unwrap_or_else(|| panic!("{name}?\n{text}")) + name.len() + 1;
    let digits: String = text[at..].chars().take_while(char::is_ascii_hexdigit).collect();
    u64::from_str_radix(&digits, 16).expect("a number")
}

/// A translation.
#[derive(Debug)]
struct Entry {
    address: u64,
    frame: u64,
    size: u64,
    writable: bool,
    executable: bool,
    user: bool,
}

/// `info tlb`: a line for each page, its flags `XGPDACTUW` (the first: no-execute) or `-`.
fn entries(text: &str) -> Vec<Entry> {
    let entry = |line: &str| {
        let (address, rest) = line.trim_end().split_once(": ")?;
        let (frame, flags) = rest.split_once(' ')?;
        let flags = flags.as_bytes();
        (address.len() == 16 && flags.len() == 9).then(|| Entry {
            address: u64::from_str_radix(address, 16).expect("an address"),
            frame: u64::from_str_radix(frame, 16).expect("an address"),
            // The machine is too small for pages of 1 GiB.
            size: if flags[2] == b'P' { 512 * PAGE } else { PAGE },
            writable: flags[8] == b'W',
            executable: flags[0] != b'X',
            user: flags[7] == b'U',
        })
    };
    text.lines().filter_map(entry).collect()
}

/// Registers and page tables while `busybox sleep` sleeps.
fn look() -> (String, Vec<Entry>) {
    let scratch = Scratch::new("monitor");
    let socket = MonitorSocket::new("monitor");
    let [option, monitor] = socket.options();
    let jotun = Jotun::new().option(option).option(monitor).rootfs(scratch.path());
    let jotun = jotun.args([busybox().to_str().unwrap(), "sleep", "1000"]);
    thread::scope(|scope| {
        let run = scope.spawn(|| jotun.run());
        let mut monitor = Monitor::connect(&socket, &run);
        let registers = loop {
            // Halted in the kernel's half: in its idle loop, where it first is when the program sleeps.
            let registers = monitor.ask("info registers");
            if registers.contains("HLT=1") && register(&registers, "RIP") >= IMAGE {
                break registers;
            }
            thread::sleep(Duration::from_millis(50));
        };
        let entries = entries(&monitor.ask("info tlb"));
        monitor.quit();
        // xtask was not told why.
        let _ = run.join().expect("the run ends").expect(71);
        (registers, entries)
    })
}

#[test]
fn what_is_written_is_not_executed_and_what_is_the_kernels_is_not_the_programs() {
    let (registers, entries) = look();
    control_registers(&registers);
    assert!(entries.len() > 500, "{} pages", entries.len());
    for entry in &entries {
        assert!(!(entry.writable && entry.executable), "{entry:x?}");
        // So what the boot had below is gone, too.
        assert_eq!(entry.user, entry.address < HIGH, "{entry:x?}");
    }
    image(&entries);
    stack(&entries, register(&registers, "RSP"));
    packages(&entries);
}

fn control_registers(registers: &str) {
    const WRITE_PROTECT: u64 = 1 << 16;
    const NO_EXECUTE: u64 = 1 << 11;
    assert_ne!(register(registers, "CR0") & WRITE_PROTECT, 0);
    assert_ne!(register(registers, "EFER") & NO_EXECUTE, 0);
    for (name, bit) in [("PGE", 7), ("UMIP", 11), ("SMEP", 20), ("SMAP", 21)] {
        assert_ne!(register(registers, "CR4") & 1 << bit, 0, "{name}");
    }
}

/// The image's parts, and that the direct map is no way around their rights.
fn image(entries: &[Entry]) {
    let code: Vec<_> = entries.iter().filter(|entry| entry.address >= HIGH && entry.executable).collect();
    assert!(code.len() > 50 && code.iter().all(|entry| (IMAGE..CPULOCAL).contains(&entry.address)), "{code:x?}");
    let local: Vec<_> = entries.iter().filter(|entry| entry.address >= CPULOCAL).collect();
    assert!(!local.is_empty() && local.iter().all(|entry| entry.writable && !entry.executable), "{local:x?}");
    assert_eq!(local[0].address, CPULOCAL);
    let fixed = entries.iter().filter(|entry| (IMAGE..CPULOCAL).contains(&entry.address) && !entry.writable);
    for page in fixed {
        let over = |entry: &&Entry| entry.writable && (entry.frame..entry.frame + entry.size).contains(&page.frame);
        assert!(!entries.iter().any(|entry| over(&entry)), "{page:x?} can be written elsewhere");
    }
}

/// The kernel stack that the CPU is on: 128 KiB, and nothing below.
fn stack(entries: &[Entry], pointer: u64) {
    let mapped = |address: u64| entries.iter().any(|entry| entry.address == address);
    let top = pointer.next_multiple_of(PAGE);
    let pages = (1..).take_while(|n| mapped(top - n * PAGE)).count();
    // The idle loop has dropped everything, so this is the stack's end.
    assert_eq!((pointer, pages as u64 * PAGE), (top, 128 << 10), "{pointer:#x}");
}

/// The native programs' code is there for all, and no program can write to it.
fn packages(entries: &[Entry]) {
    const PACKAGES: u64 = 0x4000_0000_0000;
    let resident: Vec<_> =
        entries.iter().filter(|entry| (PACKAGES..PACKAGES + (1 << 39)).contains(&entry.address)).collect();
    assert!(resident.iter().any(|entry| entry.executable), "no package is resident");
    assert!(resident.iter().all(|entry| !entry.writable), "{resident:x?}");
}
