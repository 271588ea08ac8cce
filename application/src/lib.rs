//! The application kernel (papers/000): what of it needs no hardware. The scheduler of application threads is
//! [`scheduler`], the hand-over of a message to a bootstrap thread is [`mailbox`], that of the answer to a CPU that waits
//! for it is [`reply`], what the boot CPU asks of the others is [`requests`]. The image, `/lib/apkern.ko`, is the program
//! beside this library.
//!
//! For example, an application thread calls `read`: its CPU writes a message, takes the thread out of
//! [`Place::Running`](scheduler::Place) and runs another one. The bootstrap thread makes the call on the boot CPU and
//! activates the application thread, which is then in the ready queue.
#![cfg_attr(not(any(test, loom)), no_std)]
#![forbid(unsafe_code)]

pub mod counts;
pub mod habits;
pub mod mailbox;
pub mod reply;
pub mod requests;
pub mod scheduler;
mod sync;
pub mod time;
