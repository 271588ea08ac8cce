//! Threads that compute between barriers, on CPUs whose timers go off: how much of the CPUs' time they use.

use super::scheduling::{container, take_ready};
use crate::ids::ThreadId;
use crate::tasks::Tasks;
use crate::tasks::affinity::Affinity;
use crate::tasks::context::ExtendedState;
use crate::tasks::thread::{State, Thread, Times};
use crate::tasks::wait::{Channel, Wait};
use cpulocal::Cpu;
use std::collections::BTreeMap;

/// What a visit to the kernel takes, in nanoseconds.
const VISIT: u64 = 10_000;

/// A CPU of the simulation.
#[derive(Clone, Default)]
struct Player {
    current: Option<ThreadId>,
    /// When the current thread began to compute, or goes on after a visit to the kernel.
    since: u64,
    charged: u64,
    timer: Option<u64>,
}

struct Simulation {
    tasks: Tasks<()>,
    cpus: Vec<Player>,
    /// What each thread has left to compute before it comes to the barrier.
    left: BTreeMap<ThreadId, u64>,
    now: u64,
}

impl Simulation {
    fn new(cpus: usize, threads: usize) -> Simulation {
        let tasks = Tasks::new(cpus, Affinity::Soft);
        let mut simulation =
            Simulation { tasks, cpus: vec![Player::default(); cpus], left: BTreeMap::new(), now: 1_000_000 };
        (0..cpus).for_each(|n| simulation.look(n));
        let container = container();
        for _ in 0..threads {
            let thread = Thread::new(container, ExtendedState::zero());
            let id = ThreadId::main(simulation.tasks.make_process(thread, None, ()).unwrap());
            simulation.left.insert(id, 50_000);
            simulation.tasks.make_ready(id);
        }
        simulation
    }

    fn look(&mut self, n: usize) {
        let (cpu, now) = (Cpu(n as u8), self.now);
        let player = &mut self.cpus[n];
        self.tasks.begin_reschedule(cpu, now);
        let used = Times { total: now - player.charged, user_ticks: 0 };
        player.charged = now;
        if let Some(id) = player.current
            && let Some(left) = self.left.get_mut(&id)
        {
            *left -= now.saturating_sub(player.since);
        }
        let still = player.current.filter(|id| self.tasks.goes_on(cpu, *id, used, |_| {}));
        player.current = still.or_else(|| take_ready(&mut self.tasks, cpu));
        player.since = now + VISIT;
        if let Some(at) = self.tasks.next_alarm(cpu, now) {
            player.timer = Some(at.max(now + VISIT));
        }
    }

    /// Lets all compute as long as each is to, up to the barrier; what that took.
    fn phase(&mut self, work: impl Fn(usize) -> u64) -> u64 {
        let begin = self.now;
        loop {
            while let Some(cpu) = self.tasks.needs_reschedule.lowest() {
                self.look(cpu.0.into());
            }
            let done = |player: &Player| player.current.map(|id| player.since + self.left[&id]);
            let event = |player: &Player| done(player).into_iter().chain(player.timer).min();
            let (n, at) = (0..self.cpus.len())
                .filter_map(|n| Some((n, event(&self.cpus[n])?)))
                .min_by_key(|(_, at)| *at)
                .expect("something happens");
            self.now = self.now.max(at);
            if done(&self.cpus[n]) == Some(at) {
                let id = self.cpus[n].current.unwrap();
                let waiting = self.left.keys().filter(|id| self.tasks.thread(**id).unwrap().state == State::Parked);
                if waiting.count() + 1 == self.left.len() {
                    self.look(n);
                    self.left.values_mut().enumerate().for_each(|(n, left)| *left = work(n));
                    self.cpus[n].since = self.now + VISIT;
                    self.tasks.wake_all(Channel::Locks);
                    return self.now - begin;
                }
                self.tasks.park(id, Wait::restart(Channel::Locks, None));
                self.tasks.thread_mut(id).unwrap().context.registers.rip = 2;
            }
            if self.cpus[n].timer == Some(at) {
                self.cpus[n].timer = None;
                self.tasks.expire(Cpu(n as u8), self.now);
            }
            self.look(n);
        }
    }
}

/// The speed-up of eight threads with phases of that length.
fn speed_up(cpus: usize, length: u64) -> f64 {
    const PHASES: u64 = 20;
    let mut simulation = Simulation::new(cpus, 8);
    let work = |n: usize| length + length / 100 * (n as u64 * 7 % 5);
    simulation.phase(work);
    let took: u64 = (0..PHASES).map(|_| simulation.phase(work)).sum();
    (0..8).map(work).sum::<u64>() as f64 * PHASES as f64 / took as f64
}

#[test]
fn all_cpus_are_used_until_the_last_threads_end() {
    const MILLISECOND: u64 = 1_000_000;
    // Where all CPUs have as many threads only the visits to the kernel are lost, and a pair that is not put together at
    // once.
    for length in [1, 3, 5, 10, 20].map(|length| length * MILLISECOND) {
        for (cpus, least) in [(2, 1.95), (4, 3.85), (8, 7.7)] {
            let gain = speed_up(cpus, length);
            assert!(gain >= least, "{gain} on {cpus} CPUs, {length}");
        }
    }
    // Elsewhere threads change over, so phases of a few turns do not take as long as on four CPUs.
    for (length, least) in [(10, [4.4, 5.2, 5.9]), (20, [4.7, 5.6, 6.2])] {
        let gains = [5, 6, 7].map(|cpus| speed_up(cpus, length * MILLISECOND));
        assert!(gains.iter().zip(least).all(|(gain, least)| *gain >= least), "{gains:?}, {length} ms");
    }
}
