//! Directory entries in the layout of `getdents64`.

/// An entry of a listing; see [`Tree::list`](crate::Tree::list).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dirent<'a> {
    /// The inode's number.
    pub number: u64,
    /// The offset at which a listing continues after this entry: `d_off`, which becomes the open file's offset.
    pub next: u64,
    /// The bits of [`file_type`](crate::tree::attributes::file_type).
    pub kind: u32,
    /// The name, without a NUL.
    pub name: &'a [u8],
}

/// The number of bytes before the name in a `struct linux_dirent64`.
const HEADER: usize = 19;

/// The length of the longest record, for a name of 255 bytes.
pub const RECORD_MAX: usize = (HEADER + crate::NAME_MAX + 1).next_multiple_of(8);

impl Dirent<'_> {
    /// The length of this entry's record, padding included.
    pub fn record_len(&self) -> usize {
        (HEADER + self.name.len() + 1).next_multiple_of(8)
    }

    /// Writes the entry as a `struct linux_dirent64` and returns the bytes used; `None` if they do
    /// not fit.
    pub fn write(&self, buffer: &mut [u8]) -> Option<usize> {
        let len = self.record_len();
        let record = buffer.get_mut(..len)?;
        let (header, rest) = record.split_at_mut_checked(HEADER)?;
        let (name, padding) = rest.split_at_mut_checked(self.name.len())?;
        header.get_mut(..8)?.copy_from_slice(&self.number.to_ne_bytes());
        header.get_mut(8..16)?.copy_from_slice(&self.next.to_ne_bytes());
        header.get_mut(16..18)?.copy_from_slice(&(len as u16).to_ne_bytes());
        // d_type is the type bits of the mode, moved down.
        *header.last_mut()? = (self.kind >> 12) as u8;
        name.copy_from_slice(self.name);
        padding.fill(0);
        Some(len)
    }
}
