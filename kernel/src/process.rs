//! What a process holds.

use crate::files::{Descriptors, Files};
use crate::signals::Handlers;
use alloc::boxed::Box;
use files::InodeId;

/// Longest name of a process, as Linux has it (`TASK_COMM_LEN` less its NUL).
pub const NAME_MAX: usize = 15;

/// A process's resources: everything that is given back when it ends.
pub struct Resources {
    /// What it is called in the log and in `/proc`.
    pub name: Name,
    /// Open files by number.
    pub descriptors: Descriptors,
    /// Where relative paths start.
    pub directory: InodeId,
    /// Permission bits taken off new files.
    pub umask: u32,
    /// What it does on signals.
    pub handlers: Handlers,
    /// Path of the program, for `/proc/self/exe`.
    pub executable: Box<[u8]>,
    /// The arguments as `/proc/self/cmdline` gives them; see [`command_line`].
    pub command_line: Box<[u8]>,
    /// Most bytes of address space (`RLIMIT_AS`).
    pub address_space_limit: u64,
    /// Bytes of stack promised to the main thread (`RLIMIT_STACK`).
    pub stack_limit: u64,
}

impl Resources {
    /// What a process starts with: descriptors 0, 1 and 2 on the console, the root directory.
    pub fn new(files: &mut Files, name: Name, executable: Box<[u8]>) -> Resources {
        Resources {
            name,
            descriptors: files.standard_descriptors(),
            directory: files.root(),
            umask: 0o022,
            handlers: Handlers::default(),
            command_line: command_line(&[&executable]),
            executable,
            address_space_limit: u64::MAX,
            stack_limit: crate::program::linux::STACK,
        }
    }
}

/// Bytes of a command line that are kept, as in old Linux.
const COMMAND_LINE: usize = 4096;

/// Arguments as `/proc/self/cmdline` gives them: a NUL behind each, and cut to a page.
pub fn command_line(arguments: &[&[u8]]) -> Box<[u8]> {
    let bytes = arguments.iter().flat_map(|argument| argument.iter().chain(&[0])).copied();
    bytes.take(COMMAND_LINE).collect()
}

/// A short name.
#[derive(Clone, Copy, Default)]
pub struct Name {
    bytes: [u8; NAME_MAX + 1],
    length: u8,
}

impl Name {
    /// The name, cut to what fits; what is not printable becomes `?`.
    pub fn new(name: &[u8]) -> Name {
        let mut bytes = [0; NAME_MAX + 1];
        let length = name.len().min(NAME_MAX);
        for (to, from) in bytes.iter_mut().zip(&name[..length]) {
            *to = if from.is_ascii_graphic() || *from == b' ' { *from } else { b'?' };
        }
        Name { bytes, length: length as u8 }
    }

    /// From a path: its last part.
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
