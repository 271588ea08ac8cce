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
//! 6. `files`: names, open files, `/proc`
//! 7. `messages`: messages between processes
//! 8. `random`: random numbers
//! 9. `elf`: programs as files
//! 10. `packages`: resident native programs
//! 11. `statistics`: counts without a better home
//! 12. `search`: the search for the process to kill when memory ends, as far as it has come
//! 13. `kernel`: the kernel's state, all of the above in one object
//! 14. `schedule`: the scheduler: chooses the thread that a CPU runs
//! 15. `work`: deferred work of interrupts
//! 16. `program`: starting programs
//! 17. `lifecycle`: ends of threads and processes
//! 18. `delivery`: delivering signals to a thread
//! 19. `shortage`: out of memory: which process is killed
//! 20. `trap`: exceptions of programs

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
