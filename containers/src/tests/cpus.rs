//! Containers on several CPUs: what each CPU may reach, and what it costs.

use crate::frames::{Frame, PAGE_SIZE};
use crate::memory::Memory;
use crate::memory::container::ContainerId;
use crate::memory::directory::{PACKAGES, USER_END, WINDOW, change_entries};
use crate::memory::fault::Fault;
use crate::memory::object::Purpose;
use crate::memory::physical::{OutOfFrames, PhysicalMemory};
use crate::memory::region::{Backing, Region, Rights};
use crate::memory::user::Space;
use crate::testing::Machine;
use alloc::rc::Rc;
use cpulocal::{Cpu, CpuSet};
use proptest::prelude::*;
use x86_64::structures::paging::PageTableFlags as Flags;

const PAGE: u64 = PAGE_SIZE as u64;
const RW: Rights = Rights::READ.union(Rights::WRITE);
const OUTSIDE: u64 = 0x7000_0000_0000;
const ELSEWHERE: u64 = 0x6000_0000_0000;

pub(super) fn region(start: u64, pages: u64, rights: Rights) -> Region {
    Region::new(start..start + pages * PAGE, rights, Backing::Zero)
}

pub(super) fn native(memory: &mut Memory<Machine>) -> ContainerId {
    let id = memory.make_container(&Rc::default()).unwrap();
    memory.map_fresh(id, region(WINDOW.end - 64 * PAGE, 64, RW)).unwrap();
    id
}

/// That CPU enters the kernel and goes on with the container.
pub(super) fn run(memory: &mut Memory<Machine>, cpu: Cpu, id: ContainerId) {
    memory.physical.here = cpu;
    memory.activate(id, cpu).unwrap();
}

/// An access of a thread on a CPU, with the page faults that it takes.
pub(super) fn access(
    memory: &mut Memory<Machine>,
    cpu: Cpu,
    id: ContainerId,
    address: u64,
    access: Rights,
) -> Result<Frame, Fault> {
    for _ in 0..3 {
        if let Some(frame) = memory.physical.touch(cpu, address, access) {
            return Ok(frame);
        }
        memory.physical.here = cpu;
        memory.fault(id, cpu, address, access)?;
    }
    panic!("{address:#x} faults for ever on {cpu:?}");
}

#[test]
fn a_second_cpu_costs_one_page() {
    let mut memory = Machine::memory_with(600, 4);
    let free = memory.physical.free_frames();
    let id = memory.make_container_with_directory(Cpu(0)).unwrap();
    memory.map(id, region(OUTSIDE, 4, RW)).unwrap();
    memory.copy_out(Space { container: id, cpu: Cpu(0) }, OUTSIDE, &[7]).unwrap();
    assert_eq!(memory.container(id).unwrap().usage().owner, None);
    let alone = memory.container(id).unwrap().usage();
    for (k, cpu) in [2, 0, 3].map(Cpu).into_iter().enumerate() {
        run(&mut memory, cpu, id);
        access(&mut memory, cpu, id, OUTSIDE, Rights::READ).unwrap();
        let usage = memory.container(id).unwrap().usage();
        let more = k as u32;
        assert_eq!((usage.directories, usage.owner), (1 + more, Some(Cpu(2))));
        assert_eq!((usage.pages, usage.tables), (alone.pages + more, alone.tables + more));
        assert_eq!(free - memory.physical.free_frames(), usage.pages as usize);
    }
    // A CPU that comes again finds its copy.
    run(&mut memory, Cpu(0), id);
    assert_eq!((memory.counts.copies_made, memory.counts.copies_live, memory.counts.directories_live), (2, 2, 1));
    memory.destroy_container(id, Cpu(0));
    assert_eq!(memory.physical.vacated, [CpuSet(0b1100)]);
    assert_eq!((memory.counts.copies_live, memory.counts.directories_live), (0, 0));
    assert_eq!(memory.physical.free_frames(), free);
}

#[test]
fn a_window_costs_the_same_on_any_cpu() {
    let mut memory = Machine::memory_with(600, 3);
    let free = memory.physical.free_frames();
    let id = native(&mut memory);
    for cpu in [1, 2, 0].map(Cpu) {
        run(&mut memory, cpu, id);
        access(&mut memory, cpu, id, WINDOW.end - 8, Rights::WRITE).unwrap();
        memory.rest(cpu);
        assert_eq!(free - memory.physical.free_frames(), 2);
        assert_eq!(memory.container(id).unwrap().usage().directories, 0);
    }
    memory.destroy_container(id, Cpu(0));
    assert_eq!((memory.physical.free_frames(), memory.counts.shootdowns), (free, 0));
}

#[test]
fn spurious_faults_are_told_apart() {
    let mut memory = Machine::memory_with(600, 2);
    let id = memory.make_container_with_directory(Cpu(0)).unwrap();
    memory.map(id, region(OUTSIDE, 4, RW)).unwrap();
    memory.map(id, region(ELSEWHERE, 4, RW)).unwrap();
    let [a, b] = [Cpu(0), Cpu(1)];
    run(&mut memory, a, id);
    run(&mut memory, b, id);
    let counts = |memory: &Memory<Machine>| {
        (memory.counts.faults_resolved, memory.counts.spurious_directory, memory.counts.spurious_tlb)
    };
    access(&mut memory, a, id, OUTSIDE, Rights::WRITE).unwrap();
    assert_eq!(counts(&memory), (1, 0, 0));
    // The copy lacks the slot; then it has it for all that lies there.
    access(&mut memory, b, id, OUTSIDE, Rights::WRITE).unwrap();
    assert_eq!(counts(&memory), (1, 1, 0));
    access(&mut memory, a, id, OUTSIDE + PAGE, Rights::WRITE).unwrap();
    access(&mut memory, b, id, OUTSIDE + PAGE, Rights::WRITE).unwrap();
    assert_eq!(counts(&memory), (2, 1, 0));
    // A fault that delivers a page brings the copy up to date as well; the owner needs nothing.
    access(&mut memory, b, id, ELSEWHERE, Rights::WRITE).unwrap();
    access(&mut memory, a, id, ELSEWHERE, Rights::WRITE).unwrap();
    assert_eq!(counts(&memory), (3, 1, 0));
    // A right that was granted while the other CPU remembers a narrower translation.
    memory.protect(id, OUTSIDE..OUTSIDE + PAGE, Rights::READ).unwrap();
    let shot = memory.counts.shootdowns;
    access(&mut memory, a, id, OUTSIDE, Rights::READ).unwrap();
    access(&mut memory, b, id, OUTSIDE, Rights::READ).unwrap();
    memory.protect(id, OUTSIDE..OUTSIDE + PAGE, RW).unwrap();
    access(&mut memory, a, id, OUTSIDE, Rights::WRITE).unwrap();
    access(&mut memory, b, id, OUTSIDE, Rights::WRITE).unwrap();
    assert_eq!((memory.counts.spurious_directory, memory.counts.spurious_tlb), (1, 1));
    assert_eq!((shot, memory.counts.shootdowns), (1, 1), "granting interrupts no CPU");
}

#[test]
fn only_cpus_that_run_the_container_are_interrupted() {
    let mut memory = Machine::memory_with(600, 4);
    let (id, other) = (native(&mut memory), native(&mut memory));
    memory.map(id, region(OUTSIDE, 4, RW)).unwrap();
    for cpu in [0, 1, 2].map(Cpu) {
        run(&mut memory, cpu, id);
        access(&mut memory, cpu, id, OUTSIDE, Rights::WRITE).unwrap();
    }
    run(&mut memory, Cpu(1), other);
    memory.rest(Cpu(1));
    memory.physical.here = Cpu(0);
    memory.unmap(id, OUTSIDE..OUTSIDE + PAGE).unwrap();
    assert_eq!(memory.physical.invalidated.pop(), Some((CpuSet(0b101), OUTSIDE..OUTSIDE + PAGE)));
    assert_eq!((memory.counts.shootdowns, memory.counts.shootdown_cpus), (1, 1));
    // Nothing is left that a CPU could have a translation of.
    memory.unmap(id, OUTSIDE + PAGE..OUTSIDE + 3 * PAGE).unwrap();
    assert_eq!(memory.counts.shootdowns, 1);
    memory.vacate(CpuSet::only(Cpu(2)));
    assert_eq!((memory.counts.shootdowns, memory.counts.shootdown_cpus), (2, 2));
    assert_eq!(access(&mut memory, Cpu(0), id, OUTSIDE, Rights::READ), Err(Fault::NoRegion));
    access(&mut memory, Cpu(0), id, OUTSIDE + 3 * PAGE, Rights::WRITE).unwrap();
    memory.unmap(id, OUTSIDE + 3 * PAGE..OUTSIDE + 4 * PAGE).unwrap();
    assert_eq!(memory.counts.shootdowns, 2, "alone again");
}

#[test]
fn leaving_the_window_is_noticed_by_the_other_cpus() {
    let mut memory = Machine::memory_with(600, 2);
    let free = memory.physical.free_frames();
    let id = native(&mut memory);
    run(&mut memory, Cpu(1), id);
    // From the other CPU a stack for a second process is made; then the first one steps out.
    memory.physical.here = Cpu(0);
    memory.leave_window(id, Cpu(0)).unwrap();
    memory.map(id, region(OUTSIDE, 1, RW)).unwrap();
    run(&mut memory, Cpu(0), id);
    access(&mut memory, Cpu(0), id, OUTSIDE, Rights::WRITE).unwrap();
    access(&mut memory, Cpu(1), id, WINDOW.end - 8, Rights::WRITE).unwrap();
    access(&mut memory, Cpu(1), id, OUTSIDE, Rights::WRITE).unwrap();
    let usage = memory.container(id).unwrap().usage();
    assert_eq!((usage.directories, usage.owner, memory.counts.spurious_directory), (2, Some(Cpu(0)), 1));
    // The window's page table stays as long as a global directory may lead to it.
    memory.unmap(id, WINDOW).unwrap();
    memory.destroy_container(id, Cpu(1));
    assert_eq!(memory.physical.free_frames(), free);
}

#[test]
fn a_window_that_is_unmapped_stays_a_table_for_who_runs_in_it() {
    let mut memory = Machine::memory_with(600, 2);
    let id = native(&mut memory);
    // One region with the stack's: only a range that spans the whole table takes tables along.
    memory.map_fresh(id, region(WINDOW.start, 512 - 64, RW)).unwrap();
    assert_eq!(memory.container(id).unwrap().regions.len(), 1);
    run(&mut memory, Cpu(1), id);
    access(&mut memory, Cpu(1), id, WINDOW.end - 8, Rights::WRITE).unwrap();
    memory.physical.here = Cpu(0);
    memory.leave_window(id, Cpu(0)).unwrap();
    run(&mut memory, Cpu(0), id);
    memory.unmap(id, WINDOW).unwrap();
    assert_eq!(memory.physical.touch(Cpu(1), WINDOW.end - 8, Rights::READ), None);
    memory.map(id, region(WINDOW.end - PAGE, 1, RW)).unwrap();
    let frames = [0, 1].map(|cpu| access(&mut memory, Cpu(cpu), id, WINDOW.end - 8, Rights::WRITE).unwrap());
    assert_eq!(frames[0], frames[1]);
}

#[test]
fn nothing_leads_to_the_window_of_a_container_that_is_gone() {
    let mut memory = Machine::memory_with(600, 2);
    let (gone, stays) = (native(&mut memory), memory.make_container_with_directory(Cpu(0)).unwrap());
    run(&mut memory, Cpu(0), gone);
    run(&mut memory, Cpu(0), stays);
    let (loaded, global) = (memory.physical.loaded(), memory.physical.mmus[0].global.pml4);
    assert!(memory.physical.walk(global, WINDOW.start).is_some());
    memory.physical.here = Cpu(1);
    memory.destroy_container(gone, Cpu(1));
    assert_eq!(memory.physical.walk(global, WINDOW.start), None);
    memory.physical.here = Cpu(0);
    assert_eq!((memory.physical.loaded(), memory.counts.shootdowns), (loaded, 0));
}

#[test]
fn a_page_that_is_copied_is_copied_for_all_cpus() {
    let mut memory = Machine::memory_with(600, 2);
    let object = memory.make_object(Purpose::File).unwrap();
    memory.write_object(object, 0, &[9; PAGE_SIZE]).unwrap();
    let id = memory.make_container_with_directory(Cpu(0)).unwrap();
    let backing = Backing::Object { object, offset: 0, shared: false };
    memory.map(id, Region { backing, ..region(OUTSIDE, 1, RW) }).unwrap();
    let read = [0, 1].map(|cpu| {
        run(&mut memory, Cpu(cpu), id);
        access(&mut memory, Cpu(cpu), id, OUTSIDE, Rights::READ).unwrap()
    });
    let copy = access(&mut memory, Cpu(0), id, OUTSIDE, Rights::WRITE).unwrap();
    assert_eq!(access(&mut memory, Cpu(1), id, OUTSIDE, Rights::READ), Ok(copy));
    assert!(read[0] == read[1] && copy != read[0]);
    assert_eq!((memory.counts.pages_copied, memory.counts.shootdowns), (1, 1));
}

#[test]
fn a_copy_for_which_there_is_no_frame_is_reported() {
    let mut memory = Machine::memory_with(600, 2);
    let id = memory.make_container_with_directory(Cpu(0)).unwrap();
    run(&mut memory, Cpu(0), id);
    let other = native(&mut memory);
    run(&mut memory, Cpu(1), other);
    let taken: Vec<_> = core::iter::from_fn(|| memory.physical.allocate().ok()).collect();
    assert_eq!(memory.activate(id, Cpu(1)), Err(OutOfFrames));
    // The CPU still runs what it ran.
    assert!(memory.physical.touch(Cpu(1), WINDOW.end - 8, Rights::WRITE).is_some());
    assert_eq!(memory.container(id).unwrap().usage().directories, 1);
    taken.into_iter().for_each(|frame| memory.physical.release(frame));
    assert_eq!(memory.activate(id, Cpu(1)), Ok(()));
}

#[test]
fn alone_a_cpu_keeps_its_container_while_idle() {
    let mut memory = Machine::memory(400);
    let id = memory.make_container_with_directory(Cpu(0)).unwrap();
    run(&mut memory, Cpu(0), id);
    let loaded = memory.physical.loaded();
    memory.rest(Cpu(0));
    assert_eq!(memory.physical.loaded(), loaded);
    assert_eq!(memory.cpu_count(), 1);
}

const CPUS: u8 = 4;
const CONTAINERS: usize = 3;
/// Where the random regions lie: in the window, and in two top-level slots outside it.
const BASES: [u64; 3] = [WINDOW.start, OUTSIDE, ELSEWHERE];
const PAGES: u64 = 12;

#[derive(Clone, Debug)]
enum Step {
    Run(u8, usize),
    Rest(u8),
    Touch(u8, u64, u8),
    CopyOut(u8, usize, u64),
    Map(u8, u64, u64, u8),
    Unmap(u8, u64, u64),
    Protect(u8, u64, u64, u8),
    Discard(u8, u64, u64),
    UnmapAll(u8, usize),
    Relocate(u8, u64, u64),
    Share(u8, u64),
    Destroy(u8, usize),
    Fork(u8, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let cpu = || 0..CPUS;
    let page = || 0..PAGES * 3;
    let length = || 1..5_u64;
    prop_oneof![
        3 => (cpu(), 0..CONTAINERS).prop_map(|(cpu, n)| Step::Run(cpu, n)),
        1 => cpu().prop_map(Step::Rest),
        9 => (cpu(), page(), 1..8_u8).prop_map(|(cpu, at, rights)| Step::Touch(cpu, at, rights)),
        1 => (cpu(), 0..CONTAINERS, page()).prop_map(|(cpu, n, at)| Step::CopyOut(cpu, n, at)),
        3 => (cpu(), page(), length(), 1..8_u8).prop_map(|(cpu, at, n, rights)| Step::Map(cpu, at, n, rights)),
        2 => (cpu(), page(), length()).prop_map(|(cpu, at, n)| Step::Unmap(cpu, at, n)),
        3 => (cpu(), page(), length(), 0..8_u8).prop_map(|(cpu, at, n, rights)| Step::Protect(cpu, at, n, rights)),
        1 => (cpu(), page(), length()).prop_map(|(cpu, at, n)| Step::Discard(cpu, at, n)),
        1 => (cpu(), 0..3_usize).prop_map(|(cpu, base)| Step::UnmapAll(cpu, base)),
        1 => (cpu(), page(), length()).prop_map(|(cpu, at, n)| Step::Relocate(cpu, at, n)),
        1 => (cpu(), page()).prop_map(|(cpu, at)| Step::Share(cpu, at)),
        1 => (cpu(), 0..CONTAINERS).prop_map(|(cpu, n)| Step::Destroy(cpu, n)),
        2 => (cpu(), 0..CONTAINERS).prop_map(|(cpu, n)| Step::Fork(cpu, n)),
    ]
}

fn rights(bits: u8) -> Rights {
    let rights = Rights::from_bits_truncate(bits);
    if rights.is_empty() { rights } else { rights | Rights::READ }
}

fn address(page: u64) -> u64 {
    BASES[(page / PAGES) as usize] + page % PAGES * PAGE
}

/// Where moved pages go: a third top-level slot, empty before.
const FAR: u64 = 0x5000_0000_0000;

struct World {
    memory: Memory<Machine>,
    containers: [ContainerId; CONTAINERS],
    running: [Option<ContainerId>; CPUS as usize],
    object: crate::ObjectId,
}

impl World {
    fn new() -> World {
        let mut memory = Machine::memory_with(1500, CPUS.into());
        let containers = core::array::from_fn(|n| World::make(&mut memory, n));
        let object = memory.make_object(Purpose::File).unwrap();
        memory.write_object(object, 0, &[9; 3 * PAGE_SIZE]).unwrap();
        World { memory, containers, running: [None; CPUS as usize], object }
    }

    fn make(memory: &mut Memory<Machine>, n: usize) -> ContainerId {
        if n == 0 { memory.make_container_with_directory(Cpu(0)).unwrap() } else { native(memory) }
    }

    /// The container that a CPU runs, with the CPU in the kernel.
    fn enter(&mut self, cpu: u8) -> Option<(Cpu, ContainerId)> {
        self.memory.physical.here = Cpu(cpu);
        let id = self.running[usize::from(cpu)]?;
        // It may have been vacated, and goes on.
        self.memory.activate(id, Cpu(cpu)).unwrap();
        Some((Cpu(cpu), id))
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Run(cpu, n) => {
                self.running[usize::from(cpu)] = Some(self.containers[n]);
                self.enter(cpu);
            }
            Step::Rest(cpu) => {
                self.memory.physical.here = Cpu(cpu);
                self.running[usize::from(cpu)] = None;
                self.memory.rest(Cpu(cpu));
            }
            Step::Touch(cpu, at, bits) => {
                // Without entering the kernel first, if the CPU has not been vacated.
                let Some(id) = self.running[usize::from(cpu)] else { return };
                if !self.memory.container(id).unwrap().active.contains(Cpu(cpu)) {
                    self.enter(cpu);
                }
                let (rights, address) = (rights(bits), address(at));
                let region = self.memory.container(id).unwrap().regions.at(address).copied();
                let granted = region.is_some_and(|region| region.rights.contains(rights));
                let result = access(&mut self.memory, Cpu(cpu), id, address, rights);
                assert_eq!(result.is_ok(), granted, "{result:?} for {region:?}");
            }
            Step::CopyOut(cpu, n, at) => {
                self.memory.physical.here = Cpu(cpu);
                let space = Space { container: self.containers[n], cpu: Cpu(cpu) };
                let _ = self.memory.copy_out(space, address(at), &[1]);
            }
            Step::Map(cpu, at, pages, bits) => {
                let Some((_, id)) = self.enter(cpu) else { return };
                self.memory.map(id, region(address(at), pages, rights(bits))).unwrap();
            }
            Step::Unmap(cpu, at, pages) => {
                let Some((_, id)) = self.enter(cpu) else { return };
                self.memory.unmap(id, address(at)..address(at) + pages * PAGE).unwrap();
            }
            Step::Protect(cpu, at, pages, bits) => {
                let Some((_, id)) = self.enter(cpu) else { return };
                self.memory.protect(id, address(at)..address(at) + pages * PAGE, rights(bits)).unwrap();
            }
            Step::Discard(cpu, at, pages) => {
                let Some((_, id)) = self.enter(cpu) else { return };
                self.memory.discard(id, address(at)..address(at) + pages * PAGE);
            }
            Step::UnmapAll(cpu, base) => {
                let Some((_, id)) = self.enter(cpu) else { return };
                let start = BASES[base] & !((1 << 30) - 1);
                self.memory.unmap(id, start..start + (1 << 30)).unwrap();
            }
            Step::Relocate(cpu, at, pages) => {
                let Some((here, id)) = self.enter(cpu) else { return };
                self.memory.unmap(id, FAR..FAR + pages * PAGE).unwrap();
                self.memory.relocate(id, here, address(at)..address(at) + pages * PAGE, FAR).unwrap();
            }
            Step::Share(cpu, at) => {
                let Some((_, id)) = self.enter(cpu) else { return };
                self.memory.share_object(self.object);
                let backing = Backing::Object { object: self.object, offset: 0, shared: false };
                self.memory.map(id, Region { backing, ..region(address(at), 3, RW) }).unwrap();
            }
            Step::Destroy(cpu, n) => {
                let new = World::make(&mut self.memory, n);
                self.replace(cpu, n, new);
            }
            Step::Fork(cpu, n) => {
                let Some((here, id)) = self.enter(cpu) else { return };
                let child = self.memory.fork_at_once(id, here).unwrap();
                self.replace(cpu, n, child);
            }
        }
    }

    /// Puts a container in the place of another one, which is destroyed.
    fn replace(&mut self, cpu: u8, n: usize, new: ContainerId) {
        self.memory.physical.here = Cpu(cpu);
        let id = core::mem::replace(&mut self.containers[n], new);
        self.memory.destroy_container(id, Cpu(cpu));
        self.running.iter_mut().filter(|running| **running == Some(id)).for_each(|running| *running = None);
    }

    /// What any CPU remembers is what the container that it runs has mapped, with no fewer rights.
    fn check_translations(&self) {
        for n in 0..CPUS {
            let mmu = &self.memory.physical.mmus[usize::from(n)];
            assert!(self.memory.physical.reaches_its_own(Cpu(n)));
            // A global directory that a CPU runs on leads to the window that it runs in, and to no other.
            let here = |id: &ContainerId| self.memory.container(*id).is_some_and(|c| c.active.contains(Cpu(n)));
            if mmu.loaded == mmu.global.pml4 {
                let active = self.containers.into_iter().find(here).and_then(|id| self.memory.container(id));
                let window = self.memory.physical.walk(mmu.loaded, WINDOW.start);
                assert_eq!(window, active.and_then(|container| container.window));
            }
            for (page, (frame, flags)) in &mmu.translations {
                let id = self.running[usize::from(n)].expect("an idle CPU knows no user page");
                let container = self.memory.container(id).expect("a container that is there");
                assert!(container.active.contains(Cpu(n)));
                let region = container.regions.at(*page).expect("a region");
                let root = container.root_for(*page).expect("tables");
                let entry = crate::memory::directory::entry(&self.memory.physical, root, *page);
                assert!(entry.flags().contains(Flags::PRESENT) && entry.addr() == frame.address());
                if flags.contains(Flags::WRITABLE) {
                    assert!(region.rights.contains(Rights::WRITE) && entry.flags().contains(Flags::WRITABLE));
                }
                if !flags.contains(Flags::NO_EXECUTE) {
                    assert!(region.rights.contains(Rights::EXECUTE));
                }
            }
        }
    }

    /// Pages and tables are as many as are counted, and every CPU that was there has one directory.
    fn check_counts(&mut self) {
        let (mut copies, mut directories) = (0, 0);
        for id in self.containers {
            let container = self.memory.container(id).unwrap();
            let usage = container.usage();
            copies += u64::from(usage.directories.saturating_sub(1));
            directories += u64::from(usage.directories > 0);
            let mut pages = 0;
            let parts = [0..PACKAGES.start, PACKAGES.end..USER_END].map(|range| container.reach(range));
            for (root, range) in parts.into_iter().flatten() {
                change_entries(&mut self.memory.physical, root, range, &mut |_, _, entry| {
                    pages += 1;
                    entry
                });
            }
            assert_eq!(usage.pages - usage.tables, pages);
        }
        assert_eq!((self.memory.counts.copies_live, self.memory.counts.directories_live), (copies, directories));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 300 }, ..ProptestConfig::default() })]
    #[test]
    fn no_cpu_reaches_what_its_container_has_not_mapped(steps in proptest::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            world.check_translations();
            world.check_counts();
        }
        let World { mut memory, containers, object, .. } = world;
        memory.physical.here = Cpu(1);
        containers.into_iter().for_each(|id| memory.destroy_container(id, Cpu(1)));
        memory.release_object(object);
        prop_assert_eq!((memory.counts.copies_live, memory.counts.directories_live), (0, 0));
        // The packages' table and four tables for each CPU are the machine's.
        prop_assert_eq!(memory.physical.free_frames(), 1500 - 1 - 4 * usize::from(CPUS));
    }
}
