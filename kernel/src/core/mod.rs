//! The uniprocessor kernel: what it does once a CPU has entered it. It knows no system call and no strategy. For
//! example, `read` on an empty pipe is a system call's business; parking the thread and switching to the next one are
//! the core's.
//!
//! Its modules, from the ground up; no module names a later one (`xtask/tests/layers.rs` reads this list):
//!
//! 1. `actions`: signals by number, and a process's action for each
//! 2. `process`: the resources of a process
//! 3. `signals`: sending signals, and masks
//! 4. `console`: the terminal
//! 5. `files`: names, open files, `/proc`
//! 6. `messages`: messages between processes
//! 7. `random`: random numbers
//! 8. `elf`: programs as files
//! 9. `packages`: resident native programs
//! 10. `statistics`: counts without a better home
//! 11. `search`: the search for the process to kill when memory ends, as far as it has come
//! 12. `kernel`: the kernel's state, all of the above in one object
//! 13. `schedule`: the scheduler: chooses the thread that a CPU runs
//! 14. `work`: deferred work of interrupts
//! 15. `program`: starting programs
//! 16. `lifecycle`: ends of threads and processes
//! 17. `delivery`: delivering signals to a thread
//! 18. `shortage`: out of memory: which process is killed
//! 19. `trap`: exceptions of programs

pub mod actions;
pub mod console;
pub mod delivery;
pub mod elf;
pub mod files;
pub mod kernel;
pub mod lifecycle;
pub mod linux;
pub mod messages;
pub mod packages;
pub mod process;
pub mod program;
pub mod random;
pub mod schedule;
pub mod search;
pub mod shortage;
pub mod signals;
pub mod statistics;
pub mod trap;
pub mod work;
