//! Out of memory: chooses the process that is killed so that the rest can go on.
//!
//! A call that finds no frame returns an error. A page fault has no caller to tell, so the kernel kills a process: the
//! one whose end gives back most, whichever process it was that touched the page. Then the instruction is made again.
//! The search for that process may take several visits ([`search`](super::search)); the access is made again in between.
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
use super::search::{Candidate, Search};
use super::{lifecycle, signals};
use ::files::Kind;
use ::files::inode::Inode;
use containers::{Budget, ContainerId, Ending, ObjectId, Process, ProcessId, ReclaimCount, State, ThreadId};
use core::fmt;
use cpulocal::InKernel;
use hardware::clock;

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

/// After this number of nanoseconds without a fault that found no frame, a search begins anew: there was memory
/// meanwhile.
const STALE: u64 = 10_000_000_000;

/// Kills the process whose end gives back most, which may be the asking thread's own: the thread needs a frame, and
/// there is none. If the search for it takes longer than the budget, the next call goes on with it.
#[cold]
pub fn relieve(kernel: &mut Kernel, cpu: &InKernel, asker: ThreadId, need: Need, budget: &mut Budget) {
    // A process has ended already: the instruction is made again, and finds the frames that its remains give back.
    if kernel.memory.has_teardown_work() {
        return kernel.memory.tear_down(budget);
    }
    let Some(asker) = kernel.tasks.thread(asker).map(|thread| thread.process) else { return };
    let now = clock::nanoseconds();
    if now - kernel.search.at > STALE {
        kernel.search = Search::default();
    }
    kernel.search.at = now;
    if !search(kernel, budget) {
        return;
    }
    let best = core::mem::take(&mut kernel.search).best;
    let Some(Candidate { process, container, frames }) = best.or_else(|| first(kernel)) else { return };
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
    // A visit may try four times (`boundary::choose`).
    let mut budget = Budget::of(Budget::VISIT / 4);
    relieve(kernel, cpu, id, Need::Directory(this_cpu(cpu).0), &mut budget);
    if kernel.tasks.thread(id).is_some_and(|thread| thread.state == State::Running) {
        kernel.tasks.make_ready(id);
    }
}

/// A process in a container, one that has not ended.
fn member(kernel: &Kernel, container: ContainerId) -> Option<ProcessId> {
    let lives = |process: &Process<_>| process.container == container && process.ended.is_none();
    kernel.tasks.processes().find(|id| kernel.tasks.process(*id).is_some_and(lives))
}

/// The first process, by what it has: it goes whatever that is, as no other is left.
fn first(kernel: &Kernel) -> Option<Candidate> {
    let process = kernel.first?;
    let container = kernel.tasks.process(process)?.container;
    let frames = kernel.memory.container(container)?.usage().pages as usize;
    Some(Candidate { process, container, frames })
}

/// Goes on with the search for the process whose end gives back most, until the budget is spent. The first process, and
/// processes that share its container, are spared. Whether the search is over; what it has found stands in it.
fn search(kernel: &mut Kernel, budget: &mut Budget) -> bool {
    let spared = kernel.first.and_then(|first| kernel.tasks.process(first)).map(|first| first.container);
    loop {
        if let Some((process, held, mut count)) = kernel.search.count {
            let is_done = kernel.memory.count_reclaimable(&mut count, budget);
            kernel.search.count = Some((process, held, count)).filter(|_| !is_done);
            if !is_done {
                return false;
            }
            let (container, frames) = (count.container(), count.frames() + held);
            if kernel.search.best.is_none_or(|best| frames > best.frames) {
                kernel.search.best = Some(Candidate { process, container, frames });
            }
        }
        if budget.is_spent() {
            return false;
        }
        let mut next = None;
        let behind = kernel.tasks.each_process(kernel.search.place, |_, id| {
            next = Some(id);
            false
        });
        let (Some(id), Some(behind)) = (next, behind) else { return true };
        kernel.search.place = behind;
        budget.spend(COST_OF_A_PROCESS);
        kernel.search.count = worth_a_look(kernel, id, spared).map(|(held, count)| (id, held, count));
    }
}

/// Instructions that it takes to tell that a process is not the largest, roughly.
const COST_OF_A_PROCESS: u64 = 300;

/// A process whose page tables are to be looked at, as it could be the largest, with what it holds beside its pages.
fn worth_a_look(kernel: &Kernel, id: ProcessId, spared: Option<ContainerId>) -> Option<(usize, ReclaimCount)> {
    let process = kernel.tasks.process(id).filter(|process| process.ended.is_none())?;
    let best = kernel.search.best;
    if Some(process.container) == spared || best.is_some_and(|best| best.container == process.container) {
        return None;
    }
    let container = kernel.memory.container(process.container)?;
    let held = held(kernel, process);
    let most = container.usage().pages as usize + container.regions.frames() + held;
    let is_worth_it = best.is_none_or(|best| most > best.frames);
    kernel.memory.begin_reclaim_count(process.container).filter(|_| is_worth_it).map(|count| (held, count))
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
