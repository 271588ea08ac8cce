//! Linux programs: static ELF files, started as `execve` starts them.

use super::elf::{self, Program};
use crate::arch;
use crate::kernel::{Kernel, Memory};
use crate::process::{Name, Resources, command_line};
use crate::schedule;
use ::files::Errno;
use alloc::vec::Vec;
use containers::directory::{PACKAGES, USER_END};
use containers::{Backing, Label, ObjectId, PAGE_SIZE, ProcessId, Region, Registers, Rights, Space, ThreadId};
use cpulocal::InKernel;

const PAGE: u64 = PAGE_SIZE as u64;

/// Where programs go that can go anywhere.
const RELOCATED: u64 = 0x5555_5555_4000;

/// Lowest address that a program may be linked at.
const LOWEST: u64 = 0x1_0000;

/// Bytes of stack promised to the main thread, from the top of user space down.
pub const STACK: u64 = 8 << 20;

/// Most bytes that arguments, environment and the like may take on the initial stack.
const STRINGS: u64 = 256 * 1024;

/// Starts a program in a container and process of its own. The process has no parent.
pub fn start(
    kernel: &mut Kernel,
    cpu: &InKernel,
    path: &[u8],
    arguments: &[&[u8]],
    environment: &[&[u8]],
) -> Result<ProcessId, Errno> {
    let inode = kernel.files.lookup(path)?;
    let (object, size, executable) = kernel.files.content(inode).ok_or(Errno::EACCES)?;
    if !executable {
        return Err(Errno::EACCES);
    }
    let here = schedule::this_cpu(cpu);
    let container = kernel.memory.make_container_with_directory(here).map_err(|_| Errno::ENOMEM)?;
    let space = Space { container, cpu: here };
    let started = load(kernel, space, path, object, size, arguments, environment).and_then(|(entry, stack)| {
        let mut resources = Resources::new(&mut kernel.files, Name::of_path(path), path.into());
        resources.command_line = command_line(arguments);
        let id = kernel.tasks.make_process(container, None, resources).map_err(|_| Errno::EAGAIN)?;
        let main = kernel.tasks.thread_mut(ThreadId::Main(id)).ok_or(Errno::ESRCH)?;
        main.registers = Registers::for_user(entry, stack);
        arch::fpu::initial(&mut main.extended.0);
        Ok(id)
    });
    match started {
        Ok(id) => {
            if let Some(container) = kernel.memory.container_mut(container) {
                container.processes = 1;
            }
            kernel.tasks.make_ready(ThreadId::Main(id));
            Ok(id)
        }
        Err(errno) => {
            kernel.memory.destroy_container(container, here);
            Err(errno)
        }
    }
}

/// Maps a program and its stack into a fresh container; returns entry and stack pointer.
fn load(
    kernel: &mut Kernel,
    space: Space,
    path: &[u8],
    object: ObjectId,
    size: u64,
    arguments: &[&[u8]],
    environment: &[&[u8]],
) -> Result<(u64, u64), Errno> {
    let memory = &mut kernel.memory;
    let program = elf::parse(size, |at, to| memory.read_object(object, at, to))?;
    let base = map_segments(memory, space, &program, object)?;
    let top = USER_END - PAGE;
    let rights = Rights::READ | Rights::WRITE;
    let stack = Region { start: top - STACK, end: top, rights, backing: Backing::Zero, label: Label::Stack };
    memory.map(space.container, stack).map_err(|_| Errno::ENOMEM)?;
    let heap = program.extent().end + base;
    if let Some(container) = memory.container_mut(space.container) {
        container.heap = (heap, heap);
    }
    let random = [kernel.random.next(), kernel.random.next()];
    let auxiliary = auxiliary(&program, base);
    let stack = initial_stack(memory, space, top, path, arguments, environment, &auxiliary, random)?;
    Ok((program.entry + base, stack))
}

/// Maps the segments; returns by how much they were moved.
fn map_segments(memory: &mut Memory, space: Space, program: &Program, object: ObjectId) -> Result<u64, Errno> {
    let extent = program.extent();
    let base = if program.relocatable { RELOCATED } else { 0 };
    let fits = |pages: elf::Pages| {
        let (start, end) = (pages.start + base, pages.end.saturating_add(base));
        start >= LOWEST && end <= USER_END - PAGE - STACK && (end <= PACKAGES.start || start >= PACKAGES.end)
    };
    if !fits(extent) {
        return Err(Errno::ENOEXEC);
    }
    for segment in program.segments() {
        memory.share_object(object);
        let region = Region {
            start: segment.pages.start + base,
            end: segment.pages.end + base,
            rights: segment.rights,
            backing: Backing::Image { object, offset: segment.offset, length: segment.length },
            label: Label::None,
        };
        memory.map(space.container, region).map_err(|_| Errno::ENOMEM)?;
    }
    Ok(base)
}

/// The auxiliary vector but for what lies on the stack (System V ABI, section 3.4.3).
fn auxiliary(program: &Program, base: u64) -> [(u64, u64); 14] {
    let headers = if program.headers == 0 { 0 } else { program.headers + base };
    [
        (3, headers),
        (4, 56),
        (5, program.header_count),
        (6, PAGE),
        (7, 0),
        (8, 0),
        (9, program.entry + base),
        (11, 0),
        (12, 0),
        (13, 0),
        (14, 0),
        (16, arch::cpu::hardware_capabilities()),
        (17, 100),
        (23, 0),
    ]
}

const AT_PLATFORM: u64 = 15;
const AT_RANDOM: u64 = 25;
const AT_EXECFN: u64 = 31;
const AT_MINSIGSTKSZ: u64 = 51;

/// Fills the top of the stack: strings, then vectors of pointers to them; returns the stack pointer,
/// at which `argc` lies.
#[expect(clippy::too_many_arguments, reason = "all that a program is born with")]
fn initial_stack(
    memory: &mut Memory,
    space: Space,
    top: u64,
    path: &[u8],
    arguments: &[&[u8]],
    environment: &[&[u8]],
    auxiliary: &[(u64, u64)],
    random: [u64; 2],
) -> Result<u64, Errno> {
    let length = |strings: &[&[u8]]| strings.iter().map(|s| s.len() as u64 + 9).sum::<u64>();
    if length(arguments) + length(environment) + path.len() as u64 > STRINGS {
        return Err(Errno::E2BIG);
    }
    let mut at = top;
    let mut push = |memory: &mut Memory, string: &[u8]| -> Result<u64, Errno> {
        at -= string.len() as u64 + 1;
        memory.copy_out(space, at, string).map_err(|_| Errno::ENOMEM)?;
        Ok(at)
    };
    let name = push(memory, path)?;
    let platform = push(memory, b"x86_64")?;
    let mut pointers: Vec<u64> = Vec::with_capacity(arguments.len() + environment.len() + 3);
    pointers.push(arguments.len() as u64);
    for list in [arguments, environment] {
        for string in list {
            pointers.push(push(memory, string)?);
        }
        pointers.push(0);
    }
    let bytes = [random[0].to_le_bytes(), random[1].to_le_bytes()].concat();
    let random = push(memory, &bytes)?;
    let minimal_stack = arch::fpu::size() as u64 + 1024;
    let mine =
        [(AT_PLATFORM, platform), (AT_RANDOM, random), (AT_EXECFN, name), (AT_MINSIGSTKSZ, minimal_stack), (0, 0)];
    pointers.extend(auxiliary.iter().chain(&mine).flat_map(|(key, value)| [*key, *value]));
    let stack = (random - pointers.len() as u64 * 8) & !15;
    for (n, pointer) in pointers.iter().enumerate() {
        memory.copy_out(space, stack + n as u64 * 8, &pointer.to_le_bytes()).map_err(|_| Errno::ENOMEM)?;
    }
    Ok(stack)
}
