//! The files of `/proc`, written out when they are read from the start.
//!
//! A file is the text that [`go_on`] writes into a fresh memory object ([`begin`]); later changes are seen when it is
//! read from the start again. A list that may be long is written in portions, one for each visit that reads past the
//! end of the last; so portions may be of different moments, as on Linux. The formats are Linux's; values that the
//! kernel does not know or keep are zero.

mod cpuinfo;
mod own;
mod system;

use crate::arch::heap;
use crate::arch::physical::Memory;
use crate::core::extensions::Extensions;
use crate::core::process::Tasks;
use ::files::{Errno, ProcFile};
use containers::{ObjectId, ProcessId, Purpose};
use core::fmt::{self, Write};

/// How many bytes are gathered before they go into the object.
const STAGE: usize = 1024;

/// A file that is being written out.
#[derive(Clone, Copy)]
pub struct Writing {
    /// The text, as far as it goes.
    pub object: ObjectId,
    /// The position of the next portion, in units of the file's own; `None`: there is no further one.
    pub goes_on: Option<u64>,
}

/// Begins a text, without any portion yet. `ENFILE`
pub fn begin(memory: &mut Memory) -> Result<Writing, Errno> {
    let object = memory.make_object(Purpose::Buffer).map_err(|_| Errno::ENFILE)?;
    Ok(Writing { object, goes_on: Some(0) })
}

/// Writes the next portion of a file for a process, if there is one: `ENOMEM`.
pub fn go_on(
    writing: &mut Writing,
    file: ProcFile,
    memory: &mut Memory,
    (tasks, extensions): (&Tasks, &Extensions),
    reader: ProcessId,
) -> Result<(), Errno> {
    let Writing { object, goes_on: Some(from) } = *writing else { return Ok(()) };
    let size = memory.object_size(object);
    let mut out = Text { memory, object, stage: [0; STAGE], staged: 0, size };
    let whole = |written: fmt::Result| written.map(|()| None);
    let written = match file {
        ProcFile::SelfLink => Ok(None),
        ProcFile::SelfMaps => own::maps(&mut out, tasks, reader, from),
        ProcFile::SelfStat => whole(own::stat(&mut out, tasks, reader)),
        ProcFile::SelfStatus => whole(own::status(&mut out, tasks, reader)),
        ProcFile::SelfCmdline => whole(own::command_line(&mut out, tasks, reader)),
        ProcFile::SelfComm => whole(own::name(&mut out, tasks, reader)),
        ProcFile::Cpuinfo => whole(cpuinfo::write(&mut out)),
        ProcFile::Meminfo => whole(system::memory(&mut out)),
        ProcFile::Stat => whole(system::stat(&mut out, tasks)),
        ProcFile::Uptime => whole(system::uptime(&mut out)),
        ProcFile::Loadavg => whole(system::load(&mut out, tasks)),
        ProcFile::Modules => whole(extensions.list(&mut out)),
        ProcFile::Mounts => whole(out.write_str("jotun / tmpfs rw 0 0\nproc /proc proc ro 0 0\n")),
        ProcFile::Version => whole(system::version(&mut out)),
        ProcFile::Extension(number) => {
            let (written, next) = extensions.write_text(number, from, &mut out.stage);
            out.staged = written;
            Ok(next)
        }
    };
    writing.goes_on = written.and_then(|next| out.flush().map(|()| next)).map_err(|_| Errno::ENOMEM)?;
    Ok(())
}

/// A text that grows in a memory object. An error means that there is no memory left.
struct Text<'a> {
    memory: &'a mut Memory,
    object: ObjectId,
    stage: [u8; STAGE],
    staged: usize,
    size: u64,
}

impl Text<'_> {
    fn write_bytes(&mut self, mut bytes: &[u8]) -> fmt::Result {
        while !bytes.is_empty() {
            if self.staged == STAGE {
                self.flush()?;
            }
            let length = bytes.len().min(STAGE - self.staged);
            self.stage[self.staged..self.staged + length].copy_from_slice(&bytes[..length]);
            self.staged += length;
            bytes = &bytes[length..];
        }
        Ok(())
    }

    fn flush(&mut self) -> fmt::Result {
        let text = &self.stage[..self.staged];
        if !heap::reserve(&mut self.memory.physical) {
            return Err(fmt::Error);
        }
        let written = self.memory.write_object(self.object, self.size, text).map_err(|_| fmt::Error)?;
        self.size += written as u64;
        if written < self.staged {
            return Err(fmt::Error);
        }
        self.staged = 0;
        Ok(())
    }
}

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write_bytes(text.as_bytes())
    }
}
