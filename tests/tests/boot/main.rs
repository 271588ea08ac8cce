//! The boot tests but for those of [`smp`](../smp.rs), which run beside these: one program, so that no
//! machine waits for the last one of another file.

mod application;
mod bench;
mod bochs;
mod busybox;
mod checked;
mod command;
mod counted;
mod extensions;
mod foreign;
mod fuzz;
mod hostile;
mod image;
mod images;
mod machines;
mod patience;
mod pipes;
mod profile;
mod programs;
mod protection;
mod random;
mod real;
mod reports;
mod scripts;
mod shortage;
mod statistics;
mod terminal;
