//! Page faults: delivering what a region promises, page by page and without ever sleeping. Only of objects' own
//! pages, which are there already, several are delivered at once.

use crate::frames::{Frame, PAGE_SIZE};
use crate::memory::container::{ContainerId, Growth};
use crate::memory::directory::{self, OBJECT, PACKAGES, Root, USER_END, WINDOW, frame_of, parked, slot};
use crate::memory::object::NoPage;
use crate::memory::physical::{OutOfFrames, PhysicalMemory, Translation};
use crate::memory::region::{Backing, Region, Rights, Traits};
use crate::memory::user::Space;
use crate::memory::{KERNEL_RESERVE, Memory};
use core::ops::Range;
use cpulocal::Cpu;
use x86_64::structures::paging::PageTableFlags as Flags;
use x86_64::structures::paging::page_table::PageTableEntry;

const PAGE: u64 = PAGE_SIZE as u64;

/// Why an access cannot be granted; the comments name what a thread gets for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// No region there: SIGSEGV, `SEGV_MAPERR`.
    NoRegion,
    /// A region, but not with these rights: SIGSEGV, `SEGV_ACCERR`.
    Rights,
    /// Beyond the end of the mapped object: SIGBUS, `BUS_ADRERR`.
    BeyondEnd,
    /// A page of a file that has none there, while the file system is full: SIGBUS, `BUS_ADRERR`.
    Full,
    /// No frame left: a process has to go.
    OutOfMemory,
}

impl From<NoPage> for Fault {
    fn from(why: NoPage) -> Fault {
        match why {
            NoPage::Full => Fault::Full,
            NoPage::Frames => Fault::OutOfMemory,
        }
    }
}

impl From<OutOfFrames> for Fault {
    fn from(_: OutOfFrames) -> Fault {
        Fault::OutOfMemory
    }
}

/// A page to be entered: its frame, whose reference the entry takes over, and of the entry's flags those that tell
/// whether the frame may be written through it, and whether it is an object's.
struct Page {
    frame: Frame,
    flags: Flags,
}

/// Bytes that stay free below a region that grows, as on Linux.
const GUARD: u64 = 256 * PAGE;

/// Pages of an object that are entered together when one of them is read: so many, on a multiple of their size.
const TOGETHER: u64 = 8;

impl<P: PhysicalMemory + Translation> Memory<P> {
    /// Sees to it that `address` of a container can be accessed as `access` says, in the container's
    /// page directory and in the one that `cpu` has for it, and returns the frame. From the page-fault
    /// handler and from every software access to user memory.
    pub fn fault(&mut self, id: ContainerId, cpu: Cpu, address: u64, access: Rights) -> Result<Frame, Fault> {
        let (frame, delivered) = self.deliver(id, cpu, address, access)?;
        let refreshed = self.refresh(id, cpu, address)?;
        match (delivered, refreshed) {
            (true, _) => {}
            (false, true) => self.counts.spurious_directory += 1,
            (false, false) => self.counts.spurious_tlb += 1,
        }
        Ok(frame)
    }

    /// Sees to it that the container's page directory grants the access; tells whether it did not yet.
    fn deliver(&mut self, id: ContainerId, cpu: Cpu, address: u64, access: Rights) -> Result<(Frame, bool), Fault> {
        let container = self.containers.get(id).ok_or(Fault::NoRegion)?;
        let region = match container.regions.at(address) {
            Some(region) => *region,
            None => return self.grow(id, address).and_then(|()| self.deliver(id, cpu, address, access)),
        };
        if !region.rights.contains(access) {
            return Err(Fault::Rights);
        }
        let (page, holder) = (address & !(PAGE - 1), container.pages);
        let known = container.walked.table(page);
        let find = || directory::last(&self.physical, container.root_for(page)?, page);
        let table = known.or_else(find);
        let old = table.map_or_else(PageTableEntry::new, |table| self.physical.entry(table, slot(page, 1)));
        let write = access.contains(Rights::WRITE);
        let new = match (table, frame_of(&old)) {
            (Some(_), Some(frame)) if old.flags().contains(granting(write)) => return Ok((frame, false)),
            (Some(table), Some(frame)) if write => self.write_to_shared(id, &region, page, table, frame)?,
            // Parked by a protection of "none" that has since been lifted. Whether the frame may be written is
            // found out as for any read-only page.
            (Some(_), Some(frame)) => Page { frame, flags: old.flags() & OBJECT },
            _ => self.first_contents(&region, page, write, holder)?,
        };
        let table = match table {
            Some(table) => table,
            None => self.make_tables(id, cpu, page).inspect_err(|_| self.physical.release(new.frame))?,
        };
        let flags = flags(region.rights, new.flags);
        directory::set(&mut self.physical, table, slot(page, 1), new.frame, flags);
        if old.is_unused() {
            self.counts.faults_resolved += 1;
            // A page that may be written is better copied at once when that happens.
            let alone = new.flags != OBJECT || region.rights.contains(Rights::WRITE);
            let pages = if alone { 1 } else { 1 + self.enter_neighbours(&region, page, table, flags) };
            if let Some(container) = self.containers.get_mut(id) {
                container.pages += pages;
                if known.is_none() {
                    container.walked.keep(page, table);
                }
            }
        }
        Ok((new.frame, true))
    }

    /// Lets the region above an address, which lies in none, grow down to it, if it is one that does.
    #[cold]
    fn grow(&mut self, id: ContainerId, address: u64) -> Result<(), Fault> {
        let container = self.containers.get_mut(id).ok_or(Fault::NoRegion)?;
        let above = container.regions.first(address..USER_END).filter(|above| above.traits.contains(Traits::GROWS));
        let above = above.ok_or(Fault::NoRegion)?;
        let start = address & !(PAGE - 1);
        // A program that runs beyond the end of its stack is not to find another mapping there.
        let below = start.saturating_sub(GUARD)..start;
        let near = container.regions.within(below).any(|region| !region.rights.is_empty());
        let Growth { region, all } = container.growth;
        let more = above.start - start;
        if near || above.end - start > region || container.regions.bytes().saturating_add(more) > all {
            return Err(Fault::NoRegion);
        }
        let begun = container.begun;
        container.regions.insert(Region { start, end: above.start, ..above }).map_err(|_| Fault::OutOfMemory)?;
        // A child that is being made may have got the region as it was.
        begun.map_or(Ok(()), |begun| self.grow(begun.child, address).or(Ok(())))
    }

    /// Enters pages of an object beside one that has been entered, in the same table and as far as they are
    /// there and wanted whole: who reads one soon reads others. Returns how many.
    fn enter_neighbours(&mut self, region: &Region, page: u64, table: Frame, flags: Flags) -> u32 {
        let (object, offset, end) = match region.backing {
            Backing::Zero => return 0,
            Backing::Object { object, offset, .. } => (object, offset, region.end),
            Backing::Image { object, offset, length } => (object, offset, (region.start + length) & !(PAGE - 1)),
        };
        let first = (page & !(TOGETHER * PAGE - 1)).max(region.start);
        let end = end.min(region.end).min((page & !(TOGETHER * PAGE - 1)) + TOGETHER * PAGE);
        let Some(object) = self.objects.get(object) else { return 0 };
        let (mut at, mut entered) = (first, 0);
        while at < end {
            let pages = object.pages((offset + (at - region.start)) / PAGE);
            for page in pages.iter().take(((end - at) / PAGE) as usize) {
                if let Some(frame) = *page
                    && self.physical.entry(table, slot(at, 1)).is_unused()
                {
                    self.physical.share(frame);
                    directory::set(&mut self.physical, table, slot(at, 1), frame, flags);
                    entered += 1;
                }
                at += PAGE;
            }
        }
        entered
    }

    /// Enters the pages of a range of one region that have not been touched yet, each as if it had been written:
    /// what a program is known to write at once need not cost it a fault a page.
    pub fn enter_ahead(&mut self, space: Space, range: Range<u64>) -> Result<(), Fault> {
        let Space { container: id, cpu } = space;
        let container = self.containers.get(id).ok_or(Fault::NoRegion)?;
        let (region, holder) = (*container.regions.at(range.start).ok_or(Fault::NoRegion)?, container.pages);
        if !region.rights.contains(Rights::WRITE) {
            return Err(Fault::Rights);
        }
        let mut table = self.make_tables(id, cpu, range.start)?;
        for page in (range.start..range.end.min(region.end)).step_by(PAGE_SIZE) {
            if slot(page, 1) == 0 {
                table = self.make_tables(id, cpu, page)?;
            }
            if self.physical.entry(table, slot(page, 1)).is_unused() {
                let new = self.first_contents(&region, page, true, holder)?;
                let flags = flags(region.rights, new.flags);
                directory::set(&mut self.physical, table, slot(page, 1), new.frame, flags);
                if let Some(container) = self.containers.get_mut(id) {
                    container.pages += 1;
                }
            }
        }
        Ok(())
    }

    /// Brings what `cpu` has of a container up to date with the container's page directory, as far as
    /// `address` is concerned; tells whether there was anything to do.
    fn refresh(&mut self, id: ContainerId, cpu: Cpu, address: u64) -> Result<bool, OutOfFrames> {
        let Some(directory) = self.containers.get(id).and_then(|container| container.directory.as_ref()) else {
            return Ok(false);
        };
        if self.cpus[usize::from(cpu.0)].runs_in_window(id) && !WINDOW.contains(&address) {
            // The container has left the window at the hands of another CPU.
            self.switch(id, cpu)?;
            return Ok(true);
        }
        let Some(copy) = directory.copy_of(cpu) else { return Ok(false) };
        let index = slot(address, 4);
        let entry = self.physical.entry(directory.pml4, index);
        // The CPU marks entries as accessed on its own: only where they lead to counts.
        if directory::target(&entry) == directory::target(&self.physical.entry(copy, index)) {
            return Ok(false);
        }
        self.physical.set_entry(copy, index, entry);
        Ok(true)
    }

    /// The frame behind a page that the container's tables already grant for `access`, without
    /// counting anything: the fast path of every software access.
    #[inline(always)]
    pub(crate) fn present(&mut self, id: ContainerId, address: u64, access: Rights) -> Option<Frame> {
        let table = match self.containers.get(id)?.walked.table(address) {
            Some(table) => table,
            None => self.walk(id, address)?,
        };
        debug_assert_eq!(Some(table), self.walk(id, address), "a table that was walked to and has gone since");
        let entry = self.physical.entry(table, slot(address, 1));
        let granted = entry.flags().contains(granting(access.contains(Rights::WRITE)));
        granted.then(|| Frame::containing(entry.addr()))
    }

    /// The last-level table for a user address, which the container keeps in mind.
    #[cold]
    fn walk(&mut self, id: ContainerId, address: u64) -> Option<Frame> {
        let container = self.containers.get_mut(id)?;
        let root = match PACKAGES.contains(&address) {
            // In everybody's page directories, and not the container's; they stay.
            true => Root { table: self.cpus[0].global.pml4, level: 4 },
            false => container.root_for(address)?,
        };
        let table = directory::last(&self.physical, root, address)?;
        container.walked.keep(address, table);
        Some(table)
    }

    /// Tells of each page of a container from `start` on whether it has a frame: 1 or 0.
    pub fn residence(&self, id: ContainerId, start: u64, to: &mut [u8]) {
        let mut table = None;
        for (n, told) in (0..).zip(to) {
            let page = start + n * PAGE;
            if n == 0 || slot(page, 1) == 0 {
                let root = self.containers.get(id).and_then(|container| container.root_for(page));
                table = root.and_then(|root| directory::last(&self.physical, root, page));
            }
            let entry = table.map(|table| self.physical.entry(table, slot(page, 1)));
            *told = entry.is_some_and(|entry| frame_of(&entry).is_some()).into();
        }
    }

    /// A write to a page that is mapped read-only although its region may be written: it is shared, with an object
    /// or another container, and gets a copy unless the sharing has ended.
    fn write_to_shared(
        &mut self,
        id: ContainerId,
        region: &Region,
        page: u64,
        table: Frame,
        old: Frame,
    ) -> Result<Page, OutOfFrames> {
        let shared_object = matches!(region.backing, Backing::Object { shared: true, .. });
        if shared_object || self.physical.references(old) == 1 {
            self.counts.faults_resolved += 1;
            let object = if shared_object { OBJECT } else { Flags::empty() };
            return Ok(Page { frame: old, flags: Flags::WRITABLE | object });
        }
        self.leave_reserve(self.containers.get(id).map_or(0, |container| container.pages))?;
        let copy = self.physical.duplicate(old, PAGE_SIZE)?;
        // Nobody may know the copy while somebody knows the old page: what one CPU has written there, all
        // others must see.
        let entry = parked(&self.physical.entry(table, slot(page, 1)));
        self.physical.set_entry(table, slot(page, 1), entry);
        self.forget(id, page..page + PAGE);
        self.physical.release(old);
        self.counts.pages_copied += 1;
        Ok(Page { frame: copy, flags: Flags::WRITABLE })
    }

    /// What a page of a region holds when it is touched for the first time, by a container of `holder` pages.
    fn first_contents(&mut self, region: &Region, page: u64, write: bool, holder: u32) -> Result<Page, Fault> {
        let into = page - region.start;
        match region.backing {
            Backing::Zero => Ok(Page { frame: self.allocate_user(holder)?, flags: Flags::WRITABLE }),
            Backing::Object { object, offset, shared } => {
                if offset + into >= self.object_size(object) {
                    return Err(Fault::BeyondEnd);
                }
                let number = (offset + into) / PAGE;
                if shared {
                    let frame = self.object_page_or_new(object, number, holder)?;
                    self.physical.share(frame);
                    return Ok(Page { frame, flags: Flags::WRITABLE | OBJECT });
                }
                self.private_page(object, number, (PAGE_SIZE, write), holder)
            }
            Backing::Image { object, offset, length } => {
                let bytes = length.saturating_sub(into).min(PAGE) as usize;
                match bytes {
                    0 => Ok(Page { frame: self.allocate_user(holder)?, flags: Flags::WRITABLE }),
                    _ => self.private_page(object, (offset + into) / PAGE, (bytes, write), holder),
                }
            }
        }
    }

    /// A page of an object for private use: the object's own frame as long as nobody writes and all
    /// of it is wanted, else a copy of its first `bytes`.
    fn private_page(
        &mut self,
        object: crate::memory::object::ObjectId,
        number: u64,
        (bytes, write): (usize, bool),
        holder: u32,
    ) -> Result<Page, Fault> {
        match self.object_page(object, number) {
            Some(frame) if !write && bytes == PAGE_SIZE => {
                self.physical.share(frame);
                Ok(Page { frame, flags: OBJECT })
            }
            Some(frame) => {
                self.leave_reserve(holder)?;
                Ok(Page { frame: self.physical.duplicate(frame, bytes)?, flags: Flags::WRITABLE })
            }
            None => Ok(Page { frame: self.allocate_user(holder)?, flags: Flags::WRITABLE }),
        }
    }

    /// Makes the container's tables for a page down to the last level, leaving the window first if it lies outside.
    #[cold]
    fn make_tables(&mut self, id: ContainerId, cpu: Cpu, page: u64) -> Result<Frame, OutOfFrames> {
        if self.containers.get(id).is_some_and(|container| container.root_for(page).is_none()) {
            self.leave_window(id, cpu)?;
        }
        let root = self.containers.get(id).and_then(|container| container.root_for(page)).ok_or(OutOfFrames)?;
        // Tables may go into the kernel's reserve, but must not use it up: a page that is there already
        // can be mapped at any number of places, each with tables of its own.
        if self.physical.free_frames() <= KERNEL_RESERVE / 2 {
            return Err(OutOfFrames);
        }
        let (table, made) = directory::last_table(&mut self.physical, root, page)?;
        if let Some(container) = self.containers.get_mut(id) {
            container.pages += made;
            container.tables += made;
        }
        Ok(table)
    }
}

/// The flags of an entry that grants a user's access.
fn granting(write: bool) -> Flags {
    let mut needed = Flags::PRESENT | Flags::USER_ACCESSIBLE;
    needed.set(Flags::WRITABLE, write);
    needed
}

/// The flags of an entry for a page of a region with `rights`, of which `own` has [`Page`]'s and those that the CPU
/// sets. Pages of a region without read right are never entered as present, except that x86-64 cannot write or
/// execute without reading.
pub(crate) fn flags(rights: Rights, own: Flags) -> Flags {
    let kept = OBJECT | Flags::WRITABLE | Flags::ACCESSED | Flags::DIRTY;
    let mut flags = Flags::PRESENT | Flags::USER_ACCESSIBLE | own & kept;
    if !rights.contains(Rights::WRITE) {
        flags -= Flags::WRITABLE;
    }
    flags.set(Flags::NO_EXECUTE, !rights.contains(Rights::EXECUTE));
    flags
}
