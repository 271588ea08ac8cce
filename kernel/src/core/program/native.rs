//! Native programs: container, process and main thread from a resident package in one go.
//!
//! Nothing is mapped and nothing is copied: the container is two pages (the window's page table and
//! the first stack page), the code is there already.

use crate::arch;
use crate::core::kernel::{Kernel, Memory};
use crate::core::packages::DATA;
use crate::core::process::{Resources, check_room};
use crate::core::schedule;
use ::files::Errno;
use abi::layout::MAIN_STACK;
use containers::directory::WINDOW;
use containers::{Backing, ContainerId, CpuSet, PAGE_SIZE, ProcessId, Region, Registers, Thread, ThreadId};
use cpulocal::InKernel;

/// The process that is to be started.
pub struct Request<'a> {
    /// The package.
    pub name: &'a [u8],
    /// The argument of its main function.
    pub argument: u64,
    /// The main thread's priority, if not the usual.
    pub priority: Option<u8>,
    /// The CPUs that it may run on.
    pub affinity: CpuSet,
    /// The container to start it in, which was made from this package; `None`: a container of its own.
    pub container: Option<ContainerId>,
    /// The process that is told when it ends.
    pub parent: Option<ProcessId>,
}

/// Makes and starts a process.
pub fn start(kernel: &mut Kernel, cpu: &InKernel, request: &Request<'_>) -> Result<ProcessId, Errno> {
    if let Some(parent) = request.parent {
        check_room(&kernel.tasks, parent)?;
    }
    let package = kernel.packages.find(request.name).ok_or(Errno::ENOENT)?;
    let (container, stack) = match request.container {
        None => {
            let made = kernel.memory.make_container(&package.regions).map_err(|_| Errno::ENOMEM)?;
            kernel.memory.set_program(made, Some(package.object));
            (made, WINDOW.end - 16)
        }
        Some(shared) => (shared, make_stack(&mut kernel.memory, cpu, shared)?),
    };
    let (descriptors, directory) = (kernel.files.standard_descriptors(), kernel.files.root());
    let resources = Resources::new(descriptors, directory, package.name, package.invocation.clone());
    let mut main = Thread::new(container, arch::extended::fresh(kernel.tasks.spare.take()));
    main.context.registers = Registers { rdi: request.argument, ..Registers::for_user(package.entry, stack) };
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

/// A stack for a further process in a container, with an unmapped page below it. It lies outside the
/// window, so the container gets its page directory.
fn make_stack(memory: &mut Memory, cpu: &InKernel, id: ContainerId) -> Result<u64, Errno> {
    let container = memory.container_mut(id).ok_or(Errno::ESRCH)?;
    let room = MAIN_STACK + PAGE_SIZE as u64;
    let guard = container.room_for(room).ok_or(Errno::ENOMEM)?;
    let (start, end) = (guard + PAGE_SIZE as u64, guard + room);
    memory.leave_window(id, schedule::this_cpu(cpu)).map_err(|_| Errno::ENOMEM)?;
    memory.map(id, Region::new(start..end, DATA, Backing::Zero)).map_err(|_| Errno::ENOMEM)?;
    Ok(end - 16)
}
