//! A pipe's state against a queue of bytes, and the events of its changes.

use files::pipe::{ATOMIC, CAPACITY, Pipe, event};
use files::{New, OpenFlags, Tree};
use proptest::prelude::*;
use std::collections::VecDeque;

const READ: OpenFlags = OpenFlags::empty();
const WRITE: OpenFlags = OpenFlags::WRITE_ONLY;

/// Puts bytes into a pipe over a ring of bytes, as the kernel does; how many found room.
fn put(pipe: &mut Pipe, ring: &mut [u8], bytes: &[u8]) -> usize {
    let mut done = 0;
    loop {
        let vacant = pipe.vacant((bytes.len() - done) as u64);
        let count = (vacant.end - vacant.start) as usize;
        if count == 0 {
            return done;
        }
        ring[vacant.start as usize..vacant.end as usize].copy_from_slice(&bytes[done..done + count]);
        pipe.produce(count as u64);
        done += count;
    }
}

fn take(pipe: &mut Pipe, ring: &[u8], most: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let filled = pipe.filled((most - bytes.len()) as u64);
        if filled.is_empty() {
            return bytes;
        }
        bytes.extend(&ring[filled.start as usize..filled.end as usize]);
        pipe.consume(filled.end - filled.start);
    }
}

/// Calls of a round, at most; Miri takes its time for each byte.
const STEPS: usize = if cfg!(miri) { 6 } else { 60 };

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 64 }, failure_persistence: None, ..ProptestConfig::default() })]

    /// Bytes come out as they went in, and room and length always make up the capacity.
    #[test]
    fn a_pipe_is_a_queue(steps in prop::collection::vec((any::<bool>(), 0..40_000_usize), 1..STEPS)) {
        let (mut pipe, mut ring) = (Pipe::default(), vec![0; CAPACITY as usize]);
        let mut queue = VecDeque::new();
        let mut next = 0_u8;
        for (write, length) in steps {
            if write {
                let bytes: Vec<u8> = (0..length).map(|n| next.wrapping_add(n as u8)).collect();
                let count = put(&mut pipe, &mut ring, &bytes);
                prop_assert_eq!(count, length.min(CAPACITY as usize - queue.len()));
                queue.extend(&bytes[..count]);
                next = next.wrapping_add(count as u8);
            } else {
                let bytes = take(&mut pipe, &ring, length);
                let expected: Vec<u8> = queue.drain(..length.min(queue.len())).collect();
                prop_assert_eq!(bytes, expected);
            }
            prop_assert_eq!((pipe.len() as usize, pipe.room()), (queue.len(), CAPACITY - pipe.len()));
            prop_assert_eq!(pipe.is_empty(), queue.is_empty());
        }
    }
}

#[test]
fn an_emptied_pipe_starts_afresh() {
    let mut pipe = Pipe::default();
    pipe.produce(100);
    pipe.consume(60);
    assert_eq!((pipe.filled(u64::MAX), pipe.vacant(10)), (60..100, 100..110));
    pipe.consume(40);
    assert_eq!(pipe.vacant(u64::MAX), 0..CAPACITY.into());
}

#[test]
fn a_narrow_pipe_is_full_until_it_has_been_emptied() {
    let mut pipe = Pipe::default();
    assert!(!pipe.narrow(), "nobody would make room");
    assert_eq!(pipe.room(), CAPACITY);
    pipe.produce(100);
    assert!(pipe.narrow());
    assert_eq!((pipe.room(), pipe.vacant(10).is_empty(), pipe.filled(u64::MAX)), (0, true, 0..100));
    pipe.produce(1);
    assert_eq!(pipe.len(), 100);
    let before = pipe;
    pipe.consume(99);
    assert_eq!((pipe.room(), pipe.events_since(&before)), (0, 0));
    pipe.consume(1);
    assert_eq!((pipe.room(), pipe.events_since(&before)), (CAPACITY, event::WRITABLE));
}

#[test]
fn news_are_for_those_who_wait() {
    let mut pipe = Pipe::default();
    pipe.open(READ);
    pipe.open(WRITE);
    let mut news = |change: &dyn Fn(&mut Pipe)| {
        let before = pipe;
        change(&mut pipe);
        (pipe.events_since(&before), pipe.edges_since(&before))
    };
    let both = |events| (events, events);
    let end = event::READABLE | event::WRITABLE | event::CLOSED;
    assert_eq!(news(&|_| {}), both(0));
    assert_eq!(news(&|pipe| pipe.produce(1)), both(event::READABLE), "the first byte");
    assert_eq!(news(&|pipe| pipe.produce(1)), (0, event::READABLE), "who came later has found the first");
    assert_eq!(news(&|pipe| pipe.produce(CAPACITY.into())), (0, event::READABLE), "full");
    assert_eq!(news(&|pipe| pipe.consume(u64::from(ATOMIC) - 1)), both(0), "some write may still not go in");
    assert_eq!(news(&|pipe| pipe.consume(1)), both(event::WRITABLE));
    assert_eq!(news(&|pipe| pipe.consume(u64::from(ATOMIC))), both(0), "told already");
    assert_eq!(news(&|pipe| pipe.open(WRITE)), both(0));
    assert_eq!(news(&|pipe| pipe.close(WRITE)), both(0), "there is another");
    assert_eq!(news(&|pipe| pipe.close(WRITE)), both(end), "the end");
    assert_eq!(news(&|pipe| pipe.close(READ)), both(end));
}

#[test]
fn the_content_comes_back_when_both_ends_are_gone() {
    let mut tree: Tree<u32> = Tree::new(0);
    let before = tree.len();
    let id = tree.make_pipe(7, 5).unwrap();
    let attributes = tree.attributes(id).unwrap();
    assert_eq!((attributes.mode, attributes.links, attributes.size, attributes.mtime), (0o010_600, 1, 0, 5));
    assert!(tree.pipe(id).unwrap().has_readers() && tree.pipe(id).unwrap().has_writers());
    tree.pipe_mut(id).unwrap().close(WRITE);
    assert_eq!(tree.release(id).0, None);
    assert!(tree.pipe(id).unwrap().has_readers() && !tree.pipe(id).unwrap().has_writers());
    tree.pipe_mut(id).unwrap().close(READ);
    assert_eq!((tree.release(id).0, tree.len()), (Some(7), before));
    let file = tree.add(tree.root(), b"file", New::Regular(1), 0o644, 0).unwrap();
    assert!(tree.pipe(file).is_err(), "no pipe");
}
