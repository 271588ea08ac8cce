//! Packages: native programs, resident from boot.
//!
//! Each is linked at an address of its own (papers/001 section 2.3), so its code is mapped once, in the
//! page-directory slot that all page directories share, and global: starting one maps nothing, and
//! there is never a fault on code. Its initial data is a memory object; a container's own copy of a
//! data page is made when the page is first touched.

use super::elf;
use crate::arch::physical::Memory;
use crate::core::process::{Invocation, Name};
use ::files::{Errno, InodeId};
use abi::layout::MAIN_STACK;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use containers::directory::{self, PACKAGES, Root, WINDOW, slot};
use containers::{Backing, Frame, Label, ObjectId, PAGE_SIZE, PhysicalMemory, Region, Regions, Rights};
use core::ops::Range;
use x86_64::structures::paging::PageTableFlags as Flags;

/// The image's directory of native programs.
pub const DIRECTORY: &[u8] = b"/pkg/";

const PAGE: u64 = PAGE_SIZE as u64;

/// The rights to data, heap and stacks.
pub const DATA: Rights = Rights::READ.union(Rights::WRITE);

/// A resident native program.
pub struct Package {
    /// The package's name.
    called: Box<[u8]>,
    /// The name of its processes.
    pub name: Name,
    /// The invocation of its processes: its path, and no arguments.
    pub invocation: Rc<Invocation>,
    /// The address of its first instruction.
    pub entry: u64,
    /// The memory object with the program's file.
    pub object: ObjectId,
    /// The regions with which each of its containers starts: data in the window, if it has any, heap and stack.
    pub regions: Rc<Regions>,
}

/// All resident programs.
#[derive(Default)]
pub struct Packages(Vec<Package>);

impl Packages {
    /// The package with a name. It moves to the front, because a program that is started once is often started again.
    pub fn find(&mut self, name: &[u8]) -> Option<&Package> {
        let place = self.0.iter().position(|package| *package.called == *name)?;
        if place > 0 {
            self.0.swap(0, place);
        }
        self.0.first()
    }

    /// How many packages there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Makes a program resident: maps its code in the packages' slot, beneath `shared` (the table that
    /// all page directories' slots point at), for good.
    pub fn add(
        &mut self,
        memory: &mut Memory,
        shared: Frame,
        name: &[u8],
        (inode, object): (InodeId, ObjectId),
    ) -> Result<(), Errno> {
        let program = elf::parse(memory.object_size(object), |at, to| memory.read_object(object, at, to))?;
        let mut regions = Regions::default();
        // All addresses between data and stack are heap, except a page below the stack that catches its overflow.
        let stack = WINDOW.end - MAIN_STACK;
        let mut heap = WINDOW.start..stack - PAGE;
        for segment in program.segments() {
            let pages = segment.pages;
            if pages.start >= WINDOW.start && pages.end < heap.end {
                if heap.start != WINDOW.start {
                    return Err(Errno::ENOEXEC);
                }
                heap.start = pages.end;
                let backing = Backing::Image { object, offset: segment.offset, length: segment.length };
                put(&mut regions, pages.start..pages.end, backing, Label::None)?;
            } else if pages.start < PACKAGES.start || pages.end > PACKAGES.end || segment.rights.contains(Rights::WRITE)
            {
                return Err(Errno::ENOEXEC);
            } else {
                map_code(memory, shared, &segment, object)?;
            }
        }
        put(&mut regions, heap, Backing::Zero, Label::Heap)?;
        put(&mut regions, stack..WINDOW.end, Backing::Zero, Label::Stack)?;
        memory.share_object(object);
        let executable: Box<[u8]> = [DIRECTORY, name].concat().into();
        let command_line = [&executable, &b"\0"[..]].concat().into();
        let invocation = Rc::new(Invocation { executable, inode, command_line });
        self.0.push(Package {
            called: name.into(),
            name: Name::new(name),
            invocation,
            entry: program.entry,
            object,
            regions: Rc::new(regions),
        });
        Ok(())
    }
}

fn put(regions: &mut Regions, range: Range<u64>, backing: Backing, label: Label) -> Result<(), Errno> {
    regions.insert(Region { label, ..Region::new(range, DATA, backing) }).map_err(|_| Errno::ENOMEM)
}

fn map_code(memory: &mut Memory, shared: Frame, segment: &elf::Segment, object: ObjectId) -> Result<(), Errno> {
    let root = Root { table: shared, level: 3 };
    let mut flags = Flags::PRESENT | Flags::USER_ACCESSIBLE | Flags::GLOBAL;
    flags.set(Flags::NO_EXECUTE, !segment.rights.contains(Rights::EXECUTE));
    for page in (segment.pages.start..segment.pages.end).step_by(PAGE_SIZE) {
        let frame = segment.copy_of_page(memory, object, page - segment.pages.start).map_err(|_| Errno::ENOMEM)?;
        let (table, _) = directory::last_table(&mut memory.physical, root, page).map_err(|_| Errno::ENOMEM)?;
        if !memory.physical.entry(table, slot(page, 1)).is_unused() {
            return Err(Errno::EEXIST);
        }
        directory::set(&mut memory.physical, table, slot(page, 1), frame, flags);
    }
    Ok(())
}
