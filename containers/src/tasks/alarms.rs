//! Which CPU sets its timer, and for what time.
//!
//! For example, two threads sleep until 10 and 20 ms: one CPU, the *responsible* one, sets its timer for 10 ms, and
//! when that goes off some CPU sets its timer for 20 ms. A CPU whose thread must share it with another also sets its
//! timer for the end of the time slice.
//!
//! **Invariant:** while any thread has a deadline, some CPU is responsible for a deadline at least as early as the
//! earliest, and has set its timer for that or for something before it. This holds if each CPU asks
//! [`Tasks::next_alarm`] before it leaves the kernel after it has parked a thread or its timer has gone off.
//!
//! A timer that is set is never put off or stopped when its reason disappears: it goes off once for nothing. So threads
//! that wake each other in turn do not touch it.

use crate::tasks::Tasks;
use crate::tasks::scheduling::{NEVER, SEVERAL};
use cpulocal::Cpu;

impl<R> Tasks<R> {
    /// Wakes all threads whose deadline has passed, when the timer of `cpu` has gone off.
    pub fn expire(&mut self, cpu: Cpu, now: u64) {
        self.schedule.cpu(cpu).alarm = NEVER;
        if self.schedule.responsible.is_some_and(|(who, _)| who == cpu) {
            self.schedule.responsible = None;
            self.needs_reschedule.insert(cpu);
        }
        self.boost_starved(cpu, now);
        self.wake_expired(now);
    }

    /// The time to which `cpu` must set its timer when it is about to run the thread it has chosen: the next deadline
    /// that it is responsible for or, if a thread waits there, the end of a slice that begins or goes on at `now`.
    /// `None` if the timer goes off early enough as it is.
    pub fn next_alarm(&mut self, cpu: Cpu, now: u64) -> Option<u64> {
        let deadline = self.deadline_for(cpu).unwrap_or(NEVER);
        let turn = if SEVERAL { self.turn_of(cpu) } else { None };
        let look = if SEVERAL { self.schedule.balancer.next_look(cpu) } else { NEVER };
        let state = self.schedule.cpu(cpu);
        state.slice_end = now + turn.map_or(state.slice, |left| left.min(state.slice));
        let turn_ends = if state.best().is_some() { state.slice_end } else { NEVER };
        let wanted = deadline.min(turn_ends).min(look);
        let sooner = wanted < state.alarm;
        state.alarm = state.alarm.min(wanted);
        sooner.then_some(wanted)
    }

    /// Notes that `cpu` wants an interrupt at a time. Returns whether its timer must be set for that, because it would
    /// go off later.
    pub fn bring_alarm_forward(&mut self, cpu: Cpu, at: u64) -> bool {
        let alarm = &mut self.schedule.cpu(cpu).alarm;
        let sooner = at < *alarm;
        *alarm = at.min(*alarm);
        sooner
    }

    /// The time that the thread on `cpu` may still run before it changes over to another CPU, if a thread of its
    /// priority waits here.
    fn turn_of(&self, cpu: Cpu) -> Option<u64> {
        let state = &self.schedule.cpus[usize::from(cpu.0)];
        let (id, priority) = state.running?;
        if !self.schedule.soft || state.best() != Some(priority) {
            return None;
        }
        self.schedule.turn_left(self.thread(id)?)
    }

    /// The deadline for which `cpu` must set its timer: the earliest of all, unless another CPU is responsible for one
    /// at least as early. `cpu` is responsible for it from now on.
    pub(crate) fn deadline_for(&mut self, cpu: Cpu) -> Option<u64> {
        let next = self.next_deadline();
        let responsible = &mut self.schedule.responsible;
        match (*responsible, next) {
            (Some((who, at)), Some(next)) if who != cpu && at <= next => None,
            (_, Some(next)) => {
                *responsible = Some((cpu, next));
                Some(next)
            }
            (_, None) => {
                if responsible.is_some_and(|(who, _)| who == cpu) {
                    *responsible = None;
                }
                None
            }
        }
    }
}
