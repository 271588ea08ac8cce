//! The sizes of pieces, and the layouts that fit them. For example, 100 bytes aligned to 8 take a piece of 128.

use crate::PAGE_SIZE;
use core::alloc::Layout;

/// The size of a slab's header, and the largest alignment of a piece in a slab.
pub(crate) const HEADER: usize = 64;

/// Every size is a multiple of this, and every piece is aligned to it.
const GRAIN: usize = 16;

/// The sizes. A page without its header holds 252 of the smallest, and 15, 12, 9, 7, 5, 4, 3 and 2 of those from 256 on.
/// Each costs half a page on average, so they are not more: of a piece at most a third is lost to rounding.
pub(crate) const SIZES: [usize; 15] = [16, 32, 48, 64, 96, 128, 192, 256, 336, 448, 576, 800, 960, 1344, 2016];

/// The number of sizes.
pub(crate) const CLASSES: usize = SIZES.len();

const LARGEST: usize = SIZES[CLASSES - 1];

/// The class for each multiple of [`GRAIN`], and, for pieces aligned to it, for each multiple of [`HEADER`].
static BY_GRAIN: [u8; LARGEST / GRAIN + 1] = classes(GRAIN);
static BY_LINE: [u8; LARGEST / HEADER + 1] = classes(HEADER);

/// No class: the piece is a page of its own.
const NONE: u8 = CLASSES as u8;

/// For each multiple of `grain` the first class with enough room whose size is a multiple of `grain`, too.
const fn classes<const N: usize>(grain: usize) -> [u8; N] {
    let mut table = [NONE; N];
    let mut n = 0;
    while n < N {
        let mut class = 0;
        while class < CLASSES && (SIZES[class] < n * grain || !SIZES[class].is_multiple_of(grain)) {
            class += 1;
        }
        table[n] = class as u8;
        n += 1;
    }
    table
}

/// The memory that a piece takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    /// A part of a slab.
    Part(Class),
    /// A page.
    Page,
}

/// One of the sizes that slabs are divided into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Class(u8);

impl Class {
    /// Its index in [`SIZES`].
    #[inline(always)]
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The size of a piece in bytes.
    #[inline(always)]
    pub(crate) fn bytes(self) -> usize {
        SIZES[self.index()]
    }
}

impl Size {
    /// The memory for a piece of a layout; `None` if it does not fit into a page.
    #[inline(always)]
    pub fn of(layout: Layout) -> Option<Size> {
        let (size, align) = (layout.size(), layout.align());
        let class = match align {
            0..=GRAIN => BY_GRAIN.get(size.div_ceil(GRAIN)),
            _ if align <= HEADER => BY_LINE.get(size.div_ceil(HEADER)),
            _ => None,
        };
        match class {
            Some(&class) if class != NONE => Some(Size::Part(Class(class))),
            _ => (size <= PAGE_SIZE && align <= PAGE_SIZE).then_some(Size::Page),
        }
    }

    /// The number of bytes that the piece takes.
    #[inline(always)]
    pub fn bytes(self) -> usize {
        match self {
            Size::Part(class) => class.bytes(),
            Size::Page => PAGE_SIZE,
        }
    }
}
