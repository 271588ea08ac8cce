//! The console's serial port, COM1, driven by interrupts in both directions.
//!
//! [`interrupt`] moves bytes between the device and two rings and may come at any level; [`read`] and [`write()`] are
//! the kernel's side and never wait. When the receive ring is full, the receive interrupt stays masked until the kernel
//! reads: the device, and behind it the host, hold the rest back.
//!
//! Code touches the device only with interrupts off, so handler and kernel never do so at once. A machine without the
//! port lacks only the console: output is dropped.

use crate::clock;
use crate::interrupts;
use crate::ring::Ring;
use abi::channel::CONSOLE_PORT;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use uart_16550::backend::PioBackend;
use uart_16550::spec::FIFO_SIZE;
use uart_16550::spec::registers::{IER, LSR};
use uart_16550::{BaudRate, Config, Uart16550};

/// The most rounds at a time, of up to [`FIFO_SIZE`] bytes each way, so that a device that is always ready cannot keep
/// the CPU.
const ROUNDS: usize = 64;

/// How often the kernel looks at the transmitter before it takes the port for broken.
const PATIENCE: u32 = 1_000_000;

struct Serial {
    uart: UnsafeCell<Uart16550<PioBackend>>,
    received: Ring<4096>,
    to_send: Ring<16384>,
    present: AtomicBool,
    /// Whether the receive interrupt is masked because the ring was full.
    held_back: AtomicBool,
}

// SAFETY: the device is touched with interrupts off, by a CPU that is in the kernel, and one CPU is there at a time.
unsafe impl Sync for Serial {}

static COM1: Serial = Serial {
    // SAFETY: the console's port, which this module alone uses.
    uart: UnsafeCell::new(match unsafe { Uart16550::new_port(CONSOLE_PORT) } {
        Ok(uart) => uart,
        Err(_) => panic!("an address without eight ports behind it"),
    }),
    received: Ring::new(),
    to_send: Ring::new(),
    present: AtomicBool::new(false),
    held_back: AtomicBool::new(false),
};

impl Serial {
    /// Runs `f` on the device with interrupts off; nothing without a device.
    fn with<R>(&self, f: impl FnOnce(&Serial, &mut Uart16550<PioBackend>) -> R) -> Option<R> {
        // SAFETY: interrupts are off and `f` does not come back here, so this is the only reference.
        self.present.load(Relaxed).then(|| interrupts::without(|| f(self, unsafe { &mut *self.uart.get() })))
    }

    /// Moves received bytes into the ring; returns how many.
    fn receive(&self, uart: &mut Uart16550<PioBackend>) -> usize {
        let mut bytes = [0; FIFO_SIZE];
        let room = self.received.room().min(FIFO_SIZE);
        let count = uart.receive_bytes(&mut bytes[..room]);
        self.received.write(&bytes[..count])
    }

    /// Fills the transmitter if it is empty; returns with how many bytes.
    fn send(&self, uart: &mut Uart16550<PioBackend>) -> usize {
        let mut bytes = [0; FIFO_SIZE];
        let count = self.to_send.peek(&mut bytes);
        let count = uart.send_bytes(&bytes[..count]);
        self.to_send.consume(count);
        count
    }

    /// Moves all bytes that can be moved, in both directions, and enables the device's interrupts for more.
    fn move_bytes(&self, uart: &mut Uart16550<PioBackend>) {
        uart.disable_interrupts(IER::all());
        let _moved = (0..ROUNDS).take_while(|_| self.receive(uart) + self.send(uart) > 0).count();
        self.ask_for_more(uart);
    }

    /// Sends all bytes that can be sent. Received bytes stay in the device, because only its interrupt tells the
    /// console of them.
    fn send_bytes(&self, uart: &mut Uart16550<PioBackend>) {
        uart.disable_interrupts(IER::all());
        let _moved = (0..ROUNDS).take_while(|_| self.send(uart) > 0).count();
        self.ask_for_more(uart);
    }

    /// Enables the interrupts that are wanted; all have been disabled before.
    ///
    /// The interrupt line is an edge to the I/O APIC: it must fall and rise again for the next interrupt.
    /// Masking all causes at the device makes it fall, and unmasking those that are wanted makes it rise
    /// if one of them holds; so nothing is lost, however the two sides interleave.
    fn ask_for_more(&self, uart: &mut Uart16550<PioBackend>) {
        let receiver_full = self.received.room() == 0;
        self.held_back.store(receiver_full, Relaxed);
        let mut wanted = if receiver_full { IER::empty() } else { IER::DATA_READY };
        wanted.set(IER::THR_EMPTY, self.to_send.len() > 0);
        uart.enable_interrupts(wanted);
    }
}

/// Sets the port up, 115200 baud, and enables its receive interrupt; false if there is none.
pub fn init() -> bool {
    let config = Config { baud_rate: BaudRate::Baud115200, interrupts: IER::DATA_READY, ..Config::DEFAULT };
    interrupts::without(|| {
        // SAFETY: as in `with`.
        let uart = unsafe { &mut *COM1.uart.get() };
        // `init` waits for the transmitter without end, so see first that it does become empty.
        let idle = uart.check_present() && (0..PATIENCE).any(|_| uart.lsr().contains(LSR::TRANSMITTER_EMPTY));
        COM1.present.store(idle && uart.init(config).is_ok(), Relaxed);
    });
    COM1.present.load(Relaxed)
}

/// Handles the port's interrupt; the caller acknowledges it at the APIC.
pub fn interrupt() {
    COM1.with(Serial::move_bytes);
}

/// Takes received bytes; returns how many, 0 if there are none.
pub fn read(to: &mut [u8]) -> usize {
    let count = COM1.received.peek(to);
    COM1.received.consume(count);
    if count > 0 && COM1.held_back.load(Relaxed) {
        COM1.with(Serial::move_bytes);
    }
    count
}

/// Takes bytes to be sent; returns how many found room.
pub fn write(bytes: &[u8]) -> usize {
    if !COM1.present.load(Relaxed) {
        return bytes.len();
    }
    let count = COM1.to_send.write(bytes);
    COM1.with(Serial::send_bytes);
    count
}

/// How many bytes [`write()`] would take now.
pub fn tx_room() -> usize {
    COM1.to_send.room()
}

/// Sends all waiting bytes by polling instead of by interrupts; gives up after `patience` nanoseconds without progress.
pub fn flush(patience: u64) {
    let mut since = clock::nanoseconds();
    let mut waiting = usize::MAX;
    loop {
        let left = COM1.with(|serial, uart| {
            serial.send(uart);
            serial.to_send.len() + usize::from(!uart.lsr().contains(LSR::TRANSMITTER_EMPTY))
        });
        let now = clock::nanoseconds();
        match left {
            None | Some(0) => return,
            Some(left) if left < waiting => (waiting, since) = (left, now),
            Some(_) if now - since > patience => return,
            Some(_) => core::hint::spin_loop(),
        }
    }
}
