//! What the parts of Jotun agree on, each number written down once.
//!
//! The kernel, the programs in `user/` and xtask on the host all depend on this crate and on nothing
//! of each other's. It holds constants, a line parser and generators; it touches no hardware and makes no calls.
//! Linux's own numbers and structures are not here: they are those of `linux/x86_64` unchanged.
#![no_std]

pub mod channel;
pub mod layout;
pub mod native;
pub mod random;
pub mod strategies;
pub mod vectors;
pub mod words;
pub mod workload;
