//! What programs with `std` commonly do: threads, channels, locks, time, files.
//!
//! Run by: `tests/tests/boot/programs.rs`, `tests/tests/smp.rs`.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, OnceLock, RwLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

fn main() {
    join();
    scoped();
    channels();
    locks();
    thread_locals();
    waiting();
    busy_and_idle();
    let directory = PathBuf::from(format!("/tmp/threads-std.{}", std::process::id()));
    files(&directory);
    println!("ok threads-std");
}

fn join() {
    let threads: Vec<_> = (0..16u64).map(|n| thread::spawn(move || (0..=n).sum::<u64>())).collect();
    let sums: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("it ends")).collect();
    assert_eq!(sums, (0..16).map(|n| n * (n + 1) / 2).collect::<Vec<_>>());
    let named = thread::Builder::new().name("named".into()).stack_size(64 << 10);
    let named = named.spawn(|| thread::current().name().map(str::to_owned)).expect("it starts");
    assert_eq!(named.join().expect("it ends").as_deref(), Some("named"));
}

fn scoped() {
    let mut numbers: Vec<u64> = (0..10_000).collect();
    thread::scope(|scope| {
        for part in numbers.chunks_mut(1250) {
            scope.spawn(|| part.iter_mut().for_each(|number| *number = *number * *number));
        }
    });
    assert!(numbers.iter().enumerate().all(|(n, square)| *square == (n * n) as u64));
}

fn channels() {
    // Many senders; each one's messages arrive in their order.
    let (sender, receiver) = mpsc::channel();
    for n in 0..8 {
        let sender = sender.clone();
        thread::spawn(move || (0..500).for_each(|value| sender.send((n, value)).expect("it is received")));
    }
    drop(sender);
    let mut next = BTreeMap::new();
    for (n, value) in receiver {
        let expected = next.entry(n).or_insert(0);
        assert_eq!(value, *expected, "order of sender {n}");
        *expected += 1;
    }
    assert_eq!(next.into_values().collect::<Vec<_>>(), [500; 8]);

    // No buffer: sender and receiver meet.
    let (sender, receiver) = mpsc::sync_channel(0);
    let thread = thread::spawn(move || (0..100).for_each(|n| sender.send(n).expect("it is received")));
    assert!(receiver.iter().eq(0..100));
    thread.join().expect("it ends");

    let (_sender, receiver) = mpsc::channel::<()>();
    let start = Instant::now();
    assert_eq!(receiver.recv_timeout(Duration::from_millis(20)), Err(mpsc::RecvTimeoutError::Timeout));
    assert!(start.elapsed() >= Duration::from_millis(20));
}

fn locks() {
    let counter = Arc::new(Mutex::new(0));
    let barrier = Arc::new(Barrier::new(8));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (counter, barrier) = (counter.clone(), barrier.clone());
            thread::spawn(move || {
                barrier.wait();
                for _ in 0..2000 {
                    *counter.lock().expect("nobody panicked") += 1;
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
    assert_eq!(*counter.lock().expect("nobody panicked"), 16_000);

    let table = RwLock::new(HashMap::new());
    thread::scope(|scope| {
        for n in 0..4u32 {
            let table = &table;
            scope.spawn(move || table.write().expect("nobody panicked").insert(n, n * 10));
        }
    });
    assert_eq!(table.read().expect("nobody panicked").values().sum::<u32>(), 60);

    // A condition variable: turns of two threads, and a time-out.
    let turn = (Mutex::new(0u32), Condvar::new());
    thread::scope(|scope| {
        for own in 0..2 {
            let (number, changed) = (&turn.0, &turn.1);
            scope.spawn(move || {
                for _ in 0..500 {
                    let guard = number.lock().expect("nobody panicked");
                    let mut guard = changed.wait_while(guard, |number| *number % 2 != own).expect("nobody panicked");
                    *guard += 1;
                    changed.notify_all();
                }
            });
        }
    });
    let guard = turn.0.lock().expect("nobody panicked");
    assert_eq!(*guard, 1000);
    let (_guard, waited) = turn.1.wait_timeout(guard, Duration::from_millis(10)).expect("nobody panicked");
    assert!(waited.timed_out());
}

fn thread_locals() {
    thread_local! { static OWN: Cell<usize> = const { Cell::new(7) }; }
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Counted;
    impl Drop for Counted {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::SeqCst);
        }
    }
    thread_local! { static AT_EXIT: Counted = const { Counted }; }

    OWN.set(1);
    let threads: Vec<_> = (10..20)
        .map(|n| {
            thread::spawn(move || {
                assert_eq!(OWN.replace(n), 7, "each thread begins with the initial value");
                AT_EXIT.with(|_| thread::yield_now());
                assert_eq!(OWN.get(), n, "nobody else has changed it");
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
    assert_eq!(OWN.get(), 1);
    assert_eq!(DROPPED.load(Ordering::SeqCst), 10, "destructors at the threads' ends");

    static ONCE: OnceLock<usize> = OnceLock::new();
    let made = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| ONCE.get_or_init(|| made.fetch_add(1, Ordering::SeqCst) + 41));
        }
    });
    assert_eq!((ONCE.get(), made.into_inner()), (Some(&41), 1));
}

fn waiting() {
    let start = Instant::now();
    thread::sleep(Duration::from_millis(30));
    assert!(start.elapsed() >= Duration::from_millis(30));

    let start = Instant::now();
    thread::park_timeout(Duration::from_millis(30));
    assert!(start.elapsed() < Duration::from_secs(2), "parking ends by its time-out");
    let parked = thread::spawn(thread::park);
    thread::sleep(Duration::from_millis(5));
    parked.thread().unpark();
    parked.join().expect("it was woken");

    // Sleepers wake in the order of their times, not of their start.
    let (order, start) = (Mutex::new(Vec::new()), Barrier::new(4));
    thread::scope(|scope| {
        for milliseconds in [150, 50, 100, 0] {
            let (order, start) = (&order, &start);
            scope.spawn(move || {
                start.wait();
                thread::sleep(Duration::from_millis(milliseconds));
                order.lock().expect("nobody panicked").push(milliseconds);
            });
        }
    });
    assert_eq!(order.into_inner().expect("nobody panicked"), [0, 50, 100, 150]);
}

/// A sleeper gets its turn although another thread never gives up the CPU.
fn busy_and_idle() {
    let stop = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while stop.load(Ordering::Relaxed) == 0 {
                std::hint::spin_loop();
            }
        });
        let start = Instant::now();
        for _ in 0..10 {
            thread::sleep(Duration::from_millis(5));
        }
        assert!(start.elapsed() < Duration::from_secs(5), "ten short sleeps took {:?}", start.elapsed());
        stop.store(1, Ordering::Relaxed);
    });
}

fn files(directory: &Path) {
    fs::create_dir(directory).expect("a new directory");
    assert_eq!(fs::create_dir(directory).expect_err("it is there").kind(), ErrorKind::AlreadyExists);
    let path = directory.join("text");
    assert_eq!(File::open(&path).expect_err("it is not there").kind(), ErrorKind::NotFound);
    fs::write(&path, "first line\n").expect("a new file");
    let mut file = OpenOptions::new().append(true).open(&path).expect("the file");
    for n in 2..=100 {
        writeln!(file, "line {n}").expect("it is appended");
    }
    file.sync_all().expect("nothing to wait for");
    let length = file.metadata().expect("its size").len();
    assert_eq!(length, 11 + 8 * 7 + 90 * 8 + 9);
    let lines: Vec<_> = BufReader::new(File::open(&path).expect("the file")).lines().map_while(Result::ok).collect();
    assert_eq!((lines.len(), lines[0].as_str(), lines[99].as_str()), (100, "first line", "line 100"));

    let mut file = OpenOptions::new().read(true).write(true).open(&path).expect("the file");
    assert_eq!(file.seek(SeekFrom::End(-9)).expect("before the last line"), length - 9);
    let mut text = String::new();
    file.read_to_string(&mut text).expect("the last line");
    assert_eq!(text, "line 100\n");
    file.seek(SeekFrom::Start(0)).expect("the start");
    file.write_all(b"FIRST").expect("over the start");
    file.set_len(10).expect("cut off");
    assert_eq!(fs::read(&path).expect("the file"), b"FIRST line");

    // Written by several threads, each its own file; a large one among them.
    thread::scope(|scope| {
        for n in 0..5usize {
            scope.spawn(move || {
                let contents: Vec<u8> = (0..n * 100_000).map(|index| (index * 7 + n) as u8).collect();
                fs::write(directory.join(format!("part{n}")), contents).expect("a new file");
            });
        }
    });
    for n in 0..5usize {
        let contents = fs::read(directory.join(format!("part{n}"))).expect("the file");
        assert_eq!(contents.len(), n * 100_000);
        assert!(contents.iter().enumerate().all(|(index, byte)| *byte == (index * 7 + n) as u8), "part {n}");
    }

    fs::rename(&path, directory.join("renamed")).expect("a new name");
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = entries.map(|name| name.into_string().expect("text")).collect();
    names.sort();
    assert_eq!(names, ["part0", "part1", "part2", "part3", "part4", "renamed"]);
    assert!(!path.exists() && directory.join("renamed").is_file() && directory.is_dir());
    let removed = fs::remove_dir(directory).expect_err("it is not empty");
    assert_eq!(removed.kind(), ErrorKind::DirectoryNotEmpty);
    fs::remove_dir_all(directory).expect("with all in it");
    assert!(!directory.exists());
}
