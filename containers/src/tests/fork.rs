//! Fork: what each side sees, what it costs, and what a failure leaves.

use super::cpus::{access, native, region, run};
use crate::budget::Budget;
use crate::frames::PAGE_SIZE;
use crate::memory::container::{ContainerId, Growth};
use crate::memory::directory::WINDOW;
use crate::memory::object::{ObjectId, Purpose};
use crate::memory::physical::PhysicalMemory;
use crate::memory::region::{Backing, Region, Rights, Traits};
use crate::memory::user::Space;
use crate::memory::{KERNEL_RESERVE, Memory, NoMemory};
use crate::testing::Machine;
use cpulocal::Cpu;
use proptest::prelude::*;
use std::collections::BTreeMap;

const PAGE: u64 = PAGE_SIZE as u64;
const RW: Rights = Rights::READ.union(Rights::WRITE);
const OUTSIDE: u64 = 0x7000_0000_0000;
const ELSEWHERE: u64 = 0x6000_0000_0000;

/// A store of a thread on a CPU.
fn store(memory: &mut Memory<Machine>, cpu: u8, id: ContainerId, address: u64, byte: u8) -> bool {
    match access(memory, Cpu(cpu), id, address, Rights::WRITE) {
        Ok(frame) => {
            memory.physical.write(frame, 0, &[byte]);
            true
        }
        Err(_) => false,
    }
}

/// A load of a thread on a CPU.
fn load(memory: &mut Memory<Machine>, cpu: u8, id: ContainerId, address: u64) -> Option<u8> {
    let frame = access(memory, Cpu(cpu), id, address, Rights::READ).ok()?;
    let mut byte = [0];
    memory.physical.read(frame, 0, &mut byte);
    Some(byte[0])
}

impl Memory<Machine> {
    /// A fork in one piece.
    pub(crate) fn fork_at_once(&mut self, parent: ContainerId, cpu: Cpu) -> Result<ContainerId, NoMemory> {
        self.fork(parent, cpu, &mut Budget::unlimited()).map(|child| child.expect("all at once"))
    }

    /// A fork in pieces as small as can be; returns the child and how many there were.
    fn fork_in_pieces(&mut self, parent: ContainerId, cpu: Cpu) -> Result<(ContainerId, u32), NoMemory> {
        let mut pieces = 1;
        loop {
            match self.fork(parent, cpu, &mut Budget::of(1))? {
                Some(child) => return Ok((child, pieces)),
                None => pieces += 1,
            }
        }
    }
}

#[test]
fn pages_part_at_the_first_write_and_the_last_owner_keeps_the_page() {
    let mut memory = Machine::memory_with(900, 2);
    let parent = memory.make_container_with_directory(Cpu(0)).unwrap();
    memory.map(parent, region(OUTSIDE, 8, RW)).unwrap();
    run(&mut memory, Cpu(0), parent);
    (0..4).for_each(|page| assert!(store(&mut memory, 0, parent, OUTSIDE + page * PAGE, 1)));
    let free = memory.physical.free_frames();
    let child = memory.fork_at_once(parent, Cpu(0)).unwrap();
    // A directory, and three tables for the pages that were touched.
    assert_eq!(free - memory.physical.free_frames(), 4);
    run(&mut memory, Cpu(1), child);
    assert!(store(&mut memory, 1, child, OUTSIDE, 2));
    assert!(store(&mut memory, 0, parent, OUTSIDE + PAGE, 3));
    assert_eq!(memory.counts.pages_copied, 2);
    // The other side has each of these alone now.
    assert!(store(&mut memory, 0, parent, OUTSIDE, 4));
    assert!(store(&mut memory, 1, child, OUTSIDE + PAGE, 5));
    assert_eq!(memory.counts.pages_copied, 2);
    let see = |memory: &mut Memory<Machine>, cpu, id| {
        [0, 1, 2, 4].map(|page| load(memory, cpu, id, OUTSIDE + page * PAGE).unwrap())
    };
    assert_eq!(see(&mut memory, 0, parent), [4, 3, 1, 0]);
    assert_eq!(see(&mut memory, 1, child), [2, 5, 1, 0]);
    memory.physical.here = Cpu(0);
    memory.destroy_container(child, Cpu(0));
    (2..4).for_each(|page| assert!(store(&mut memory, 0, parent, OUTSIDE + page * PAGE, 6)));
    assert_eq!(memory.counts.pages_copied, 2, "alone again");
}

#[test]
fn bytes_go_across_between_pages_that_are_there_and_allow_it() {
    let mut memory = Machine::memory_with(900, 2);
    let parent = memory.make_container_with_directory(Cpu(0)).unwrap();
    memory.map(parent, region(OUTSIDE, 8, RW)).unwrap();
    run(&mut memory, Cpu(0), parent);
    assert!(store(&mut memory, 0, parent, OUTSIDE, 7) && store(&mut memory, 0, parent, OUTSIDE + PAGE, 1));
    let child = memory.fork_at_once(parent, Cpu(0)).unwrap();
    let (from, to) = ((parent, OUTSIDE), (child, OUTSIDE + PAGE));
    assert!(!memory.copy_across(from, to, 1), "the child's page is its parent's still");
    run(&mut memory, Cpu(1), child);
    assert!(store(&mut memory, 1, child, OUTSIDE + PAGE, 2));
    assert!(memory.copy_across(from, to, 1));
    assert_eq!((load(&mut memory, 1, child, to.1), load(&mut memory, 0, parent, to.1)), (Some(7), Some(1)));
    assert!(memory.write_across(to, &[8]) && !memory.write_across((child, OUTSIDE), &[8]));
    assert_eq!(load(&mut memory, 1, child, to.1), Some(8));
    let end = (child, OUTSIDE + 2 * PAGE - 1);
    assert!(memory.copy_across(from, end, 1) && !memory.copy_across(from, end, 2), "across a border");
    assert!(!memory.copy_across(from, (child, OUTSIDE + 3 * PAGE), 1), "never touched");
    assert!(!memory.copy_across(from, (child, u64::MAX), 1) && !memory.copy_across((child, ELSEWHERE), end, 1));
    // Within one page, and one container.
    assert!(memory.copy_across(to, (child, to.1 + 1), 1));
}

#[test]
fn a_fork_interrupts_the_cpus_that_run_the_parent_and_no_others() {
    let mut memory = Machine::memory_with(900, 3);
    let parent = memory.make_container_with_directory(Cpu(0)).unwrap();
    memory.map(parent, region(OUTSIDE, 8, RW)).unwrap();
    [0, 1].into_iter().for_each(|cpu| run(&mut memory, Cpu(cpu), parent));
    assert!(store(&mut memory, 1, parent, OUTSIDE, 1));
    memory.physical.here = Cpu(0);
    memory.fork_at_once(parent, Cpu(0)).unwrap();
    assert_eq!((memory.counts.shootdowns, memory.counts.shootdown_cpus), (1, 1));
    // Nothing can be written any more, so no CPU has to forget anything.
    memory.fork_at_once(parent, Cpu(0)).unwrap();
    assert_eq!(memory.counts.shootdowns, 1);
}

#[test]
fn a_child_in_the_window_costs_a_table_and_what_it_writes() {
    let mut memory = Machine::memory(400);
    let parent = native(&mut memory);
    run(&mut memory, Cpu(0), parent);
    assert!(store(&mut memory, 0, parent, WINDOW.end - PAGE, 7));
    let free = memory.physical.free_frames();
    let child = memory.fork_at_once(parent, Cpu(0)).unwrap();
    let usage = memory.container(child).unwrap().usage();
    assert_eq!((free - memory.physical.free_frames(), usage.pages, usage.directories), (1, 2, 0));
    run(&mut memory, Cpu(0), child);
    assert_eq!(load(&mut memory, 0, child, WINDOW.end - PAGE), Some(7));
    assert!(store(&mut memory, 0, child, WINDOW.end - PAGE, 8));
    assert_eq!(free - memory.physical.free_frames(), 2);
}

/// A parent with pages in several tables, private and shared, two CPUs running it.
fn parent(memory: &mut Memory<Machine>) -> (ContainerId, ObjectId) {
    let id = memory.make_container_with_directory(Cpu(0)).unwrap();
    let object = memory.make_object(Purpose::File).unwrap();
    memory.write_object(object, 0, &[9; 3 * PAGE_SIZE]).unwrap();
    for (start, shared) in [(OUTSIDE, None), (OUTSIDE + (4 << 20), Some(false)), (ELSEWHERE, Some(true))] {
        let backing = match shared {
            None => Backing::Zero,
            Some(shared) => {
                memory.share_object(object);
                Backing::Object { object, offset: 0, shared }
            }
        };
        memory.map(id, Region { backing, ..region(start, 3, RW) }).unwrap();
    }
    [1, 0].into_iter().for_each(|cpu| run(memory, Cpu(cpu), id));
    for start in [OUTSIDE, OUTSIDE + (4 << 20)] {
        (0..2).for_each(|page| assert!(store(memory, 0, id, start + page * PAGE, 5)));
    }
    (id, object)
}

#[test]
fn a_fork_that_finds_no_memory_changes_nothing() {
    let fails = |frames: Option<usize>, bookkeeping: usize| {
        let mut memory = Machine::memory_with(900, 2);
        let (id, object) = parent(&mut memory);
        let mut taken = Vec::new();
        while frames.is_some_and(|frames| memory.physical.free_frames() > KERNEL_RESERVE + frames) {
            taken.push(memory.physical.allocate().unwrap());
        }
        let (free, copied) = (memory.physical.free_frames(), memory.counts.pages_copied);
        memory.physical.bookkeeping = bookkeeping;
        let forked = memory.fork_at_once(id, Cpu(0));
        memory.physical.bookkeeping = usize::MAX;
        if forked.is_err() {
            assert_eq!((memory.physical.free_frames(), memory.containers_live()), (free, 1));
            for (cpu, start) in [(0, OUTSIDE), (1, OUTSIDE + (4 << 20))] {
                assert_eq!(load(&mut memory, cpu, id, start), Some(5));
                assert!(store(&mut memory, cpu, id, start, 6), "the only owner writes without a frame");
            }
            assert_eq!(memory.counts.pages_copied, copied);
        }
        taken.into_iter().for_each(|frame| memory.physical.release(frame));
        memory.physical.here = Cpu(0);
        forked.into_iter().chain([id]).for_each(|id| memory.destroy_container(id, Cpu(0)));
        memory.release_object(object);
        assert_eq!(memory.physical.free_frames(), 900 - 1 - 2 * 4);
        forked.is_err()
    };
    let needed = (0..40).position(|frames| !fails(Some(frames), usize::MAX)).expect("enough at last");
    let rooms = (0..40).position(|rooms| !fails(None, rooms)).expect("enough at last");
    // A directory, its three tables and one more; three regions in one piece.
    assert_eq!((needed, rooms), (5, 1));
}

/// A parent with pages in many tables, and regions of all kinds: of every four one that the child gets, one that is kept
/// from it, one that is new in it, and one that is locked.
fn large_parent(memory: &mut Memory<Machine>) -> ContainerId {
    let id = memory.make_container_with_directory(Cpu(0)).unwrap();
    run(memory, Cpu(0), id);
    for n in 0..400 {
        let traits = [Traits::empty(), Traits::NOT_FORKED, Traits::WIPED_BY_FORK, Traits::LOCKED][n as usize % 4];
        let start = OUTSIDE + n * STEP;
        memory.map(id, Region { traits, ..region(start, 1, RW) }).unwrap();
        assert!(store(memory, 0, id, start, n as u8));
    }
    id
}

/// Bytes between two regions of [`large_parent`]: three in each last-level table.
const STEP: u64 = 170 * PAGE;

#[test]
fn a_child_made_in_pieces_is_like_one_made_at_once() {
    let mut memory = Machine::memory_with(3000, 2);
    let parent = large_parent(&mut memory);
    let at_once = memory.fork_at_once(parent, Cpu(0)).unwrap();
    let (child, pieces) = memory.fork_in_pieces(parent, Cpu(0)).unwrap();
    assert!(pieces > 100 && !memory.is_forking(parent), "{pieces}");
    let both = [at_once, child].map(|id| memory.container(id).unwrap());
    assert!(both[0].regions.iter().eq(both[1].regions.iter()));
    assert_eq!(both[0].usage().pages, both[1].usage().pages);
    for id in [at_once, child] {
        run(&mut memory, Cpu(1), id);
        for n in 0..400 {
            let seen = [Some(n as u8), None, Some(0), Some(n as u8)][n as usize % 4];
            assert_eq!(load(&mut memory, 1, id, OUTSIDE + n * STEP), seen, "region {n}");
        }
        assert!(memory.container(id).unwrap().regions.iter().all(|region| !region.traits.contains(Traits::LOCKED)));
    }
}

#[test]
fn a_stack_grows_in_a_child_that_is_being_made_too() {
    let mut memory = Machine::memory_with(3000, 1);
    let parent = large_parent(&mut memory);
    let stack = Region { traits: Traits::GROWS, ..region(ELSEWHERE, 1, RW) };
    memory.map(parent, stack).unwrap();
    memory.container_mut(parent).unwrap().growth = Growth { region: 64 * PAGE, all: u64::MAX };
    assert_eq!(memory.fork(parent, Cpu(0), &mut Budget::of(1)), Ok(None));
    assert!(store(&mut memory, 0, parent, ELSEWHERE - PAGE, 1));
    let (child, _) = memory.fork_in_pieces(parent, Cpu(0)).unwrap();
    run(&mut memory, Cpu(0), child);
    assert!(load(&mut memory, 0, child, ELSEWHERE - PAGE).is_some());
    let stacks = [parent, child].map(|id| *memory.container(id).unwrap().regions.at(ELSEWHERE).unwrap());
    assert_eq!(stacks[0], stacks[1]);
    run(&mut memory, Cpu(0), parent);
    let bytes = memory.container(parent).unwrap().regions.bytes();
    memory.container_mut(parent).unwrap().growth.all = bytes + PAGE;
    let at = ELSEWHERE - PAGE;
    assert!(!store(&mut memory, 0, parent, at - 2 * PAGE, 1), "two pages are more than all may have");
    assert!(store(&mut memory, 0, parent, at - PAGE, 1));
    assert!(!store(&mut memory, 0, parent, at - 2 * PAGE, 1));
}

#[test]
fn a_fork_that_is_given_up_or_finds_no_memory_half_way_leaves_nothing() {
    let mut memory = Machine::memory_with(3000, 2);
    let parent = large_parent(&mut memory);
    let (free, copied) = (memory.physical.free_frames(), memory.counts.pages_copied);
    let (child, pieces) = memory.fork_in_pieces(parent, Cpu(0)).unwrap();
    memory.destroy_container(child, Cpu(0));
    memory.tear_down(&mut Budget::unlimited());
    for done in (1..pieces * 3 / 4).step_by(17) {
        (0..done).for_each(|_| assert_eq!(memory.fork(parent, Cpu(0), &mut Budget::of(1)), Ok(None)));
        if done % 2 == 0 {
            memory.abandon_fork(parent);
        } else {
            let left = memory.physical.free_frames() - KERNEL_RESERVE;
            let taken: Vec<_> = (0..left).map(|_| memory.physical.allocate().unwrap()).collect();
            assert_eq!(memory.fork_in_pieces(parent, Cpu(0)), Err(NoMemory::Frames), "after {done} of {pieces}");
            taken.into_iter().for_each(|frame| memory.physical.release(frame));
        }
        assert!(!memory.is_forking(parent));
        memory.tear_down(&mut Budget::unlimited());
        assert_eq!((memory.physical.free_frames(), memory.containers_live()), (free, 1), "after {done} of {pieces}");
    }
    run(&mut memory, Cpu(0), parent);
    (0..400).for_each(|n| assert!(store(&mut memory, 0, parent, OUTSIDE + n * STEP, 1)));
    assert_eq!(memory.counts.pages_copied, copied, "the only owner writes without a frame");
}

const CPUS: u8 = 3;
const CONTAINERS: usize = 4;
/// Where pages lie: in the window, outside it, and in a mapping that all share.
const BASES: [u64; 3] = [WINDOW.start, OUTSIDE, ELSEWHERE];
const PAGES: u64 = 6;

#[derive(Clone, Debug)]
enum Step {
    Run(u8, usize),
    Rest(u8),
    Store(u8, u64, u8),
    Load(u8, u64),
    CopyOut(u8, usize, u64, u8),
    Map(u8, u64, u64),
    Unmap(u8, u64, u64),
    Protect(u8, u64, u64, u8),
    Fork(u8, usize, bool),
    Destroy(u8, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let cpu = || 0..CPUS;
    let page = || 0..PAGES * 3;
    let private = || 0..PAGES * 2;
    prop_oneof![
        3 => (cpu(), 0..CONTAINERS).prop_map(|(cpu, n)| Step::Run(cpu, n)),
        1 => cpu().prop_map(Step::Rest),
        8 => (cpu(), page(), 1..100_u8).prop_map(|(cpu, at, byte)| Step::Store(cpu, at, byte)),
        4 => (cpu(), page()).prop_map(|(cpu, at)| Step::Load(cpu, at)),
        2 => (cpu(), 0..CONTAINERS, page(), 1..100_u8).prop_map(|(cpu, n, at, byte)| Step::CopyOut(cpu, n, at, byte)),
        2 => (cpu(), private(), 1..4_u64).prop_map(|(cpu, at, n)| Step::Map(cpu, at, n)),
        1 => (cpu(), private(), 1..4_u64).prop_map(|(cpu, at, n)| Step::Unmap(cpu, at, n)),
        2 => (cpu(), page(), 1..4_u64, 0..3_u8).prop_map(|(cpu, at, n, rights)| Step::Protect(cpu, at, n, rights)),
        4 => (cpu(), 0..CONTAINERS, any::<bool>()).prop_map(|(cpu, n, in_pieces)| Step::Fork(cpu, n, in_pieces)),
        1 => (cpu(), 0..CONTAINERS).prop_map(|(cpu, n)| Step::Destroy(cpu, n)),
    ]
}

fn address(page: u64) -> u64 {
    BASES[(page / PAGES) as usize] + page % PAGES * PAGE
}

/// A container, and what is to be seen in it: rights and, of private pages, the byte.
#[derive(Clone)]
struct Side {
    id: ContainerId,
    pages: BTreeMap<u64, (u8, Rights)>,
}

struct World {
    memory: Memory<Machine>,
    sides: Vec<Side>,
    running: [Option<usize>; CPUS as usize],
    object: ObjectId,
    shared: [u8; PAGES as usize],
}

impl World {
    fn new() -> World {
        let mut memory = Machine::memory_with(2000, CPUS.into());
        let object = memory.make_object(Purpose::File).unwrap();
        memory.resize_object(object, PAGES * PAGE);
        let mut world =
            World { memory, sides: Vec::new(), running: [None; CPUS as usize], object, shared: [0; PAGES as usize] };
        (0..CONTAINERS).for_each(|n| {
            let side = world.make(n);
            world.sides.push(side);
        });
        world
    }

    /// Two kinds in turns: in the window, and with a directory and a shared mapping.
    fn make(&mut self, n: usize) -> Side {
        let mut pages: BTreeMap<_, _> = (0..PAGES).map(|page| (page, (0, RW))).collect();
        if n.is_multiple_of(2) {
            let id = native(&mut self.memory);
            self.memory.map(id, region(WINDOW.start, PAGES, RW)).unwrap();
            return Side { id, pages };
        }
        let id = self.memory.make_container_with_directory(Cpu(0)).unwrap();
        self.memory.map(id, region(WINDOW.start, PAGES, RW)).unwrap();
        self.memory.share_object(self.object);
        let backing = Backing::Object { object: self.object, offset: 0, shared: true };
        self.memory.map(id, Region { backing, ..region(ELSEWHERE, PAGES, RW) }).unwrap();
        (2 * PAGES..3 * PAGES).for_each(|page| _ = pages.insert(page, (0, RW)));
        Side { id, pages }
    }

    /// The container that a CPU runs, with the CPU in the kernel.
    fn enter(&mut self, cpu: u8) -> Option<usize> {
        self.memory.physical.here = Cpu(cpu);
        let n = self.running[usize::from(cpu)]?;
        self.memory.activate(self.sides[n].id, Cpu(cpu)).unwrap();
        Some(n)
    }

    /// A private range of pages within one of the bases.
    fn range(at: u64, pages: u64) -> (u64, u64) {
        (at, pages.min(PAGES - at % PAGES))
    }

    fn stored(&mut self, n: usize, page: u64, byte: u8) {
        match page.checked_sub(2 * PAGES) {
            Some(shared) => self.shared[shared as usize] = byte,
            None => _ = self.sides[n].pages.entry(page).and_modify(|it| it.0 = byte),
        }
    }

    fn expected(&self, n: usize, page: u64) -> Option<u8> {
        let (byte, rights) = self.sides[n].pages.get(&page)?;
        let byte = page.checked_sub(2 * PAGES).map_or(*byte, |shared| self.shared[shared as usize]);
        rights.contains(Rights::READ).then_some(byte)
    }

    fn may_write(&self, n: usize, page: u64) -> bool {
        self.sides[n].pages.get(&page).is_some_and(|(_, rights)| rights.contains(Rights::WRITE))
    }

    /// A fork on a CPU, in one piece or in as many as can be. After one in pieces, the other CPUs come back.
    fn fork(&mut self, cpu: u8, n: usize, in_pieces: bool) -> ContainerId {
        let budget = || if in_pieces { Budget::of(1) } else { Budget::unlimited() };
        let child = loop {
            if let Some(child) = self.memory.fork(self.sides[n].id, Cpu(cpu), &mut budget()).unwrap() {
                break child;
            }
        };
        for other in (0..CPUS).filter(|other| *other != cpu) {
            self.enter(other);
        }
        self.memory.physical.here = Cpu(cpu);
        child
    }

    fn replace(&mut self, cpu: u8, n: usize, side: Side) {
        self.memory.physical.here = Cpu(cpu);
        let old = core::mem::replace(&mut self.sides[n], side);
        self.memory.destroy_container(old.id, Cpu(cpu));
        self.running.iter_mut().filter(|running| **running == Some(n)).for_each(|running| *running = None);
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Run(cpu, n) => {
                self.running[usize::from(cpu)] = Some(n);
                self.enter(cpu);
            }
            Step::Rest(cpu) => {
                self.memory.physical.here = Cpu(cpu);
                self.running[usize::from(cpu)] = None;
                self.memory.rest(Cpu(cpu));
            }
            Step::Store(cpu, page, byte) => {
                let Some(n) = self.running[usize::from(cpu)] else { return };
                let done = store(&mut self.memory, cpu, self.sides[n].id, address(page), byte);
                assert_eq!(done, self.may_write(n, page));
                if done {
                    self.stored(n, page, byte);
                }
            }
            Step::Load(cpu, page) => {
                let Some(n) = self.running[usize::from(cpu)] else { return };
                let seen = load(&mut self.memory, cpu, self.sides[n].id, address(page));
                assert_eq!(seen, self.expected(n, page), "CPU {cpu}, page {page}");
            }
            Step::CopyOut(cpu, n, page, byte) => {
                self.memory.physical.here = Cpu(cpu);
                let space = Space { container: self.sides[n].id, cpu: Cpu(cpu) };
                let done = self.memory.copy_out(space, address(page), &[byte]).is_ok();
                assert_eq!(done, self.may_write(n, page));
                if done {
                    self.stored(n, page, byte);
                }
            }
            Step::Map(cpu, at, pages) => {
                let Some(n) = self.enter(cpu) else { return };
                let (at, pages) = World::range(at, pages);
                self.memory.map(self.sides[n].id, region(address(at), pages, RW)).unwrap();
                (at..at + pages).for_each(|page| _ = self.sides[n].pages.insert(page, (0, RW)));
            }
            Step::Unmap(cpu, at, pages) => {
                let Some(n) = self.enter(cpu) else { return };
                let (at, pages) = World::range(at, pages);
                self.memory.unmap(self.sides[n].id, address(at)..address(at) + pages * PAGE).unwrap();
                (at..at + pages).for_each(|page| _ = self.sides[n].pages.remove(&page));
            }
            Step::Protect(cpu, at, pages, rights) => {
                let Some(n) = self.enter(cpu) else { return };
                let (at, pages) = World::range(at, pages);
                let rights = [Rights::empty(), Rights::READ, RW][usize::from(rights)];
                self.memory.protect(self.sides[n].id, address(at)..address(at) + pages * PAGE, rights).unwrap();
                let known = &mut self.sides[n].pages;
                (at..at + pages).for_each(|page| _ = known.entry(page).and_modify(|it| it.1 = rights));
            }
            Step::Fork(cpu, into, in_pieces) => {
                let Some(n) = self.enter(cpu) else { return };
                let id = self.fork(cpu, n, in_pieces);
                let side = Side { id, ..self.sides[n].clone() };
                self.replace(cpu, into, side);
            }
            Step::Destroy(cpu, n) => {
                let side = self.make(n);
                self.replace(cpu, n, side);
            }
        }
    }

    /// What the kernel sees of all containers, none of which it changes by that.
    fn check(&mut self) {
        self.memory.physical.here = Cpu(0);
        for n in 0..CONTAINERS {
            let space = Space { container: self.sides[n].id, cpu: Cpu(0) };
            for page in 0..PAGES * 3 {
                let mut byte = [0];
                let seen = self.memory.copy_in(space, address(page), &mut byte).is_ok().then_some(byte[0]);
                assert_eq!(seen, self.expected(n, page), "container {n}, page {page}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 300 }, ..ProptestConfig::default() })]
    #[test]
    fn each_side_sees_what_it_has_written(steps in proptest::collection::vec(step(), 1..100)) {
        let mut world = World::new();
        for (n, step) in steps.into_iter().enumerate() {
            world.take(step);
            // Seldom, because it makes pages of all there are.
            if n % 16 == 15 {
                world.check();
            }
        }
        world.check();
        let World { mut memory, sides, object, .. } = world;
        memory.physical.here = Cpu(1);
        sides.into_iter().for_each(|side| memory.destroy_container(side.id, Cpu(1)));
        memory.release_object(object);
        prop_assert_eq!(memory.physical.free_frames(), 2000 - 1 - 4 * usize::from(CPUS));
    }
}

#[test]
fn an_object_is_a_program_as_long_as_a_container_runs_it() {
    let mut memory = Machine::memory(400);
    let object = memory.make_object(Purpose::File).unwrap();
    let parent = memory.make_container_with_directory(Cpu(0)).unwrap();
    assert!(!memory.is_program(object));
    memory.set_program(parent, Some(object));
    memory.set_program(parent, Some(object));
    let child = memory.fork(parent, Cpu(0), &mut Budget::unlimited()).unwrap().unwrap();
    memory.destroy_container(parent, Cpu(0));
    assert!(memory.is_program(object));
    memory.destroy_container(child, Cpu(0));
    assert!(!memory.is_program(object));
}
