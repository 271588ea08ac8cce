//! The accounts of objects' pages, compared with a recount after each of random steps.

use super::{Account, CHUNK, NoPage, OBJECTS_RESERVE, ObjectId, PAGE, Purpose};
use crate::budget::Budget;
use crate::frames::PAGE_SIZE;
use crate::memory::container::ContainerId;
use crate::memory::fault::Fault;
use crate::memory::physical::PhysicalMemory;
use crate::memory::region::{Backing, Region, Rights, Traits};
use crate::memory::user::Space;
use crate::memory::{KERNEL_RESERVE, Memory};
use crate::testing::Machine;
use cpulocal::Cpu;
use proptest::prelude::*;

const BASE: u64 = 0x7000_0000_0000;
const RW: Rights = Rights::READ.union(Rights::WRITE);
const PURPOSES: [Purpose; 3] = [Purpose::File, Purpose::Buffer, Purpose::Shared];

/// Objects and pages by purpose, counted where they are.
fn recount(memory: &Memory<Machine>) -> [(usize, usize); 3] {
    let mut counts = [(0, 0); 3];
    for object in memory.objects.ids().filter_map(|id| memory.objects.get(id)) {
        let (objects, pages) = &mut counts[object.purpose as usize];
        *objects += 1;
        *pages += object.frames().count();
    }
    counts
}

fn counted(memory: &Memory<Machine>) -> [(usize, usize); 3] {
    PURPOSES.map(|purpose| memory.account(purpose)).map(|account| (account.objects, account.pages))
}

/// A container that has pages of an object mapped, shared, and as many pages of its own behind them.
fn container(memory: &mut Memory<Machine>, object: ObjectId, pages: u64) -> ContainerId {
    let id = memory.make_container_with_directory(Cpu(0)).unwrap();
    memory.share_object(object);
    let region = |page: u64, backing| {
        let start = BASE + page * PAGE;
        Region::new(start..start + pages * PAGE, RW, backing)
    };
    memory.map(id, region(0, Backing::Object { object, offset: 0, shared: true })).unwrap();
    memory.map(id, region(pages, Backing::Zero)).unwrap();
    id
}

/// Steps on one of some objects, by its number.
#[derive(Clone, Debug)]
enum Step {
    Make(usize, usize),
    Write(usize, u64),
    Resize(usize, u64),
    Fill(usize, u64, u64),
    Touch(usize, u64),
    Release(usize),
}

const OBJECTS: usize = 4;
const PAGES: u64 = 3 * CHUNK as u64;

fn step() -> impl Strategy<Value = Step> {
    let (object, page) = (|| 0..OBJECTS, || 0..PAGES);
    prop_oneof![
        (object(), 0..3_usize).prop_map(|(object, purpose)| Step::Make(object, purpose)),
        (object(), page()).prop_map(|(object, page)| Step::Write(object, page)),
        (object(), page()).prop_map(|(object, page)| Step::Resize(object, page)),
        (object(), page(), 1..40_u64).prop_map(|(object, page, n)| Step::Fill(object, page, n)),
        (object(), page()).prop_map(|(object, page)| Step::Touch(object, page)),
        object().prop_map(Step::Release),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 200 }, ..ProptestConfig::default() })]
    #[test]
    fn accounts_are_what_a_recount_gives(steps in proptest::collection::vec(step(), 1..60)) {
        let mut memory = Machine::memory(1000);
        let free = memory.physical.free_frames();
        PURPOSES.into_iter().zip([40, 20, usize::MAX]).for_each(|(purpose, limit)| memory.limit_pages(purpose, limit));
        PURPOSES.into_iter().for_each(|purpose| memory.limit_objects(purpose, 2));
        let mut objects: [Option<(ObjectId, ContainerId)>; OBJECTS] = [None; OBJECTS];
        let release = |memory: &mut Memory<Machine>, (object, container)| {
            memory.destroy_container(container, Cpu(0));
            memory.release_object(object);
        };
        for step in steps {
            match step {
                Step::Make(n, purpose) => {
                    let room = memory.account(PURPOSES[purpose]).objects < 2;
                    if objects[n].is_none() {
                        let made = memory.make_object(PURPOSES[purpose]).ok();
                        prop_assert_eq!(made.is_some(), room);
                        objects[n] = made.map(|object| (object, container(&mut memory, object, PAGES)));
                    }
                }
                Step::Write(n, page) => {
                    let Some((object, _)) = objects[n] else { continue };
                    let purpose = memory.objects.get(object).unwrap().purpose;
                    let (room, there) = (memory.account(purpose).room(), memory.object_page(object, page).is_some());
                    let first = purpose == Purpose::Buffer && page == 0;
                    let expected = if room > 0 || there || first { Ok(1) } else { Err(NoPage::Full) };
                    prop_assert_eq!(memory.write_object(object, page * PAGE, &[1]), expected);
                }
                Step::Resize(n, pages) => {
                    objects[n].into_iter().for_each(|(object, _)| memory.resize_object(object, pages * PAGE + 1));
                }
                Step::Fill(n, page, pages) => {
                    let Some((object, _)) = objects[n] else { continue };
                    let before = recount(&memory);
                    match memory.fill_object(object, page * PAGE..(page + pages) * PAGE, &mut Budget::unlimited()) {
                        Ok(_) => prop_assert!((page..page + pages).all(|page| memory.object_page(object, page).is_some())),
                        Err(_) => prop_assert_eq!(recount(&memory), before),
                    }
                }
                Step::Touch(n, page) => {
                    let Some((object, container)) = objects[n] else { continue };
                    let space = Space { container, cpu: Cpu(0) };
                    let purpose = memory.objects.get(object).unwrap().purpose;
                    let (account, there) = (memory.account(purpose), memory.object_page(object, page).is_some());
                    let result = memory.copy_out(space, BASE + page * PAGE, &[1]);
                    let first = purpose == Purpose::Buffer && page == 0;
                    prop_assert_eq!(result, match memory.object_size(object) {
                        size if page * PAGE >= size => Err(Fault::BeyondEnd),
                        _ if account.room() == 0 && !there && !first => Err(Fault::Full),
                        _ => Ok(()),
                    });
                }
                Step::Release(n) => objects[n].take().into_iter().for_each(|pair| release(&mut memory, pair)),
            }
            prop_assert_eq!(counted(&memory), recount(&memory));
        }
        objects.into_iter().flatten().for_each(|pair| release(&mut memory, pair));
        prop_assert_eq!(counted(&memory), [(0, 0); 3]);
        prop_assert_eq!(memory.physical.free_frames(), free);
    }
}

#[test]
fn a_bound_that_is_set_late_takes_nothing_away() {
    let mut memory = Machine::memory(400);
    let object = memory.make_object(Purpose::File).unwrap();
    memory.write_object(object, 0, &[1; 3 * PAGE_SIZE]).unwrap();
    memory.limit_pages(Purpose::File, 2);
    assert_eq!(memory.account(Purpose::File), Account { pages: 3, limit: 2, objects: 1, ..Account::UNBOUNDED });
    assert_eq!(memory.write_object(object, 2 * PAGE, &[2; PAGE_SIZE]), Ok(PAGE_SIZE), "a page that is there");
    assert_eq!(memory.write_object(object, 3 * PAGE, &[2]), Err(NoPage::Full));
    memory.resize_object(object, PAGE);
    assert_eq!(memory.write_object(object, PAGE, &[2]), Ok(1));
}

/// The reserve is for the small: a large container gets no page of it, a small file and a buffer
/// some, and a small container until only the kernel's own frames are left.
#[test]
fn the_less_is_free_the_smaller_is_who_gets_a_page() {
    const RESERVE: usize = 800;
    let mut memory = Machine::memory(3000);
    memory.keep_reserve(RESERVE);
    let [file, buffer] = [Purpose::File, Purpose::Buffer].map(|purpose| memory.make_object(purpose).unwrap());
    let large = container(&mut memory, file, 3000);
    let small = container(&mut memory, file, 500);
    let space = |container| Space { container, cpu: Cpu(0) };
    let own = |pages: u64, page: u64| BASE + (pages + page) * PAGE;
    let taken = (0..3000).take_while(|page| memory.copy_out(space(large), own(3000, *page), &[1]).is_ok()).count();
    // Page tables come out of the reserve.
    assert!((RESERVE - 4..=RESERVE).contains(&memory.physical.free_frames()), "{taken} pages taken");
    assert_eq!(memory.copy_out(space(large), own(3000, 2999), &[1]), Err(Fault::OutOfMemory));
    let written = (0..1000).take_while(|page| memory.write_object(file, page * PAGE, &[1]).is_ok()).count();
    assert_eq!(
        (written, memory.physical.free_frames()),
        (RESERVE - OBJECTS_RESERVE, OBJECTS_RESERVE),
        "a file is small"
    );
    assert_eq!(memory.write_object(buffer, 0, &[1]), Err(NoPage::Frames), "nor a buffer");
    let taken = (0..500).take_while(|page| memory.copy_out(space(small), own(500, *page), &[1]).is_ok()).count();
    let free = memory.physical.free_frames();
    let usage = memory.container(small).unwrap().usage();
    assert!(taken > 100 && (free == KERNEL_RESERVE || usage.pages as usize >= free), "{taken} taken, {free} left");
    assert!(memory.make_container_with_directory(Cpu(0)).is_ok(), "a new container is smaller still");
}

/// The memory knows whether an object is mapped writable by any container, also after mappings were split, changed or
/// inherited.
#[test]
fn an_object_is_written_as_long_as_somebody_can() {
    let mut memory = Machine::memory_with(1000, 1);
    let object = memory.make_object(Purpose::File).unwrap();
    memory.resize_object(object, 4 * PAGE);
    let container = memory.make_container_with_directory(Cpu(0)).unwrap();
    let backing = |shared| Backing::Object { object, offset: 0, shared };
    let reader = Region { traits: Traits::READ_ONLY, ..Region::new(BASE..BASE + PAGE, Rights::READ, backing(true)) };
    let copier = Region::new(BASE + PAGE..BASE + 2 * PAGE, RW, backing(false));
    for region in [reader, copier] {
        memory.share_object(object);
        memory.map(container, region).unwrap();
    }
    assert!(!memory.is_written(object));
    let writer = BASE + 8 * PAGE..BASE + 12 * PAGE;
    memory.share_to_be_written(object);
    memory.map(container, Region::new(writer.clone(), RW, backing(true))).unwrap();
    assert!(memory.is_written(object));
    memory.protect(container, writer.clone(), Rights::READ).unwrap();
    let child = memory.fork(container, Cpu(0), &mut Budget::unlimited()).unwrap().expect("all of it at once");
    memory.unmap(container, writer.start..writer.end - PAGE).unwrap();
    assert!(memory.is_written(object), "a part is there");
    memory.unmap(container, writer).unwrap();
    assert!(memory.is_written(object), "a child has it");
    memory.destroy_container(child, Cpu(0));
    assert!(!memory.is_written(object));
    assert!(!memory.is_written(object), "and that stays so");
}
