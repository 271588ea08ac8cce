//! Puts a CPU's own copy of the CPU-local section behind the section's address.

use super::image;
use super::paging::{self, DATA};
use super::physical::Frames;
use containers::{OutOfFrames, PAGE_SIZE, PhysicalMemory};
use x86_64::VirtAddr;

/// Copies the load image to fresh frames and maps them.
pub fn map(frames: &mut Frames) -> Result<(), OutOfFrames> {
    let pages = image::cpulocal().step_by(PAGE_SIZE);
    for (address, bytes) in pages.zip(image::cpulocal_load().chunks(PAGE_SIZE)) {
        let frame = frames.allocate()?;
        frames.write(frame, 0, bytes);
        paging::map_kernel(frames, VirtAddr::new(address), frame, DATA)?;
    }
    Ok(())
}
