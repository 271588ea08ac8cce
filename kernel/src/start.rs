//! The last part of the boot: from a machine that works to the first process.

use crate::arch::bootinfo::{BootInfo, Module};
use crate::arch::physical::Frames;
use crate::arch::{clock, exit, heap};
use crate::console::{Console, TerminalControl};
use crate::files::{Files, UnpackError};
use crate::kernel::{Kernel, Memory, Tasks};
use crate::messages::Messages;
use crate::program::packages::{DIRECTORY, Packages};
use crate::program::{self, FirstError};
use crate::random::Random;
use crate::statistics::Statistics;
use ::files::Errno;
use ::files::size::Size;
use ::files::tree::INODES_MAX;
use abi::channel;
use alloc::vec::Vec;
use containers::directory::{PACKAGES_SLOT, target};
use containers::{Affinity, GlobalDirectory, PAGE_SIZE, PhysicalMemory, Purpose};
use core::fmt;
use cpulocal::InKernel;

/// What the kernel's command line asks for.
#[derive(Default)]
pub struct Options {
    /// The console is framed for the host, and a terminal or not; `None`: no host, a plain terminal.
    pub console: Option<ConsoleMode>,
    /// Rows and columns of the terminal.
    pub size: (u16, u16),
    /// Statistics are wanted at the end.
    pub statistics: bool,
    /// How large the file system may become, if that is said.
    pub file_system: Option<Size>,
    /// What all random numbers follow from; `None`: nobody can foretell them.
    pub seed: Option<u64>,
    /// The parts of Linux programs go to the same places each time.
    pub fixed_places: bool,
    /// How a thread is tied to the CPU that it ran on.
    pub affinity: Affinity,
}

/// What is at the other end of the console.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConsoleMode {
    /// Files or pipes.
    Pipe,
    /// A terminal.
    Terminal,
}

/// The strategy that this kernel was built with.
const STRATEGY: &str = if cfg!(feature = "smp") { channel::GIANT_STRATEGY } else { channel::UP_STRATEGY };

impl Options {
    /// Reads the command line. A word that means nothing is logged and otherwise ignored; a strategy that
    /// the kernel does not have ends the run, which would show something else than was asked for.
    pub fn read(command_line: &str) -> Options {
        let mut options = Options { size: (24, 80), ..Options::default() };
        for word in command_line.split_ascii_whitespace() {
            let number = |text: &str| text.parse().ok();
            if let Some(mode) = word.strip_prefix(channel::CONSOLE_WORD) {
                options.console = match mode {
                    channel::CONSOLE_PIPE => Some(ConsoleMode::Pipe),
                    channel::CONSOLE_TTY => Some(ConsoleMode::Terminal),
                    _ => {
                        log::warn!("console={mode} is neither pipe nor tty");
                        None
                    }
                };
            } else if let Some(rows) = word.strip_prefix(channel::ROWS_WORD).and_then(number) {
                options.size.0 = rows;
            } else if let Some(columns) = word.strip_prefix(channel::COLUMNS_WORD).and_then(number) {
                options.size.1 = columns;
            } else if let Some(strategy) = word.strip_prefix(channel::STRATEGY_WORD) {
                if strategy != STRATEGY {
                    exit::fatal(format_args!("this kernel has no strategy `{strategy}`, only `{STRATEGY}`"));
                }
            } else if let Some(patience) = word.strip_prefix(channel::PATIENCE_WORD) {
                #[cfg(feature = "smp")]
                crate::boundary::patience::set(patience);
                #[cfg(not(feature = "smp"))]
                log::warn!("one CPU waits for no other: patience={patience} means nothing");
            } else if let Some(size) = word.strip_prefix(channel::SIZE_WORD) {
                options.file_system = Size::parse(size);
                if options.file_system.is_none() {
                    log::warn!("{word} is no size: a number, with k, m or g behind it, or a percentage with %");
                }
            } else if let Some(seed) = word.strip_prefix(channel::SEED_WORD) {
                options.seed = seed.parse().ok();
                match options.seed {
                    Some(_) => log::info!("{word}: random numbers can be foretold"),
                    None => log::warn!("{word}: a seed is a number below 2^64; there is none"),
                }
            } else if let Some(switch) = word.strip_prefix(channel::ASLR_WORD) {
                match switch {
                    channel::ASLR_ON | channel::ASLR_OFF => options.fixed_places = switch == channel::ASLR_OFF,
                    _ => log::warn!("aslr={switch} is neither on nor off"),
                }
            } else if let Some(affinity) = word.strip_prefix(channel::AFFINITY_WORD) {
                match affinity {
                    _ if !cfg!(feature = "smp") => log::warn!("there is one CPU to run on: {word} means nothing"),
                    channel::AFFINITY_SOFT => options.affinity = Affinity::Soft,
                    channel::AFFINITY_STRICT => options.affinity = Affinity::Strict,
                    _ => log::warn!("{word} is neither soft nor strict"),
                }
            } else if word == channel::STATS_WORD {
                options.statistics = true;
            } else if is_of_trace(word) {
                if !cfg!(feature = "trace") {
                    log::warn!("this kernel records no events: {word}");
                }
            } else if !word.starts_with('/') {
                log::warn!("unknown word on the command line: {word}");
            }
        }
        options
    }
}

/// Whether a word is for [`arch::trace`](crate::arch::trace), which has read it long before.
fn is_of_trace(word: &str) -> bool {
    word == channel::TRACE_REGION_WORD
        || [channel::TRACE_WORD, channel::TRACE_CPU_WORD].iter().any(|begin| word.starts_with(begin))
}

/// Makes the kernel's state and the proof of being in it.
pub fn kernel(mut physical: Frames, globals: Vec<GlobalDirectory>, options: &Options) -> (Kernel, InKernel) {
    if !heap::reserve_bytes(&mut physical, heap::RESERVE + Tasks::size_for(globals.len())) {
        exit::fatal("no memory for the queues of all CPUs");
    }
    // SAFETY: the boot runs in the kernel on its CPU, with CPU-local data mapped; this is the boot's
    // one proof, and the boundary takes it over.
    #[expect(unsafe_code, reason = "the boot enters the kernel here, as the boundary does later")]
    let cpu = unsafe { InKernel::new() };
    let tasks = Tasks::new(globals.len(), options.affinity);
    let mut memory = Memory::new(physical, globals);
    let kernel = Kernel {
        files: Files::new(&mut memory),
        memory,
        tasks,
        console: Console::new(options),
        messages: Messages::default(),
        packages: Packages::default(),
        random: Random::new(options.seed, !options.fixed_places),
        statistics: Statistics { wanted: options.statistics, ..Statistics::default() },
        first: None,
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

fn unpack_module(kernel: &mut Kernel, name: &'static str, module: Module) -> Result<(), StartError> {
    let unpacked = kernel.files.unpack(&mut kernel.memory, module.bytes());
    kernel.memory.physical.give_back(module);
    unpacked.map_err(|error| StartError::Archive(name, error))
}

/// Bounds what programs can fill, now that the image is in its place: files with the half of memory, or with what the
/// image has and a quarter of the rest where the image is that large; names with one for each frame, which is an eighth of
/// memory at most; pipes and the like with a quarter, were each to have one page, and a sixteenth for more than that. A
/// last sixteenth is kept for who is small.
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
    // The other half of the inodes is for pipes and the like, and for `/proc`.
    files.tree.limit_places(files.tree.places().used + frames.min(INODES_MAX / 2));
}

/// Makes the native programs resident.
pub fn make_resident(kernel: &mut Kernel, global: &GlobalDirectory) {
    let Some(shared) = target(&kernel.memory.physical.entry(global.pml4, PACKAGES_SLOT)) else { return };
    for name in kernel.files.names(DIRECTORY) {
        let path = [DIRECTORY, &name].concat();
        let content = kernel.files.lookup(&path).ok().and_then(|inode| kernel.files.content(inode));
        let Some((object, ..)) = content else { continue };
        if let Err(why) = kernel.packages.add(&mut kernel.memory, shared, &name, object) {
            log::warn!("package {} is not one: {why}", alloc::string::String::from_utf8_lossy(&name));
        }
    }
    log::info!("{} native packages are resident", kernel.packages.len());
}

/// Starts what the run is for.
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

/// Ends the run because its program cannot be run, with the status that a shell gives for that.
pub fn refuse(error: FirstError) -> ! {
    const NOT_EXECUTABLE: u8 = 126;
    const NOT_FOUND: u8 = 127;
    log::error!("{error}");
    exit::exit(if error.why == Errno::ENOENT { NOT_FOUND } else { NOT_EXECUTABLE })
}
