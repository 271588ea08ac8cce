//! Listing directories.

use super::{opened, process_of};
use crate::arch::heap;
use crate::calls::{Answer, Caller, bad_address, value};
use crate::core::files::{Bytes, Files, now};
use crate::core::kernel::{Memory, Tasks};
use ::files::dirent::RECORD_MAX;
use ::files::{Errno, InodeId};
use containers::Budget;
use core::iter;

/// Instructions that an entry takes, roughly.
const COST_OF_AN_ENTRY: u64 = 500;

/// `getdents64(fd, buffer, size)`: as many entries as fit, and as one visit may list.
pub fn getdents(caller: &Caller, memory: &mut Memory, tasks: &Tasks, files: &mut Files) -> Answer {
    let [_, buffer, size, ..] = *caller.arguments;
    let size = u64::from(size as u32);
    let opened = opened(caller, tasks, files, caller.int(0))?;
    match opened.bytes {
        Bytes::Directory => {}
        Bytes::Nowhere => return Err(Errno::EBADF),
        _ => return Err(Errno::ENOTDIR),
    }
    if opened.file.offset == 0 {
        bring_up_to_date(memory, tasks, files, opened.file.inode)?;
    }
    let mut record = [0; RECORD_MAX];
    let mut offset = opened.file.offset;
    let mut done = 0;
    let mut budget = Budget::of_a_visit();
    for entry in files.tree.list(opened.file.inode, offset)? {
        let length = entry.record_len();
        if done + length as u64 > size {
            if done == 0 {
                return Err(Errno::EINVAL);
            }
            break;
        }
        if budget.is_spent() {
            break;
        }
        budget.spend(COST_OF_AN_ENTRY);
        entry.write(&mut record).ok_or(Errno::EINVAL)?;
        match memory.copy_out(caller.space, buffer.wrapping_add(done), &record[..length]) {
            Ok(()) => {}
            Err(fault) if done == 0 => return Err(bad_address(fault)),
            Err(_) => break,
        }
        done += length as u64;
        offset = entry.next;
    }
    files.open.get_mut(opened.id)?.offset = offset;
    files.tree.accessed(opened.file.inode, now());
    value(done)
}

/// What a directory of `/proc` is to list is put there: processes, or the descriptors of one.
fn bring_up_to_date(memory: &mut Memory, tasks: &Tasks, files: &mut Files, directory: InodeId) -> Result<(), Errno> {
    let mut reserve = || if heap::reserve(&mut memory.physical) { Ok(()) } else { Err(Errno::ENOMEM) };
    if directory == files.lookup(b"/proc")? {
        for process in tasks.processes().filter_map(|id| tasks.process(id)) {
            reserve()?;
            files.reveal(process.main.number, &process.resources)?;
            files.point_directory(process.main.number, &process.resources)?;
        }
    } else if let Some(number) = files.lists_descriptors_of(directory)
        && let Some(process) = process_of(tasks, number).and_then(|id| tasks.process(id))
    {
        let descriptors = &process.resources.descriptors;
        // Those that are listed may have been closed since, or be other files.
        let mut offset = 0;
        while let Some((fd, next)) = files.listed_descriptor(directory, offset) {
            reserve()?;
            files.point_descriptor(number, descriptors, fd)?;
            offset = next;
        }
        for fd in iter::successors(descriptors.next_used(0), |fd| descriptors.next_used(fd + 1)) {
            reserve()?;
            files.point_descriptor(number, descriptors, fd)?;
        }
    }
    Ok(())
}
