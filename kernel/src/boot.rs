//! From the boot loader to Rust: the multiboot2 header and the way into long mode.
//!
//! GRUB enters at `boot_start` in 32-bit protected mode without paging, whether the firmware is BIOS or
//! UEFI (Multiboot2 specification, 3.3). The code here
//!
//! 1. keeps the two words it got (eax: magic, ebx: boot information),
//! 2. checks that the CPU has long mode and no-execute pages, or says so and halts,
//! 3. maps the first 4 GiB three times with 2 MiB pages: where they are (this code runs there), at
//!    [`DIRECT_MAP`](crate::arch::layout::DIRECT_MAP), and the first of them at the kernel's own addresses,
//! 4. enters long mode and calls `crate::kernel_main(magic, information)` on the boot stack.
//!
//! These tables allow every access; [`crate::arch::paging`] replaces them by tables with rights.
//!
//! A further CPU takes a shorter path, on these tables: see `hardware::startup`.

use core::arch::global_asm;
use hardware::cpu::{BOOT_CR0, BOOT_CR4, BOOT_EFER};

/// The header that the boot loader looks for at the start of the image (specification, 3.1).
#[repr(C, align(8))]
struct Header {
    magic: u32,
    architecture: u32,
    length: u32,
    checksum: u32,
    /// A tag: modules are to begin on page boundaries.
    align_modules: [u16; 4],
    end: [u16; 4],
}

const MAGIC: u32 = 0xe852_50d6;
const LENGTH: u32 = size_of::<Header>() as u32;

#[unsafe(link_section = ".multiboot")]
#[used]
static HEADER: Header = Header {
    magic: MAGIC,
    architecture: 0,
    length: LENGTH,
    checksum: 0u32.wrapping_sub(MAGIC).wrapping_sub(LENGTH),
    align_modules: [6, 0, 8, 0],
    end: [0, 0, 8, 0],
};

global_asm!(
    r#"
.section .boot.tables, "aw", @nobits
.balign 4096
.global boot_pml4
boot_pml4:      .skip 4096
boot_pdpt_low:  .skip 4096
boot_pdpt_high: .skip 4096
boot_pd:        .skip 4 * 4096
boot_low_stack: .skip 256
boot_low_stack_top:

.section .boot.data, "aw"
.balign 8
.global boot_gdt
boot_gdt:
    .quad 0
    .quad 0x00209a0000000000
    .quad 0x0000920000000000
boot_gdt_pointer:
    .word 23
    .long boot_gdt
boot_no_cpu:
    .asciz "\036panic this CPU has no 64-bit mode with no-execute pages; Jotun needs both\n"

.section .boot.text, "ax"
.code32
.global boot_start
boot_start:
    cli
    cld
    mov esp, offset boot_low_stack_top
    mov ebp, eax
    mov esi, ebx

    // CPUID is there if the ID flag can be changed.
    pushfd
    pop eax
    mov ecx, eax
    xor eax, 1 << 21
    push eax
    popfd
    pushfd
    pop eax
    xor eax, ecx
    test eax, 1 << 21
    jz 8f

    mov eax, 0x80000000
    cpuid
    cmp eax, 0x80000001
    jb 8f
    mov eax, 0x80000001
    cpuid
    and edx, 1 << 29 | 1 << 20
    cmp edx, 1 << 29 | 1 << 20
    jne 8f

    // 2048 large pages, 4 GiB: present, writable.
    mov edi, offset boot_pd
    mov eax, 0x83
    xor ecx, ecx
2:  mov [edi + ecx * 8], eax
    add eax, 0x200000
    inc ecx
    cmp ecx, 2048
    jne 2b

    mov eax, offset boot_pd + 3
    mov edi, offset boot_pdpt_low
    mov [edi], eax
    add eax, 0x1000
    mov [edi + 8], eax
    add eax, 0x1000
    mov [edi + 16], eax
    add eax, 0x1000
    mov [edi + 24], eax
    mov eax, offset boot_pd + 3
    mov edi, offset boot_pdpt_high
    mov [edi + 510 * 8], eax

    mov edi, offset boot_pml4
    mov eax, offset boot_pdpt_low + 3
    mov [edi], eax
    mov [edi + 256 * 8], eax
    mov eax, offset boot_pdpt_high + 3
    mov [edi + 511 * 8], eax

    mov cr3, edi
    mov eax, {cr4_pae}
    mov cr4, eax
    mov ecx, 0xc0000080
    xor edx, edx
    mov eax, {efer}
    wrmsr
    mov eax, {cr0}
    mov cr0, eax
    lgdt [boot_gdt_pointer]
    ljmp 0x08, offset boot_long

    // The CPU cannot run Jotun: writes a sentence to the log port and to the top of a text screen.
8:  mov esi, offset boot_no_cpu
    mov edi, 0xb8000
    mov ah, 0x4f
9:  lodsb
    test al, al
    jz 10f
    out 0xe9, al
    stosw
    jmp 9b
10: mov eax, 0x10
    out 0xf4, eax
11: hlt
    jmp 11b

.code64
boot_long:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    xor eax, eax
    mov fs, ax
    mov gs, ax
    movabs rax, offset boot_high
    jmp rax

.section .text.boot_high, "ax"
boot_high:
    mov rsp, offset __boot_stack_top
    mov edi, ebp
    // esi: the address of the boot information.
    xor ebp, ebp
    call {main}
    ud2
"#,
    cr4_pae = const BOOT_CR4,
    efer = const BOOT_EFER,
    cr0 = const BOOT_CR0,
    main = sym crate::kernel_main,
);
