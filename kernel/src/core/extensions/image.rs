//! An extension's file: reads it page by page into frames, and relocates it there. No number in it is trusted.
//!
//! The segments are those of a program ([`elf`]); what is demanded besides is said beside each [`Refusal`]. For
//! example, a file whose note names version 2 of the interface is refused before a frame is allocated for it.

use crate::arch::extension::Page;
use crate::arch::paging::{CODE, CONSTANT, DATA};
use crate::arch::physical::Memory;
use crate::core::elf::{self, Headers, Segment};
use ::files::Errno;
use abi::extension::{self, LARGEST, NOTE_KIND, NOTE_OWNER, NOTE_OWNER_LENGTH, Note, VERSION};
use alloc::boxed::Box;
use alloc::vec::Vec;
use containers::{ObjectId, PAGE_SIZE, PhysicalMemory, Rights};
use core::ops::Range;
use object::elf::{
    DT_INIT_ARRAY, DT_JMPREL, DT_NEEDED, DT_NULL, DT_REL, DT_RELA, DT_RELAENT, DT_RELASZ, DT_RELR, DynamicTag,
    PT_DYNAMIC, PT_NOTE, PT_TLS, ProgramHeader64, R_X86_64_RELATIVE,
};
use object::endian::LittleEndian;

const E: LittleEndian = LittleEndian;
const PAGE: u64 = PAGE_SIZE as u64;

/// Bytes of an entry of the dynamic section: tag and value.
const DYNAMIC_ENTRY: u64 = 16;

/// Bytes of a relocation: offset, symbol and type, addend.
const RELOCATION: u64 = 24;

/// Why a file is not loaded, for the caller and for the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal(pub Errno, pub &'static str);

const NOT_A_PROGRAM: Refusal = Refusal(Errno::ENOEXEC, "it is not an ELF file for x86-64 that could be mapped");
const FIXED: Refusal = Refusal(Errno::ENOEXEC, "it is not position-independent");
const THREADS: Refusal = Refusal(Errno::ENOEXEC, "it has thread-local data");
const NO_NOTE: Refusal = Refusal(Errno::ENOEXEC, "it has no note that makes it an extension");
const OTHER_VERSION: Refusal = Refusal(Errno::ENOEXEC, "it is made for another version of the interface");
const NO_NAME: Refusal = Refusal(Errno::ENOEXEC, "its name is not one");
const OVERLAP: Refusal = Refusal(Errno::ENOEXEC, "its segments overlap, or are not in order");
const WRITTEN_CODE: Refusal = Refusal(Errno::ENOEXEC, "one of its segments can be both written and executed");
const DYNAMIC: Refusal = Refusal(Errno::ENOEXEC, "its dynamic section asks for more than relative relocations");
const RELOCATIONS: Refusal =
    Refusal(Errno::ENOEXEC, "it has a relocation that is not relative, or not within its data");
const TOO_LARGE: Refusal = Refusal(Errno::ENOMEM, "it is too large");
/// There are no frames for it.
pub const NO_MEMORY: Refusal = Refusal(Errno::ENOMEM, "there is no memory for it");

/// What a file's headers say, all of it checked.
pub struct Image {
    /// The extension's name.
    pub name: Box<str>,
    /// The entry point, from the start.
    pub entry: u64,
    segments: Vec<Segment>,
    dynamic: Range<u64>,
}

impl Image {
    /// Reads the headers and the note of a file.
    pub fn read(memory: &Memory, file: ObjectId) -> Result<Image, Refusal> {
        let (size, read) = (memory.object_size(file), |at, to: &mut [u8]| memory.read_object(file, at, to));
        let program = elf::parse(size, read).map_err(|_| NOT_A_PROGRAM)?;
        let headers = Headers::read(read).map_err(|_| NOT_A_PROGRAM)?;
        let segments: Vec<Segment> = program.segments().collect();
        check_segments(&segments)?;
        let of_kind = |kind| headers.segments().iter().filter(move |header| header.p_type.get(E) == kind);
        if !program.relocatable {
            return Err(FIXED);
        }
        if of_kind(PT_TLS).next().is_some() {
            return Err(THREADS);
        }
        let name = of_kind(PT_NOTE).find_map(|header| note(header, read)).ok_or(NO_NOTE)??;
        let dynamic = of_kind(PT_DYNAMIC).next().map_or(Ok(0..0), |header| {
            let start = header.p_vaddr.get(E);
            Ok(start..start.checked_add(header.p_memsz.get(E)).ok_or(DYNAMIC)?)
        })?;
        Ok(Image { name, entry: program.entry, segments, dynamic })
    }

    /// Copies the segments from the file into frames, and relocates them for the address at which they are to start. On
    /// an error there are no frames.
    pub fn load(&self, memory: &mut Memory, file: ObjectId, start: u64) -> Result<Vec<Page>, Refusal> {
        let mut pages = Vec::new();
        let loaded = self.fill(memory, file, &mut pages).and_then(|()| self.relocate(memory, &pages, start));
        match loaded {
            Ok(()) => Ok(pages),
            Err(refusal) => {
                pages.iter().for_each(|page| memory.physical.release(page.frame));
                Err(refusal)
            }
        }
    }

    fn fill(&self, memory: &mut Memory, file: ObjectId, pages: &mut Vec<Page>) -> Result<(), Refusal> {
        for segment in &self.segments {
            let rights = match segment.rights {
                rights if rights.contains(Rights::EXECUTE) => CODE,
                rights if rights.contains(Rights::WRITE) => DATA,
                _ => CONSTANT,
            };
            for offset in (segment.pages.start..segment.pages.end).step_by(PAGE_SIZE) {
                if !memory.physical.has_room_for_bookkeeping() {
                    return Err(NO_MEMORY);
                }
                let frame = segment.copy_of_page(memory, file, offset - segment.pages.start).map_err(|_| NO_MEMORY)?;
                pages.push(Page { offset, frame, rights });
            }
        }
        Ok(())
    }

    fn relocate(&self, memory: &mut Memory, pages: &[Page], start: u64) -> Result<(), Refusal> {
        let relocations = self.relocations(memory, pages)?;
        let end = self.segments.last().map_or(0, |segment| segment.pages.end);
        for at in relocations.step_by(RELOCATION as usize) {
            let [target, kind, addend] = [0, 8, 16].map(|field| word(memory, pages, at + field).ok_or(RELOCATIONS));
            let (target, kind, addend) = (target?, kind?, addend?);
            let page = page_of(pages, target).filter(|page| page.rights == DATA).ok_or(RELOCATIONS)?;
            if kind != u64::from(R_X86_64_RELATIVE.0) || addend > end {
                return Err(RELOCATIONS);
            }
            memory.physical.write(page.frame, (target % PAGE) as usize, &(start + addend).to_le_bytes());
        }
        Ok(())
    }

    /// The addresses of the table of relocations, from the start. Tables of other kinds are refused, as is whatever a
    /// dynamic linker would have to do besides.
    fn relocations(&self, memory: &Memory, pages: &[Page]) -> Result<Range<u64>, Refusal> {
        let (mut table, mut size, mut entry) = (0, 0, RELOCATION);
        for at in self.dynamic.clone().step_by(DYNAMIC_ENTRY as usize) {
            let [tag, value] = [0, 8].map(|index| word(memory, pages, at.checked_add(index)?));
            let (tag, value) = (tag.ok_or(DYNAMIC)?, value.ok_or(DYNAMIC)?);
            match DynamicTag(tag.cast_signed()) {
                DT_NULL => break,
                DT_RELA => table = value,
                DT_RELASZ => size = value,
                DT_RELAENT => entry = value,
                DT_NEEDED | DT_REL | DT_RELR | DT_JMPREL | DT_INIT_ARRAY => return Err(DYNAMIC),
                _ => {}
            }
        }
        if entry != RELOCATION || !size.is_multiple_of(RELOCATION) || size > LARGEST || table > LARGEST {
            return Err(DYNAMIC);
        }
        Ok(table..table + size)
    }
}

/// Checks segments, which ELF demands in the order of their addresses.
fn check_segments(segments: &[Segment]) -> Result<(), Refusal> {
    if segments.iter().any(|segment| segment.pages.end > LARGEST) {
        return Err(TOO_LARGE);
    }
    if segments.iter().any(|segment| segment.rights.contains(Rights::WRITE | Rights::EXECUTE)) {
        return Err(WRITTEN_CODE);
    }
    let overlap = segments.windows(2).any(|pair| pair[0].pages.end > pair[1].pages.start);
    if overlap { Err(OVERLAP) } else { Ok(()) }
}

/// The page that has the eight bytes at an address, which must be aligned. The pages are in the order of their
/// addresses.
fn page_of(pages: &[Page], address: u64) -> Option<Page> {
    let at = pages.binary_search_by_key(&(address & !(PAGE - 1)), |page| page.offset).ok()?;
    address.is_multiple_of(8).then_some(pages[at])
}

/// The eight bytes at an address.
fn word(memory: &Memory, pages: &[Page], address: u64) -> Option<u64> {
    let page = page_of(pages, address)?;
    Some(memory.physical.value(page.frame, (address % PAGE) as usize))
}

/// The name in a segment of notes, if it begins with an extension's note.
fn note(
    header: &ProgramHeader64<LittleEndian>,
    read: impl Fn(u64, &mut [u8]) -> usize,
) -> Option<Result<Box<str>, Refusal>> {
    let mut bytes = [0; size_of::<Note>()];
    let is_whole =
        header.p_filesz.get(E) >= bytes.len() as u64 && read(header.p_offset.get(E), &mut bytes) == bytes.len();
    let (words, _) = bytes.as_chunks::<4>();
    let word = |index: usize| u32::from_le_bytes(words[index]);
    let length = bytes.len() as u32 - 20;
    if !is_whole || [word(0), word(2)] != [NOTE_OWNER_LENGTH, NOTE_KIND] || bytes[12..20] != NOTE_OWNER {
        return None;
    }
    let name = bytes.last_chunk().and_then(extension::name);
    Some(match name {
        _ if word(5) != VERSION || word(1) != length => Err(OTHER_VERSION),
        Some(name) => Ok(name.into()),
        None => Err(NO_NAME),
    })
}
