//! ELF files: reads the headers of a static program, and checks every value in them.
//!
//! The layouts are the crate `object`'s. A file's bytes lie in frames all over memory, so the headers
//! are copied out first: the file header and one table of at most [`MOST_SEGMENTS`] program headers.

use crate::arch::physical::Memory;
use ::files::Errno;
use alloc::vec::Vec;
use containers::directory::PACKAGES;
use containers::{Frame, ObjectId, OutOfFrames, PAGE_SIZE, PhysicalMemory, Rights};
use object::elf::{self, FileHeader64, ProgramHeader64};
use object::endian::LittleEndian;
use object::pod;

const E: LittleEndian = LittleEndian;
const PAGE: u64 = PAGE_SIZE as u64;

/// The most program headers that a program may have.
pub const MOST_SEGMENTS: usize = 64;

type FileHeader = FileHeader64<LittleEndian>;
type ProgramHeader = ProgramHeader64<LittleEndian>;

/// A segment to be mapped.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Its pages, before the program is moved as a whole.
    pub pages: Pages,
    /// The rights to its pages.
    pub rights: Rights,
    /// Page-aligned offset in the file of the first page.
    pub offset: u64,
    /// Bytes from the first page's start that come from the file.
    pub length: u64,
}

impl Segment {
    /// A frame with a copy of one of its pages, `page` bytes behind its first. Past the file's bytes it is zero, where the
    /// file's own last page may hold other bytes.
    pub fn copy_of_page(&self, memory: &mut Memory, file: ObjectId, page: u64) -> Result<Frame, OutOfFrames> {
        let frame = memory.physical.allocate()?;
        let length = self.length.saturating_sub(page).min(PAGE) as usize;
        if let Some(from) = memory.object_page(file, (self.offset + page) / PAGE).filter(|_| length > 0) {
            memory.physical.copy((from, 0), (frame, 0), length);
        }
        Ok(frame)
    }
}

/// A range of addresses on page boundaries.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pages {
    /// First address.
    pub start: u64,
    /// First address after it.
    pub end: u64,
}

/// The contents of a program's headers.
pub struct Program {
    /// The address of its first instruction.
    pub entry: u64,
    /// The address of its program headers in its memory; 0: they are not there.
    pub headers: u64,
    /// How many program headers there are.
    pub header_count: u64,
    /// Whether it can be mapped anywhere.
    pub relocatable: bool,
    /// The alignment of its place if it is relocatable: the strictest of its segments'.
    pub alignment: u64,
    /// The rights to its stack.
    pub stack: Rights,
    segments: Vec<Segment>,
}

impl Program {
    /// The segments by address.
    pub fn segments(&self) -> impl Iterator<Item = Segment> + '_ {
        self.segments.iter().copied()
    }

    /// The range from its lowest to its highest page.
    pub fn extent(&self) -> Pages {
        let start = self.segments().map(|segment| segment.pages.start).min().unwrap_or(0);
        Pages { start, end: self.segments().map(|segment| segment.pages.end).max().unwrap_or(0) }
    }
}

/// A file's header and its program headers, as they are in the file.
pub struct Headers {
    file: FileHeader,
    table: Vec<u8>,
}

impl Headers {
    /// Reads the headers of an x86-64 program: `ENOEXEC`.
    #[inline]
    pub fn read(read: impl Fn(u64, &mut [u8]) -> usize) -> Result<Headers, Errno> {
        let mut bytes = [0; size_of::<FileHeader>()];
        if read(0, &mut bytes) != bytes.len() {
            return Err(Errno::ENOEXEC);
        }
        let (&file, _) = pod::from_bytes::<FileHeader>(&bytes).map_err(|()| Errno::ENOEXEC)?;
        let ident = &file.e_ident;
        let native = ident.magic == elf::ELFMAG
            && ident.class == elf::ELFCLASS64
            && ident.data == elf::ELFDATA2LSB
            && file.e_machine.get(E) == elf::EM_X86_64
            && matches!(file.e_type.get(E), elf::ET_EXEC | elf::ET_DYN);
        let count = usize::from(file.e_phnum.get(E));
        let entry_size = usize::from(file.e_phentsize.get(E));
        if !native || count == 0 || count > MOST_SEGMENTS || entry_size != size_of::<ProgramHeader>() {
            return Err(Errno::ENOEXEC);
        }
        let mut table = alloc::vec![0; count * entry_size];
        if read(file.e_phoff.get(E), &mut table) != table.len() {
            return Err(Errno::ENOEXEC);
        }
        Ok(Headers { file, table })
    }

    /// The program headers.
    pub fn segments(&self) -> &[ProgramHeader] {
        let count = self.table.len() / size_of::<ProgramHeader>();
        pod::slice_from_bytes(&self.table, count).map_or(&[], |(segments, _)| segments)
    }
}

/// Reads the headers of a file of `size` bytes; `read` copies bytes from the file and returns how many there were.
///
/// # Errors
/// `ENOEXEC` for a file that is not a static x86-64 program that could run.
pub fn parse(size: u64, read: impl Fn(u64, &mut [u8]) -> usize) -> Result<Program, Errno> {
    let found = Headers::read(read)?;
    let (header, headers) = (&found.file, found.segments());
    let mut program = Program {
        entry: header.e_entry.get(E),
        headers: 0,
        header_count: headers.len() as u64,
        relocatable: header.e_type.get(E) == elf::ET_DYN,
        alignment: PAGE,
        stack: Rights::READ | Rights::WRITE,
        segments: Vec::new(),
    };
    for header in headers {
        match header.p_type.get(E) {
            // The program needs a dynamic linker; there is none.
            elf::PT_INTERP => return Err(Errno::ENOEXEC),
            elf::PT_LOAD if header.p_memsz.get(E) > 0 => {
                program.segments.push(segment(header, size)?);
                let alignment = Some(header.p_align.get(E)).filter(|alignment| alignment.is_power_of_two());
                program.alignment = program.alignment.max(alignment.unwrap_or(PAGE));
            }
            // Nested functions (GCC) have pieces of code on the stack.
            elf::PT_GNU_STACK if header.p_flags.get(E).contains(elf::PF_X) => program.stack |= Rights::EXECUTE,
            _ => {}
        }
    }
    let table_at = header.e_phoff.get(E);
    let table_end = table_at + size_of_val(headers) as u64;
    let holder = program.segments().find(|s| s.offset <= table_at && table_end <= s.offset + s.length);
    program.headers = holder.map_or(0, |s| s.pages.start + (table_at - s.offset));
    let entered = |segment: Segment| {
        segment.rights.contains(Rights::EXECUTE) && (segment.pages.start..segment.pages.end).contains(&program.entry)
    };
    if program.segments().any(entered) { Ok(program) } else { Err(Errno::ENOEXEC) }
}

fn segment(header: &ProgramHeader, size: u64) -> Result<Segment, Errno> {
    let (address, offset) = (header.p_vaddr.get(E), header.p_offset.get(E));
    let (in_file, in_memory) = (header.p_filesz.get(E), header.p_memsz.get(E));
    let file_end = offset.checked_add(in_file).ok_or(Errno::ENOEXEC)?;
    let end =
        address.checked_add(in_memory).and_then(|end| end.checked_next_multiple_of(PAGE)).ok_or(Errno::ENOEXEC)?;
    let head = address % PAGE;
    if in_file > in_memory || file_end > size || offset % PAGE != head || end > PACKAGES.end {
        return Err(Errno::ENOEXEC);
    }
    let flags = header.p_flags.get(E);
    let mut rights = Rights::READ;
    rights.set(Rights::WRITE, flags.contains(elf::PF_W));
    rights.set(Rights::EXECUTE, flags.contains(elf::PF_X));
    Ok(Segment {
        pages: Pages { start: address - head, end },
        rights,
        offset: offset - head,
        length: if in_file == 0 { 0 } else { head + in_file },
    })
}
