//! What the end of a container is said to give back is what it gives.

use crate::budget::Budget;
use crate::frames::PAGE_SIZE;
use crate::memory::Memory;
use crate::memory::container::ContainerId;
use crate::memory::directory::WINDOW;
use crate::memory::object::{ObjectId, Purpose};
use crate::memory::physical::PhysicalMemory;
use crate::memory::region::{Backing, Region, Rights};
use crate::memory::user::Space;
use crate::testing::Machine;
use alloc::rc::Rc;
use cpulocal::Cpu;

const CPU: Cpu = Cpu(0);
const PAGE: u64 = PAGE_SIZE as u64;
const RW: Rights = Rights::READ.union(Rights::WRITE);
const BASE: u64 = 0x7000_0000_0000;

fn map(memory: &mut Memory<Machine>, id: ContainerId, start: u64, pages: u64, backing: Backing) {
    backing.object().into_iter().for_each(|object| memory.share_object(object));
    memory.map(id, Region::new(start..start + pages * PAGE, RW, backing)).unwrap();
}

fn touch(memory: &mut Memory<Machine>, container: ContainerId, start: u64, pages: u64) {
    let space = Space { container, cpu: CPU };
    (0..pages).for_each(|page| memory.copy_out(space, start + page * PAGE, &[1]).unwrap());
}

/// What the end of a container gives back: counted at once, and a page table at a time.
fn reclaimable(memory: &Memory<Machine>, id: ContainerId) -> usize {
    let mut at_once = memory.begin_reclaim_count(id).unwrap();
    assert!(memory.count_reclaimable(&mut at_once, &mut Budget::unlimited()));
    let mut in_pieces = memory.begin_reclaim_count(id).unwrap();
    let mut pieces = 0;
    while !memory.count_reclaimable(&mut in_pieces, &mut Budget::of(1)) {
        pieces += 1;
        assert!(pieces < 10_000, "it does not come on");
    }
    assert_eq!(in_pieces.frames(), at_once.frames());
    at_once.frames()
}

/// Ends a container; the frames that this gives back are those that were foretold.
fn ends(memory: &mut Memory<Machine>, id: ContainerId) -> usize {
    let (foretold, free) = (reclaimable(memory, id), memory.physical.free_frames());
    memory.destroy_container(id, CPU);
    assert_eq!(memory.physical.free_frames() - free, foretold);
    foretold
}

fn object(memory: &mut Memory<Machine>, purpose: Purpose, pages: u64) -> ObjectId {
    let object = memory.make_object(purpose).unwrap();
    memory.resize_object(object, pages * PAGE);
    object
}

#[test]
fn a_container_in_the_window_gives_back_all_that_it_has() {
    let mut memory = Machine::memory(400);
    let id = memory.make_container(&Rc::default()).unwrap();
    map(&mut memory, id, WINDOW.start, 20, Backing::Zero);
    touch(&mut memory, id, WINDOW.start, 15);
    // The stack page of its start is in no region here, and so it is not foretold.
    memory.discard(id, WINDOW.end - PAGE..WINDOW.end);
    assert_eq!(ends(&mut memory, id), 1 + 15);
}

#[test]
fn what_is_shared_after_a_fork_goes_with_the_last() {
    let mut memory = Machine::memory(400);
    let parent = memory.make_container_with_directory(CPU).unwrap();
    map(&mut memory, parent, BASE, 60, Backing::Zero);
    touch(&mut memory, parent, BASE, 50);
    let child = memory.fork_at_once(parent, CPU).unwrap();
    assert_eq!(ends(&mut memory, child), 4, "nothing but tables");
    let child = memory.fork_at_once(parent, CPU).unwrap();
    touch(&mut memory, child, BASE, 30);
    assert_eq!(ends(&mut memory, parent), 4 + 30, "those that the child has copied");
    assert_eq!(ends(&mut memory, child), 4 + 50);
}

#[test]
fn pages_of_files_stay_and_those_of_shared_memory_go_with_the_last() {
    let mut memory = Machine::memory(400);
    let file = object(&mut memory, Purpose::File, 20);
    let shared = object(&mut memory, Purpose::Shared, 20);
    let [a, b] = [(); 2].map(|()| memory.make_container_with_directory(CPU).unwrap());
    for id in [a, b] {
        let [of_file, of_shared] = [file, shared].map(|object| Backing::Object { object, offset: 0, shared: true });
        map(&mut memory, id, BASE, 20, of_file);
        map(&mut memory, id, BASE + 20 * PAGE, 20, of_shared);
        map(&mut memory, id, BASE + 40 * PAGE, 20, Backing::Object { object: file, offset: 0, shared: false });
    }
    memory.release_object(shared);
    touch(&mut memory, a, BASE, 40);
    touch(&mut memory, b, BASE + 20 * PAGE, 20);
    // Private copies of the file's pages.
    touch(&mut memory, b, BASE + 40 * PAGE, 7);
    assert_eq!(ends(&mut memory, b), 4 + 7);
    assert_eq!(ends(&mut memory, a), 4 + 20);
    assert_eq!(memory.object_usage(file), (20, 1));
}
