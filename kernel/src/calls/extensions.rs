//! Loading extensions of the kernel and ending them: Linux's calls for modules.
//!
//! They are refused (`EPERM`) unless the kernel's command line allows them. For example, busybox's `insmod` opens the file and
//! calls `finit_module`; `rmmod hello` calls `delete_module("hello")`.

use super::argument::{Fd, UserPath};
use super::files::opened;
use super::{Answer, Caller, DONE, bad_address};
use crate::core::files::{Bytes, Files};
use crate::core::kernel::{Memory, Tasks};
use ::files::Errno;
use abi::extension::{LARGEST, NAME_ROOM};
use containers::{ObjectId, Purpose};

/// The most bytes of an extension's parameters, with the NUL that ends them.
const PARAMETERS: usize = 256;

/// Bytes of an image that are copied at a time.
const STAGE: usize = 1024;

/// `init_module(image, length, parameters)`: `ENOMEM` for an image that is larger than an extension may be.
pub fn init_module(
    caller: &Caller,
    memory: &mut Memory,
    files: &mut Files,
    image: u64,
    length: u64,
    parameters: UserPath,
) -> Answer {
    allowed(files)?;
    if length > LARGEST {
        log::warn!("an extension is refused: its file is too large");
        return Err(Errno::ENOMEM);
    }
    let file = memory.make_object(Purpose::Buffer).map_err(|_| Errno::ENOMEM)?;
    let copied = copy_in(caller, memory, (image, length), file);
    let loaded = copied.and_then(|()| load(caller, memory, files, file, parameters));
    memory.release_object(file);
    loaded.and(DONE)
}

/// `finit_module(fd, parameters, flags)`: `EBADF` for a file that is not open for reading, `EINVAL` for a flag or for a file
/// that is not regular. No flag is of use: they are about versions that an extension's note has instead, and compression.
pub fn finit_module(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    files: &mut Files,
    fd: Fd,
    parameters: UserPath,
    flags: u32,
) -> Answer {
    allowed(files)?;
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let opened = opened(caller, tasks, files, fd)?;
    match opened.bytes {
        _ if !opened.file.flags.readable() => Err(Errno::EBADF),
        Bytes::Regular(file) => load(caller, memory, files, file, parameters).and(DONE),
        _ => Err(Errno::EINVAL),
    }
}

/// `delete_module(name)`: `ENOENT`, `EBUSY`. It never waits, whatever the flags say, and never ends an extension that is used.
pub fn delete_module(caller: &Caller, memory: &mut Memory, files: &mut Files, name: UserPath) -> Answer {
    allowed(files)?;
    let mut bytes = [0; NAME_ROOM];
    let length = memory.copy_in_string(caller.space, name.0, &mut bytes).map_err(bad_address)?.ok_or(Errno::ENOENT)?;
    let name = core::str::from_utf8(&bytes[..length]).map_err(|_| Errno::ENOENT)?;
    files.unload_extension(memory, name).and(DONE)
}

fn allowed(files: &Files) -> Result<(), Errno> {
    if files.extensions.allowed { Ok(()) } else { Err(Errno::EPERM) }
}

/// Loads an extension from a file with parameters in user memory: `E2BIG` if these are too long.
fn load(
    caller: &Caller,
    memory: &mut Memory,
    files: &mut Files,
    file: ObjectId,
    parameters: UserPath,
) -> Result<(), Errno> {
    let mut bytes = [0; PARAMETERS];
    let length = memory.copy_in_string(caller.space, parameters.0, &mut bytes).map_err(bad_address)?;
    files.load_extension(memory, file, &bytes[..length.ok_or(Errno::E2BIG)?])
}

/// Copies an image from user memory into an object.
fn copy_in(caller: &Caller, memory: &mut Memory, (image, length): (u64, u64), file: ObjectId) -> Result<(), Errno> {
    let mut stage = [0; STAGE];
    for at in (0..length).step_by(STAGE) {
        let bytes = &mut stage[..(length - at).min(STAGE as u64) as usize];
        memory.copy_in(caller.space, image.wrapping_add(at), bytes).map_err(bad_address)?;
        if memory.write_object(file, at, bytes) != Ok(bytes.len()) {
            return Err(Errno::ENOMEM);
        }
    }
    Ok(())
}
