use super::*;

/// Writes and reads this number of bytes.
fn pass(pipe: &mut Pipe, written: u64, read: u64) {
    pipe.produce(written);
    pipe.consume(read);
}

#[test]
fn a_ring_that_is_resized_keeps_what_lies_in_it() {
    let mut pipe = Pipe::default();
    assert_eq!((pipe.capacity(), pipe.room()), (CAPACITY, CAPACITY));
    pass(&mut pipe, 6000, 1000);
    assert!(!pipe.resize(ATOMIC), "byte 5,999 lies beyond a ring of a page");
    assert!(pipe.resize(8192));
    assert_eq!((pipe.filled(u64::MAX), pipe.vacant(u64::MAX)), (1000..6000, 6000..8192));
    assert_eq!(pipe.room(), 8192 - 5000);
    assert!(pipe.resize(CAPACITY_MAX));
    assert_eq!(pipe.vacant(u64::MAX), 6000..CAPACITY_MAX.into());
}

#[test]
fn a_ring_that_wraps_is_not_resized() {
    let mut pipe = Pipe::default();
    assert!(pipe.resize(8192));
    pass(&mut pipe, 8000, 7000);
    pipe.produce(500);
    assert_eq!((pipe.filled(u64::MAX), pipe.vacant(u64::MAX)), (7000..8192, 308..7000));
    assert!(pipe.resize(8192), "it has that size");
    assert!(!pipe.resize(CAPACITY) && !pipe.resize(ATOMIC));
    assert_eq!(pipe.capacity(), 8192);
    pipe.consume(1500);
    assert!(pipe.is_empty() && pipe.resize(ATOMIC));
    assert_eq!(pipe.vacant(u64::MAX), 0..4096);
}

#[test]
fn a_larger_ring_is_news_to_those_who_write() {
    let mut pipe = Pipe::default();
    assert!(pipe.resize(ATOMIC));
    pipe.produce(1);
    let before = pipe;
    assert!(pipe.resize(2 * ATOMIC));
    assert_eq!(pipe.events_since(&before), event::WRITABLE);
}
