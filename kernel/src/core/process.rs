//! The resources that a process holds.

use super::actions::Handlers;
use alloc::boxed::Box;
use alloc::rc::Rc;
use containers::signals::INFOS_EACH;
use containers::tasks::MAX_PROCESSES;
use containers::{PAGE_SIZE, ProcessId};
use files::descriptors::DESCRIPTORS_MAX;
use files::{Descriptors, Errno, InodeId};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The task subsystem with this kernel's resources.
pub type Tasks = containers::Tasks<Resources>;

/// A process with this kernel's resources.
pub type Process = containers::Process<Resources>;

/// Largest size of a file: as many pages as the page numbers of a memory object can count.
pub const SIZE_MAX: u64 = containers::object::MAX_OBJECT - PAGE_SIZE as u64;

/// Longest name of a process, as Linux has it (`TASK_COMM_LEN` less its NUL).
pub const NAME_MAX: usize = 15;

/// A process's resources: everything that is given back when it ends.
pub struct Resources {
    /// Its name in the log and in `/proc`.
    pub name: Name,
    /// Open files by number.
    pub descriptors: Descriptors,
    /// The working directory, at which relative paths start.
    pub directory: InodeId,
    /// Permission bits taken off new files.
    pub umask: u32,
    /// Its actions for signals.
    pub handlers: Handlers,
    /// The program and its arguments; none once the process has ended.
    pub invocation: Option<Rc<Invocation>>,
    /// Its resource limits.
    pub limits: Limits,
}

/// How a program was called, as `/proc` shows it. It does not change, so all processes that inherit it share it.
pub struct Invocation {
    /// Path of the program, for `/proc/self/exe`.
    pub executable: Box<[u8]>,
    /// The program's file, to which `/proc/self/exe` leads whatever becomes of the path. It is kept until the last
    /// process with this invocation has ended or become another program.
    pub inode: InodeId,
    /// The arguments as `/proc/self/cmdline` gives them: a NUL behind each, and cut to [`COMMAND_LINE`].
    pub command_line: Box<[u8]>,
}

/// A resource limit: the enforced value, and how far the process may raise it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Limit {
    /// The value that is enforced.
    pub soft: u64,
    /// The value up to which `soft` may be raised.
    pub hard: u64,
}

impl Limit {
    /// No limit.
    pub const NONE: Limit = Limit::of(u64::MAX);

    /// A limit that cannot be raised.
    pub const fn of(most: u64) -> Limit {
        Limit { soft: most, hard: most }
    }
}

/// The limits that are enforced. The current limit on the number of descriptors is in the descriptor table.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of address space (`RLIMIT_AS`).
    pub address_space: Limit,
    /// Bytes of private memory that can be written, stacks left out (`RLIMIT_DATA`).
    pub data: Limit,
    /// How far the limit on descriptors may be raised (`RLIMIT_NOFILE`).
    pub descriptors: u64,
    /// Bytes that a file may have when it grows (`RLIMIT_FSIZE`).
    pub file_size: Limit,
    /// Bytes of stack that the next program's main thread is promised (`RLIMIT_STACK`).
    pub stack: Limit,
    /// How many processes and further threads may exist when it makes one more (`RLIMIT_NPROC`).
    pub processes: Limit,
    /// How many signals with contents of their own may be pending for one of its threads, or for the process
    /// (`RLIMIT_SIGPENDING`).
    pub signals: Limit,
}

impl Limits {
    /// The limits with which the first process starts.
    pub const INITIAL: Limits = Limits {
        address_space: Limit::NONE,
        data: Limit::NONE,
        descriptors: DESCRIPTORS_MAX as u64,
        file_size: Limit::NONE,
        stack: Limit { soft: 8 << 20, ..Limit::NONE },
        processes: Limit::of(MAX_PROCESSES as u64),
        signals: Limit::of(INFOS_EACH as u64),
    };

    /// How many bytes a file may have when it grows: the limit, or the largest size of any file.
    pub fn longest_file(&self) -> u64 {
        self.file_size.soft.min(SIZE_MAX)
    }
}

impl Resources {
    /// The resources of a process that no other process has made.
    pub fn new(descriptors: Descriptors, directory: InodeId, name: Name, invocation: Rc<Invocation>) -> Resources {
        Resources {
            name,
            descriptors,
            directory,
            umask: 0o022,
            handlers: Handlers::default(),
            invocation: Some(invocation),
            limits: Limits::INITIAL,
        }
    }

    /// Path of the program; empty if the process has ended.
    pub fn executable(&self) -> &[u8] {
        self.invocation.as_ref().map_or(&[], |invocation| &invocation.executable)
    }

    /// The arguments, see [`Invocation`]; empty if the process has ended.
    pub fn command_line(&self) -> &[u8] {
        self.invocation.as_ref().map_or(&[], |invocation| &invocation.command_line)
    }

    /// The resources of a child made by `fork`: a copy of these, with the open files shared. The caller has entered the
    /// working directory for the child.
    pub fn inherit(&self) -> Resources {
        Resources {
            name: self.name,
            descriptors: self.descriptors.share(),
            directory: self.directory,
            umask: self.umask,
            handlers: self.handlers.clone(),
            invocation: self.invocation.clone(),
            limits: self.limits,
        }
    }
}

/// How many bytes of a command line are kept, as in old Linux.
pub const COMMAND_LINE: u64 = 4096;

/// A short name.
#[derive(Clone, Copy, Default)]
pub struct Name {
    bytes: [u8; NAME_MAX + 1],
    length: u8,
}

impl Name {
    /// A name, cut to what fits; a byte that is not printable becomes `?`.
    pub fn new(name: &[u8]) -> Name {
        let mut bytes = [0; NAME_MAX + 1];
        let length = name.len().min(NAME_MAX);
        for (to, from) in bytes.iter_mut().zip(&name[..length]) {
            *to = if from.is_ascii_graphic() || *from == b' ' { *from } else { b'?' };
        }
        Name { bytes, length: length as u8 }
    }

    /// The name that a path gives: its last part.
    pub fn of_path(path: &[u8]) -> Name {
        Name::new(path.rsplit(|byte| *byte == b'/').next().unwrap_or(path))
    }

    /// The name with a NUL after it, as `prctl` gives it.
    pub fn with_nul(&self) -> &[u8; NAME_MAX + 1] {
        &self.bytes
    }
}

impl core::fmt::Display for Name {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(core::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or("?"))
    }
}

/// Checks that a process may make one more process or thread: `EAGAIN`
pub fn check_room(tasks: &Tasks, maker: ProcessId) -> Result<(), Errno> {
    let limit = tasks.process(maker).map_or(0, |process| process.resources.limits.processes.soft);
    let there_are = tasks.threads_live();
    if tasks.processes_live() < MAX_PROCESSES && u64::from(there_are) < limit { Ok(()) } else { Err(Errno::EAGAIN) }
}
