//! The kernel's state: one object that owns its subsystems as plain fields.
//!
//! Only the boundary hands it out, only at level 1. A system call takes the fields that it touches as
//! parameters (see [`crate::calls`]), so which calls are independent can be read off their signatures.

use crate::arch::deferred::Notes;
use crate::arch::physical::Frames;
use crate::arch::{clock, serial};
use crate::console::Console;
use crate::files::Files;
use crate::messages::Messages;
use crate::process::Resources;
use crate::program::packages::Packages;
use crate::random::Random;
use crate::schedule;
use crate::signals::{self, SIGALRM};
use crate::statistics::Statistics;
use ::files::Source;
use ::files::pipe::event;
use containers::{Budget, Channel, ProcessId};
use cpulocal::InKernel;

/// The memory subsystem on this machine.
pub type Memory = containers::Memory<Frames>;

/// The task subsystem with this kernel's resources.
pub type Tasks = containers::Tasks<Resources>;

/// The kernel.
pub struct Kernel {
    /// Frames, memory objects, containers.
    pub memory: Memory,
    /// Processes, threads, queues.
    pub tasks: Tasks,
    /// Names, inodes, open files.
    pub files: Files,
    /// The terminal.
    pub console: Console,
    /// Messages between processes.
    pub messages: Messages,
    /// Resident native programs.
    pub packages: Packages,
    /// Random numbers.
    pub random: Random,
    /// What cannot be counted where it happens.
    pub statistics: Statistics,
    /// The process whose end is the end of the run.
    pub first: Option<ProcessId>,
}

impl Kernel {
    /// Takes some of what is gone apart. For the rest this CPU comes back when programs have had as much time.
    fn take_apart(&mut self, cpu: &InKernel, now: u64) {
        // The visit may have done other work before.
        self.memory.take_apart(&mut Budget::of(Budget::VISIT / 2));
        if self.memory.has_remains() {
            let then = clock::nanoseconds();
            schedule::come_back(&mut self.tasks, cpu, then + (then - now));
        }
    }

    /// Does what interrupts have left to do.
    pub fn work_off(&mut self, cpu: &InKernel, notes: Notes) {
        let now = clock::nanoseconds();
        self.tasks.sample_load(now);
        if notes.contains(Notes::TIMER) {
            self.tasks.expire(schedule::this_cpu(cpu), now);
            while let Some(process) = self.tasks.expired_timer(now) {
                signals::send_to_process(&mut self.tasks, process, signals::from_kernel(SIGALRM));
            }
        }
        if self.memory.has_remains() && notes.intersects(Notes::TIMER | Notes::REMAINS) {
            self.take_apart(cpu, now);
        }
        if notes.contains(Notes::SERIAL) {
            // Perhaps the device has not been answered yet.
            serial::interrupt();
            let events = self.console.service();
            if events.readable {
                self.tasks.wake_all(Channel::ConsoleInput);
            }
            if events.writable {
                self.tasks.wake_all(Channel::ConsoleOutput);
            }
            let readable = if events.readable { event::READABLE } else { 0 };
            let writable = if events.writable { event::WRITABLE } else { 0 };
            if readable | writable != 0 {
                self.files.rouse(&mut self.tasks, Source::Console, readable | writable);
            }
            if let Some(signal) = events.signal {
                self.console.foreground().into_iter().for_each(|group| {
                    signals::send_to_group(&mut self.tasks, group, signals::from_kernel(signal));
                });
            }
        }
    }
}
