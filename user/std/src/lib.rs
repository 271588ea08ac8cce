//! What the programs of this directory share: system calls by number, and Jotun's own calls.
//!
//! The programs are ordinary Linux programs. Those that check Linux's semantics run on Linux as
//! well, and must say the same there.

pub mod native;
pub mod system;
