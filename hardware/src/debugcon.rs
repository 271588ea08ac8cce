//! The log channel: port 0xE9, which QEMU and Bochs pass to the host byte by byte, and the logger over it.
//!
//! A line of log is `[seconds.micros] LEVEL module: message`; a line that begins with the byte RS is a
//! control record (crate `abi`, module `channel`). Whatever a message contains, it stays one line and
//! begins no record: control characters come out as `?`.
//!
//! The lock serves CPUs that log at the same time. It is held with interrupts off, so that an interrupt handler never
//! waits for the code it interrupted. A panic or an NMI can still come in between; it finds that its own CPU holds the
//! lock, and writes without it. If the holder cannot go on, the lock is broken after a while, once and for all, and the
//! text comes out mixed rather than never.

use crate::{clock, cpu, interrupts};
use abi::channel::{LOG_PORT, RECORD};
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use log::{LevelFilter, Log, Metadata, Record};
use spin::Mutex;

static LOCK: Mutex<()> = Mutex::new(());

/// The CPU that holds the lock, by its local APIC id.
static OWNER: AtomicU64 = AtomicU64::new(NOBODY);
const NOBODY: u64 = u64::MAX;

/// How often a CPU tries to take the lock before it breaks it.
const PATIENCE: u32 = 10_000_000;

/// The port as a sink of text; no control character of the text reaches it.
struct Port;

impl Port {
    fn send(bytes: &[u8]) {
        // SAFETY: the port belongs to this module and the direction flag is clear by the ABI; on a
        // machine without the device the bytes go nowhere.
        unsafe {
            core::arch::asm!(
                "rep outsb",
                in("dx") LOG_PORT,
                inout("rcx") bytes.len() => _,
                inout("rsi") bytes.as_ptr() => _,
                options(nostack, preserves_flags, readonly)
            );
        }
    }
}

impl Write for Port {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (index, piece) in text.split(char::is_control).enumerate() {
            if index > 0 {
                Port::send(b"?");
            }
            Port::send(piece.as_bytes());
        }
        Ok(())
    }
}

/// Runs `f` with the log channel to itself.
fn locked(f: impl FnOnce()) {
    interrupts::without(|| {
        let me = u64::from(cpu::initial_id());
        if OWNER.load(Relaxed) == me {
            // This CPU was in the middle of a line, and does not continue it before this text is out.
            Port::send(b"\n");
            return f();
        }
        let guard = loop {
            let found = (0..PATIENCE).find_map(|_| {
                core::hint::spin_loop();
                LOCK.try_lock()
            });
            match found {
                Some(guard) => break guard,
                None => break_lock(),
            }
        };
        OWNER.store(me, Relaxed);
        f();
        OWNER.store(NOBODY, Relaxed);
        drop(guard);
    });
}

/// Takes the lock away from its holder, in the middle of a line.
fn break_lock() {
    OWNER.store(NOBODY, Relaxed);
    // SAFETY: the lock guards the order of bytes on a port, no memory.
    unsafe { LOCK.force_unlock() };
    Port::send(b"\n");
}

/// Releases the lock if this CPU, which stops for good, holds it, so that no other CPU waits for it.
#[cfg(feature = "smp")]
pub fn let_go() {
    if OWNER.load(Relaxed) == u64::from(cpu::initial_id()) {
        break_lock();
    }
}

/// Sends a control record: RS, its name, its content, end of line.
pub fn record(name: &str, rest: fmt::Arguments<'_>) {
    locked(|| {
        Port::send(&[RECORD]);
        let _ = write!(Port, "{name} {rest}");
        Port::send(b"\n");
    });
}

struct Logger;

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let micros = clock::nanoseconds() / 1000;
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        // A module is named without its crate and its layer.
        let prefixes = ["kernel::", "hardware::", "arch::"];
        let target =
            prefixes.iter().fold(record.target(), |target, prefix| target.strip_prefix(prefix).unwrap_or(target));
        locked(|| {
            let _ = write!(Port, "[{seconds}.{micros:06}] {} {target}: {}", record.level(), record.args());
            Port::send(b"\n");
        });
    }

    fn flush(&self) {}
}

/// Makes the macros of the crate `log` write to the channel.
pub fn init() {
    // A second call would fail and change nothing.
    let _ = log::set_logger(&Logger);
    log::set_max_level(LevelFilter::Info);
}
