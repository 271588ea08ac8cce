//! A look into ELF files, for advice only: what runs and what does not is the kernel's to say.

use object::{LittleEndian, elf, read::elf::FileHeader, read::elf::ProgramHeader};

/// The dynamic linker that the program asks for, if the bytes are a 64-bit ELF program that does.
pub(crate) fn interpreter(bytes: &[u8]) -> Option<String> {
    let header = elf::FileHeader64::<LittleEndian>::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, bytes).ok()?;
    let path = segments.iter().find_map(|segment| segment.interpreter(endian, bytes).ok().flatten())?;
    Some(String::from_utf8_lossy(path).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dynamic_programs_are_told_from_the_rest() {
        let me = std::fs::read("/proc/self/exe").unwrap();
        assert!(interpreter(&me).unwrap().contains("ld-linux"));
        assert_eq!(interpreter(&me[..100]), None);
        assert_eq!(interpreter(b"#!/bin/sh\n"), None);
        assert_eq!(interpreter(b""), None);
    }
}
