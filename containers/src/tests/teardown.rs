//! Teardown piece by piece, and allocations that need its frames.

use super::*;
use crate::frames::PAGE_SIZE;
use crate::memory::container::Usage;
use crate::memory::directory::WINDOW;
use crate::memory::object::Purpose;
use crate::memory::region::{Backing, Region, Regions, Rights};
use crate::memory::user::Space;
use crate::testing::Machine;
use cpulocal::Cpu;

const CPU: Cpu = Cpu(0);
const PAGE: u64 = PAGE_SIZE as u64;
const OUTSIDE: u64 = 0x7000_0000_0000;
const RW: Rights = Rights::READ.union(Rights::WRITE);

/// A container that has this number of pages in a region at [`OUTSIDE`], each in the next page or the next but one.
fn container(memory: &mut Memory<Machine>, pages: u64) -> ContainerId {
    let id = memory.make_container_with_directory(CPU).unwrap();
    let end = OUTSIDE + 2 * pages * PAGE;
    memory.map_fresh(id, Region::new(OUTSIDE..end, RW, Backing::Zero)).unwrap();
    for page in 0..pages {
        memory.copy_out(Space { container: id, cpu: CPU }, OUTSIDE + (2 * page + page % 2) * PAGE, &[1]).unwrap();
    }
    id
}

/// Takes everything apart in pieces; returns how many there were.
fn in_pieces(memory: &mut Memory<Machine>, instructions: u64) -> usize {
    let pieces = (0..100_000).take_while(|_| {
        let there = memory.has_teardown_work();
        memory.tear_down(&mut Budget::of(instructions));
        there
    });
    pieces.count()
}

#[test]
fn containers_of_one_package_share_its_regions_until_they_change_them() {
    let mut memory = Machine::memory(400);
    let object = memory.make_object(Purpose::File).unwrap();
    let data = WINDOW.start..WINDOW.start + 4 * PAGE;
    let mut regions = Regions::default();
    let backing = Backing::Image { object, offset: 0, length: 2 * PAGE };
    regions.insert(Region::new(data.clone(), RW, backing)).unwrap();
    let package = Rc::new(regions);
    let [same, changed] = [(); 2].map(|()| memory.make_container(&package).unwrap());
    assert_eq!((memory.object_usage(object).1, Rc::strong_count(&package)), (3, 3));
    memory.unmap(changed, data.start + PAGE..data.start + 2 * PAGE).unwrap();
    assert_eq!((memory.object_usage(object).1, Rc::strong_count(&package)), (4, 2));
    assert!(memory.container(same).unwrap().regions.covers(data.clone()) && package.covers(data.clone()));
    assert!(!memory.container(changed).unwrap().regions.covers(data));
    [changed, same].into_iter().for_each(|id| memory.destroy_container(id, CPU));
    assert_eq!((memory.object_usage(object).1, Rc::strong_count(&package)), (1, 1));
}

#[test]
fn a_large_container_goes_in_pieces_and_a_small_one_at_once() {
    let mut memory = Machine::memory(4000);
    let free = memory.physical.free_frames();
    let small = container(&mut memory, 20);
    memory.destroy_container(small, CPU);
    assert_eq!((memory.has_teardown_work(), memory.physical.free_frames()), (false, free));
    let large = container(&mut memory, 2500);
    memory.destroy_container(large, CPU);
    let left = memory.physical.free_frames();
    assert!(memory.has_teardown_work() && left < free - 2000);
    memory.tear_down(&mut Budget::of(1));
    assert!((left + 1..left + 600).contains(&memory.physical.free_frames()), "a table at a time");
    assert!(in_pieces(&mut memory, 1) > 3);
    assert_eq!((memory.physical.free_frames(), memory.containers_live()), (free, 0));
}

#[test]
fn an_objects_pages_go_in_pieces_and_count_no_more_at_once() {
    let mut memory = Machine::memory(4000);
    let free = memory.physical.free_frames();
    let bytes = [1; PAGE_SIZE];
    let object = memory.make_object(Purpose::File).unwrap();
    (0..2000).for_each(|page| assert_eq!(memory.write_object(object, page * PAGE, &bytes), Ok(PAGE_SIZE)));
    memory.resize_object(object, 100 * PAGE);
    assert_eq!(memory.account(Purpose::File).pages, 100);
    assert!(memory.has_teardown_work());
    assert!(in_pieces(&mut memory, 1) > 20);
    assert_eq!(free - memory.physical.free_frames(), 100);
    memory.release_object(object);
    assert_eq!((memory.account(Purpose::File).pages, memory.physical.free_frames()), (0, free));
    assert_eq!(memory.objects_live(), 0);
}

#[test]
fn who_needs_a_frame_gets_one_of_those_that_are_left() {
    let mut memory = Machine::memory(4000);
    let first = container(&mut memory, 2500);
    memory.destroy_container(first, CPU);
    // Without these frames there is no room for it.
    let second = container(&mut memory, 2500);
    assert_eq!(memory.container(second).unwrap().usage().pages, 2500 + 13);
    assert!(memory.make_room(1000, &mut Budget::unlimited()));
}

#[test]
fn a_range_is_emptied_in_pieces_as_it_is_at_once() {
    let mut memory = Machine::memory(4000);
    let id = container(&mut memory, 2500);
    let range = OUTSIDE + 3 * PAGE..OUTSIDE + 4990 * PAGE;
    let mut pieces = 1;
    while !memory.unmap_some(id, range.clone(), &mut Budget::of(1)).unwrap() {
        pieces += 1;
    }
    assert!(pieces > 5, "{pieces}");
    let container = memory.container(id).unwrap();
    let left: Vec<_> = container.regions.iter().map(|region| (region.start, region.end)).collect();
    assert_eq!(left, [(OUTSIDE, range.start), (range.end, OUTSIDE + 5000 * PAGE)]);
    // One page before, five behind; the directory, two tables for each end, and those that they share.
    let Usage { pages, tables, .. } = container.usage();
    assert_eq!(pages - tables, 1 + 5);
    assert_eq!(tables, 1 + 2 + 2);
}
