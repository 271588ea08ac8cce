//! Starts the application processors, and ends them.
//!
//! A processor begins in real mode, in a page below 1 MiB, with page tables of its own there: they map the first 2 MiB
//! where they are, and the kernel's half as it is. From then on it runs on the neutral directory, which is a copy of
//! the kernel's half, and waits for threads. For example, with `--smp 4` three processors come up, and `Call::Init`
//! answers 3.

use super::cpu::{self, Cpu, NEUTRAL};
use super::thread::SCHEDULER;
use super::{entry, records, trap};
use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use extension::Kernel;
use hardware::devices::{Devices, Kind, NoMemory};
use hardware::startup::{self, Newcomers, Place, Trampoline};
use hardware::{apic, fpu, idt};
use spin::Once;
use x86_64::registers::control::Cr3;
use x86_64::{PhysAddr, VirtAddr};

/// The interrupt descriptor table of all application processors.
static GATES: Once<idt::Table> = Once::new();

/// The low pages.
static PAGES: AtomicU64 = AtomicU64::new(0);

/// Linux's errors.
const ENODEV: i32 = 19;

/// Entries of a page table, and the first of the kernel's half in the highest one.
const ENTRIES: usize = 512;
const KERNEL_HALF: usize = 256;

/// Present, writable; and a page of 2 MiB.
const TABLE: u64 = 0b11;
const LARGE: u64 = 1 << 7;

/// The boot kernel, of which drivers ask to map devices.
struct Mapper<'a>(&'a Kernel<'a>);

impl Devices for Mapper<'_> {
    fn map(&mut self, at: PhysAddr, size: u64, _: Kind) -> Result<VirtAddr, NoMemory> {
        self.0.map_registers(at.as_u64(), size).map(|registers| VirtAddr::from_ptr(registers.as_ptr())).ok_or(NoMemory)
    }
}

/// What each processor gets when it has come up to long mode: frames, which it keeps.
struct Hall<'a>(&'a Kernel<'a>);

impl Newcomers for Hall<'_> {
    fn place(&mut self, cpu: cpulocal::Cpu) -> Option<Place> {
        let frames = [self.0.allocate()?, self.0.allocate()?, self.0.allocate()?];
        let stack = Cpu::install(cpu.0, frames);
        Some(Place { directory: NEUTRAL.load(Relaxed), stack })
    }

    fn is_up(&self, cpu: cpulocal::Cpu) -> bool {
        cpu::find(cpu.0).is_some_and(Cpu::is_up)
    }
}

/// Starts all processors but this one, the boot CPU: how many have come up.
pub fn start(kernel: &Kernel) -> Result<usize, i32> {
    hardware::clock::adopt(kernel.clock());
    apic::join(&mut Mapper(kernel)).map_err(|NoMemory| extension::ENOMEM)?;
    GATES.call_once(|| idt::Table::new(entry::stubs()));
    let here = apic::id();
    let mut ids = [0; cpulocal::MAX_CPUS];
    let mut count = 0;
    for id in kernel.cpu_ids().filter(|id| *id != here).take(ids.len() - 1) {
        ids[count] = id;
        count += 1;
    }
    let pages = kernel.low_pages().filter(|_| count > 0).ok_or(ENODEV)?;
    let neutral = kernel.allocate().ok_or(extension::ENOMEM)?;
    let trampoline = trampoline(kernel, pages, &mut { neutral });
    records::find(kernel);
    startup::start(&trampoline, &ids[..count], &mut Hall(kernel), main);
    records::begin();
    match cpu::all().count() {
        0 => {
            end(kernel);
            Err(ENODEV)
        }
        up => Ok(up),
    }
}

/// Where in the first of the low pages a parked processor counts itself, and the code that it executes there from then
/// on, behind the trampoline: `lock inc dword ptr [rdi]`, `cli`, and `hlt` in a loop.
const PARKED: u64 = 4088;
const PARK: u64 = 2048;
const PARK_CODE: [u8; 7] = [0xf0, 0xff, 0x07, 0xfa, 0xf4, 0xeb, 0xfd];

/// The low pages, once the processors are to park there.
static PARK_AT: AtomicU64 = AtomicU64::new(0);

/// Parks all processors, which have no thread any more, in the low pages, and gives back what they had. They halt there
/// until they are started again.
pub fn end(kernel: &Kernel) {
    let pages = PAGES.load(Relaxed);
    let low = kernel.physical(pages).expect("all of memory is mapped").cast::<u8>();
    // SAFETY: the pages are the application kernel's, and no processor is in the trampoline any more.
    let parked = unsafe {
        low.add(PARK as usize).copy_from_nonoverlapping(ptr::NonNull::from_ref(&PARK_CODE).cast(), PARK_CODE.len());
        let parked = low.add(PARKED as usize).cast::<AtomicU32>().as_ref();
        parked.store(0, Relaxed);
        parked
    };
    PARK_AT.store(pages, Release);
    cpu::all().for_each(Cpu::interrupt);
    while parked.load(Acquire) as usize != cpu::all().count() {
        core::hint::spin_loop();
    }
    cpu::take_all().flatten().for_each(|frame| kernel.release(frame));
    if let Some(neutral) = kernel.frame(NEUTRAL.load(Relaxed)) {
        kernel.release(neutral);
    }
}

/// Parks this processor, if all are to: it has no thread.
pub fn park_if_asked() {
    let pages = PARK_AT.load(Acquire);
    if pages == 0 {
        return;
    }
    // SAFETY: the low pages have page tables that map the first 2 MiB where they are and the kernel's half, and the
    // code there needs no stack.
    unsafe {
        core::arch::asm!(
            "mov cr3, {tables}",
            "jmp {code}",
            tables = in(reg) pages + 4096,
            code = in(reg) pages + PARK,
            in("rdi") pages + PARKED,
            options(noreturn)
        )
    }
}

/// Writes the first page tables of the processors and the neutral directory.
fn trampoline(kernel: &Kernel, pages: u64, neutral: &mut extension::Frame) -> Trampoline {
    let mapped = |physical| kernel.physical(physical).expect("all of memory is mapped").as_ptr();
    let physical = |page: u64| pages + page * 4096;
    let place = |page: u64| mapped(physical(page));
    let here = mapped(Cr3::read().0.start_address().as_u64());
    let words = neutral.words();
    for (slot, word) in words.iter_mut().enumerate().skip(KERNEL_HALF) {
        // SAFETY: this CPU's page directory, which is mapped; the kernel's half of it does not change.
        *word = unsafe { here.add(slot).read() };
    }
    // Page 0 is the trampoline's, then three levels of tables.
    for level in 1..4 {
        // SAFETY: four pages below 1 MiB that the kernel has handed out for this.
        unsafe {
            ptr::write_bytes(place(level), 0, ENTRIES);
            let entry = if level == 3 { TABLE | LARGE } else { physical(level + 1) | TABLE };
            place(level).write(entry);
        }
    }
    // SAFETY: as above.
    unsafe {
        ptr::copy_nonoverlapping(words.as_ptr().add(KERNEL_HALF), place(1).add(KERNEL_HALF), ENTRIES - KERNEL_HALF)
    };
    NEUTRAL.store(neutral.physical(), Relaxed);
    PAGES.store(pages, Relaxed);
    // SAFETY: the pages are below 1 MiB, mapped, and used for nothing else; the tables have just been written as they
    // must be.
    unsafe { Trampoline::new(pages, place(0).cast(), physical(1) as u32) }
}

/// A processor's first steps, on its own stack, interrupts off.
fn main(number: cpulocal::Cpu) -> ! {
    let cpu = cpu::find(number.0).expect("placed before it was let in");
    let gates = GATES.get().expect("made before any processor was started");
    // SAFETY: the stubs are entry functions.
    unsafe { gates.load() };
    hardware::cpu::init();
    cpu.load();
    fpu::init();
    apic::init_further();
    startup::meet();
    cpu.is_here();
    SCHEDULER.spin();
    let registers = trap::dispatch(cpu, None);
    cpu.ring.returns();
    // SAFETY: the registers of the thread that this CPU runs.
    unsafe { entry::return_to_user(registers) }
}
