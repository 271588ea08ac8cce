//! The path of a further CPU from real mode into long mode.
//!
//! The CPU starts in a page below 1 MiB, to which [`Trampoline::write`] has copied the code below. The page has the
//! descriptor table and the addresses that the code needs, so the code reaches nothing else before it is in long mode:
//!
//! | offset | what |
//! | ---: | --- |
//! | 0 | a jump over the data |
//! | 8 | the pointer to the descriptor table: limit, and its address |
//! | 16 | the descriptor table: none, code, data |
//! | 40 | the address of the page directory |
//! | 44 | the far pointer to the 64-bit part: its address, and the code segment |
//! | 56 | the address in the kernel's half at which the CPU goes on |

use super::{ARRIVED, CLOSED, DIRECTORIES, STACKS, further_main};
use crate::cpu::{BOOT_CR0, BOOT_CR4, BOOT_EFER};
use core::arch::global_asm;
use core::ptr;

// The code for the page, with its segment in cs, and the part in the kernel's half. The names are global, because the compiler may put
// the functions that use them into another object file.
global_asm!(
    r#"
.section .rodata.trampoline, "a"
.globl trampoline_start, trampoline_long, trampoline_end, further_high
.code16
.balign 8
trampoline_start:
    cli
    jmp 2f
.balign 8
    .word 23
    .long 0
.balign 8
    .quad 0
    .quad 0x00209a0000000000
    .quad 0x0000920000000000
    .long 0
    .long 0
    .word 8
.balign 8
    .quad 0
2:  cld
    mov ax, cs
    mov ds, ax
    mov bx, 8
    mov eax, {cr4_pae}
    mov cr4, eax
    mov eax, [bx + {directory} - 8]
    mov cr3, eax
    mov ecx, 0xc0000080
    xor edx, edx
    mov eax, {efer}
    wrmsr
    lgdtd [bx]
    mov eax, {cr0}
    mov cr0, eax
    // A far jump by the pointer at bx + 36: no assembler of this syntax has it in 16-bit code.
    .byte 0x66, 0xff, 0x6f, {far} - 8
.code64
trampoline_long:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    xor eax, eax
    mov fs, ax
    mov gs, ax
    jmp [rip + trampoline_start + {entry}]
trampoline_end:

.section .text.further, "ax"
further_high:
    mov eax, 1
    lock xadd [rip + {arrived}], eax
    cmp eax, {closed}
    jae 4f
    mov edi, eax
    lea rcx, [rip + {directories}]
2:  mov rdx, [rcx + rdi * 8]
    test rdx, rdx
    jnz 3f
    cmp dword ptr [rip + {arrived}], {closed}
    jae 5f
    pause
    jmp 2b
    // The list is closed. The directory may have come just before.
5:  mov rdx, [rcx + rdi * 8]
    test rdx, rdx
    jz 4f
3:  mov cr3, rdx
    lea rcx, [rip + {stacks}]
    mov rsp, [rcx + rdi * 8]
    inc rdi
    xor ebp, ebp
    call {further_main}
    ud2
4:  cli
    hlt
    jmp 4b
.text
"#,
    cr4_pae = const BOOT_CR4,
    efer = const BOOT_EFER,
    cr0 = const BOOT_CR0,
    directory = const DIRECTORY,
    far = const FAR,
    entry = const ENTRY,
    arrived = sym ARRIVED,
    closed = const CLOSED,
    directories = sym DIRECTORIES,
    stacks = sym STACKS,
    further_main = sym further_main,
);

const TABLE_POINTER: usize = 8;
const TABLE: u32 = 16;
const DIRECTORY: usize = 40;
const FAR: usize = 44;
const ENTRY: usize = 56;

unsafe extern "C" {
    static trampoline_start: u8;
    static trampoline_long: u8;
    static trampoline_end: u8;
    static further_high: u8;
}

/// A page below 1 MiB in which further CPUs begin.
pub struct Trampoline {
    page: u8,
    place: *mut u8,
    directory: u32,
}

impl Trampoline {
    /// The page at the physical address `page`, which this CPU reaches at `place`. Its first code runs in the page
    /// directory at `directory`.
    ///
    /// # Safety
    /// The page is below 1 MiB, mapped, and nothing else uses it. The directory is below 4 GiB; it maps the page where it is
    /// and the kernel's half as it is mapped here, both for execution.
    pub unsafe fn new(page: u64, place: *mut u8, directory: u32) -> Trampoline {
        Trampoline { page: (page >> 12) as u8, place, directory }
    }

    /// The page's number, which a start-up interrupt carries.
    pub(super) fn page(&self) -> u8 {
        self.page
    }

    /// Puts the code into the page.
    pub(super) fn write(&self) {
        let (start, long, end) = (&raw const trampoline_start, &raw const trampoline_long, &raw const trampoline_end);
        let base = u32::from(self.page) << 12;
        let entry = (&raw const further_high).addr() as u64;
        // SAFETY: the symbols enclose constants of the image, less than a page; the page is this object's to write.
        unsafe {
            ptr::copy_nonoverlapping(start, self.place, end.offset_from_unsigned(start));
            self.place.add(TABLE_POINTER + 2).cast::<u32>().write_unaligned(base + TABLE);
            self.place.add(DIRECTORY).cast::<u32>().write_unaligned(self.directory);
            let long = base + long.offset_from_unsigned(start) as u32;
            self.place.add(FAR).cast::<u32>().write_unaligned(long);
            self.place.add(ENTRY).cast::<u64>().write_unaligned(entry);
        }
    }
}
