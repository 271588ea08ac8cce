//! Private pages that are copied at their first store while other threads read them: `cow-race [rounds] [threads]`.
//!
//! Every round takes a page that is shared until a thread stores to it: of a file mapped privately, or of this
//! program's own image. Readers load its words all the time, so that their CPUs hold translations of the shared page.
//! Then all writers store at the same moment, each a word of its own; some let the kernel do it, by reading a file
//! into the page. The first store copies the page. From then on every thread must see what was stored, never the old
//! word again, and no word may be lost because two stores each made a copy.
//!
//! Run by: `tests/tests/smp.rs`.

use libc::*;
use programs::cpus;
use programs::sys;
use programs::system::PAGE;
use std::hint;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;

const WORDS: usize = PAGE / size_of::<u64>();

/// What every word is at first: in the image and in the file.
const OLD: u64 = 0x0101_0101_0101_0101;

#[repr(C, align(4096))]
struct Page([AtomicU64; WORDS]);

/// Pages of the image's data, shared with all processes of this program until they are stored to.
const IMAGE_PAGES: usize = 16;
static IMAGE: [Page; IMAGE_PAGES] = [const { Page([const { AtomicU64::new(OLD) }; WORDS]) }; IMAGE_PAGES];

/// What the threads of a round agree on. Steps only grow.
struct Stage {
    /// The page of the current round.
    page: AtomicU64,
    /// Begun rounds.
    begun: AtomicU64,
    /// Readers that have read the old page, of all rounds together.
    warm: AtomicU64,
    /// Rounds in which writers may store.
    open: AtomicU64,
    /// For each writer, the round in which it has last stored.
    stored: Vec<AtomicU64>,
    /// Writers and readers that have found everything as it must be, of all rounds together.
    done: AtomicU64,
}

impl Stage {
    /// A word of the current page.
    fn word(&self, index: usize) -> &'static AtomicU64 {
        let page = self.page.load(SeqCst) as usize;
        // SAFETY: the page stays mapped until all threads are done with the round, and its words are
        // reached as atomics only.
        unsafe { &(*std::ptr::with_exposed_provenance::<Page>(page)).0[index] }
    }

    /// Asserts that all words are what they must be at the end of a round.
    fn check(&self, round: u64, who: &str) {
        for index in 0..WORDS {
            let expected = if index < self.stored.len() { round } else { OLD };
            let there = self.word(index).load(SeqCst);
            assert_eq!(there, expected, "round {round}, word {index}, seen by {who} on CPU {}", cpus::current());
        }
    }
}

/// Waits for its turn and stores; `file` holds the words that the kernel is to store.
fn write(stage: &Stage, me: usize, rounds: u64, file: Option<u64>) {
    for round in 1..=rounds {
        cpus::spin_until(|| stage.open.load(SeqCst) >= round);
        let word = stage.word(me);
        match file {
            None => word.store(round, SeqCst),
            Some(file) => {
                let result = sys!(SYS_pread64, file, word.as_ptr(), size_of::<u64>(), round * 8);
                assert_eq!(result, Ok(8), "the kernel stores a word");
            }
        }
        assert_eq!(word.load(SeqCst), round, "a writer's own word, on CPU {}", cpus::current());
        stage.stored[me].store(round, SeqCst);
        cpus::spin_until(|| stage.stored.iter().all(|stored| stored.load(SeqCst) >= round));
        stage.check(round, "a writer");
        stage.done.fetch_add(1, SeqCst);
    }
}

/// Reads the writers' words until all have stored.
fn read(stage: &Stage, rounds: u64) -> u64 {
    let writers = stage.stored.len();
    let mut reads = 0;
    for round in 1..=rounds {
        cpus::spin_until(|| stage.begun.load(SeqCst) >= round);
        (0..writers).for_each(|index| assert_eq!(stage.word(index).load(SeqCst), OLD, "the shared page's word"));
        stage.warm.fetch_add(1, SeqCst);
        let mut seen = vec![false; writers];
        for turn in 1u32.. {
            for (index, seen) in seen.iter_mut().enumerate() {
                // In this order: what is stored before the load began must be seen by it.
                let stored = stage.stored[index].load(SeqCst) >= round;
                let value = stage.word(index).load(SeqCst);
                reads += 1;
                assert!(value == round || value == OLD, "word {index} is {value:#x} in round {round}");
                assert!(
                    value == round || !stored && !*seen,
                    "STALE: round {round}, word {index} is the old one again, on CPU {}",
                    cpus::current()
                );
                *seen = value == round;
            }
            if seen.iter().all(|seen| *seen) {
                break;
            }
            match turn % 1024 {
                0 => thread::yield_now(),
                _ => hint::spin_loop(),
            }
        }
        cpus::spin_until(|| stage.stored.iter().all(|stored| stored.load(SeqCst) >= round));
        stage.check(round, "a reader");
        stage.done.fetch_add(1, SeqCst);
    }
    reads
}

fn main() {
    let cpus = cpus::allowed().len();
    let rounds = cpus::argument(1, 200).max(IMAGE_PAGES) as u64;
    let threads = cpus::argument(2, cpus.clamp(3, 8)).clamp(3, 64);
    let writers = threads / 2;
    let readers = threads - writers;

    let path = "/tmp/cow-race.page";
    std::fs::write(path, OLD.to_ne_bytes().repeat(WORDS)).expect("a file of a page");
    let page = sys!(SYS_open, c"/tmp/cow-race.page", O_RDONLY).expect("it can be opened");
    let numbers: Vec<u8> = (0..=rounds).flat_map(u64::to_ne_bytes).collect();
    std::fs::write("/tmp/cow-race.numbers", numbers).expect("a file of numbers");
    let numbers = sys!(SYS_open, c"/tmp/cow-race.numbers", O_RDONLY).expect("it can be opened");

    let stage = Stage {
        page: AtomicU64::new(0),
        begun: AtomicU64::new(0),
        warm: AtomicU64::new(0),
        open: AtomicU64::new(0),
        stored: (0..writers).map(|_| AtomicU64::new(0)).collect(),
        done: AtomicU64::new(0),
    };
    let reads = thread::scope(|scope| {
        let stage = &stage;
        for me in 0..writers {
            // Every other writer, the second one first.
            let file = (me % 2 == 1).then_some(numbers);
            scope.spawn(move || write(stage, me, rounds, file));
        }
        let readers: Vec<_> = (0..readers).map(|_| scope.spawn(move || read(stage, rounds))).collect();
        for round in 1..=rounds {
            let image = IMAGE.get(round as usize - 1).map(|page| (&raw const *page).expose_provenance() as u64);
            let file = || {
                let rights = PROT_READ | PROT_WRITE;
                sys!(SYS_mmap, 0, PAGE, rights, MAP_PRIVATE, page, 0).expect("a private mapping of the file")
            };
            let address = image.unwrap_or_else(file);
            stage.page.store(address, SeqCst);
            stage.begun.store(round, SeqCst);
            cpus::spin_until(|| stage.warm.load(SeqCst) == round * readers.len() as u64);
            stage.open.store(round, SeqCst);
            cpus::spin_until(|| stage.done.load(SeqCst) == round * threads as u64);
            if image.is_none() {
                assert_eq!(sys!(SYS_munmap, address, PAGE), Ok(0));
            }
        }
        readers.into_iter().map(|reader| reader.join().expect("a reader finds nothing wrong")).sum::<u64>()
    });
    let contents = std::fs::read(path).expect("the file");
    assert_eq!(contents, OLD.to_ne_bytes().repeat(WORDS), "the file itself is as it was");
    for (path, file) in [(path, page), ("/tmp/cow-race.numbers", numbers)] {
        assert_eq!(sys!(SYS_close, file), Ok(0));
        std::fs::remove_file(path).expect("it can be removed");
    }
    println!("ok cow-race: {rounds} pages, {writers} writers, {readers} readers on {cpus} CPUs, {reads} loads");
}
