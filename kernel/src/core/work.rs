//! Deferred work: what interrupts have left to do. For example, the timer's interrupt only notes that it has come; on
//! the CPU's way out of the kernel [`work_off`] wakes the threads whose time-outs have passed.

use super::kernel::Kernel;
use super::schedule;
use super::signals::{self, SIGALRM};
use crate::arch::deferred::Notes;
use ::files::Source;
use ::files::pipe::event;
use containers::{Budget, Channel};
use cpulocal::InKernel;
use hardware::{clock, serial};

/// Tears down some of the memory of ended processes. For the rest this CPU comes back after programs have had as much
/// time as this took.
fn tear_down(kernel: &mut Kernel, cpu: &InKernel, now: u64) {
    // Half a visit's budget: the visit may have done other work before.
    kernel.memory.tear_down(&mut Budget::of(Budget::VISIT / 2));
    if kernel.memory.has_teardown_work() {
        let then = clock::nanoseconds();
        schedule::come_back(&mut kernel.tasks, cpu, then + (then - now));
    }
}

/// Does the work that interrupts have left.
pub fn work_off(kernel: &mut Kernel, cpu: &InKernel, notes: Notes) {
    let now = clock::nanoseconds();
    kernel.tasks.sample_load(now);
    if notes.contains(Notes::TIMER) {
        kernel.tasks.expire(schedule::this_cpu(cpu), now);
        while let Some(process) = kernel.tasks.expired_timer(now) {
            signals::send_to_process(&mut kernel.tasks, process, signals::from_kernel(SIGALRM));
        }
    }
    if kernel.memory.has_teardown_work() && notes.intersects(Notes::TIMER | Notes::TEARDOWN) {
        tear_down(kernel, cpu, now);
    }
    if notes.intersects(Notes::SERIAL | Notes::EXTENSIONS) {
        serve_devices(kernel, cpu, notes);
    }
}

/// Does the work that devices other than the timer have left.
fn serve_devices(kernel: &mut Kernel, cpu: &InKernel, notes: Notes) {
    let Kernel { files, memory, tasks, .. } = kernel;
    let runs = schedule::current(cpu);
    notes.extensions().for_each(|vector| files.extensions.interrupted(memory, tasks, runs, vector));
    if notes.contains(Notes::SERIAL) {
        // The interrupt may have been acknowledged only, and the device not served yet.
        serial::interrupt();
        let events = kernel.console.service();
        if events.readable {
            kernel.tasks.wake_all(Channel::ConsoleInput);
        }
        if events.writable {
            kernel.tasks.wake_all(Channel::ConsoleOutput);
        }
        let readable = if events.readable { event::READABLE } else { 0 };
        let writable = if events.writable { event::WRITABLE } else { 0 };
        if readable | writable != 0 {
            kernel.files.notify(&mut kernel.tasks, Source::Console, readable | writable);
        }
        if let Some(signal) = events.signal {
            kernel.console.foreground().into_iter().for_each(|group| {
                signals::send_to_group(&mut kernel.tasks, group, signals::from_kernel(signal));
            });
        }
    }
}
