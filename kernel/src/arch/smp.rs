//! The kernel's part in the start of the further CPUs: a page directory, a CPU-local section and stacks for each, and the
//! first steps of a CPU that comes up.

use super::layout::DIRECT_MAP;
use super::physical::Frames;
use super::{cpulocal, gdt, idt, paging, remote, stack};
use ::cpulocal::{InKernel, MAX_CPUS};
use alloc::{vec, vec::Vec};
use containers::{Cpu, GlobalDirectory, OutOfFrames};
use hardware::acpi::Platform;
use hardware::startup::{self, Newcomers, Place, Trampoline};
use hardware::{apic, cpu, fpu};
use spin::Once;

/// The function that a further CPU runs when it has come up.
static THEN: Once<fn(&InKernel) -> !> = Once::new();

/// Starts all CPUs but this one, whose global page directory is `boot`. Returns the global page directories of all
/// CPUs, by number. Each started CPU goes on with `then`, at level 1, interrupts off.
pub fn start(
    frames: &mut Frames,
    boot: GlobalDirectory,
    platform: &Platform,
    trampoline_page: Option<u64>,
    then: fn(&InKernel) -> !,
) -> Vec<GlobalDirectory> {
    unsafe extern "C" {
        /// The boot's page directory, which maps the first 4 GiB where they are, and the image.
        static boot_pml4: u8;
    }
    THEN.call_once(|| then);
    // SAFETY: the boot is in the kernel, and CPU-local data is mapped.
    remote::enlist(&unsafe { InKernel::new() });
    let mut ids: Vec<u32> = platform.cpus.iter().copied().filter(|id| *id != apic::id()).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.len() >= MAX_CPUS {
        log::warn!("the machine has {} CPUs; {MAX_CPUS} are used", ids.len() + 1);
        ids.truncate(MAX_CPUS - 1);
    }
    let Some(page) = trampoline_page.filter(|_| !ids.is_empty()) else {
        if !ids.is_empty() {
            log::warn!("no memory below 1 MiB for the further CPUs to begin in; this one stays alone");
        }
        return vec![boot];
    };
    let directory = (&raw const boot_pml4).addr() as u32;
    // SAFETY: a page of usable memory that the boot information set aside for this; the direct map has it. The boot's
    // tables are linked at low addresses, are as the boot has left them, and allow every access.
    let trampoline = unsafe { Trampoline::new(page, (DIRECT_MAP + page) as *mut u8, directory) };
    let mut further = Further { frames, globals: vec![boot] };
    startup::start(&trampoline, &ids, &mut further, further_main);

    let online = remote::online();
    let mut globals = further.globals;
    globals.truncate(online.len() as usize);
    let mut up: Vec<u32> = online.iter().map(remote::id).collect();
    up.sort_unstable();
    ids.iter().filter(|id| !up.contains(id)).for_each(|id| log::warn!("the CPU with APIC id {id} did not come up"));
    log::info!("{} CPU(s) up: local APICs {up:?}", globals.len());
    globals
}

/// The further CPUs' memory.
struct Further<'a> {
    frames: &'a mut Frames,
    /// The global page directories, by CPU.
    globals: Vec<GlobalDirectory>,
}

impl Further<'_> {
    /// Makes a CPU's page directory, CPU-local section and stacks.
    fn prepare(&mut self, cpu: Cpu) -> Result<GlobalDirectory, OutOfFrames> {
        let global = paging::build_further(self.frames)?;
        cpulocal::map(self.frames, cpu, global.pml4)?;
        stack::map(self.frames, cpu)?;
        Ok(global)
    }
}

impl Newcomers for Further<'_> {
    fn place(&mut self, cpu: Cpu) -> Option<Place> {
        let global = self.prepare(cpu).ok()?;
        let place = Place { directory: global.pml4.address().as_u64(), stack: stack::kernel(cpu).end };
        self.globals.push(global);
        Some(place)
    }

    fn is_up(&self, cpu: Cpu) -> bool {
        remote::online().contains(cpu)
    }
}

/// The first steps of a further CPU: on its own stack and page directory, at level 1, interrupts off.
fn further_main(number: Cpu) -> ! {
    idt::init();
    gdt::init();
    gdt::init_tss(number);
    cpu::init();
    fpu::init();
    // SAFETY: this CPU's section is mapped, and this is its one proof until it goes idle.
    let cpu = unsafe { InKernel::new() };
    cpulocal::set_number(&cpu, number);
    stack::set_kernel_stack(&cpu, number);
    apic::init_further();
    startup::meet();
    remote::enlist(&cpu);
    let then = THEN.get().expect("set before any CPU was started");
    then(&cpu)
}
