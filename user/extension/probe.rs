//! An extension for tests: `/dev/probe` calls the kernel's services as its requests say.
//!
//! Run by: `user/check/files/extension-services/main.rs`.
#![no_std]
#![no_main]

use abi::extension::{Companions, Device, LAST, LOW_PAGES, Report, Services, Text, padded};
use abi::probe;
use core::cell::UnsafeCell;
use core::ptr::NonNull;
use extension::{EBUSY, EINVAL, ENOENT, ENOMEM, ENOTTY, Frame, Kernel, PageTable, Portion, answer};

extension::extension!("probe", start, end);

/// The registers of each CPU's local APIC, and among them the lower half of the command register, in words.
const APIC: u64 = 0xfee0_0000;
const COMMAND: usize = 0x300 / 4;

/// The command that sends an interrupt to the CPU itself.
const TO_ITSELF: u32 = 1 << 18;

/// What the extension keeps.
struct State {
    /// The frame that it holds.
    held: Option<Frame>,
    /// The vector that it has taken.
    vector: u8,
    /// The ticks for which each accompanied thread has run on CPUs of the extension's, as it says.
    ticks: u64,
    registers: Option<NonNull<u32>>,
    /// Interrupts that have been handled and not been waited for.
    interrupts: u64,
    /// How often a caller has been told to wait.
    waits: u64,
    /// The address space in which a thread was accompanied last, and the address of the thread's word.
    last: Option<(PageTable, u64)>,
    /// Accompanied threads that have left, and the sum of their words.
    left: u64,
    left_words: u64,
    stopped: u64,
    /// How often rights have been taken, and which were left for the word.
    taken: u64,
    rights: u64,
}

impl State {
    const NEW: State = State {
        held: None,
        vector: 0,
        ticks: 0,
        registers: None,
        interrupts: 0,
        waits: 0,
        last: None,
        left: 0,
        left_words: 0,
        stopped: 0,
        taken: 0,
        rights: 0,
    };
}

/// The state, which only one CPU at a time reaches.
struct Global(UnsafeCell<State>);

// SAFETY: the kernel calls an extension on one CPU at a time, and no function here calls the kernel with the state
// borrowed in a way that could come back to it.
unsafe impl Sync for Global {}

static STATE: Global = Global(UnsafeCell::new(State::NEW));

fn with<T>(work: impl FnOnce(&mut State) -> T) -> T {
    // SAFETY: as above.
    work(unsafe { &mut *STATE.0.get() })
}

fn start(kernel: &Kernel, _parameters: &str) -> Result<(), i32> {
    kernel.register(&Device { name: padded("probe"), data: 0, open, ioctl, close })?;
    kernel.register_text(&Text { name: padded("probe"), data: probe::LINES, write: write_lines })?;
    kernel.register_companions(&Companions { data: 0, left, stopped, rights_taken, report })?;
    if kernel.register_companions(&Companions { data: 0, left, stopped, rights_taken, report }) != Err(EBUSY) {
        return Err(EINVAL);
    }
    let vector = kernel.take_interrupt(handle, 1)?;
    let registers = kernel.map_registers(APIC, 4096).ok_or(ENOMEM)?;
    if kernel.map_registers(1 << 40, 4096).is_some() || kernel.map_registers(u64::MAX, 2).is_some() {
        return Err(EINVAL);
    }
    with(|state| (state.vector, state.registers) = (vector, Some(registers)));
    // A little more, because the kernel's clock loses a part of a million.
    with(|state| state.ticks = (probe::SECONDS + 1) * kernel.clock().hz);
    Ok(())
}

fn end(kernel: &Kernel) {
    let _ = release(kernel);
}

unsafe extern "C" fn handle(services: &Services, data: u64) {
    // A caller that waits has it; else the next one that asks.
    if Kernel::new(services).wake(probe::WAIT) == Ok(0) {
        with(|state| state.interrupts += data);
    }
}

unsafe extern "C" fn left(_: &Services, _data: u64, address: u64) {
    with(|state| {
        state.left += 1;
        // The thread may be one of another process than that which was accompanied last.
        state.left_words += state.last.and_then(|(directory, _)| directory.user_word(address)).unwrap_or(0);
    });
}

unsafe extern "C" fn stopped(_: &Services, _data: u64, _value: u64, is_stopped: u32) {
    with(|state| match is_stopped {
        0 => state.stopped -= 1,
        _ => state.stopped += 1,
    });
}

unsafe extern "C" fn rights_taken(_data: u64, directory: u64) {
    with(|state| {
        state.taken += 1;
        if let Some((last, address)) = state.last.filter(|(last, _)| last.is_at(directory)) {
            state.rights = last.entry(address).filter(|entry| entry & 1 != 0).unwrap_or(0) & 3;
        }
    });
}

unsafe extern "C" fn report(_data: u64, _value: u64, report: &mut Report) {
    *report = Report { ticks: with(|state| state.ticks), runs: 1, cpu: probe::CPU };
}

/// Writes numbered lines.
unsafe extern "C" fn write_lines(lines: u64, position: &mut u64, bytes: *mut u8, room: usize) -> usize {
    // SAFETY: the kernel's bytes.
    let mut portion = unsafe { Portion::new(bytes, room) };
    while *position < lines && portion.add(format_args!("line {position}\n")) {
        *position += 1;
    }
    if *position == lines {
        *position = LAST;
    }
    portion.written()
}

unsafe extern "C" fn open(_: &Services, _data: u64) -> i64 {
    0
}

unsafe extern "C" fn close(_: &Services, _data: u64, _file: u64) {}

unsafe extern "C" fn ioctl(services: &Services, _data: u64, _file: u64, request: u32, argument: u64) -> i64 {
    let kernel = Kernel::new(services);
    answer(match request {
        probe::NOTHING => Ok(0),
        probe::HOLD => hold(&kernel, argument),
        probe::WORD => with(|state| Ok(state.held.as_mut().ok_or(ENOENT)?.words()[0])),
        probe::RELEASE => release(&kernel),
        probe::FIRE => fire(),
        probe::WAIT => match with(|state| core::mem::take(&mut state.interrupts)) {
            0 => {
                with(|state| state.waits += 1);
                return kernel.wait(probe::WAIT);
            }
            interrupts => Ok(interrupts),
        },
        probe::WAITS => Ok(with(|state| state.waits)),
        probe::CALLER => {
            kernel.caller().map(|(process, thread)| u64::from(process) << 32 | u64::from(thread)).ok_or(ENOENT)
        }
        probe::OTHERS => Ok(kernel.others_runnable().into()),
        probe::CPUS => Ok(kernel.cpu_ids().count() as u64),
        probe::LOW => low_pages(&kernel),
        probe::TIME => Ok(time(&kernel)),
        probe::ACCOMPANY => accompany(&kernel, argument),
        probe::LEFT => Ok(with(|state| state.left)),
        probe::LEFT_WORDS => Ok(with(|state| state.left_words)),
        probe::STOPPED => Ok(with(|state| state.stopped)),
        probe::TAKEN => Ok(with(|state| state.taken)),
        probe::RIGHTS => Ok(with(|state| state.rights)),
        probe::LATE => kernel.take_interrupt(handle, 1).map(u64::from),
        _ => Err(ENOTTY),
    })
}

/// Holds the caller's page at an address, instead of the one held before.
fn hold(kernel: &Kernel, address: u64) -> Result<u64, i32> {
    let frame = kernel.hold(address)?;
    if let Some(old) = with(|state| state.held.replace(frame)) {
        kernel.release(old);
    }
    Ok(0)
}

fn release(kernel: &Kernel) -> Result<u64, i32> {
    kernel.release(with(|state| state.held.take()).ok_or(ENOENT)?);
    Ok(0)
}

/// Sends the interrupt to this CPU.
fn fire() -> Result<u64, i32> {
    let (registers, vector) = with(|state| (state.registers, state.vector));
    // SAFETY: the registers are mapped, and the vector is the extension's.
    unsafe { registers.ok_or(ENOENT)?.add(COMMAND).write_volatile(TO_ITSELF | u32::from(vector)) };
    Ok(0)
}

/// Accompanies the caller, whose word is at an address.
fn accompany(kernel: &Kernel, address: u64) -> Result<u64, i32> {
    let directory = kernel.accompany(address)?;
    // SAFETY: it is looked at while the thread is accompanied, and when the kernel says that rights are taken from it.
    let directory = unsafe { kernel.page_table(directory) };
    with(|state| state.last = Some((directory, address)));
    Ok(0)
}

/// The address of the pages below 1 MiB, to which it writes.
fn low_pages(kernel: &Kernel) -> Result<u64, i32> {
    let physical = kernel.low_pages().ok_or(ENOENT)?;
    for page in 0..LOW_PAGES {
        if let Some(start) = kernel.physical(physical + page * 4096) {
            // SAFETY: the pages are the extension's, and mapped.
            unsafe { start.write_volatile(page) }
        }
    }
    Ok(physical)
}

/// Nanoseconds since boot.
fn time(kernel: &Kernel) -> u64 {
    let clock = kernel.clock();
    // SAFETY: the instruction only reads a counter.
    let ticks = unsafe { core::arch::x86_64::_rdtsc() } - clock.start;
    (u128::from(ticks) * 1_000_000_000 / u128::from(clock.hz)) as u64
}
