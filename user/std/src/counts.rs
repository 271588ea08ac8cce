//! What the kernel has of everything, to be compared before and after.

use crate::{native as jotun, sys};
use abi::native;
use std::time::Duration;

/// What must be the same when all that has been made since is gone.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Counts {
    /// Processes, including ended ones that are still to be waited for.
    pub processes: u64,
    /// Threads of all processes.
    pub threads: u64,
    /// Address spaces.
    pub containers: u64,
    /// Their page directories.
    pub directories: u64,
    /// Further CPUs' copies of these.
    pub copies: u64,
    /// Contents of files, pipes and shared memory.
    pub objects: u64,
    /// Open files.
    pub open_files: u64,
    /// Free frames, those of the kernel's heap, and this program's own.
    pub frames: u64,
}

impl Counts {
    /// Counts.
    ///
    /// # Panics
    /// If this is not Jotun.
    pub fn now() -> Self {
        let take = || {
            let text = jotun::statistics().expect("the kernel's statistics");
            let get = |name| native::value(&text, name).unwrap_or_else(|| panic!("a statistic {name}"));
            let container = jotun::container(0).expect("what this container uses");
            let own = native::value(&container, "pages").expect("its pages");
            Self {
                processes: get("processes_live"),
                threads: get("threads_live"),
                containers: get("containers_live"),
                directories: get("container_directories_live"),
                copies: get("directory_copies_live"),
                objects: get("objects_live"),
                open_files: get("open_files_live"),
                frames: get("frames_free") + get("heap_pages") + get("heap_idle_pages") + own,
            }
        };
        // The first look may need memory of its own.
        take();
        take()
    }
}

/// Bytes of the kernel's heap that are in use.
///
/// # Panics
/// If this is not Jotun.
pub fn heap() -> u64 {
    crate::cpus::statistic("heap_bytes").expect("the kernel's statistics")
}

/// Sleeps for this number of microseconds.
pub fn nap(microseconds: u64) {
    let _ = sys!(libc::SYS_nanosleep, &[0, 1000 * microseconds], 0);
}

/// Waits until the caller is the only process.
pub fn alone() {
    while crate::cpus::statistic("processes_live").is_some_and(|count| count > 1) {
        std::thread::sleep(Duration::from_millis(1));
    }
}
