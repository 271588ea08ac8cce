//! Files that are no programs, or not ones for this machine, or lie about themselves.
//!
//! All but the plain ones are `hello-std` with a few bytes changed. Each is refused as a shell would
//! refuse it, with one sentence in the log that names the file and the reason.

use std::fs;

use boot_tests::{Jotun, Outcome, Scratch, busybox, native_package, std_program, xtask};

const NO_PROGRAM: &str = "it is not a static x86-64 ELF program";

/// A shell's status for what cannot be executed.
const NOT_EXECUTABLE: i32 = 126;

/// Runs a file of the host's; the one sentence must say this of it.
#[track_caller]
fn refused_for(name: &str, bytes: &[u8], why: &str) {
    let scratch = Scratch::new(name);
    let file = scratch.file(name, bytes);
    let outcome = Jotun::new().args([file]).timeout(30.0).run();
    assert!(outcome.status == NOT_EXECUTABLE, "{name}: status {}\n{outcome}", outcome.status);
    the_sentence(&outcome, &format!("cannot run /host/{name}: {why}"));
}

#[track_caller]
fn the_sentence(outcome: &Outcome, sentence: &str) {
    let noteworthy: Vec<&str> = outcome.log.lines().filter(|line| !line.contains("] INFO ")).collect();
    assert!(noteworthy.len() == 1 && noteworthy[0].ends_with(&format!(": {sentence}")), "{sentence}?\n{outcome}");
    assert!(outcome.stdout.is_empty() && !outcome.stderr.contains("panic"), "{outcome}");
}

/// `hello-std`, to be changed.
struct Elf(Vec<u8>);

const PT_NULL: u32 = 0;
const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const TABLE: usize = 64;
const ENTRY_SIZE: usize = 56;

/// Where a program header has what.
mod at {
    pub(crate) const OFFSET: usize = 8;
    pub(crate) const ADDRESS: usize = 16;
    pub(crate) const IN_FILE: usize = 32;
    pub(crate) const IN_MEMORY: usize = 40;
}

impl Elf {
    fn new() -> Self {
        Self(fs::read(std_program("hello-std")).expect("it was built"))
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.0[at..at + 2].try_into().unwrap())
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.0[at..at + 4].try_into().unwrap())
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().unwrap())
    }

    /// Overwrites bytes.
    fn with(mut self, at: usize, bytes: &[u8]) -> Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    fn with_u16(self, at: usize, value: u16) -> Self {
        self.with(at, &value.to_le_bytes())
    }

    fn with_u64(self, at: usize, value: u64) -> Self {
        self.with(at, &value.to_le_bytes())
    }

    /// Where the program headers of this type are.
    fn headers(&self, kind: u32) -> Vec<usize> {
        let all = (0..usize::from(self.u16(56))).map(|n| TABLE + n * ENTRY_SIZE);
        all.filter(|&at| self.u32(at) == kind).collect()
    }

    /// Changes a field of the n-th segment to be loaded.
    fn with_segment(self, n: usize, field: usize, value: u64) -> Self {
        let at = self.headers(PT_LOAD)[n] + field;
        self.with_u64(at, value)
    }

    fn segment(&self, n: usize, field: usize) -> u64 {
        self.u64(self.headers(PT_LOAD)[n] + field)
    }

    /// The end of the last byte that is loaded.
    fn loaded(&self) -> usize {
        let segments = 0..self.headers(PT_LOAD).len();
        segments.map(|n| self.segment(n, at::OFFSET) + self.segment(n, at::IN_FILE)).max().unwrap() as usize
    }

    #[track_caller]
    fn refused(self, name: &str) {
        refused_for(name, &self.0, NO_PROGRAM);
    }
}

#[test]
fn files_of_other_kinds() {
    refused_for("empty", b"", NO_PROGRAM);
    refused_for("script", b"#!/bin/sh\necho no\n", NO_PROGRAM);
    refused_for("zeroes", &[0; 8192], NO_PROGRAM);
    // Linked for the places of native packages; as a Linux program it is none.
    refused_for("package", &fs::read(native_package("hello")).unwrap(), NO_PROGRAM);
}

#[test]
fn truncated() {
    for length in [4, 63, 64, TABLE + ENTRY_SIZE, Elf::new().0.len() / 2, Elf::new().loaded() - 1] {
        let mut elf = Elf::new();
        elf.0.truncate(length);
        elf.refused(&format!("first-{length}"));
    }
}

#[test]
fn what_is_not_loaded_may_be_missing() {
    let scratch = Scratch::new("loaded");
    let mut elf = Elf::new();
    elf.0.truncate(elf.loaded());
    let file = scratch.file("loaded", &elf.0);
    let outcome = Jotun::new().args([file.to_str().unwrap(), "x"]).run().expect(0);
    outcome.expect_in_output("argument 1: x\n").expect_calm_log();
}

#[test]
fn of_another_machine() {
    const I386: u16 = 3;
    const AARCH64: u16 = 183;
    Elf::new().with(4, &[1]).refused("class-32");
    Elf::new().with(4, &[1]).with_u16(18, I386).refused("i386");
    Elf::new().with(5, &[2]).refused("big-endian");
    Elf::new().with_u16(18, AARCH64).refused("aarch64");
    Elf::new().with(0, b"\x7fELK").refused("magic");
}

#[test]
fn of_another_type() {
    const RELOCATABLE: u16 = 1;
    const CORE: u16 = 4;
    Elf::new().with_u16(16, RELOCATABLE).refused("object");
    Elf::new().with_u16(16, CORE).refused("core");
    // It wants a dynamic linker.
    let elf = Elf::new();
    let some = elf.headers(4 /* PT_NOTE */)[0];
    elf.with(some, &PT_INTERP.to_le_bytes()).refused("dynamic");
}

#[test]
fn wrong_tables_of_segments() {
    for count in [0, 65, u16::MAX] {
        Elf::new().with_u16(56, count).refused(&format!("count-{count}"));
    }
    Elf::new().with_u16(54, 32).refused("entry-size");
    let length = Elf::new().0.len() as u64;
    for (name, place) in [("behind", length), ("far", 1 << 40), ("last", u64::MAX), ("around", u64::MAX - 559)] {
        Elf::new().with_u64(32, place).refused(&format!("table-{name}"));
    }
    let mut elf = Elf::new();
    for at in elf.headers(PT_LOAD) {
        elf = elf.with(at, &PT_NULL.to_le_bytes());
    }
    elf.refused("nothing-to-load");
}

#[test]
fn segments_beyond_the_file() {
    let length = Elf::new().0.len() as u64;
    let size = Elf::new().segment(1, at::IN_MEMORY);
    Elf::new().with_segment(1, at::OFFSET, length.next_multiple_of(4096)).refused("offset-behind");
    Elf::new().with_segment(1, at::OFFSET, u64::MAX << 12).refused("offset-around");
    Elf::new().with_segment(1, at::OFFSET, 1 << 63).refused("offset-sign");
    Elf::new().with_segment(1, at::IN_FILE, u64::MAX).refused("size-around");
    Elf::new().with_segment(1, at::IN_FILE, size + 1).refused("more-in-file");
    let elf = Elf::new().with_segment(1, at::IN_FILE, 1 << 20);
    elf.with_segment(1, at::IN_MEMORY, 1 << 20).refused("size-behind");
}

#[test]
fn segments_beyond_user_memory() {
    Elf::new().with_segment(1, at::ADDRESS, 0xffff_ffff_8020_0000).refused("at-kernel");
    Elf::new().with_segment(1, at::ADDRESS, u64::MAX << 12).refused("at-end");
    Elf::new().with_segment(1, at::ADDRESS, 0x7fff_ffff_f000).refused("at-user-end");
    Elf::new().with_segment(3, at::IN_MEMORY, u64::MAX).refused("memory-around");
    Elf::new().with_segment(3, at::IN_MEMORY, 1 << 63).refused("memory-sign");
    Elf::new().with_segment(3, at::IN_MEMORY, 1 << 47).refused("memory-all");
    // Linked at 0, not to be moved.
    Elf::new().with_u16(16, 2 /* ET_EXEC */).refused("at-zero");
}

#[test]
fn segments_that_do_not_fit_their_pages() {
    let elf = Elf::new();
    let (offset, address) = (elf.segment(1, at::OFFSET), elf.segment(1, at::ADDRESS));
    Elf::new().with_segment(1, at::ADDRESS, address + 8).refused("address-within-page");
    Elf::new().with_segment(1, at::OFFSET, offset + 8).refused("offset-within-page");
}

/// As on Linux, a segment lies over those before it. What was to be there is not, and the program dies.
#[test]
fn segments_over_each_other() {
    let scratch = Scratch::new("overlap");
    let elf = Elf::new();
    let first = elf.segment(0, at::ADDRESS);
    let file = scratch.file("overlap", elf.with_segment(1, at::ADDRESS, first).0);
    let outcome = Jotun::new().args([file]).timeout(30.0).run().expect(139).expect_all_back();
    outcome.expect_log_lines(1, &["overlap (1) killed by SIGSEGV: "]);
}

#[test]
fn wrong_entries() {
    let data = Elf::new().segment(3, at::ADDRESS);
    for (name, entry) in
        [("zero", 0), ("data", data), ("far", 1 << 46), ("kernel", 0xffff_ffff_8020_0000), ("last", u64::MAX)]
    {
        Elf::new().with_u64(24, entry).refused(&format!("entry-{name}"));
    }
}

#[test]
fn directories_are_no_programs() {
    // On the host, said before anything boots.
    let scratch = Scratch::new("directory");
    let outcome = Jotun::new().args([scratch.path()]).run().expect(125);
    assert!(outcome.stderr.contains("is a directory on the host, not a program"), "{outcome}");
    // In the image only.
    scratch.file("only-in-the-image/data", "not a program");
    let run = |path: &str| Jotun::new().rootfs(scratch.path()).args([path]).run();
    let outcome = run("/only-in-the-image").expect(NOT_EXECUTABLE);
    the_sentence(&outcome, "cannot run /only-in-the-image: it is not an executable file");
    let outcome = run("/only-in-the-image/data").expect(NOT_EXECUTABLE);
    the_sentence(&outcome, "cannot run /only-in-the-image/data: it is not an executable file");
}

#[test]
fn a_dynamically_linked_program_gets_advice() {
    // xtask itself is one.
    let outcome = Jotun::new().args([xtask()]).run().expect(NOT_EXECUTABLE);
    assert!(outcome.stderr.contains("is dynamically linked") && outcome.stderr.contains("-static"), "{outcome}");
    the_sentence(&outcome, &format!("cannot run /host/xtask: {NO_PROGRAM}"));
}

/// GCC's functions within functions have pieces of code on the stack, and say so in the program's headers.
#[test]
fn a_stack_that_is_executed() {
    const PT_GNU_STACK: u32 = 0x6474_e551;
    const READ_WRITE_EXECUTE: u32 = 7;
    let scratch = Scratch::new("stack");
    let tools = Elf(fs::read(busybox()).expect("it is there"));
    let [stack] = tools.headers(PT_GNU_STACK)[..] else { panic!("one header") };
    let maps = |name: &str, tools: Elf| {
        let file = scratch.file(&format!("{name}/busybox"), tools.0);
        let args = [file.to_str().unwrap(), "grep", "stack", "/proc/self/maps"];
        Jotun::new().args(args).run().expect(0).text()
    };
    let plain = maps("plain", Elf(tools.0.clone()));
    let executed = maps("executed", tools.with(stack + 4, &READ_WRITE_EXECUTE.to_le_bytes()));
    assert!(plain.contains(" rw-p ") && executed.contains(" rwxp "), "{plain}{executed}");
}
