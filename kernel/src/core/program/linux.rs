//! Linux programs: static ELF files, put into a container as `execve` finds them.

use super::layout::{self, LOWEST, Layout, PROGRAMS_END, STACK};
use super::strings::Strings;
use crate::arch;
use crate::core::elf::{self, Program};
use crate::core::files::Files;
use crate::core::kernel::{Kernel, Memory};
use crate::core::linux::USER_HZ;
use crate::core::process::{COMMAND_LINE, Invocation, Limits, Name, Resources};
use crate::core::schedule;
use ::files::{Errno, InodeId};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use containers::directory::PACKAGES;
use containers::{
    Backing, ContainerId, Growth, Label, ObjectId, PAGE_SIZE, ProcessId, Region, Registers, Rights, Space, Thread,
    ThreadId, Traits,
};
use cpulocal::InKernel;
use linux_raw_sys::auxvec;
use zerocopy::IntoBytes;

const PAGE: u64 = PAGE_SIZE as u64;

/// How many bytes of its data a relocatable program gets at once: it starts by relocating them, page by page.
const RELOCATED_AHEAD: u64 = 8 * PAGE;

/// Most bytes that arguments and environment may take with the pointers to them, as on Linux: a quarter of
/// the stack, but at least the first and at most the second of these.
const STRINGS: (u64, u64) = (128 << 10, 6 << 20);

/// The program that is to be run.
pub struct Request<'a> {
    /// The program's name, for its auxiliary vector.
    pub path: &'a [u8],
    /// The file.
    pub inode: InodeId,
    /// Its arguments, the first being a name.
    pub arguments: &'a Strings,
    /// Its environment.
    pub environment: &'a Strings,
    /// The limits of its process.
    pub limits: Limits,
}

/// A program in a container of its own that no process is in yet.
pub struct Loaded {
    /// The container.
    pub container: ContainerId,
    /// The program's first instruction, and its initial stack pointer.
    pub start: (u64, u64),
    /// Its arguments, for `/proc`.
    pub command_line: Box<[u8]>,
}

/// Starts the first program, in a process without a parent.
pub fn start(
    kernel: &mut Kernel,
    cpu: &InKernel,
    path: &[u8],
    arguments: &[&[u8]],
    environment: &[&[u8]],
) -> Result<ProcessId, Errno> {
    let inode = kernel.files.lookup(path)?;
    kernel.files.enter(inode)?;
    let (arguments, environment) = (&Strings::of(arguments), &Strings::of(environment));
    let loaded = load(kernel, cpu, &Request { path, inode, arguments, environment, limits: Limits::INITIAL })?;
    let invocation = Invocation { executable: path.into(), inode, command_line: loaded.command_line };
    let resources = Resources::new(
        kernel.files.standard_descriptors(),
        kernel.files.root(),
        Name::of_path(path),
        Rc::new(invocation),
    );
    let mut main = Thread::new(loaded.container, arch::extended::fresh(kernel.tasks.spare.take()));
    main.context.registers = Registers::for_user(loaded.start.0, loaded.start.1);
    let id = kernel.tasks.make_process(main, None, resources).map_err(|_| Errno::EAGAIN)?;
    if let Some(container) = kernel.memory.container_mut(loaded.container) {
        container.processes = 1;
    }
    kernel.tasks.make_ready(ThreadId::main(id));
    Ok(id)
}

/// Puts a program into a container of its own: `EACCES`, `ENOEXEC`, `E2BIG`, `EFAULT`, `ENOMEM`.
pub fn load(kernel: &mut Kernel, cpu: &InKernel, request: &Request<'_>) -> Result<Loaded, Errno> {
    let program = File::open(kernel, request.inode)?;
    let interpreter = interpreter(kernel)?;
    let cpu = schedule::this_cpu(cpu);
    let container = kernel.memory.make_container_with_directory(cpu).map_err(|_| Errno::ENOMEM)?;
    fill(kernel, Space { container, cpu }, request, &program, interpreter.as_ref())
        .inspect_err(|_| kernel.memory.destroy_container(container, cpu))
}

/// The bytes of a file that may be executed, and their number: `EACCES`
pub fn executable(files: &Files, inode: InodeId) -> Result<(ObjectId, u64), Errno> {
    let (object, size, executable) = files.content(inode).ok_or(Errno::EACCES)?;
    if executable { Ok((object, size)) } else { Err(Errno::EACCES) }
}

/// A program and its bytes.
struct File {
    program: Program,
    object: ObjectId,
}

impl File {
    fn open(kernel: &Kernel, inode: InodeId) -> Result<File, Errno> {
        let (object, size) = executable(&kernel.files, inode)?;
        let program = elf::parse(size, |at, to| kernel.memory.read_object(object, at, to))?;
        Ok(File { program, object })
    }
}

/// The program through which an extension has all others entered.
fn interpreter(kernel: &Kernel) -> Result<Option<File>, Errno> {
    let Some(path) = kernel.files.extensions.interpreter() else { return Ok(None) };
    let file = File::open(kernel, kernel.files.lookup(path)?)?;
    if file.program.relocatable { Ok(Some(file)) } else { Err(Errno::ENOEXEC) }
}

/// Maps a program, its stack and its interpreter into a fresh container.
fn fill(
    kernel: &mut Kernel,
    space: Space,
    request: &Request<'_>,
    &File { ref program, object }: &File,
    interpreter: Option<&File>,
) -> Result<Loaded, Errno> {
    let memory = &mut kernel.memory;
    let limit = request.limits.stack.soft;
    let most = (limit / 4).clamp(STRINGS.0, STRINGS.1);
    let arguments = request.arguments.measure(memory, most)?;
    let room = most - arguments.1 - arguments.0 * 8;
    let environment = request.environment.measure(memory, room)?;
    let strings = arguments.1 + environment.1 + (arguments.0 + environment.0) * 8;
    let stack = (limit.clamp(*STACK.start(), *STACK.end()) & !(PAGE - 1)).max(2 * strings.next_multiple_of(PAGE));

    let layout = Layout::choose(&mut kernel.random);
    let base = map_segments(memory, space, program, object, layout.base)?;
    let top = layout.stack_top;
    let region = Region::new(top - stack..top, program.stack, Backing::Zero);
    let region = Region { label: Label::Stack, traits: Traits::GROWS, ..region };
    memory.map_fresh(space.container, region).map_err(|_| Errno::ENOMEM)?;
    let heap = program.extent().end + base + layout.heap_distance;
    memory.set_program(space.container, Some(object));
    let container = memory.container_mut(space.container).ok_or(Errno::ENOMEM)?;
    container.heap = (heap, heap);
    container.mappings_end = layout.mappings_end;
    container.growth = Growth { region: limit, all: request.limits.address_space.soft };
    if container.regions.bytes() > request.limits.address_space.soft {
        return Err(Errno::ENOMEM);
    }
    let random = [kernel.random.next(), kernel.random.next()];
    let mut start = program.entry + base;
    if let Some(File { program, object }) = interpreter {
        let base = layout::interpreter(&mut kernel.random, program.extent().end, program.alignment);
        start = program.entry + map_segments(memory, space, program, *object, base)?;
    }
    let auxiliary = auxiliary(program, base);
    let (stack, first) = initial_stack(memory, space, top, request, [arguments, environment], &auxiliary, random)?;
    let mut command_line = alloc::vec![0; arguments.1.min(COMMAND_LINE) as usize];
    memory.copy_in(space, first, &mut command_line).map_err(|_| Errno::ENOMEM)?;
    Ok(Loaded { container: space.container, start: (start, stack), command_line: command_line.into() })
}

/// Maps the segments, moved by `base` if the program can go anywhere; returns by how much they were moved.
fn map_segments(
    memory: &mut Memory,
    space: Space,
    program: &Program,
    object: ObjectId,
    base: u64,
) -> Result<u64, Errno> {
    let extent = program.extent();
    let placed = base.checked_next_multiple_of(program.alignment).ok_or(Errno::ENOEXEC)?;
    let base = if program.relocatable { placed } else { 0 };
    let fits = |pages: elf::Pages| {
        let (start, end) = (pages.start + base, pages.end.saturating_add(base));
        start >= LOWEST && end <= PROGRAMS_END && (end <= PACKAGES.start || start >= PACKAGES.end)
    };
    if !fits(extent) {
        return Err(Errno::ENOEXEC);
    }
    for segment in program.segments() {
        memory.share_object(object);
        let backing = Backing::Image { object, offset: segment.offset, length: segment.length };
        let region = Region::new(segment.pages.start + base..segment.pages.end + base, segment.rights, backing);
        memory.map(space.container, region).map_err(|_| Errno::ENOMEM)?;
        if program.relocatable && segment.rights.contains(Rights::WRITE) {
            let end = region.end.min(region.start + RELOCATED_AHEAD);
            memory.prefault(space, region.start..end).map_err(|_| Errno::ENOMEM)?;
        }
    }
    Ok(base)
}

/// The auxiliary vector, without the entries that point to the stack (System V ABI, section 3.4.3).
fn auxiliary(program: &Program, base: u64) -> [(u32, u64); 14] {
    /// Bytes of a program header.
    const HEADER: u64 = 56;
    let headers = if program.headers == 0 { 0 } else { program.headers + base };
    [
        (auxvec::AT_PHDR, headers),
        (auxvec::AT_PHENT, HEADER),
        (auxvec::AT_PHNUM, program.header_count),
        (auxvec::AT_PAGESZ, PAGE),
        (auxvec::AT_BASE, 0),
        (auxvec::AT_FLAGS, 0),
        (auxvec::AT_ENTRY, program.entry + base),
        (auxvec::AT_UID, 0),
        (auxvec::AT_EUID, 0),
        (auxvec::AT_GID, 0),
        (auxvec::AT_EGID, 0),
        (auxvec::AT_HWCAP, hardware::cpu::hardware_capabilities()),
        (auxvec::AT_CLKTCK, USER_HZ),
        (auxvec::AT_SECURE, 0),
    ]
}

/// Fills the top of the stack: strings, then vectors of pointers to them; returns the stack pointer, at
/// which `argc` lies, and where the arguments are.
fn initial_stack(
    memory: &mut Memory,
    space: Space,
    top: u64,
    request: &Request<'_>,
    [arguments, environment]: [(u64, u64); 2],
    auxiliary: &[(u32, u64)],
    random: [u64; 2],
) -> Result<(u64, u64), Errno> {
    let mut at = top;
    let mut push = |memory: &mut Memory, string: &[u8]| -> Result<u64, Errno> {
        at -= string.len() as u64 + 1;
        memory.copy_out(space, at, string).map_err(|_| Errno::ENOMEM)?;
        Ok(at)
    };
    let name = push(memory, request.path)?;
    let platform = push(memory, b"x86_64")?;
    let random = push(memory, random.as_bytes())?;
    let minimal_stack = hardware::fpu::size() as u64 + 1024;
    let mine = [
        (auxvec::AT_PLATFORM, platform),
        (auxvec::AT_RANDOM, random),
        (auxvec::AT_EXECFN, name),
        (auxvec::AT_MINSIGSTKSZ, minimal_stack),
        (auxvec::AT_NULL, 0),
    ];
    let pairs: Vec<u64> = auxiliary.iter().chain(&mine).flat_map(|(key, value)| [u64::from(*key), *value]).collect();

    let second = random - environment.1;
    let first = second - arguments.1;
    // The number of arguments, the two vectors, each with a null pointer, and the pairs.
    let words = 1 + arguments.0 + 1 + environment.0 + 1 + pairs.len() as u64;
    let stack = (first - words * 8) & !15;
    let vectors = [stack + 8, stack + 8 * (1 + arguments.0 + 1)];
    memory.copy_out(space, stack, &arguments.0.to_le_bytes()).map_err(|_| Errno::ENOMEM)?;
    request.arguments.copy(memory, space, arguments, first, vectors[0])?;
    request.environment.copy(memory, space, environment, second, vectors[1])?;
    let at = vectors[1] + 8 * (environment.0 + 1);
    memory.copy_out(space, at, pairs.as_bytes()).map_err(|_| Errno::ENOMEM)?;
    Ok((stack, first))
}
