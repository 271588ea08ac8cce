//! What the programs of this directory share: system calls by number, Jotun's own calls, and what
//! programs for several CPUs need.
//!
//! The programs are ordinary Linux programs. Those that check Linux's semantics run on Linux as
//! well, and must say the same there.

pub mod apkern;
pub mod children;
pub mod counts;
pub mod cpus;
pub mod gain;
pub mod native;
pub mod probe;
pub mod system;
