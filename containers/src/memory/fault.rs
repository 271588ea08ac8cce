//! Page faults: delivering the pages of a region one by one, without ever sleeping. Only pages that a memory object has
//! already are delivered several at once (fault-around). For example, the first read of a read-only mapping of a file
//! maps the file's own page, and up to seven pages beside it; the first write to a private mapping copies a single
//! page.

use crate::frames::{Frame, PAGE_SIZE};
use crate::memory::container::{ContainerId, Growth};
use crate::memory::directory::{self, OBJECT, PACKAGES, Root, USER_END, WINDOW, frame_of, retired, slot};
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

/// The reason why an access cannot be granted; the comments name what the thread gets for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// There is no region at the address: SIGSEGV, `SEGV_MAPERR`.
    NoRegion,
    /// The region does not grant these rights: SIGSEGV, `SEGV_ACCERR`.
    Rights,
    /// The page is beyond the end of the mapped object: SIGBUS, `BUS_ADRERR`.
    BeyondEnd,
    /// The file has no page there, and the file system is full: SIGBUS, `BUS_ADRERR`.
    Full,
    /// No frame is left: the kernel kills a process.
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

/// A page to be entered: its frame, whose reference the entry takes over, and the two flags of the entry that depend on
/// the frame: whether it may be written, and whether it is an object's.
struct Page {
    frame: Frame,
    flags: Flags,
}

/// Bytes that stay free below a region that grows, as on Linux.
const GUARD: u64 = 256 * PAGE;

/// Pages of an object that are entered together when one of them is read: this number, aligned to a multiple of it.
const FAULT_AROUND: u64 = 8;

impl<P: PhysicalMemory + Translation> Memory<P> {
    /// Makes `address` of a container accessible for `access`, in the container's page directory and in the one that
    /// `cpu` has for it, and returns the frame. Called by the page-fault handler and by each software access to user
    /// memory that does not find the page present.
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

    /// Makes the container's page directory grant the access; returns the frame, and whether the directory did not
    /// grant it before.
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
        let known = container.table_cache.table(page);
        let find = || directory::last(&self.physical, container.root_for(page)?, page);
        let table = known.or_else(find);
        let old = table.map_or_else(PageTableEntry::new, |table| self.physical.entry(table, slot(page, 1)));
        let write = access.contains(Rights::WRITE);
        let new = match (table, frame_of(&old)) {
            (Some(_), Some(frame)) if old.flags().contains(granting(write)) => return Ok((frame, false)),
            (Some(table), Some(frame)) if write => self.write_to_shared(id, &region, page, table, frame)?,
            // The page was retired by a protection of "none", which has been lifted since. Whether the frame may be
            // written is found out as for any read-only page.
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
            // A page that may be written is better copied at its first write than mapped read-only before.
            let alone = new.flags != OBJECT || region.rights.contains(Rights::WRITE);
            let pages = if alone { 1 } else { 1 + self.fault_around(&region, page, table, flags) };
            if let Some(container) = self.containers.get_mut(id) {
                container.pages += pages;
                if known.is_none() {
                    container.table_cache.keep(page, table);
                }
            }
        }
        Ok((new.frame, true))
    }

    /// Extends the region above an address that lies in no region down to it, if that is a growing region.
    #[cold]
    fn grow(&mut self, id: ContainerId, address: u64) -> Result<(), Fault> {
        let container = self.containers.get_mut(id).ok_or(Fault::NoRegion)?;
        let above = container.regions.first(address..USER_END).filter(|above| above.traits.contains(Traits::GROWS));
        let above = above.ok_or(Fault::NoRegion)?;
        let start = address & !(PAGE - 1);
        // A program that runs beyond the end of its stack must not reach another mapping there.
        let below = start.saturating_sub(GUARD)..start;
        let near = container.regions.within(below).any(|region| !region.rights.is_empty());
        let Growth { region, all } = container.growth;
        let more = above.start - start;
        if near || above.end - start > region || container.regions.bytes().saturating_add(more) > all {
            return Err(Fault::NoRegion);
        }
        let begun = container.partial_fork;
        container.regions_mut().insert(Region { start, end: above.start, ..above }).map_err(|_| Fault::OutOfMemory)?;
        // The child of an incomplete fork may have got the region as it was.
        begun.map_or(Ok(()), |begun| self.grow(begun.child, address).or(Ok(())))
    }

    /// Enters pages of an object beside one that has been entered, in the same table, as far as the object has them and
    /// they belong to the region as a whole: a program that reads one will soon read its neighbours. Returns their
    /// number.
    fn fault_around(&mut self, region: &Region, page: u64, table: Frame, flags: Flags) -> u32 {
        let (object, offset, end) = match region.backing {
            Backing::Zero => return 0,
            Backing::Object { object, offset, .. } => (object, offset, region.end),
            Backing::Image { object, offset, length } => (object, offset, (region.start + length) & !(PAGE - 1)),
        };
        let first = (page & !(FAULT_AROUND * PAGE - 1)).max(region.start);
        let end = end.min(region.end).min((page & !(FAULT_AROUND * PAGE - 1)) + FAULT_AROUND * PAGE);
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

    /// Enters the pages of a range of one region that have not been touched yet, as if they had been written: pages
    /// that a program is known to write at once should not cost it a fault each.
    pub fn prefault(&mut self, space: Space, range: Range<u64>) -> Result<(), Fault> {
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

    /// Brings the page directory that `cpu` has for a container up to date for `address`; returns whether there was
    /// anything to do.
    fn refresh(&mut self, id: ContainerId, cpu: Cpu, address: u64) -> Result<bool, OutOfFrames> {
        let Some(directory) = self.containers.get(id).and_then(|container| container.directory.as_ref()) else {
            return Ok(false);
        };
        if self.cpus[usize::from(cpu.0)].runs_in_window(id) && !WINDOW.contains(&address) {
            // Another CPU has made the container leave the window.
            self.switch(id, cpu)?;
            return Ok(true);
        }
        let Some(copy) = directory.copy_of(cpu) else { return Ok(false) };
        let index = slot(address, 4);
        let entry = self.physical.entry(directory.pml4, index);
        // The CPU marks entries as accessed on its own, so only their targets are compared.
        if directory::target(&entry) == directory::target(&self.physical.entry(copy, index)) {
            return Ok(false);
        }
        self.physical.set_entry(copy, index, entry);
        Ok(true)
    }

    /// The frame behind a page that the container's tables already grant for `access`; counts nothing. This is the fast
    /// path of every software access.
    #[inline(always)]
    pub(crate) fn present(&mut self, id: ContainerId, address: u64, access: Rights) -> Option<Frame> {
        let table = match self.containers.get(id)?.table_cache.table(address) {
            Some(table) => table,
            None => self.walk(id, address)?,
        };
        debug_assert_eq!(Some(table), self.walk(id, address), "a table that was walked to and has gone since");
        let entry = self.physical.entry(table, slot(address, 1));
        let granted = entry.flags().contains(granting(access.contains(Rights::WRITE)));
        granted.then(|| Frame::containing(entry.addr()))
    }

    /// The last-level table for a user address, which the container caches.
    #[cold]
    fn walk(&mut self, id: ContainerId, address: u64) -> Option<Frame> {
        let container = self.containers.get_mut(id)?;
        let root = match PACKAGES.contains(&address) {
            // Packages are in all page directories, and never leave them.
            true => Root { table: self.cpus[0].global.pml4, level: 4 },
            false => container.root_for(address)?,
        };
        let table = directory::last(&self.physical, root, address)?;
        container.table_cache.keep(address, table);
        Some(table)
    }

    /// Writes for each page of a container from `start` on whether it has a frame: 1 or 0.
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

    /// Handles a write to a page that is mapped read-only in a writable region: it is shared with an object or another
    /// container. The writer gets a copy, unless the sharing has ended.
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
        // No CPU may see the copy while another still sees the old page: a store by one of them would be invisible to
        // the other. So the entry is retired and the translations are invalidated first.
        let entry = retired(&self.physical.entry(table, slot(page, 1)));
        self.physical.set_entry(table, slot(page, 1), entry);
        self.forget(id, page..page + PAGE);
        self.physical.release(old);
        self.counts.pages_copied += 1;
        Ok(Page { frame: copy, flags: Flags::WRITABLE })
    }

    /// The first contents of a page of a region, for a container that has `holder` pages.
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

    /// A page of an object for private use: the object's own frame, as long as the access is no write and all of the
    /// page is wanted; else a copy of its first `bytes`.
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

    /// Makes the container's tables for a page down to the last level. The container leaves the window first if the
    /// page lies outside.
    #[cold]
    fn make_tables(&mut self, id: ContainerId, cpu: Cpu, page: u64) -> Result<Frame, OutOfFrames> {
        if self.containers.get(id).is_some_and(|container| container.root_for(page).is_none()) {
            self.leave_window(id, cpu)?;
        }
        let root = self.containers.get(id).and_then(|container| container.root_for(page)).ok_or(OutOfFrames)?;
        // Tables may come from the kernel's reserve, but must not use it up: a page that exists already can be mapped
        // at any number of addresses, each with tables of its own.
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

/// The flags that an entry needs to grant a user's access.
fn granting(write: bool) -> Flags {
    let mut needed = Flags::PRESENT | Flags::USER_ACCESSIBLE;
    needed.set(Flags::WRITABLE, write);
    needed
}

/// The flags of an entry for a page of a region with `rights`; `own` contributes the flags of [`Page`] and those that
/// the CPU sets. A page of a region without read right is never entered as present, except that x86-64 cannot write or
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
