//! Out of memory: chooses the process that is killed so that the rest can go on.
//!
//! A call that finds no frame returns an error. A page fault has no caller to tell, so the kernel kills a process: the
//! one whose end gives back most, whichever process it was that touched the page. Then the instruction is made again.
//! This does not wait for anything: what a process had is free when [`lifecycle::end_process`] returns, or is taken
//! apart in the next rounds; and each round leaves one process fewer, so it ends.
//!
//! For example, a small program touches a new page when no frame is left, while another one has 100 MiB: the kernel
//! kills the large one, and the small one's instruction is made again and finds a frame.
//!
//! With a process end all processes that share its container. The first process is killed only when no other is left,
//! because its end is the end of the run and so of every process.

use super::kernel::Kernel;
use super::process::{Name, Resources};
use super::schedule::this_cpu;
use super::{lifecycle, signals};
use ::files::Kind;
use ::files::inode::Inode;
use containers::{Budget, Container, ContainerId, Ending, ObjectId, Process, ProcessId, State, ThreadId};
use core::fmt;
use cpulocal::InKernel;

/// The purpose for which a thread needs a frame.
#[derive(Clone, Copy)]
pub enum Need {
    /// The page at this address.
    Page(u64),
    /// A page directory for this CPU.
    Directory(u8),
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Need::Page(address) => write!(f, "the page at {address:#x}"),
            Need::Directory(cpu) => write!(f, "a page directory on CPU {cpu}"),
        }
    }
}

/// A process that may be killed.
struct Candidate {
    process: ProcessId,
    container: ContainerId,
    /// Frames that its end gives back.
    frames: usize,
}

/// A process's name and number, as the log shows them.
struct Who(Name, u32);

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, self.1)
    }
}

fn who(kernel: &Kernel, id: ProcessId) -> Who {
    Who(kernel.tasks.process(id).map(|process| process.resources.name).unwrap_or_default(), id.number())
}

/// Kills the process whose end gives back most, which may be the asking thread's own: the thread needs a frame, and
/// there is none.
#[cold]
pub fn relieve(kernel: &mut Kernel, cpu: &InKernel, asker: ThreadId, need: Need) {
    // A process has ended already: the instruction is made again, and finds the frames that its remains give back.
    if kernel.memory.has_remains() {
        return kernel.memory.take_apart(&mut Budget::of_a_visit());
    }
    let Some(asker) = kernel.tasks.thread(asker).map(|thread| thread.process) else { return };
    let Some(Candidate { process, container, frames }) = largest(kernel).or_else(|| first(kernel)) else { return };
    let (victim, other) = (who(kernel, process), who(kernel, asker));
    let is_first = kernel.first == Some(process);
    match process == asker {
        true if is_first => {
            log::warn!("{victim} killed: no memory left for {need}, and no other process that could go")
        }
        true => {
            log::warn!("{victim} killed: no memory left for {need}; no other gives back more than its {frames} pages")
        }
        false => log::warn!(
            "{victim} killed: no memory left for {need} of {other}; no other gives back more than its {frames} pages"
        ),
    }
    while let Some(next) = member(kernel, container) {
        lifecycle::end_process(kernel, cpu, next, Ending::Killed(signals::SIGKILL));
    }
}

/// Kills a process, because no frame is left for the page directory that this CPU needs to run a thread. The thread, if
/// it is still there, becomes runnable again.
#[cold]
pub fn relieve_directory(kernel: &mut Kernel, cpu: &InKernel, id: ThreadId) {
    relieve(kernel, cpu, id, Need::Directory(this_cpu(cpu).0));
    if kernel.tasks.thread(id).is_some_and(|thread| thread.state == State::Running) {
        kernel.tasks.make_ready(id);
    }
}

/// A process in a container, one that has not ended.
fn member(kernel: &Kernel, container: ContainerId) -> Option<ProcessId> {
    let lives = |process: &Process<_>| process.container == container && process.ended.is_none();
    kernel.tasks.processes().find(|id| kernel.tasks.process(*id).is_some_and(lives))
}

fn first(kernel: &Kernel) -> Option<Candidate> {
    let process = kernel.first?;
    let container = kernel.tasks.process(process)?.container;
    Some(Candidate { process, container, frames: kernel.memory.gives_back(container) })
}

/// The process whose end gives back most; the first process, and processes that share its container, are spared.
fn largest(kernel: &Kernel) -> Option<Candidate> {
    let spared = first(kernel).map(|first| first.container);
    let mut best: Option<Candidate> = None;
    for id in kernel.tasks.processes() {
        let Some(process) = kernel.tasks.process(id).filter(|process| process.ended.is_none()) else { continue };
        let container = process.container;
        let known = best.as_ref().is_some_and(|best| best.container == container);
        let most = |container: &Container| container.usage().pages as usize + container.regions.frames();
        let Some(most) = kernel.memory.container(container).map(most) else { continue };
        if known || Some(container) == spared {
            continue;
        }
        let held = held(kernel, process);
        let least = best.as_ref().map_or(0, |best| best.frames + 1);
        // A walk of all its page tables is worth it only if this process could be the largest.
        if most + held >= least {
            let frames = kernel.memory.gives_back(container) + held;
            if frames >= least {
                best = Some(Candidate { process: id, container, frames });
            }
        }
    }
    best
}

/// Pages of pipes and of files without a name that a process holds open. If other processes hold one open too, the
/// process's share of the holds is counted.
fn held(kernel: &Kernel, process: &Process<Resources>) -> usize {
    /// Parts of a page.
    const PARTS: usize = 256;
    let descriptors = &process.resources.descriptors;
    // Descriptors that are shared between parent and child stay with the other process.
    if descriptors.is_shared() {
        return 0;
    }
    let pages = |inode: &Inode<ObjectId>| match inode.kind {
        Kind::Pipe { content, .. } => kernel.memory.object_usage(content).0,
        Kind::Regular { content, .. } if inode.links == 0 => kernel.memory.object_usage(content).0,
        _ => 0,
    };
    let files = descriptors.open_files().filter_map(|id| kernel.files.open.get(id).ok());
    let inodes = files.filter(|file| file.is_sole()).filter_map(|file| kernel.files.tree.get(file.inode).ok());
    inodes.map(|inode| pages(inode) * PARTS / inode.holds.max(1) as usize).sum::<usize>() / PARTS
}
