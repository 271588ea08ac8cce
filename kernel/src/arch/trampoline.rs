//! The path of a further CPU from real mode into long mode.
//!
//! The CPU starts in a copy of the trampoline that [`super::smp`] has put below 1 MiB, and enters long mode at once, on
//! the page tables and the descriptor table of the boot.

use super::cpu::{BOOT_CR0, BOOT_CR4, BOOT_EFER};
use core::arch::global_asm;

// The first instructions of a further CPU, with the trampoline's segment in cs, and the rest of its path.
global_asm!(
    r#"
.section .rodata.trampoline, "a"
.code16
.balign 8
.global trampoline_start
trampoline_start:
    cli
    jmp 2f
    // The descriptor-table pointer, at offset 8.
.balign 8
    .word 23
    .long boot_gdt
2:  cld
    mov ax, cs
    mov ds, ax
    mov eax, {cr4_pae}
    mov cr4, eax
    mov eax, offset boot_pml4
    mov cr3, eax
    mov ecx, 0xc0000080
    xor edx, edx
    mov eax, {efer}
    wrmsr
    mov bx, 8
    lgdtd [bx]
    mov eax, {cr0}
    mov cr0, eax
    .byte 0x66, 0xea
    .long further_long
    .word 0x08
.global trampoline_end
trampoline_end:

.section .boot.text, "ax"
.code64
further_long:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    xor eax, eax
    mov fs, ax
    mov gs, ax
    movabs rax, offset further_high
    jmp rax

.section .text.boot_high, "ax"
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
"#,
    cr4_pae = const BOOT_CR4,
    efer = const BOOT_EFER,
    cr0 = const BOOT_CR0,
    arrived = sym super::smp::ARRIVED,
    closed = const super::smp::CLOSED,
    directories = sym super::smp::DIRECTORIES,
    stacks = sym super::smp::STACKS,
    further_main = sym super::smp::further_main,
);

/// The first code of a further CPU, less than a page, to be copied to a page below 1 MiB.
pub fn code() -> &'static [u8] {
    unsafe extern "C" {
        static trampoline_start: u8;
        static trampoline_end: u8;
    }
    let (start, end) = (&raw const trampoline_start, &raw const trampoline_end);
    // SAFETY: the two symbols enclose constants of the image.
    unsafe { core::slice::from_raw_parts(start, end.offset_from_unsigned(start)) }
}
