//! Random sequences of mappings against a model: a map from page to its byte and rights.

use crate::frames::PAGE_SIZE;
use crate::memory::physical::PhysicalMemory;
use crate::memory::region::{Backing, Region, Rights};
use crate::memory::user::Space;
use crate::testing::Machine;
use cpulocal::Cpu;
use proptest::prelude::*;
use std::collections::BTreeMap;

const PAGE: u64 = PAGE_SIZE as u64;
const BASE: u64 = 0x7000_0000_0000;
const PAGES: u64 = 24;

#[derive(Clone, Debug)]
enum Step {
    Map(u64, u64, u8),
    Unmap(u64, u64),
    Protect(u64, u64, u8),
    Write(u64, u8),
    Discard(u64, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let range = || (0..PAGES, 1..8_u64);
    prop_oneof![
        (range(), 0..4_u8).prop_map(|((at, n), rights)| Step::Map(at, n, rights)),
        range().prop_map(|(at, n)| Step::Unmap(at, n)),
        (range(), 0..4_u8).prop_map(|((at, n), rights)| Step::Protect(at, n, rights)),
        (0..PAGES, 1..100_u8).prop_map(|(at, byte)| Step::Write(at, byte)),
        range().prop_map(|(at, n)| Step::Discard(at, n)),
    ]
}

fn rights(bits: u8) -> Rights {
    // As mprotect gives them: to write is to read.
    let rights = Rights::from_bits_truncate(bits);
    if rights.contains(Rights::WRITE) { rights | Rights::READ } else { rights }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 200 }, ..ProptestConfig::default() })]
    #[test]
    fn memory_behaves_as_a_map(steps in proptest::collection::vec(step(), 1..60)) {
        let mut memory = Machine::memory(1000);
        let free = memory.physical.free_frames();
        let id = memory.make_container_with_directory(Cpu(0)).unwrap();
        let space = Space { container: id, cpu: Cpu(0) };
        let mut model: BTreeMap<u64, (u8, Rights)> = BTreeMap::new();
        let pages = |at: u64, n: u64| (BASE + at * PAGE)..(BASE + (at + n) * PAGE);
        for step in steps {
            match step {
                Step::Map(at, n, bits) => {
                    let range = pages(at, n);
                    let region = Region::new(range, rights(bits), Backing::Zero);
                    memory.map(id, region).unwrap();
                    (at..at + n).for_each(|page| { model.insert(page, (0, rights(bits))); });
                }
                Step::Unmap(at, n) => {
                    memory.unmap(id, pages(at, n)).unwrap();
                    (at..at + n).for_each(|page| { model.remove(&page); });
                }
                Step::Protect(at, n, bits) => {
                    memory.protect(id, pages(at, n), rights(bits)).unwrap();
                    (at..at + n).for_each(|page| { model.entry(page).and_modify(|p| p.1 = rights(bits)); });
                }
                Step::Write(at, byte) => {
                    let allowed = model.get(&at).is_some_and(|p| p.1.contains(Rights::WRITE));
                    prop_assert_eq!(memory.copy_out(space, BASE + at * PAGE, &[byte]).is_ok(), allowed);
                    if allowed {
                        model.entry(at).and_modify(|p| p.0 = byte);
                    }
                }
                Step::Discard(at, n) => {
                    memory.discard(id, pages(at, n));
                    (at..at + n).for_each(|page| { model.entry(page).and_modify(|p| p.0 = 0); });
                }
            }
            for page in 0..PAGES + 8 {
                let mut byte = [0xff];
                let read = memory.copy_in(space, BASE + page * PAGE, &mut byte).is_ok();
                let expected = model.get(&page).filter(|p| p.1.contains(Rights::READ));
                prop_assert_eq!(read.then_some(byte[0]), expected.map(|p| p.0));
            }
        }
        memory.destroy_container(id, Cpu(0));
        prop_assert_eq!(memory.physical.free_frames(), free);
    }
}
