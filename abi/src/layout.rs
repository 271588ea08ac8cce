//! The layout of the lower half of every address space.
//!
//! The window stands directly below the code packages, so that code and data of a native program
//! are within ±2 GiB of each other and rip-relative addressing reaches both. `user/native/package.ld`
//! links against these addresses; its build script takes them from here.

/// First address that is not a user address.
pub const USER_END: u64 = 0x0000_7fff_ffff_f000;

/// Bytes in a page.
pub const PAGE: u64 = 4096;

/// Bytes in the window: what one last-level page table maps.
pub const WINDOW_SIZE: u64 = 2 << 20;

/// First address of the window.
pub const WINDOW_BASE: u64 = 0x3fff_ffe0_0000;

/// First address after the window. A native program's stack grows down from here.
pub const WINDOW_END: u64 = WINDOW_BASE + WINDOW_SIZE;

/// Where a package's `.data` begins, `.bss` and the heap behind it.
pub const WINDOW_DATA: u64 = WINDOW_BASE;

/// Top of the window which a package leaves to the main thread's stack.
pub const MAIN_STACK: u64 = 256 << 10;

/// `rsp` of a native main thread at its entry: 16-byte aligned, the word there is zero.
pub const MAIN_STACK_TOP: u64 = WINDOW_END - 16;

/// Where the text of the first code package begins.
pub const PACKAGE_BASE: u64 = 0x4000_0000_0000;

/// The distance from one package to the next: an odd number of page tables' spans, so that the kernel's cache of page
/// tables can hold those of several packages.
pub const PACKAGE_STRIDE: u64 = 18 << 20;

/// First address of package number `index`.
pub const fn package(index: u64) -> u64 {
    PACKAGE_BASE + index * PACKAGE_STRIDE
}

const _: () = {
    assert!(WINDOW_BASE.is_multiple_of(WINDOW_SIZE), "one last-level table maps the window");
    assert!(WINDOW_END == PACKAGE_BASE, "code and data stay within reach of each other");
    assert!(MAIN_STACK_TOP.is_multiple_of(16), "the System V ABI aligns stacks to 16 bytes");
};
