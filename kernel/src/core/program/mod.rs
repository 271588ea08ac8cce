//! Programs: resident native packages, and Linux programs from the file system.

pub mod layout;
pub mod linux;
pub mod native;
pub mod strings;

use crate::core::kernel::Kernel;
use crate::core::packages;
use ::files::Errno;
use alloc::boxed::Box;
use alloc::vec::Vec;
use containers::{CpuSet, ProcessId};
use cpulocal::InKernel;

/// The first program, if the run asks for no other.
const DEFAULT: &[u8] = b"/bin/tour";

/// The file with the command line of the run, written by the host: strings that end in NUL, first the path of the
/// program, then its arguments from `argv[0]` on.
const ARGUMENTS: &[u8] = b"/etc/jotun/argv";

/// The file with the environment of the run, written by the host: strings that end in NUL.
const ENVIRONMENT: &[u8] = b"/etc/jotun/env";

/// The most bytes that [`ARGUMENTS`] and [`ENVIRONMENT`] may each have.
const LIMIT: u64 = 24 * 1024;

/// Starts the first process of the run. The error is a sentence for the log.
pub fn start_first(kernel: &mut Kernel, cpu: &InKernel) -> Result<ProcessId, FirstError> {
    let strings = |kernel: &mut Kernel, path| -> Option<Vec<u8>> {
        let (object, size, _) = kernel.files.content(kernel.files.lookup(path).ok()?)?;
        let mut bytes = alloc::vec![0; size.min(LIMIT) as usize];
        kernel.memory.read_object(object, 0, &mut bytes);
        Some(bytes)
    };
    let arguments = strings(kernel, ARGUMENTS).unwrap_or_else(|| [DEFAULT, b"\0tour\0"].concat());
    let environment = strings(kernel, ENVIRONMENT).unwrap_or_default();
    let mut arguments = split(&arguments);
    let path = arguments.next().unwrap_or(DEFAULT);
    let arguments: Vec<&[u8]> = arguments.collect();
    let environment: Vec<&[u8]> = split(&environment).collect();
    let failed = |why| FirstError { path: path.into(), why };
    if let Some(name) = path.strip_prefix(packages::DIRECTORY) {
        let argument = arguments.get(1).and_then(|text| core::str::from_utf8(text).ok()?.parse().ok()).unwrap_or(0);
        let request = native::Request {
            name,
            argument,
            priority: None,
            affinity: CpuSet(u64::MAX),
            container: None,
            parent: None,
        };
        return native::start(kernel, cpu, &request).map_err(failed);
    }
    linux::start(kernel, cpu, path, &arguments, &environment).map_err(failed)
}

/// Why the first program could not be started.
pub struct FirstError {
    path: Box<[u8]>,
    /// The error number that `execve` would have returned.
    pub why: Errno,
}

impl core::fmt::Display for FirstError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let path = alloc::string::String::from_utf8_lossy(&self.path);
        let why = match self.why {
            Errno::ENOENT => "there is no such file in the image",
            Errno::ENOEXEC => "it is not a static x86-64 ELF program",
            Errno::EACCES | Errno::EISDIR => "it is not an executable file",
            Errno::ENOMEM => "there is not enough memory for it",
            _ => self.why.description().unwrap_or("unknown error"),
        };
        write!(f, "cannot run {path}: {why}")
    }
}

fn split(strings: &[u8]) -> impl Iterator<Item = &[u8]> {
    let end = strings.iter().rposition(|byte| *byte == 0).map_or(strings.len(), |last| last);
    strings[..end].split(|byte| *byte == 0)
}
