//! A machine for the tests: frames in a vector, and CPUs with what they know about translations.

use crate::frames::{Frame, FrameInfo, FrameTable, GROUP, PAGE_SIZE};
use crate::memory::directory::{PACKAGES_SLOT, TABLE, WINDOW, WINDOW_SLOT, set, slot, span, target};
use crate::memory::physical::{OutOfFrames, PhysicalMemory, Translation};
use crate::memory::region::Rights;
use crate::memory::{GlobalDirectory, Memory};
use core::ops::Range;
use cpulocal::{Cpu, CpuSet};
use std::collections::BTreeMap;
use x86_64::PhysAddr;
use x86_64::structures::paging::PageTableFlags as Flags;
use x86_64::structures::paging::page_table::PageTableEntry;

/// The slot of the CPU-local section, in the kernel's half.
const OWN_SLOT: usize = 511;

/// A small memory and its CPUs' translations. A frame is used as a page table or for bytes, never both,
/// so each has both apart.
pub(crate) struct Machine {
    frames: FrameTable,
    /// `None`: empty, as nearly all are.
    tables: Vec<Option<Box<Table>>>,
    bytes: Vec<[u8; PAGE_SIZE]>,
    /// The CPU that is in the kernel: what the tests do, it does.
    pub(crate) here: Cpu,
    /// The CPUs.
    pub(crate) mmus: Vec<Mmu>,
    /// Ranges that had to be forgotten, with the CPUs that had to forget them.
    pub(crate) invalidated: Vec<(CpuSet, Range<u64>)>,
    pub(crate) companions_invalidated: Vec<Frame>,
    /// CPUs that had to leave user mode.
    pub(crate) vacated: Vec<CpuSet>,
    /// So often there is room for bookkeeping.
    pub(crate) bookkeeping: usize,
}

/// A CPU's memory-management unit. It remembers all that it ever walked, until told to forget.
pub(crate) struct Mmu {
    /// Its global page directory.
    pub(crate) global: GlobalDirectory,
    /// The page directory that it runs on.
    pub(crate) loaded: Frame,
    /// Translations by page, with the flags that they were made from.
    pub(crate) translations: BTreeMap<u64, (Frame, Flags)>,
    /// Last-level tables by 2 MiB (the paging-structure caches).
    pub(crate) tables: BTreeMap<u64, Frame>,
}

impl Mmu {
    fn forget_all(&mut self) {
        self.translations.clear();
        self.tables.clear();
    }
}

const PAGE: u64 = PAGE_SIZE as u64;

/// A page table of any level.
type Table = [PageTableEntry; 512];

const EMPTY: Table = [const { PageTableEntry::new() }; 512];

impl Machine {
    /// A machine with this number of frames, all free.
    fn new(frames: usize) -> Machine {
        let mut table = FrameTable::new(Vec::leak(vec![FrameInfo::HOLE; frames + 1]));
        // Frame 0 stays a hole, as on a PC.
        (1..=frames).for_each(|n| table.add(Frame::containing(PhysAddr::new((n * PAGE_SIZE) as u64))));
        let tables = (0..=frames).map(|_| None).collect();
        let bytes = vec![[0; PAGE_SIZE]; frames + 1];
        let (here, mmus, invalidated, vacated) = (Cpu(0), Vec::new(), Vec::new(), Vec::new());
        let (companions_invalidated, bookkeeping) = (Vec::new(), usize::MAX);
        Machine { frames: table, tables, bytes, here, mmus, invalidated, companions_invalidated, vacated, bookkeeping }
    }

    /// A memory subsystem on a machine with one CPU.
    pub(crate) fn memory(frames: usize) -> Memory<Machine> {
        Machine::memory_with(frames, 1)
    }

    /// A memory subsystem on a machine with CPUs whose global page directories are as the boot makes
    /// them: each with its own window, the same packages, and a kernel half that leads to its own
    /// CPU-local pages.
    pub(crate) fn memory_with(frames: usize, cpus: usize) -> Memory<Machine> {
        let mut machine = Machine::new(frames);
        let packages = machine.allocate().unwrap();
        for _ in 0..cpus {
            let [pml4, third, window_directory, own] = core::array::from_fn(|_| machine.allocate().unwrap());
            set(&mut machine, pml4, WINDOW_SLOT, third, TABLE);
            set(&mut machine, third, slot(WINDOW.start, 3), window_directory, TABLE);
            set(&mut machine, pml4, PACKAGES_SLOT, packages, TABLE);
            set(&mut machine, pml4, OWN_SLOT, own, Flags::PRESENT);
            let global = GlobalDirectory { pml4, window_directory };
            machine.mmus.push(Mmu { global, loaded: pml4, translations: BTreeMap::new(), tables: BTreeMap::new() });
        }
        let globals: Vec<_> = machine.mmus.iter().map(|mmu| mmu.global).collect();
        let mut memory = Memory::new(machine, globals[..1].to_vec());
        globals[1..].iter().for_each(|global| memory.add_cpu(*global));
        memory
    }

    /// The page directory that the CPU in the kernel runs on.
    pub(crate) fn loaded(&self) -> Frame {
        self.mmus[usize::from(self.here.0)].loaded
    }

    /// Whether a CPU's page directory leads to its own CPU-local pages.
    pub(crate) fn reaches_its_own(&self, cpu: Cpu) -> bool {
        let mmu = &self.mmus[usize::from(cpu.0)];
        target(&self.table(mmu.loaded)[OWN_SLOT]) == target(&self.table(mmu.global.pml4)[OWN_SLOT])
    }

    /// An access of a CPU in user mode: the frame, or `None` for a page fault. What the CPU remembers counts
    /// as long as it grants the access, and is forgotten for the page when it does not (SDM volume 3,
    /// section 4.10.4.1).
    pub(crate) fn touch(&mut self, cpu: Cpu, address: u64, access: Rights) -> Option<Frame> {
        let page = address & !(PAGE - 1);
        let mmu = &self.mmus[usize::from(cpu.0)];
        let grants = |flags: Flags| {
            flags.contains(Flags::PRESENT | Flags::USER_ACCESSIBLE)
                && (!access.contains(Rights::WRITE) || flags.contains(Flags::WRITABLE))
                && !(access.contains(Rights::EXECUTE) && flags.contains(Flags::NO_EXECUTE))
        };
        let known = mmu.translations.get(&page).copied();
        let table = mmu.tables.get(&(address / span(2))).copied().or_else(|| self.walk(mmu.loaded, address));
        let found = known.or_else(|| {
            let entry = &self.table(table?)[slot(page, 1)];
            Some((target(entry)?, entry.flags()))
        });
        let mmu = &mut self.mmus[usize::from(cpu.0)];
        match found.filter(|(_, flags)| grants(*flags)) {
            Some((frame, flags)) => {
                mmu.translations.insert(page, (frame, flags));
                if let Some(table) = table {
                    mmu.tables.insert(address / span(2), table);
                }
                Some(frame)
            }
            None => {
                mmu.translations.remove(&page);
                mmu.tables.remove(&(address / span(2)));
                None
            }
        }
    }

    /// The last-level table for an address.
    pub(crate) fn walk(&self, pml4: Frame, address: u64) -> Option<Frame> {
        (2..=4).rev().try_fold(pml4, |table, level| target(&self.table(table)[slot(address, level)]))
    }

    /// Notes that a frame has become free: no translation may lead to it any more.
    fn check_released(&self, frame: Frame) {
        if self.frames.references(frame) == 0 {
            for (n, mmu) in self.mmus.iter().enumerate() {
                assert!(mmu.loaded != frame, "CPU {n} runs on a page directory that is freed");
                let mut known = mmu.translations.values().map(|(frame, _)| frame).chain(mmu.tables.values());
                assert!(known.all(|known| *known != frame), "CPU {n} still knows the way to a frame that is freed");
            }
        }
    }

    fn check(&self, frame: Frame) -> usize {
        assert!(self.frames.references(frame) > 0, "frame {frame:?} is not in use");
        frame.number()
    }
}

impl Machine {
    /// A frame in use as a page table.
    fn table(&self, frame: Frame) -> &Table {
        self.tables[self.check(frame)].as_deref().unwrap_or(&EMPTY)
    }
}

impl PhysicalMemory for Machine {
    fn allocate(&mut self) -> Result<Frame, OutOfFrames> {
        let (frame, zero) = self.frames.take(true).ok_or(OutOfFrames)?;
        if zero {
            let mut entries = self.tables[frame.number()].iter().flat_map(|table| &**table);
            assert!(entries.all(PageTableEntry::is_unused), "not all of {frame:?} is zero");
            assert_eq!(self.bytes[frame.number()], [0; PAGE_SIZE], "not all of {frame:?} is zero");
        }
        self.tables[frame.number()] = None;
        self.bytes[frame.number()].fill(0);
        Ok(frame)
    }

    fn has_room_for_bookkeeping(&mut self) -> bool {
        let left = self.bookkeeping.checked_sub(1);
        self.bookkeeping = left.unwrap_or(0);
        left.is_some()
    }

    fn share(&mut self, frame: Frame) {
        self.frames.share(frame);
    }

    fn release(&mut self, frame: Frame) {
        self.frames.release(frame);
        self.check_released(frame);
    }

    fn release_table(&mut self, table: Frame) {
        let groups = self.frames.groups(table);
        if let Some(entries) = &mut self.tables[table.number()] {
            for group in (0..512 / GROUP).filter(|group| groups >> group & 1 != 0) {
                entries[group * GROUP..][..GROUP].clone_from_slice(&EMPTY[..GROUP]);
            }
        }
        self.frames.release_zero(table);
        self.check_released(table);
    }

    fn free_frames(&self) -> usize {
        self.frames.free()
    }

    fn references(&self, frame: Frame) -> u32 {
        self.frames.references(frame)
    }

    fn entry(&self, table: Frame, slot: usize) -> PageTableEntry {
        self.table(table)[slot].clone()
    }

    fn used(&self, table: Frame, group: usize) -> u32 {
        let entries = self.table(table)[group * GROUP..][..GROUP].iter();
        entries.rev().fold(0, |bits, entry| bits * 2 + u32::from(!entry.is_unused()))
    }

    fn set_entry(&mut self, table: Frame, slot: usize, entry: PageTableEntry) {
        self.frames.note_entry(table, slot);
        self.tables[table.number()].get_or_insert_with(|| Box::new(EMPTY))[slot] = entry;
    }

    fn groups(&self, table: Frame) -> u32 {
        self.frames.groups(table)
    }

    fn read(&self, frame: Frame, offset: usize, to: &mut [u8]) {
        to.copy_from_slice(&self.bytes[self.check(frame)][offset..offset + to.len()]);
    }

    fn write(&mut self, frame: Frame, offset: usize, from: &[u8]) {
        let number = self.check(frame);
        self.bytes[number][offset..offset + from.len()].copy_from_slice(from);
    }

    fn change_word(&mut self, frame: Frame, offset: usize, change: impl Fn(u32) -> u32) -> u32 {
        let mut word = [0; 4];
        self.read(frame, offset, &mut word);
        let old = u32::from_ne_bytes(word);
        self.write(frame, offset, &change(old).to_ne_bytes());
        old
    }

    fn copy(&mut self, from: (Frame, usize), to: (Frame, usize), length: usize) {
        let mut bytes = vec![0; length];
        self.read(from.0, from.1, &mut bytes);
        self.write(to.0, to.1, &bytes);
        let entries = self.table(from.0)[from.1 / 8..][..length / 8].to_vec();
        let copy = self.tables[to.0.number()].get_or_insert_with(|| Box::new(EMPTY));
        copy[to.1 / 8..][..length / 8].clone_from_slice(&entries);
    }
}

impl Translation for Machine {
    fn load(&mut self, pml4: Frame) {
        self.check(pml4);
        let mmu = &mut self.mmus[usize::from(self.here.0)];
        mmu.loaded = pml4;
        mmu.forget_all();
        assert!(self.reaches_its_own(self.here), "{:?} has lost its CPU-local pages", self.here);
    }

    fn invalidate(&mut self, cpus: CpuSet, range: Range<u64>) {
        assert!(!cpus.is_empty() && !range.is_empty());
        for cpu in cpus.iter() {
            let mmu = &mut self.mmus[usize::from(cpu.0)];
            mmu.translations.retain(|page, _| !range.contains(page));
            mmu.tables.clear();
        }
        self.invalidated.push((cpus, range));
    }

    fn invalidate_companions(&mut self, pml4: Frame) {
        self.check(pml4);
        self.companions_invalidated.push(pml4);
    }

    fn note_teardown_work(&mut self) {}

    fn vacate(&mut self, cpus: CpuSet) {
        assert!(!cpus.is_empty() && !cpus.contains(self.here));
        for cpu in cpus.iter() {
            let mmu = &mut self.mmus[usize::from(cpu.0)];
            mmu.loaded = mmu.global.pml4;
            mmu.forget_all();
        }
        self.vacated.push(cpus);
    }
}
