//! The uniprocessor kernel: what it does once a CPU has entered it. It knows no system call and no strategy. For
//! example, `read` on an empty pipe is a system call's business; parking the thread and switching to the next one are
//! the core's.
//!
//! Its modules, from the ground up; no module names a later one (`xtask/tests/layers.rs` reads this list):
//!
//! 1. `linux`: Linux's constants
//! 2. `actions`: signals by number, and a process's action for each
//! 3. `process`: the resources of a process
//! 4. `signals`: sending signals, and masks
//! 5. `console`: the terminal
//! 6. `elf`: programs as files
//! 7. `extensions`: parts of the kernel that are loaded later
//! 8. `files`: names, open files, `/proc`
//! 9. `messages`: messages between processes
//! 10. `random`: random numbers
//! 11. `packages`: resident native programs
//! 12. `statistics`: counts without a better home
//! 13. `search`: the search for the process to kill when memory ends, as far as it has come
//! 14. `kernel`: the kernel's state, all of the above in one object
//! 15. `schedule`: the scheduler: chooses the thread that a CPU runs
//! 16. `work`: deferred work of interrupts
//! 17. `program`: starting programs
//! 18. `lifecycle`: ends of threads and processes
//! 19. `delivery`: delivering signals to a thread
//! 20. `shortage`: out of memory: which process is killed
//! 21. `trap`: exceptions of programs

pub mod actions;
pub mod console;
pub mod delivery;
pub mod elf;
pub mod extensions;
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
