//! `epoll`s against a model that looks at every file that is watchers.

use super::*;
use crate::event::Counter;
use crate::ids::OpenFileId;
use crate::open::{OpenFile, OpenFiles, OpenFlags};
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

const IN: u32 = 0x1;
const OUT: u32 = 0x4;
const HANG_UP: u32 = 0x10;

/// Files that are watchers; the last ones are `epoll`s, which watch.
const FILES: usize = 7;
const FIRST_EPOLL: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    /// An `epoll` is to watch a file, with these events; or is to watch it otherwise, or no more.
    Add(usize, usize, u32),
    Change(usize, usize, u32),
    Remove(usize, usize),
    /// A file is ready for this from now on, or the event happens again.
    Set(usize, u32),
    /// `epoll_wait`, with room for this number of events.
    Wait(usize, usize),
    /// A file is closed, and another opened in its place.
    Close(usize),
}

fn subscription() -> impl Strategy<Value = u32> {
    let events = prop::sample::select(vec![IN, OUT, IN | OUT, HANG_UP]);
    let how =
        prop::sample::select(vec![0, Subscription::EDGE, Subscription::ONCE, Subscription::EDGE | Subscription::ONCE]);
    (events, how).prop_map(|(events, how)| events | how | HANG_UP)
}

fn step() -> impl Strategy<Value = Step> {
    let (epoll, file) = (|| FIRST_EPOLL..FILES, || 0..FILES);
    let state = prop::sample::select(vec![0, IN, OUT, IN | OUT, HANG_UP | IN]);
    prop_oneof![
        4 => (epoll(), file(), subscription()).prop_map(|(epoll, file, subscription)| Step::Add(epoll, file, subscription)),
        1 => (epoll(), file(), subscription()).prop_map(|(epoll, file, subscription)| Step::Change(epoll, file, subscription)),
        1 => (epoll(), file()).prop_map(|(epoll, file)| Step::Remove(epoll, file)),
        6 => (0..FIRST_EPOLL, state).prop_map(|(file, state)| Step::Set(file, state)),
        5 => (epoll(), 1..4_usize).prop_map(|(epoll, most)| Step::Wait(epoll, most)),
        1 => file().prop_map(Step::Close),
    ]
}

/// What the model knows of an interest: its subscription, and whether anything has happened since it was told.
#[derive(Clone, Copy, Debug)]
struct Known {
    subscription: Subscription,
    news: bool,
}

/// The tree beside the model.
struct Both {
    tree: Tree<u32>,
    open: OpenFiles,
    files: Vec<(OpenFileId, InodeId)>,
    /// What each file that is no `epoll` is ready for.
    states: [u32; FIRST_EPOLL],
    /// The interests by `epoll` and file.
    known: BTreeMap<(usize, usize), Known>,
    /// `epoll`s in which a thread waits that has not been woken.
    waiting: [bool; FILES],
}

impl Both {
    fn new() -> Both {
        let mut both = Both {
            tree: Tree::new(0),
            open: OpenFiles::new(64),
            files: Vec::new(),
            states: [0; FIRST_EPOLL],
            known: BTreeMap::new(),
            waiting: [false; FILES],
        };
        both.files = (0..FILES).map(|file| both.make(file)).collect();
        both
    }

    fn make(&mut self, file: usize) -> (OpenFileId, InodeId) {
        let inode = match file {
            ..FIRST_EPOLL => self.tree.make_counter(Counter::default(), 0),
            _ => self.tree.make_epoll(0),
        };
        let inode = inode.unwrap();
        (self.open.insert(OpenFile::new(inode, OpenFlags::READ_WRITE)).unwrap(), inode)
    }

    fn source(&self, file: usize) -> Source {
        Source::Inode(self.files[file].1)
    }

    fn name(&self, file: usize) -> (u32, OpenFileId) {
        (file as u32, self.files[file].0)
    }

    /// Does something with the tree; threads that are woken do not wait any more.
    fn telling<T>(&mut self, act: impl FnOnce(&mut Tree<u32>, &mut dyn FnMut(Waiters) -> bool) -> T) -> T {
        let (files, waiting) = (&self.files, &mut self.waiting);
        act(&mut self.tree, &mut |told| {
            let Waiters::Epoll(epoll) = told else { panic!("nobody polls") };
            let file = files.iter().position(|(_, inode)| *inode == epoll).unwrap();
            core::mem::take(&mut waiting[file])
        })
    }

    /// What a file is ready for, as the kernel finds out.
    fn state(&mut self, file: OpenFileId) -> u32 {
        let file = self.files.iter().position(|(id, _)| *id == file).expect("no interest outlives its open file");
        match file {
            ..FIRST_EPOLL => self.states[file],
            _ => {
                let inode = self.files[file].1;
                while let Some((first, _)) = self.tree.ready(inode).unwrap() {
                    let Interest { file, subscription, .. } = *self.tree.interest(first).unwrap();
                    if subscription.report(self.state(file)) != 0 {
                        return IN;
                    }
                    self.tree.not_ready(first);
                }
                0
            }
        }
    }

    /// The state of a file, computed without ready lists.
    fn model_state(&self, file: usize) -> u32 {
        match file {
            ..FIRST_EPOLL => self.states[file],
            _ if self.to_tell(file).is_empty() => 0,
            _ => IN,
        }
    }

    /// What an `epoll` has to tell, likewise: files and events.
    fn to_tell(&self, epoll: usize) -> Vec<(u64, u32)> {
        let own = self.known.range((epoll, 0)..(epoll, FILES));
        let told = own.filter(|(_, known)| known.news || known.subscription.events & Subscription::EDGE == 0);
        let events = told.map(|((_, file), known)| (*file as u64, known.subscription.report(self.model_state(*file))));
        events.filter(|(_, events)| *events != 0).collect()
    }

    /// Something has happened to a file, in the model.
    fn model_event(&mut self, file: usize, bits: u32) {
        for epoll in FIRST_EPOLL..FILES {
            if let Some(known) = self.known.get_mut(&(epoll, file)).filter(|known| known.subscription.is_for(bits)) {
                known.news = true;
                self.model_event(epoll, event::READABLE);
            }
        }
    }

    /// `epoll_ctl` has set a subscription: it may be fulfilled already.
    fn wished(&mut self, (epoll, file): (usize, usize), id: InterestId, subscription: Subscription) {
        let news = self.known.get(&(epoll, file)).is_some_and(|known| known.news);
        self.known.insert((epoll, file), Known { subscription, news });
        let (id_of_file, _) = self.files[file];
        let ready = subscription.report(self.state(id_of_file)) != 0;
        assert_eq!(ready, subscription.report(self.model_state(file)) != 0);
        if ready {
            self.telling(|tree, tell| tree.make_ready(id, tell));
            self.known.insert((epoll, file), Known { subscription, news: true });
            self.model_event(epoll, event::READABLE);
        }
    }

    /// Whether an `epoll` is watchers, at whatever remove, by another.
    fn leads_to(&self, from: usize, to: usize) -> bool {
        from == to || (FIRST_EPOLL..FILES).any(|next| self.known.contains_key(&(from, next)) && self.leads_to(next, to))
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Add(epoll, file, events) => {
                let subscription = Subscription { events, data: file as u64 };
                let added =
                    self.tree.add_interest(self.files[epoll].1, self.name(file), self.source(file), subscription);
                let known = self.known.contains_key(&(epoll, file));
                let circle = file >= FIRST_EPOLL && self.leads_to(file, epoll);
                match added {
                    Ok(id) => self.wished((epoll, file), id, subscription),
                    Err(error) => assert_eq!(error, if known { Errno::EEXIST } else { Errno::ELOOP }),
                }
                assert_eq!(added.is_err(), known || circle);
            }
            Step::Change(epoll, file, events) => {
                let subscription = Subscription { events, data: file as u64 };
                let name = self.name(file);
                match self.tree.change_interest(self.files[epoll].1, name, self.source(file), subscription) {
                    Ok(id) => self.wished((epoll, file), id, subscription),
                    Err(error) => assert_eq!((error, self.known.contains_key(&(epoll, file))), (Errno::ENOENT, false)),
                }
            }
            Step::Remove(epoll, file) => {
                let removed = self.tree.remove_interest(self.files[epoll].1, self.name(file), self.source(file));
                assert_eq!(removed.is_ok(), self.known.remove(&(epoll, file)).is_some());
            }
            Step::Set(file, state) => {
                self.states[file] = state;
                let bits = [(IN, event::READABLE), (OUT, event::WRITABLE), (HANG_UP, event::CLOSED)];
                let bits = bits.iter().filter(|(ready, _)| state & ready != 0).fold(0, |all, (_, bit)| all | bit);
                let source = self.source(file);
                self.telling(|tree, tell| tree.notify(source, bits, tell));
                self.model_event(file, bits);
            }
            Step::Wait(epoll, most) => self.wait(epoll, most),
            Step::Close(file) => {
                let (id, inode) = self.files[file];
                assert!(self.open.release(id).is_some());
                let _ = self.tree.close(inode, OpenFlags::READ_WRITE, Some(id));
                self.known.retain(|(epoll, of), _| *epoll != file && *of != file);
                self.waiting[file] = false;
                self.files[file] = self.make(file);
                self.states.get_mut(file).into_iter().for_each(|state| *state = 0);
            }
        }
    }

    /// As the kernel makes the call.
    fn wait(&mut self, epoll: usize, most: usize) {
        let inode = self.files[epoll].1;
        let expected = self.to_tell(epoll);
        let last = self.tree.ready(inode).unwrap().map(|(_, last)| last);
        let mut told = Vec::new();
        while told.len() < most
            && let Some((first, _)) = self.tree.ready(inode).unwrap()
        {
            let Interest { file, subscription, .. } = *self.tree.interest(first).unwrap();
            match subscription.report(self.state(file)) {
                0 => self.tree.not_ready(first),
                events => {
                    told.push((subscription.data, events));
                    self.tree.reported(first);
                }
            }
            if Some(first) == last {
                break;
            }
        }
        assert_eq!(told.len(), expected.len().min(most), "{told:?} of {expected:?}");
        for event in &told {
            assert!(expected.contains(event), "{event:?} of {expected:?}");
            let known = self.known.get_mut(&(epoll, event.0 as usize)).unwrap();
            known.news = false;
            if known.subscription.events & Subscription::ONCE != 0 {
                known.subscription.events &= Subscription::HOW;
            }
        }
        self.waiting[epoll] = told.is_empty();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 500 }, ..ProptestConfig::default() })]
    #[test]
    fn what_is_ready_is_told_and_who_waits_is_woken(steps in prop::collection::vec(step(), 1..80)) {
        let mut both = Both::new();
        for step in steps {
            both.step(&step);
            prop_assert_eq!(both.tree.interests.len(), both.known.len());
            for epoll in FIRST_EPOLL..FILES {
                prop_assert!(!both.waiting[epoll] || both.to_tell(epoll).is_empty(), "{:?} is lost", both.to_tell(epoll));
            }
        }
        (0..FILES).for_each(|file| both.step(&Step::Close(file)));
        prop_assert_eq!(both.tree.interests.len(), 0);
    }
}

/// A file and this number of `epoll`s that watch it.
fn watchers(count: usize, events: u32) -> (Tree<u32>, Source, Vec<InodeId>) {
    let mut tree = Tree::new(0);
    let inode = tree.make_counter(Counter::default(), 0).unwrap();
    let file = OpenFiles::new(64).insert(OpenFile::new(inode, OpenFlags::READ_WRITE)).unwrap();
    let (source, subscription) = (Source::Inode(inode), Subscription { events, data: 0 });
    let epolls: Vec<_> = (0..count).map(|_| tree.make_epoll(0).unwrap()).collect();
    for epoll in &epolls {
        tree.add_interest(*epoll, (0, file), source, subscription).unwrap();
    }
    (tree, source, epolls)
}

#[test]
fn an_exclusive_event_ends_with_the_first_that_it_wakes() {
    let (mut tree, source, epolls) = watchers(4, IN | Subscription::EXCLUSIVE);
    // No thread waits in the first.
    let mut told = Vec::new();
    let mut tell = |who: Waiters| {
        told.push(who);
        who != Waiters::Epoll(epolls[0])
    };
    assert!(tree.notify(source, event::READABLE, &mut tell));
    assert_eq!(told, [Waiters::Epoll(epolls[0]), Waiters::Epoll(epolls[1])]);
    let ready: Vec<_> = epolls.iter().map(|epoll| tree.ready(*epoll).unwrap().is_some()).collect();
    assert_eq!(ready, [true, true, false, false]);
    // Those that are not exclusive are told in any case.
    let (mut tree, source, epolls) = watchers(3, IN);
    let mut told = 0;
    tree.notify(source, event::READABLE, &mut |_| {
        told += 1;
        true
    });
    assert_eq!((told, epolls.len()), (3, 3));
}

#[test]
fn chains_of_epolls_are_no_circles_and_short() {
    let mut tree: Tree<u32> = Tree::new(0);
    let mut open = OpenFiles::new(64);
    let epolls: Vec<_> = (0..7).map(|_| tree.make_epoll(0).unwrap()).collect();
    let files: Vec<_> =
        epolls.iter().map(|id| open.insert(OpenFile::new(*id, OpenFlags::READ_WRITE)).unwrap()).collect();
    let mut add = |outer: usize, inner: usize| {
        let subscription = Subscription { events: IN, data: 0 };
        tree.add_interest(epolls[outer], (0, files[inner]), Source::Inode(epolls[inner]), subscription).map(drop)
    };
    let linked = [add(1, 0), add(2, 1), add(3, 4), add(2, 3), add(4, 5)];
    assert!(linked.iter().all(Result::is_ok), "{linked:?}");
    assert_eq!((add(5, 2), add(0, 3)), (Err(Errno::ELOOP), Err(Errno::ELOOP)), "a circle; six");
    assert_eq!((add(6, 2), add(5, 0)), (Ok(()), Err(Errno::ELOOP)), "five; six");
}
