//! The counts that DESIGN promises, and what becomes of pages.

use crate::frames::PAGE_SIZE;
use crate::memory::directory::{PACKAGES, WINDOW, span};
use crate::memory::fault::Fault;
use crate::memory::object::Purpose;
use crate::memory::physical::PhysicalMemory;
use crate::memory::region::{Backing, MAX_REGIONS, Region, Rights};
use crate::memory::user::Space;
use crate::memory::{KERNEL_RESERVE, Memory, NoMemory};
use crate::testing::Machine;
use crate::{Budget, ContainerId, ObjectId};
use alloc::rc::Rc;
use cpulocal::{Cpu, CpuSet};

const CPU: Cpu = Cpu(0);
const PAGE: u64 = PAGE_SIZE as u64;
const RW: Rights = Rights::READ.union(Rights::WRITE);
const OUTSIDE: u64 = 0x7000_0000_0000;

fn region(start: u64, pages: u64, rights: Rights, backing: Backing) -> Region {
    Region::new(start..start + pages * PAGE, rights, backing)
}

/// A native container with its stack region.
fn native(memory: &mut Memory<Machine>) -> ContainerId {
    let id = memory.make_container(&Rc::default()).unwrap();
    memory.map_fresh(id, region(WINDOW.end - 64 * PAGE, 64, RW, Backing::Zero)).unwrap();
    id
}

/// Whether a page of a container has a frame.
fn is_resident(memory: &Memory<Machine>, id: ContainerId, page: u64) -> bool {
    let mut told = [2];
    memory.residence(id, page, &mut told);
    told[0] == 1
}

fn space(container: ContainerId) -> Space {
    Space { container, cpu: CPU }
}

/// An object whose page n is full of byte n + 1.
fn object(memory: &mut Memory<Machine>, pages: u64) -> ObjectId {
    let id = memory.make_object(Purpose::File).unwrap();
    for page in 0..pages {
        memory.write_object(id, page * PAGE, &[page as u8 + 1; PAGE_SIZE]).unwrap();
    }
    id
}

#[test]
fn a_fresh_container_is_two_pages_and_none_remain() {
    let mut memory = Machine::memory(400);
    let free = memory.physical.free_frames();
    let id = native(&mut memory);
    assert_eq!(free - memory.physical.free_frames(), 2);
    let usage = memory.container(id).unwrap().usage();
    assert_eq!((usage.pages, usage.tables, usage.directories), (2, 1, 0));
    memory.destroy_container(id, CPU);
    assert_eq!(memory.physical.free_frames(), free);
}

#[test]
fn faults_in_the_window_add_pages_and_no_directory() {
    let mut memory = Machine::memory(400);
    let id = native(&mut memory);
    for page in 2..10 {
        memory.fault(id, CPU, WINDOW.end - page * PAGE, Rights::WRITE).unwrap();
    }
    let usage = memory.container(id).unwrap().usage();
    assert_eq!((usage.pages, usage.directories, memory.counts.directories_made), (10, 0, 0));
}

#[test]
fn the_first_stack_page_is_there_and_writable() {
    let mut memory = Machine::memory(400);
    let id = native(&mut memory);
    memory.copy_out(space(id), WINDOW.end - 8, &[0x21; 8]).unwrap();
    assert_eq!(memory.counts.faults_resolved, 0);
    let mut back = [0; 8];
    memory.copy_in(space(id), WINDOW.end - 8, &mut back).unwrap();
    assert_eq!(back, [0x21; 8]);
}

#[test]
fn a_word_is_changed_where_it_may_be_written() {
    let mut memory = Machine::memory(400);
    let id = native(&mut memory);
    memory.copy_out(space(id), WINDOW.end - 8, &[7, 0, 0, 0, 9, 0, 0, 0]).unwrap();
    assert_eq!(memory.change_word(space(id), WINDOW.end - 8, |word| word + 1), Ok(7));
    let mut back = [0; 8];
    memory.copy_in(space(id), WINDOW.end - 8, &mut back).unwrap();
    assert_eq!(back, [8, 0, 0, 0, 9, 0, 0, 0]);
    // Not aligned, not mapped, not a user address.
    for address in [WINDOW.end - 6, OUTSIDE, crate::memory::directory::USER_END] {
        assert!(memory.change_word(space(id), address, |word| word).is_err(), "{address:#x}");
    }
}

#[test]
fn leaving_the_window_makes_one_directory_and_keeps_the_pages() {
    let mut memory = Machine::memory(400);
    let free = memory.physical.free_frames();
    let id = native(&mut memory);
    memory.copy_out(space(id), WINDOW.end - 8, &[0x21; 8]).unwrap();
    memory.map(id, region(OUTSIDE, 4, RW, Backing::Zero)).unwrap();
    memory.activate(id, CPU).unwrap();
    let global = memory.physical.loaded();
    memory.fault(id, CPU, OUTSIDE, Rights::WRITE).unwrap();
    memory.fault(id, CPU, OUTSIDE + PAGE, Rights::WRITE).unwrap();
    memory.activate(id, CPU).unwrap();
    assert_ne!(memory.physical.loaded(), global);
    let usage = memory.container(id).unwrap().usage();
    // Directory, two tables above the window, three below the new page, and the pages.
    assert_eq!((usage.pages, usage.tables, usage.directories, usage.owner), (10, 7, 1, Some(CPU)));
    assert_eq!(memory.counts.directories_made, 1);
    let mut back = [0; 8];
    memory.copy_in(space(id), WINDOW.end - 8, &mut back).unwrap();
    assert_eq!(back, [0x21; 8]);
    memory.destroy_container(id, CPU);
    assert_eq!((memory.physical.free_frames(), memory.counts.directories_live), (free, 0));
    assert_eq!(memory.physical.loaded(), global);
}

#[test]
fn switching_between_small_containers_changes_one_entry() {
    let mut memory = Machine::memory(400);
    let (a, b) = (native(&mut memory), native(&mut memory));
    for id in [a, b, a, a] {
        memory.activate(id, CPU).unwrap();
    }
    assert_eq!(memory.counts.window_switches, 3);
    memory.destroy_container(a, CPU);
    memory.destroy_container(b, CPU);
}

#[test]
fn rights_are_kept() {
    let mut memory = Machine::memory(400);
    let id = memory.make_container_with_directory(CPU).unwrap();
    memory.map(id, region(OUTSIDE, 1, Rights::READ, Backing::Zero)).unwrap();
    assert!(memory.fault(id, CPU, OUTSIDE, Rights::READ).is_ok());
    assert_eq!(memory.fault(id, CPU, OUTSIDE, Rights::WRITE), Err(Fault::Rights));
    assert_eq!(memory.fault(id, CPU, OUTSIDE, Rights::EXECUTE), Err(Fault::Rights));
    assert_eq!(memory.fault(id, CPU, OUTSIDE + PAGE, Rights::READ), Err(Fault::NoRegion));
    memory.protect(id, OUTSIDE..OUTSIDE + PAGE, RW).unwrap();
    assert!(memory.fault(id, CPU, OUTSIDE, Rights::WRITE).is_ok());
    memory.protect(id, OUTSIDE..OUTSIDE + PAGE, Rights::empty()).unwrap();
    assert_eq!(memory.fault(id, CPU, OUTSIDE, Rights::READ), Err(Fault::Rights));
}

#[test]
fn a_page_survives_protection_of_none() {
    let mut memory = Machine::memory(400);
    let id = memory.make_container_with_directory(CPU).unwrap();
    memory.map(id, region(OUTSIDE, 1, RW, Backing::Zero)).unwrap();
    memory.copy_out(space(id), OUTSIDE, &[7]).unwrap();
    for rights in [Rights::empty(), Rights::READ, Rights::empty(), RW] {
        memory.protect(id, OUTSIDE..OUTSIDE + PAGE, rights).unwrap();
    }
    let mut back = [0];
    memory.copy_in(space(id), OUTSIDE, &mut back).unwrap();
    assert_eq!(back, [7]);
    memory.copy_out(space(id), OUTSIDE, &[8]).unwrap();
}

#[test]
fn private_mappings_share_frames_until_somebody_writes() {
    let mut memory = Machine::memory(400);
    let object = object(&mut memory, 2);
    let (a, b) =
        (memory.make_container_with_directory(CPU).unwrap(), memory.make_container_with_directory(CPU).unwrap());
    let backing = Backing::Object { object, offset: 0, shared: false };
    for id in [a, b] {
        memory.share_object(object);
        memory.map(id, region(OUTSIDE, 2, RW, backing)).unwrap();
    }
    let frames = [a, b].map(|id| memory.fault(id, CPU, OUTSIDE, Rights::READ).unwrap());
    assert_eq!(frames[0], frames[1]);
    memory.copy_out(space(a), OUTSIDE, &[9]).unwrap();
    let first = [a, b].map(|id| {
        let mut byte = [0];
        memory.copy_in(space(id), OUTSIDE, &mut byte).unwrap();
        byte[0]
    });
    let mut in_object = [0];
    memory.read_object(object, 0, &mut in_object);
    assert_eq!((first, in_object, memory.counts.pages_copied), ([9, 1], [1], 1));
}

#[test]
fn shared_mappings_are_the_object() {
    let mut memory = Machine::memory(400);
    let object = object(&mut memory, 1);
    let id = memory.make_container_with_directory(CPU).unwrap();
    memory.share_object(object);
    memory.map(id, region(OUTSIDE, 2, RW, Backing::Object { object, offset: 0, shared: true })).unwrap();
    memory.copy_out(space(id), OUTSIDE + 5, &[9]).unwrap();
    let mut byte = [0];
    memory.read_object(object, 5, &mut byte);
    assert_eq!(byte, [9]);
    assert_eq!(memory.fault(id, CPU, OUTSIDE + PAGE, Rights::READ), Err(Fault::BeyondEnd));
}

#[test]
fn what_is_cut_off_an_object_is_gone_from_where_it_is_mapped() {
    let mut memory = Machine::memory(400);
    let object = object(&mut memory, 4);
    let (a, b) =
        (memory.make_container_with_directory(CPU).unwrap(), memory.make_container_with_directory(CPU).unwrap());
    for (id, offset, shared) in [(a, 0, true), (b, PAGE, false)] {
        memory.share_object(object);
        let backing = Backing::Object { object, offset, shared };
        memory.map(id, region(OUTSIDE, 4 - offset / PAGE, RW, backing)).unwrap();
        for page in 0..4 - offset / PAGE {
            memory.fault(id, CPU, OUTSIDE + page * PAGE, Rights::WRITE).unwrap();
        }
    }
    let free = memory.physical.free_frames();
    memory.resize_object(object, PAGE + 5);
    // Two pages of the object, and two private copies.
    assert_eq!(memory.physical.free_frames() - free, 4);
    for (id, kept) in [(a, 2), (b, 1)] {
        assert!(memory.fault(id, CPU, OUTSIDE + (kept - 1) * PAGE, Rights::READ).is_ok());
        assert_eq!(memory.fault(id, CPU, OUTSIDE + kept * PAGE, Rights::READ), Err(Fault::BeyondEnd));
    }
    let mut bytes = [9; 8];
    memory.copy_in(space(a), OUTSIDE + PAGE, &mut bytes).unwrap();
    assert_eq!(bytes, [2, 2, 2, 2, 2, 0, 0, 0], "the rest of the last page is zero");
    memory.resize_object(object, 4 * PAGE);
    memory.copy_in(space(a), OUTSIDE + 2 * PAGE, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 8], "and so is what comes back");
}

#[test]
fn a_segment_is_zero_past_its_bytes() {
    let mut memory = Machine::memory(400);
    let object = object(&mut memory, 3);
    let id = memory.make_container_with_directory(CPU).unwrap();
    let backing = Backing::Image { object, offset: PAGE, length: PAGE + 10 };
    memory.map(id, region(OUTSIDE, 3, RW, backing)).unwrap();
    let mut bytes = vec![0xff; 3 * PAGE_SIZE];
    memory.copy_in(space(id), OUTSIDE, &mut bytes).unwrap();
    assert!(bytes[..PAGE_SIZE].iter().all(|byte| *byte == 2));
    assert!(bytes[PAGE_SIZE..PAGE_SIZE + 10].iter().all(|byte| *byte == 3));
    assert!(bytes[PAGE_SIZE + 10..].iter().all(|byte| *byte == 0));
}

#[test]
fn pages_entered_ahead_are_as_written_ones() {
    // The segment lies across the end of a last-level table, so that tables are made twice.
    let start = OUTSIDE + span(2) - 2 * PAGE;
    let mut memory = Machine::memory(400);
    let free = memory.physical.free_frames();
    let object = object(&mut memory, 3);
    let id = memory.make_container_with_directory(CPU).unwrap();
    let backing = Backing::Image { object, offset: 0, length: 2 * PAGE + 10 };
    memory.map(id, region(start, 6, RW, backing)).unwrap();
    memory.copy_out(space(id), start + PAGE, &[7]).unwrap();
    memory.prefault(space(id), start..start + 4 * PAGE).unwrap();
    let resident = (0..6).filter(|page| is_resident(&memory, id, start + page * PAGE)).count();
    assert_eq!((resident, memory.counts.faults_resolved), (4, 1));
    let mut bytes = vec![0xff; 4 * PAGE_SIZE];
    memory.copy_in(space(id), start, &mut bytes).unwrap();
    assert_eq!([0, 1, 2].map(|page| bytes[page * PAGE_SIZE]), [1, 7, 3], "what was written stays");
    assert!(bytes[2 * PAGE_SIZE + 10..].iter().all(|byte| *byte == 0));
    // They are the container's own: nothing faults, and the object stays as it was.
    memory.copy_out(space(id), start, &[9; 4 * PAGE_SIZE]).unwrap();
    assert_eq!((memory.counts.faults_resolved, memory.counts.pages_copied), (1, 0));
    let mut byte = [0];
    memory.read_object(object, 0, &mut byte);
    assert_eq!(byte, [1]);
    // What does not find memory is an error, and nothing is lost.
    let taken: Vec<_> =
        (KERNEL_RESERVE + 1..memory.physical.free_frames()).map(|_| memory.physical.allocate().unwrap()).collect();
    assert_eq!(memory.prefault(space(id), start..start + 6 * PAGE), Err(Fault::OutOfMemory));
    assert!(is_resident(&memory, id, start + 4 * PAGE) && !is_resident(&memory, id, start + 5 * PAGE));
    assert_eq!(memory.prefault(space(id), OUTSIDE..OUTSIDE + PAGE), Err(Fault::NoRegion));
    taken.into_iter().for_each(|frame| memory.physical.release(frame));
    memory.destroy_container(id, CPU);
    memory.release_object(object);
    assert_eq!(memory.physical.free_frames(), free);
}

#[test]
fn unmapped_frames_are_released_only_after_translations_are_gone() {
    let mut memory = Machine::memory(400);
    let id = memory.make_container_with_directory(CPU).unwrap();
    memory.map(id, region(OUTSIDE, 4, RW, Backing::Zero)).unwrap();
    memory.activate(id, CPU).unwrap();
    let free = memory.physical.free_frames();
    memory.copy_out(space(id), OUTSIDE, &[1; 4 * PAGE_SIZE]).unwrap();
    let second = OUTSIDE + PAGE..OUTSIDE + 2 * PAGE;
    memory.unmap(id, second.clone()).unwrap();
    assert_eq!(memory.physical.invalidated, vec![(CpuSet::only(CPU), second.clone())]);
    memory.unmap(id, OUTSIDE..OUTSIDE + 4 * PAGE).unwrap();
    // Three tables were made for it, and whole ones would have gone with it.
    assert_eq!(free - memory.physical.free_frames(), 3);
    assert!(memory.container(id).unwrap().regions.is_empty());
}

#[test]
fn companions_forget_what_is_taken_from_an_accompanied_container() {
    let mut memory = Machine::memory(400);
    let [id, other] = [native(&mut memory), native(&mut memory)];
    let pml4 = memory.accompany(id, CPU).unwrap();
    assert_eq!(memory.container(id).unwrap().usage().directories, 1, "they need a directory of its own");
    assert_eq!(memory.accompany(id, CPU), Ok(pml4));
    let page = WINDOW.end - 2 * PAGE..WINDOW.end - PAGE;
    for id in [id, other] {
        memory.copy_out(space(id), page.start, &[1]).unwrap();
    }
    assert_eq!(memory.physical.companions_invalidated, [], "nothing is taken yet");
    memory.unmap(other, page.clone()).unwrap();
    assert_eq!(memory.physical.companions_invalidated, [], "it is not accompanied");
    // It is active on no CPU of the kernel's.
    let child = memory.fork_at_once(id, CPU).unwrap();
    assert_eq!(memory.physical.companions_invalidated.len(), 1, "pages became read-only");
    memory.copy_out(space(id), page.start, &[2]).unwrap();
    assert_eq!(memory.physical.companions_invalidated.len(), 2, "a page was copied");
    memory.protect(id, page.clone(), Rights::READ).unwrap();
    assert_eq!(memory.physical.companions_invalidated.len(), 3, "a page became read-only");
    memory.unmap(id, page.clone()).unwrap();
    assert_eq!(memory.physical.companions_invalidated, [pml4; 4], "a page is gone");
    memory.unmap(child, page).unwrap();
    assert_eq!(memory.physical.companions_invalidated.len(), 4, "the child is not accompanied");
}

#[test]
fn a_region_cut_in_two_keeps_a_reference_for_each_rest() {
    let mut memory = Machine::memory(400);
    let free = memory.physical.free_frames();
    let object = object(&mut memory, 3);
    let id = memory.make_container_with_directory(CPU).unwrap();
    memory.share_object(object);
    memory.map(id, region(OUTSIDE, 3, RW, Backing::Object { object, offset: 0, shared: false })).unwrap();
    memory.unmap(id, OUTSIDE + PAGE..OUTSIDE + 2 * PAGE).unwrap();
    memory.release_object(object);
    let mut byte = [0];
    memory.copy_in(space(id), OUTSIDE + 2 * PAGE, &mut byte).unwrap();
    assert_eq!(byte, [3]);
    memory.destroy_container(id, CPU);
    assert_eq!(memory.physical.free_frames(), free);
}

#[test]
fn moved_pages_keep_their_contents() {
    let mut memory = Machine::memory(400);
    let id = memory.make_container_with_directory(CPU).unwrap();
    memory.map(id, region(OUTSIDE, 3, RW, Backing::Zero)).unwrap();
    memory.copy_out(space(id), OUTSIDE, &[5; 3 * PAGE_SIZE]).unwrap();
    let to = OUTSIDE - (1 << 30);
    memory.relocate(id, CPU, OUTSIDE..OUTSIDE + 3 * PAGE, to).unwrap();
    assert_eq!(memory.fault(id, CPU, OUTSIDE, Rights::READ), Err(Fault::NoRegion));
    let mut bytes = vec![0; 3 * PAGE_SIZE];
    memory.copy_in(space(id), to, &mut bytes).unwrap();
    assert!(bytes.iter().all(|byte| *byte == 5));
}

#[test]
fn pages_move_out_of_the_window_to_where_they_belong() {
    let mut memory = Machine::memory(400);
    let free = memory.physical.free_frames();
    let id = native(&mut memory);
    memory.map(id, region(WINDOW.start, 1, RW, Backing::Zero)).unwrap();
    memory.copy_out(space(id), WINDOW.start, &[5; 8]).unwrap();
    memory.copy_out(space(id), WINDOW.end - PAGE, &[6; 8]).unwrap();
    // The slot in the last table is that of the stack's page.
    let to = OUTSIDE + (WINDOW.end - PAGE - WINDOW.start);
    memory.relocate(id, CPU, WINDOW.start..WINDOW.start + PAGE, to).unwrap();
    for (address, byte) in [(to, 5), (WINDOW.end - PAGE, 6)] {
        let mut found = [0];
        memory.copy_in(space(id), address, &mut found).unwrap();
        assert_eq!(found, [byte]);
    }
    memory.destroy_container(id, CPU);
    assert_eq!(memory.physical.free_frames(), free);
}

#[test]
fn a_range_that_begins_below_the_window_reaches_into_it() {
    let mut memory = Machine::memory(400);
    let id = native(&mut memory);
    memory.map(id, region(WINDOW.start - PAGE, 2, RW, Backing::Zero)).unwrap();
    memory.copy_out(space(id), WINDOW.start, &[5; 8]).unwrap();
    memory.unmap(id, WINDOW.start - PAGE..WINDOW.start + PAGE).unwrap();
    assert!(!is_resident(&memory, id, WINDOW.start));
}

#[test]
#[cfg_attr(miri, ignore = "takes too long")]
fn a_change_for_which_there_are_too_many_regions_changes_nothing() {
    let mut memory = Machine::memory(400);
    let free = memory.physical.free_frames();
    let id = memory.make_container_with_directory(CPU).unwrap();
    let object = object(&mut memory, 4);
    let shared = Backing::Object { object, offset: 0, shared: true };
    memory.map(id, region(OUTSIDE, 4, RW, shared)).unwrap();
    let pages = (1..MAX_REGIONS as u64).map(|n| OUTSIDE + (2 * n + 8) * PAGE);
    pages.for_each(|at| memory.map(id, region(at, 1, RW, Backing::Zero)).unwrap());
    let first = OUTSIDE..OUTSIDE + PAGE;
    assert!(memory.protect(id, first.clone(), Rights::READ).is_err());
    assert!(memory.relocate(id, CPU, first.clone(), OUTSIDE - 64 * PAGE).is_err());
    assert!(memory.map(id, region(OUTSIDE, 1, Rights::READ, Backing::Zero)).is_err());
    assert!(memory.container(id).unwrap().regions.covers(OUTSIDE..OUTSIDE + 4 * PAGE));
    memory.unmap(id, first).unwrap();
    memory.destroy_container(id, CPU);
    memory.tear_down(&mut Budget::unlimited());
    assert_eq!(memory.physical.free_frames(), free);
}

#[test]
fn tables_are_forgotten_when_they_go() {
    let mut memory = Machine::memory(400);
    let id = memory.make_container_with_directory(CPU).unwrap();
    memory.activate(id, CPU).unwrap();
    memory.map(id, region(OUTSIDE, 512, RW, Backing::Zero)).unwrap();
    memory.copy_out(space(id), OUTSIDE, &[1]).unwrap();
    memory.protect(id, OUTSIDE..OUTSIDE + 512 * PAGE, Rights::empty()).unwrap();
    memory.physical.invalidated.clear();
    memory.unmap(id, OUTSIDE..OUTSIDE + 512 * PAGE).unwrap();
    assert!(!memory.physical.invalidated.is_empty());
}

#[test]
fn a_shared_page_is_copied_within_itself() {
    let mut memory = Machine::memory(400);
    let id = memory.make_container_with_directory(CPU).unwrap();
    let object = memory.make_object(Purpose::File).unwrap();
    memory.write_object(object, 0, b"abcdefgh").unwrap();
    memory.map(id, region(OUTSIDE, 1, RW, Backing::Object { object, offset: 0, shared: true })).unwrap();
    assert_eq!(memory.object_to_user(object, 0, space(id), OUTSIDE + 2, 4), Ok(4));
    let mut bytes = [0; 8];
    memory.read_object(object, 0, &mut bytes);
    assert_eq!(&bytes, b"ababcdgh");
    assert_eq!(memory.user_to_object(object, 0, space(id), OUTSIDE + 2, 4), Ok(4));
    memory.read_object(object, 0, &mut bytes);
    assert_eq!(&bytes, b"abcdcdgh");
}

#[test]
fn user_pages_leave_the_kernel_its_reserve() {
    let mut memory = Machine::memory(KERNEL_RESERVE + 60);
    let id = memory.make_container_with_directory(CPU).unwrap();
    memory.map(id, region(OUTSIDE, 200, RW, Backing::Zero)).unwrap();
    let full = (0..200).find_map(|n| memory.fault(id, CPU, OUTSIDE + n * PAGE, Rights::WRITE).err());
    assert_eq!(full, Some(Fault::OutOfMemory));
    assert!(memory.physical.free_frames() + 4 >= KERNEL_RESERVE);
    memory.destroy_container(id, CPU);
    let full = (0..200).find_map(|_| memory.make_container(&Rc::default()).err());
    assert_eq!(full, Some(NoMemory::Frames));
    assert!(memory.physical.free_frames() + 1 >= KERNEL_RESERVE);
}

#[test]
fn user_copies_stop_at_the_first_bad_page() {
    let mut memory = Machine::memory(400);
    let id = memory.make_container_with_directory(CPU).unwrap();
    memory.map(id, region(OUTSIDE, 1, RW, Backing::Zero)).unwrap();
    assert_eq!(memory.copy_in(space(id), OUTSIDE + PAGE - 4, &mut [0; 8]), Err(Fault::NoRegion));
    assert_eq!(memory.copy_out(space(id), u64::MAX - 3, &[0; 8]), Err(Fault::NoRegion));
    assert_eq!(memory.copy_in(space(id), 0xffff_8000_0000_0000, &mut [0; 8]), Err(Fault::NoRegion));
    let object = object(&mut memory, 1);
    assert_eq!(memory.object_to_user(object, 0, space(id), OUTSIDE + PAGE - 4, 8), Ok(4));
    assert_eq!(memory.object_to_user(object, 0, space(id), PACKAGES.start, 8), Err(Fault::NoRegion));
}

#[test]
fn a_table_that_was_walked_to_is_forgotten_when_it_goes() {
    let mut memory = Machine::memory(300);
    let id = memory.make_container_with_directory(CPU).unwrap();
    let other = memory.make_container_with_directory(CPU).unwrap();
    let spans = [0, 1, 2, 4, 9].map(|n| OUTSIDE + n * span(2));
    let whole = || region(OUTSIDE, 10 * 512, RW, Backing::Zero);
    memory.map(id, whole()).unwrap();
    memory.map(other, whole()).unwrap();
    for (n, start) in spans.into_iter().enumerate() {
        memory.copy_out(space(id), start + 4, &[n as u8 + 1; 4]).unwrap();
        memory.copy_out(space(other), start + 4, &[n as u8 + 101; 4]).unwrap();
    }
    let word = |n: u8| u32::from_ne_bytes([n; 4]);
    for _ in 0..2 {
        for (n, start) in spans.into_iter().enumerate() {
            assert_eq!(memory.word(space(id), start + 4), Ok(word(n as u8 + 1)));
            assert_eq!(memory.word(space(other), start + 4), Ok(word(n as u8 + 101)));
        }
    }
    memory.unmap(id, OUTSIDE..whole().end).unwrap();
    for start in spans {
        assert_eq!(memory.word(space(id), start + 4), Err(Fault::NoRegion));
        assert!(!memory.write_across((id, start + 4), &[1]), "a page that is gone");
    }
    memory.map(id, whole()).unwrap();
    for (n, start) in spans.into_iter().enumerate() {
        assert!(!memory.copy_across((other, start + 4), (id, start + 4), 4), "a page that is still to come");
        assert_eq!(memory.word(space(id), start + 4), Ok(0));
        assert!(memory.copy_across((other, start + 4), (id, start + 4), 4));
        assert_eq!(memory.word(space(id), start + 4), Ok(word(n as u8 + 101)));
    }
}

#[test]
fn a_range_is_changed_in_pieces_and_tables_move_whole() {
    let mut memory = Machine::memory(8000);
    let id = memory.make_container_with_directory(CPU).unwrap();
    let (range, space) = (OUTSIDE..OUTSIDE + 3000 * PAGE, Space { container: id, cpu: CPU });
    memory.map(id, Region::new(range.clone(), RW, Backing::Zero)).unwrap();
    (0..3000_u64).for_each(|n| memory.copy_out(space, OUTSIDE + n * PAGE, &n.to_le_bytes()).unwrap());
    let (mut at, mut pieces) = (range.start, 0);
    while at < range.end {
        let end = memory.affordable(id, at..range.end, &mut Budget::of(1));
        assert!(at < end && end <= range.end && end - at <= 512 * PAGE, "{at:#x} {end:#x}");
        memory.protect(id, at..end, Rights::READ).unwrap();
        (at, pieces) = (end, pieces + 1);
    }
    assert_eq!((pieces, memory.container(id).unwrap().regions.len()), (6, 1));
    assert_eq!(memory.affordable(id, range.clone(), &mut Budget::unlimited()), range.end);
    assert!(memory.copy_out(space, OUTSIDE, &[0]).is_err());
    let free = memory.physical.free_frames();
    let to = memory.container_mut(id).unwrap().room_for_move(OUTSIDE + PAGE, 2900 * PAGE).unwrap();
    memory.relocate(id, CPU, OUTSIDE + PAGE..OUTSIDE + 2901 * PAGE, to).unwrap();
    assert_eq!((to - OUTSIDE - PAGE) % (512 * PAGE), 0);
    // Tables for the two ends, and perhaps those above.
    assert!(free - memory.physical.free_frames() <= 4);
    for n in 0..3000_u64 {
        let mut bytes = [0; 8];
        let place = if (1..2901).contains(&n) { to + (n - 1) * PAGE } else { OUTSIDE + n * PAGE };
        memory.copy_in(space, place, &mut bytes).unwrap();
        assert_eq!(u64::from_le_bytes(bytes), n);
    }
    assert!(memory.copy_in(space, OUTSIDE + PAGE, &mut [0]).is_err());
    memory.destroy_container(id, CPU);
    memory.tear_down(&mut Budget::unlimited());
    assert_eq!(memory.physical.free_frames(), 8000 - 1 - 4);
}
