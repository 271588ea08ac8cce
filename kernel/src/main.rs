//! The kernel Jotun, booted by multiboot2. The functions below are the boot as one list.
#![no_std]
#![cfg_attr(not(test), no_main)]
#![cfg_attr(
    test,
    allow(dead_code, unused_imports, reason = "the tests on a host begin behind the boot and the boundary")
)]
#![deny(unsafe_code)]
#![expect(unreachable_pub, reason = "in a binary `pub` says what a module offers the others")]

extern crate alloc;
#[cfg(test)]
extern crate std;

#[expect(unsafe_code, reason = "the home of all that touches the hardware")]
mod arch;
#[cfg(not(test))]
#[expect(unsafe_code, reason = "from the boot loader to Rust")]
mod boot;
#[expect(unsafe_code, reason = "makes the one reference to the kernel's state")]
mod boundary;
mod calls;
mod core;
mod options;
#[cfg(not(test))]
mod panic;
mod start;
mod statistics;
mod strategies;
#[cfg(all(test, feature = "smp"))]
#[expect(unsafe_code, reason = "makes a machine, and the proofs that the boundary makes")]
mod tests;

use abi::vectors;
use arch::extension::Supply;
use arch::physical::Frames;
use arch::{bootinfo::BootInfo, cpulocal, gdt, heap, idt, paging, stack, trace};
use containers::{Cpu, GlobalDirectory};
use hardware::{acpi, apic, clock, cpu, debugcon, exit, fpu, ioapic, serial};

/// Called by [`boot`] in long mode, on the boot stack, with the two words that the boot loader left.
extern "C" fn kernel_main(magic: u32, information: u32) -> ! {
    debugcon::init(); // first, so that all else can say what is wrong
    idt::init(); // from here on a fault is a sentence, not a reset
    gdt::init(); // the kernel's own segments, those of the boot are about to be unmapped
    cpu::check().unwrap_or_else(|missing| exit::fatal(missing)); // before anything relies on it
    cpu::init(); // protections on while there is little to protect
    fpu::init(); // for programs; the kernel itself does not use it
    clock::init(); // early, for the times in the log
    let mut info = BootInfo::read(magic, information).unwrap_or_else(|error| exit::fatal(error));
    trace::reserve(&mut info); // before the memory is given away
    let mut frames = Frames::new(&mut info); // needs to know what is free
    let global = paging::build(&mut frames, &info).expect("frames for the kernel's page tables"); // W^X from here on
    heap::init(&mut frames); // needs the tables it is mapped in
    cpulocal::map(&mut frames, Cpu(0), global.pml4).expect("frames for CPU-local data"); // before any code uses it
    stack::map(&mut frames, Cpu(0)).expect("frames for the kernel stacks");
    gdt::init_tss(Cpu(0)); // double faults and NMIs get their stacks
    stack::continue_on_kernel_stack((info, frames, global), kernel_continue)
}

/// The rest of the boot, on a kernel stack with a guard page below it.
fn kernel_continue((mut info, mut frames, global): (BootInfo, Frames, GlobalDirectory)) -> ! {
    let platform = acpi::read(info.acpi, &mut frames); // CPUs and interrupt controllers
    apic::init(&mut frames).expect("frames for the local APIC"); // silences the 8259, measures the timer
    ioapic::init(&mut frames, &platform).expect("frames for the I/O APICs"); // everything masked
    clock::init_wall_clock();
    let console = serial::init() && ioapic::route_isa(&mut frames, &platform, 4, vectors::SERIAL, apic::id());
    if !console {
        log::warn!("no serial port; the console is silent");
    }
    let options = options::Options::read(info.command_line); // the options of this run
    boundary::enter_boot(); // in the kernel, by the strategy, before there is another CPU
    #[cfg(not(feature = "smp"))]
    let globals = alloc::vec![global];
    #[cfg(feature = "smp")]
    let globals = arch::smp::start(&mut frames, global, &platform, info.low_pages, boundary::start_further); // the other CPUs, up and idle
    let supply = Supply::new(platform.cpus, info.low_pages); // for extensions
    let (mut kernel, cpu) = start::kernel(frames, globals, &options, supply); // all subsystems, still empty
    start::unpack(&mut kernel, &mut info).unwrap_or_else(|error| exit::fatal(error)); // the file system
    start::begin_input(&mut kernel, &mut info); // what the console has before the serial line brings more
    start::bound(&mut kernel, options.file_system); // bounds on files and names
    start::make_resident(&mut kernel, &global); // the native programs
    options.load.into_iter().for_each(|load| start::load_extension(&mut kernel, load)); // an extension from the start
    start::first_program(&mut kernel, &cpu).unwrap_or_else(|error| start::refuse(error)); // the first process
    boundary::start(kernel, cpu) // to user mode, for good
}
