//! Containers, processes and threads: the part of the kernel's model that needs no hardware.
//!
//! The three entities are those of papers/001 section 2.3. A [`container`](Container) is a protection
//! domain, a [`process`](Process) a resource holder in one, a [`thread`](Thread) what executes.
//! Beneath them lie the page directories ([`directory`]), the regions of an address space
//! ([`region`]) and the physical frames ([`frames`]); above them the ready queue ([`ready`]).
//!
//! Everything here compiles and is tested on the host. Physical memory is reached through the trait
//! [`PhysicalMemory`], which the kernel implements over its direct map and the tests over a vector.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod frames;
pub mod physical;

pub use frames::{Frame, FrameTable};
pub use physical::{OutOfFrames, PhysicalMemory};
