//! The files of `/proc`, written out when they are read from the start.
//!
//! A file is the text that [`write_out`] puts into a fresh memory object; what changes later is seen by
//! who reads it anew. The formats are Linux's, with what is not known or not kept as zero.

mod cpuinfo;
mod own;
mod system;

use crate::arch::heap;
use crate::kernel::{Memory, Tasks};
use ::files::{Errno, ProcFile};
use containers::{ObjectId, ProcessId, Purpose};
use core::fmt::{self, Write};

/// Bytes gathered before they go into the object.
const STAGE: usize = 1024;

/// Writes a file out for a process: `ENOMEM`, `ENFILE`.
pub fn write_out(file: ProcFile, memory: &mut Memory, tasks: &Tasks, reader: ProcessId) -> Result<ObjectId, Errno> {
    let object = memory.make_object(Purpose::Buffer).map_err(|_| Errno::ENFILE)?;
    let mut out = Text { memory, object, stage: [0; STAGE], staged: 0, size: 0 };
    let written = match file {
        ProcFile::SelfLink => Ok(()),
        ProcFile::SelfMaps => own::maps(&mut out, tasks, reader),
        ProcFile::SelfStat => own::stat(&mut out, tasks, reader),
        ProcFile::SelfStatus => own::status(&mut out, tasks, reader),
        ProcFile::SelfCmdline => own::command_line(&mut out, tasks, reader),
        ProcFile::SelfComm => own::name(&mut out, tasks, reader),
        ProcFile::Cpuinfo => cpuinfo::write(&mut out),
        ProcFile::Meminfo => system::memory(&mut out),
        ProcFile::Stat => system::stat(&mut out, tasks),
        ProcFile::Uptime => system::uptime(&mut out),
        ProcFile::Loadavg => system::load(&mut out, tasks),
        ProcFile::Mounts => out.write_str("jotun / tmpfs rw 0 0\nproc /proc proc ro 0 0\n"),
        ProcFile::Version => system::version(&mut out),
    };
    written.and_then(|()| out.flush()).map_err(|_| {
        memory.release_object(object);
        Errno::ENOMEM
    })?;
    Ok(object)
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
