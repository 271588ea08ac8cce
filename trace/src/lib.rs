//! Traces: what the CPUs did, stamped by the cycle counter.
//!
//! papers/001 section 4 reads the cycle counter where the lock is acquired and released. Here every change
//! between user mode, kernel, spinning and idle is a [`Record`] of 16 bytes in a ring that belongs to one
//! CPU alone: no lock, no shared cache line, a dozen instructions.
//!
//! The kernel writes rings into a *region* of physical memory that begins with a header ([`layout`]). A
//! trace *file* is such a region without its unused part, so one reader ([`Trace::read`]) does for both.
//! `docs/trace-format.md` describes every byte.
//!
//! A ring that is full stays as it is, and records that do not fit are counted: the beginning of a run is worth more
//! than an end whose beginning is unknown.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

#[cfg(feature = "host")]
mod file;
pub mod layout;
mod record;

#[cfg(feature = "host")]
pub use file::{Error, Stream, Trace};
pub use record::{Cause, Class, Event, FaultEnd, From, Record, To};
