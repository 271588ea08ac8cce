//! The last part of the boot: on a machine that works, it makes the kernel's state and starts the first process.

use crate::arch::bootinfo::{BootInfo, Module};
use crate::arch::extension::Supply;
use crate::arch::heap;
use crate::arch::physical::Frames;
use crate::core::console::{Console, TerminalControl};
use crate::core::files::{Files, UnpackError};
use crate::core::kernel::{Kernel, Memory, Tasks, Upcalls};
use crate::core::messages::Messages;
use crate::core::packages::{DIRECTORY, Packages};
use crate::core::program::{self, FirstError};
use crate::core::random::Random;
use crate::core::search::Search;
use crate::core::statistics::Statistics;
use crate::options::Options;
use crate::{calls, statistics};
use ::files::Errno;
use ::files::size::Size;
use ::files::tree::INODES_MAX;
use abi::channel::INPUT_MODULE;
use alloc::vec::Vec;
use containers::directory::{PACKAGES_SLOT, target};
use containers::{GlobalDirectory, PAGE_SIZE, PhysicalMemory, Purpose};
use core::fmt;
use cpulocal::InKernel;
use hardware::{clock, exit};

/// Makes the kernel's state and the proof that this CPU is in the kernel.
pub fn kernel(
    mut physical: Frames,
    globals: Vec<GlobalDirectory>,
    options: &Options,
    supply: Supply,
) -> (Kernel, InKernel) {
    if !heap::reserve_bytes(&mut physical, heap::RESERVE + Tasks::size_for(globals.len())) {
        exit::fatal("no memory for the queues of all CPUs");
    }
    // SAFETY: the boot runs in the kernel on its CPU, with CPU-local data mapped; this is the boot's
    // one proof, and the boundary takes it over.
    #[expect(unsafe_code, reason = "the boot enters the kernel here, as the boundary does later")]
    let cpu = unsafe { InKernel::new() };
    let tasks = Tasks::new(globals.len(), options.affinity);
    let mut memory = Memory::new(physical, globals);
    let mut files = Files::new(&mut memory);
    (files.extensions.allowed, files.extensions.supply) = (options.extensions, supply);
    let kernel = Kernel {
        files,
        memory,
        tasks,
        console: Console::new(options.console, options.size),
        messages: Messages::default(),
        packages: Packages::default(),
        random: Random::new(options.seed, !options.fixed_places),
        statistics: Statistics { wanted: options.statistics, ..Statistics::default() },
        first: None,
        search: Search::default(),
        upcalls: Upcalls {
            child_ended: calls::children::child_ended,
            tell_rest: calls::time::tell_rest,
            statistics: statistics::each,
        },
    };
    (kernel, cpu)
}

/// Why the boot cannot go on.
pub enum StartError {
    /// The boot loader gave no archive for the file system.
    NoArchive,
    /// An archive is broken.
    Archive(&'static str, UnpackError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::NoArchive => {
                write!(f, "the boot loader gave no module named \"base\", the archive of the file system")
            }
            StartError::Archive(name, error) => write!(f, "the module \"{name}\" cannot be unpacked: {error}"),
        }
    }
}

/// Fills the file system from the boot modules, the run's own over the base, and takes their memory.
pub fn unpack(kernel: &mut Kernel, info: &mut BootInfo) -> Result<(), StartError> {
    heap::boot_is_over(); // files come and go
    let base = info.take_module("base").ok_or(StartError::NoArchive)?;
    unpack_module(kernel, "base", base)?;
    if let Some(run) = info.take_module("run") {
        unpack_module(kernel, "run", run)?;
    }
    kernel.files.keep_devices();
    Ok(())
}

/// Gives the console the input that the boot loader has brought, if any.
pub fn begin_input(kernel: &mut Kernel, info: &mut BootInfo) {
    if let Some(input) = info.take_module(INPUT_MODULE) {
        kernel.console.begin_with(input.into_bytes());
    }
}

fn unpack_module(kernel: &mut Kernel, name: &'static str, module: Module) -> Result<(), StartError> {
    let unpacked = kernel.files.unpack(&mut kernel.memory, module.bytes());
    kernel.memory.physical.give_back(module);
    unpacked.map_err(|error| StartError::Archive(name, error))
}

/// Bounds the memory that programs can fill, now that the image is in place. Files get half of memory, or for a large
/// image what it has and a quarter of the rest; names get one for each frame, which is an eighth of memory at most;
/// pipes and the like get a quarter, if each had one page, and a sixteenth for more than that. A last sixteenth is kept
/// for small processes.
pub fn bound(kernel: &mut Kernel, size: Option<Size>) {
    let Kernel { memory, files, .. } = kernel;
    let (frames, free) = (memory.physical.total(), memory.physical.free());
    let limit = match size {
        Some(size) => size.of((frames * PAGE_SIZE) as u64) as usize / PAGE_SIZE,
        None => (frames / 2).max(memory.account(Purpose::File).pages + free / 4),
    };
    memory.limit_pages(Purpose::File, limit);
    memory.limit_pages(Purpose::Buffer, frames / 16);
    memory.limit_objects(Purpose::Buffer, frames / 4);
    memory.keep_reserve(frames / 16);
    // The other half of the inodes is for pipes, counters and `/proc`.
    files.tree.set_name_limit(files.tree.name_quota().used + frames.min(INODES_MAX / 2));
}

/// Makes the native programs resident.
pub fn make_resident(kernel: &mut Kernel, global: &GlobalDirectory) {
    let Some(shared) = target(&kernel.memory.physical.entry(global.pml4, PACKAGES_SLOT)) else { return };
    for name in kernel.files.names(DIRECTORY) {
        let path = [DIRECTORY, &name].concat();
        let Ok(inode) = kernel.files.lookup(&path) else { continue };
        let Some((object, ..)) = kernel.files.content(inode) else { continue };
        let added = kernel.packages.add(&mut kernel.memory, shared, &name, (inode, object));
        if let Err(why) = added.and_then(|()| kernel.files.enter(inode)) {
            log::warn!("package {} is not one: {why}", alloc::string::String::from_utf8_lossy(&name));
        }
    }
    log::info!("{} native packages are resident", kernel.packages.len());
}

/// Loads the extension that the command line asks for. Without it the run would not be what the user wants.
pub fn load_extension(kernel: &mut Kernel, load: &str) {
    let (path, parameters) = load.split_once(':').unwrap_or((load, ""));
    let Kernel { files, memory, .. } = kernel;
    let content = files.lookup(path.as_bytes()).and_then(|inode| files.content(inode).ok_or(Errno::EACCES));
    let parameters = parameters.replace(':', " ");
    let loaded = content.and_then(|(file, ..)| files.load_extension(memory, file, parameters.as_bytes()));
    loaded.unwrap_or_else(|why| exit::fatal(format_args!("the extension {path} cannot be loaded: {why}")));
}

/// Starts the program that the run is for.
pub fn first_program(kernel: &mut Kernel, cpu: &InKernel) -> Result<(), FirstError> {
    kernel.statistics.frames_free_at_start = kernel.memory.physical.free() as u64;
    kernel.statistics.heap_pages_at_start = (heap::pages() + heap::idle_pages()) as u64;
    kernel.statistics.boot_microseconds = clock::nanoseconds() / 1000;
    log::info!("{} frames free; starting the first program", kernel.memory.physical.free());
    let first = program::start_first(kernel, cpu)?;
    kernel.first = Some(first);
    let number = first.number();
    if kernel.console.is_terminal() {
        kernel.console.control = Some(TerminalControl { session: number, foreground: number });
    }
    Ok(())
}

/// Ends the run because its program cannot be started, with the status that a shell gives for that.
pub fn refuse(error: FirstError) -> ! {
    const NOT_EXECUTABLE: u8 = 126;
    const NOT_FOUND: u8 = 127;
    log::error!("{error}");
    exit::exit(if error.why == Errno::ENOENT { NOT_FOUND } else { NOT_EXECUTABLE })
}
