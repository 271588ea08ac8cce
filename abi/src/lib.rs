//! The interface between the parts of Jotun, with each number written down once. For example, the address of the window
//! is in [`layout`], from where the kernel maps it and the linker script of native programs places data in it.
//!
//! The kernel, the programs in `user/` and xtask on the host all depend on this crate, and not on each other's. It
//! holds constants, a line parser and generators; it touches no hardware and makes no calls. Linux's own numbers and
//! structures are not here: they are those of `linux/x86_64`, unchanged.
#![no_std]

pub mod application;
pub mod channel;
pub mod extension;
pub mod layout;
pub mod native;
pub mod probe;
pub mod random;
pub mod registers;
pub mod strategies;
pub mod vectors;
pub mod words;
pub mod workload;
