//! Native programs: container, process and main thread from a resident package in one go.
//!
//! Nothing is mapped and nothing is copied: the container is two pages (the window's page table and
//! the first stack page), the code is there already.

use super::packages::Package;
use crate::kernel::Kernel;
use crate::process::Resources;
use crate::{arch, schedule};
use ::files::Errno;
use abi::layout::MAIN_STACK;
use containers::directory::WINDOW;
use containers::{
    Backing, ContainerId, CpuSet, Label, PAGE_SIZE, ProcessId, Region, Registers, Rights, Thread, ThreadId,
};
use cpulocal::InKernel;

const DATA: Rights = Rights::READ.union(Rights::WRITE);

/// What is to be started.
pub struct Request<'a> {
    /// The package.
    pub name: &'a [u8],
    /// What its main function gets.
    pub argument: u64,
    /// The main thread's priority, if not the usual.
    pub priority: Option<u8>,
    /// The CPUs that it may run on.
    pub affinity: CpuSet,
    /// The container to start it in, if not one of its own: one made from the same package.
    pub container: Option<ContainerId>,
    /// Who is told when it ends.
    pub parent: Option<ProcessId>,
}

/// Makes and starts a process.
pub fn start(kernel: &mut Kernel, cpu: &InKernel, request: &Request<'_>) -> Result<ProcessId, Errno> {
    if let Some(parent) = request.parent {
        crate::calls::processes::check_room(&kernel.tasks, parent)?;
    }
    let package = kernel.packages.find(request.name).ok_or(Errno::ENOENT)?.clone();
    let (container, stack) = match request.container {
        None => (make_container(kernel, cpu, &package)?, WINDOW.end - 16),
        Some(shared) => (shared, make_stack(kernel, cpu, shared)?),
    };
    let resources = Resources::new(&mut kernel.files, package.name, package.invocation);
    let mut main = Thread::new(container, arch::fpu::fresh());
    main.registers = Registers { rdi: request.argument, ..Registers::for_user(package.entry, stack) };
    main.priority = request.priority.unwrap_or(main.priority);
    main.affinity = request.affinity;
    let process = match kernel.tasks.make_process(main, request.parent, resources) {
        Ok(process) => process,
        Err(_) => {
            if request.container.is_none() {
                kernel.memory.destroy_container(container, schedule::this_cpu(cpu));
            }
            return Err(Errno::EAGAIN);
        }
    };
    if let Some(container) = kernel.memory.container_mut(container) {
        container.processes += 1;
    }
    kernel.tasks.make_ready(ThreadId::main(process));
    Ok(process)
}

/// A container of two pages, with the regions of the package's data and of the stack.
fn make_container(kernel: &mut Kernel, cpu: &InKernel, package: &Package) -> Result<ContainerId, Errno> {
    let id = kernel.memory.make_container().map_err(|_| Errno::ENOMEM)?;
    let stack = Region {
        start: WINDOW.end - MAIN_STACK,
        end: WINDOW.end,
        rights: DATA,
        backing: Backing::Zero,
        label: Label::Stack,
    };
    // All between data and stack is heap, but for a page below the stack that catches its overflow.
    let heap = Region {
        start: if package.data.end == 0 { WINDOW.start } else { package.data.end },
        end: stack.start - PAGE_SIZE as u64,
        label: Label::Heap,
        ..stack
    };
    let mapped = map_data(kernel, id, package)
        .and_then(|()| kernel.memory.map_fresh(id, heap).map_err(|_| Errno::ENOMEM))
        .and_then(|()| kernel.memory.map_fresh(id, stack).map_err(|_| Errno::ENOMEM));
    match mapped {
        Ok(()) => Ok(id),
        Err(errno) => {
            kernel.memory.destroy_container(id, schedule::this_cpu(cpu));
            Err(errno)
        }
    }
}

fn map_data(kernel: &mut Kernel, id: ContainerId, package: &Package) -> Result<(), Errno> {
    let data = package.data;
    if data.end == 0 {
        return Ok(());
    }
    let (object, offset, length) = package.image;
    kernel.memory.share_object(object);
    let backing = Backing::Image { object, offset, length };
    let region = Region { start: data.start, end: data.end, rights: DATA, backing, label: Label::None };
    kernel.memory.map_fresh(id, region).map_err(|_| Errno::ENOMEM)
}

/// A stack for a further process in a container, with an unmapped page below it. It lies outside the
/// window, so the container gets its page directory.
fn make_stack(kernel: &mut Kernel, cpu: &InKernel, id: ContainerId) -> Result<u64, Errno> {
    let container = kernel.memory.container(id).ok_or(Errno::ESRCH)?;
    let room = MAIN_STACK + PAGE_SIZE as u64;
    let guard = container.regions.gap_below(crate::calls::memory::MAPPINGS, room).ok_or(Errno::ENOMEM)?;
    let (start, end) = (guard + PAGE_SIZE as u64, guard + room);
    kernel.memory.leave_window(id, schedule::this_cpu(cpu)).map_err(|_| Errno::ENOMEM)?;
    let region = Region { start, end, rights: DATA, backing: Backing::Zero, label: Label::None };
    kernel.memory.map(id, region).map_err(|_| Errno::ENOMEM)?;
    Ok(end - 16)
}
