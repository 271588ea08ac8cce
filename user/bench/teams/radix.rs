//! Radix sort, as SPLASH-2's RADIX: each thread counts the digits of its own keys, the counts become places, and each
//! moves its keys to theirs; digit by digit.

use super::{THREADS, Ticks, now, part, team};
use programs::cpus::Random;
use std::sync::{
    Barrier,
    atomic::{AtomicU32, Ordering::Relaxed},
};

/// Values of a digit.
const RADIX: usize = 1 << DIGIT_BITS;
const DIGIT_BITS: u32 = 10;

/// Keys are below, as in SPLASH-2.
const MAX_KEY: u64 = 1 << 19;

/// Digits of a key.
const DIGITS: u32 = 2;

/// The keys, twice; and what threads tell each other.
struct Sort {
    /// From one to the other and back.
    keys: [Vec<AtomicU32>; 2],
    /// How many keys of a digit each thread has, digits within threads; then, where they go.
    places: Vec<AtomicU32>,
    /// How many keys there are of the digits that a thread looks after.
    sums: [AtomicU32; THREADS],
}

/// Sorts this number of keys.
pub(crate) fn run(size: usize) -> Result<Ticks, String> {
    if size < THREADS || u32::try_from(size).is_err() {
        return Err(format!("{size} keys are too few or too many"));
    }
    let before = now();
    let zeros = |count: usize| (0..count).map(|_| AtomicU32::new(0)).collect::<Vec<_>>();
    let sort = Sort { keys: [zeros(size), zeros(size)], places: zeros(THREADS * RADIX), sums: Default::default() };
    let threads = team(|number, barrier| {
        let keys = &sort.keys[0][part(size, number)];
        keys.iter().zip(made(number)).for_each(|(to, key)| to.store(key, Relaxed));
        (0..DIGITS).for_each(|digit| sort.by_digit(digit, number, barrier));
    });
    let ticks = Ticks { whole: now() - before, threads };
    sort.check(size).map(|()| ticks)
}

/// The keys of a thread.
fn made(number: usize) -> impl Iterator<Item = u32> {
    let mut random = Random::new(number as u64);
    std::iter::repeat_with(move || random.below(MAX_KEY) as u32)
}

impl Sort {
    /// One thread's part of sorting by one digit.
    fn by_digit(&self, digit: u32, number: usize, barrier: &Barrier) {
        let [from, to] = [digit % 2, (digit + 1) % 2].map(|side| &self.keys[side as usize]);
        let value = |key: u32| (key >> (digit * DIGIT_BITS)) as usize % RADIX;
        let mine = &from[part(from.len(), number)];
        let places = &self.places[number * RADIX..(number + 1) * RADIX];
        let mut counts = [0; RADIX];
        mine.iter().for_each(|key| counts[value(key.load(Relaxed))] += 1);
        places.iter().zip(counts).for_each(|(place, count)| place.store(count, Relaxed));
        barrier.wait();
        self.place(number, barrier);
        barrier.wait();
        let mut next = [0; RADIX];
        next.iter_mut().zip(places).for_each(|(next, place)| *next = place.load(Relaxed));
        for key in mine.iter().map(|key| key.load(Relaxed)) {
            let next = &mut next[value(key)];
            to[*next as usize].store(key, Relaxed);
            *next += 1;
        }
        barrier.wait();
    }

    /// Turns counts into places, for a part of the digits.
    fn place(&self, number: usize, barrier: &Barrier) {
        let digits = part(RADIX, number);
        let count = |digit: usize, thread: usize| &self.places[thread * RADIX + digit];
        let all = |digit: usize| (0..THREADS).map(move |thread| count(digit, thread));
        self.sums[number].store(digits.clone().flat_map(all).map(|count| count.load(Relaxed)).sum(), Relaxed);
        barrier.wait();
        let mut place: u32 = self.sums[..number].iter().map(|sum| sum.load(Relaxed)).sum();
        for slot in digits.flat_map(all) {
            let count = slot.load(Relaxed);
            slot.store(place, Relaxed);
            place += count;
        }
    }

    /// Whether the keys are those that were made, in order.
    fn check(&self, size: usize) -> Result<(), String> {
        let sorted: Vec<u64> = self.keys[DIGITS as usize % 2].iter().map(|key| key.load(Relaxed).into()).collect();
        if !sorted.is_sorted() {
            return Err("the keys are not in order".to_owned());
        }
        // Sums of the keys and of their squares: what is lost or doubled changes them.
        let sums = |keys: &mut dyn Iterator<Item = u64>| keys.fold((0, 0), |(a, b), key| (a + key, b + key * key));
        let made = (0..THREADS).flat_map(|number| made(number).take(part(size, number).len()));
        if sums(&mut made.map(u64::from)) != sums(&mut sorted.into_iter()) {
            return Err("the keys are not those that were there".to_owned());
        }
        Ok(())
    }
}
