//! Threads that wait for each other in every way that std has: `smp-stress [threads] [rounds]`.
//!
//! A wake-up is certain to come for every wait, so a lost one hangs the program, and one too many breaks a count.
//! Where a wait has a time-out, it races with the wake-up on purpose.
//!
//! Run by: `tests/tests/boot/application.rs`, `tests/tests/boot/hostile.rs`, `tests/tests/smp.rs`.

use programs::cpus::{self, Random};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Condvar, Mutex, RwLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

type Part = fn(threads: usize, seed: u64);

/// What a round consists of.
const PARTS: [(&str, Part); 9] = [
    ("mutex", mutex),
    ("ring", ring),
    ("bounded queue", bounded_queue),
    ("channels", channels),
    ("rendezvous", rendezvous),
    ("barrier", barrier),
    ("parking", parking),
    ("time-outs", time_outs),
    ("coming and going", coming_and_going),
];

fn main() {
    let cpus = cpus::allowed().len();
    let threads = cpus::argument(1, 2 * cpus).max(2);
    let rounds = cpus::argument(2, 3);
    let mut took = [Duration::ZERO; PARTS.len()];
    for round in 0..rounds {
        for ((_, part), took) in PARTS.iter().zip(&mut took) {
            let start = Instant::now();
            part(threads, round as u64);
            *took += start.elapsed();
        }
    }
    for ((name, _), took) in PARTS.iter().zip(took) {
        println!("{name:18} {:6} ms", took.as_millis());
    }
    println!("ok smp-stress: {threads} threads, {rounds} rounds on {cpus} CPUs");
}

/// Runs `work(index)` on `threads` threads and waits for them.
fn all(threads: usize, work: impl Fn(usize) + Sync) {
    thread::scope(|scope| {
        let work = &work;
        let started: Vec<_> = (0..threads).map(|index| scope.spawn(move || work(index))).collect();
        started.into_iter().for_each(|thread| thread.join().expect("it finds nothing wrong"));
    });
}

/// One lock that all want, and a lock for reading and writing.
fn mutex(threads: usize, seed: u64) {
    const TURNS: u64 = 200;
    let counter = Mutex::new((0u64, 0u64));
    let table = RwLock::new([0u64; 8]);
    all(threads, |me| {
        let mut random = Random::new(seed << 8 | me as u64);
        for _ in 0..TURNS {
            {
                let mut both = counter.lock().expect("nobody panicked");
                both.0 += 1;
                // Held over the end of a time slice now and then, so that others have to sleep.
                if random.below(32) == 0 {
                    thread::yield_now();
                }
                both.1 += 1;
                assert_eq!(both.0, both.1, "nobody else was in between");
            }
            if random.below(8) == 0 {
                table.write().expect("nobody panicked").iter_mut().for_each(|word| *word += 1);
            } else {
                let table = table.read().expect("nobody panicked");
                assert!(table.iter().all(|word| *word == table[0]), "no writer is at it");
            }
        }
    });
    assert_eq!(counter.into_inner().expect("nobody panicked"), (threads as u64 * TURNS, threads as u64 * TURNS));
}

/// A number goes round, each thread waits for its turn; all wait at one condition variable.
fn ring(threads: usize, _: u64) {
    const LAPS: usize = 30;
    let (turn, changed) = (Mutex::new(0), Condvar::new());
    all(threads, |me| {
        for lap in 0..LAPS {
            let guard = turn.lock().expect("nobody panicked");
            let mut guard = changed.wait_while(guard, |turn| *turn != lap * threads + me).expect("nobody panicked");
            *guard += 1;
            changed.notify_all();
        }
    });
    assert_eq!(turn.into_inner().expect("nobody panicked"), LAPS * threads);
}

/// Makers and takers at a short queue: a thread that finds it full or empty sleeps, and one is woken at a time.
fn bounded_queue(threads: usize, _: u64) {
    const EACH: u64 = 300;
    const ROOM: usize = 4;
    let queue = Mutex::new(VecDeque::with_capacity(ROOM));
    let (filled, emptied) = (Condvar::new(), Condvar::new());
    let pairs = threads.div_ceil(2);
    let sum = AtomicU64::new(0);
    all(2 * pairs, |me| {
        for number in 0..EACH {
            let guard = queue.lock().expect("nobody panicked");
            if me % 2 == 0 {
                let mut guard = emptied.wait_while(guard, |queue| queue.len() == ROOM).expect("nobody panicked");
                guard.push_back(number + 1);
                filled.notify_one();
            } else {
                let mut guard = filled.wait_while(guard, |queue| queue.is_empty()).expect("nobody panicked");
                sum.fetch_add(guard.pop_front().expect("it is not empty"), SeqCst);
                emptied.notify_one();
            }
        }
    });
    assert_eq!(sum.into_inner(), pairs as u64 * EACH * (EACH + 1) / 2, "everything arrived once");
}

/// Every thread sends to every thread; each sender's messages arrive in their order.
fn channels(threads: usize, _: u64) {
    const EACH: u32 = 20;
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..threads).map(|_| mpsc::channel::<(usize, u32)>()).unzip();
    thread::scope(|scope| {
        for (me, receiver) in receivers.into_iter().enumerate() {
            let senders = senders.clone();
            scope.spawn(move || {
                for number in 0..EACH {
                    senders.iter().for_each(|to| to.send((me, number)).expect("it is received"));
                }
                drop(senders);
                let mut next = vec![0; threads];
                for (from, number) in receiver {
                    assert_eq!(number, next[from], "the order of sender {from}");
                    next[from] += 1;
                }
                assert_eq!(next, vec![EACH; threads], "everything arrived");
            });
        }
        drop(senders);
    });
}

/// Pairs over a channel without room: both sides meet at every message, there and back.
fn rendezvous(threads: usize, _: u64) {
    const TURNS: u32 = 100;
    thread::scope(|scope| {
        for _ in 0..threads.div_ceil(2) {
            let (there, receiver) = mpsc::sync_channel::<u32>(0);
            let (sender, back) = mpsc::sync_channel::<u32>(0);
            scope.spawn(move || {
                receiver.into_iter().for_each(|number| sender.send(number + 1).expect("it is received"));
            });
            scope.spawn(move || {
                for number in 0..TURNS {
                    there.send(number).expect("it is received");
                    assert_eq!(back.recv(), Ok(number + 1), "the answer");
                }
            });
        }
    });
}

/// No thread goes on before all have arrived.
fn barrier(threads: usize, _: u64) {
    const TURNS: u64 = 30;
    let barrier = Barrier::new(threads);
    let arrived = AtomicU64::new(0);
    all(threads, |_| {
        for turn in 0..TURNS {
            arrived.fetch_add(1, SeqCst);
            barrier.wait();
            assert_eq!(arrived.load(SeqCst), (turn + 1) * threads as u64, "all have arrived");
            barrier.wait();
        }
    });
}

/// A token goes round by parking and unparking.
fn parking(threads: usize, _: u64) {
    const LAPS: u32 = 20;
    let turns: Arc<Vec<AtomicU32>> = Arc::new((0..threads).map(|_| AtomicU32::new(0)).collect());
    let (tell, told) = mpsc::channel();
    let handles: Vec<_> = (0..threads)
        .map(|me| {
            let (turns, tell) = (turns.clone(), tell.clone());
            let (give, given) = mpsc::channel::<thread::Thread>();
            let handle = thread::spawn(move || {
                let next = given.recv().expect("the next one's handle");
                for lap in 1..=LAPS {
                    while turns[me].load(SeqCst) < lap {
                        thread::park();
                    }
                    turns[(me + 1) % turns.len()].fetch_add(1, SeqCst);
                    next.unpark();
                }
                tell.send(me).expect("the starter listens");
            });
            (handle, give)
        })
        .collect();
    for (me, (_, give)) in handles.iter().enumerate() {
        let next = handles[(me + 1) % threads].0.thread().clone();
        give.send(next).expect("it listens");
    }
    turns[0].fetch_add(1, SeqCst);
    handles[0].0.thread().unpark();
    drop(tell);
    assert_eq!(told.into_iter().count(), threads, "all have done their laps");
    handles.into_iter().for_each(|(handle, _)| handle.join().expect("it ends"));
    assert_eq!(turns[0].load(SeqCst), LAPS + 1, "the token's laps");
}

/// Time-outs that race with wake-ups: whichever comes first, nothing is lost and no thread wakes early.
fn time_outs(threads: usize, seed: u64) {
    const TURNS: u64 = 20;
    let pairs = threads.div_ceil(2);
    thread::scope(|scope| {
        for pair in 0..pairs {
            let (sender, receiver) = mpsc::channel();
            scope.spawn(move || {
                let mut random = Random::new(seed << 9 | (pair as u64) << 1);
                for number in 0..TURNS {
                    thread::sleep(Duration::from_micros(random.below(1500)));
                    sender.send(number).expect("it is received");
                }
            });
            scope.spawn(move || {
                let mut random = Random::new(seed << 9 | (pair as u64) << 1 | 1);
                let mut next = 0;
                while next < TURNS {
                    let patience = Duration::from_micros(random.below(1500));
                    let start = Instant::now();
                    match receiver.recv_timeout(patience) {
                        Ok(number) => {
                            assert_eq!(number, next, "in order");
                            next += 1;
                        }
                        Err(mpsc::RecvTimeoutError::Timeout) => {
                            assert!(start.elapsed() >= patience, "too early: {:?} of {patience:?}", start.elapsed());
                        }
                        Err(error) => panic!("{error} before message {next}"),
                    }
                }
            });
        }
    });
}

/// Threads that make threads, and join them or leave them alone.
fn coming_and_going(threads: usize, seed: u64) {
    const EACH: u64 = 12;
    let (made, ended) = (AtomicU64::new(0), Arc::new((Mutex::new(0u64), Condvar::new())));
    all(threads, |me| {
        let mut random = Random::new(seed << 8 | me as u64);
        for number in 0..EACH {
            let ended = ended.clone();
            made.fetch_add(1, SeqCst);
            let child = thread::spawn(move || {
                let mut guard = ended.0.lock().expect("nobody panicked");
                *guard += 1;
                ended.1.notify_all();
                number
            });
            if random.below(2) == 0 {
                assert_eq!(child.join().expect("it ends"), number, "what it returned");
            }
        }
    });
    let guard = ended.0.lock().expect("nobody panicked");
    let made = made.into_inner();
    let guard = ended.1.wait_while(guard, |ended| *ended < made).expect("nobody panicked");
    assert_eq!(*guard, made, "all have ended, each once");
}
