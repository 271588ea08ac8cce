//! Images that cannot work: each ends at once, with a sentence that says why.

use std::{fs, path::Path};

use boot_tests::{Jotun, Outcome, Scratch, large_base, target};

/// Boots with another base archive, and takes the sentence from xtask's words.
fn sentence_for(base: &Path) -> String {
    let outcome = Jotun::new().base(base).args(["/pkg/hello"]).timeout(20.0).run().expect(70);
    the_sentence(&outcome)
}

fn the_sentence(outcome: &Outcome) -> String {
    assert!(outcome.stdout.is_empty(), "{outcome}");
    let mut lines = outcome.stderr.lines().filter_map(|line| line.strip_prefix("xtask: the kernel stopped: "));
    let sentence = lines.next().unwrap_or_else(|| panic!("no sentence\n{outcome}"));
    assert_eq!(lines.next(), None, "{outcome}");
    sentence.to_owned()
}

fn base() -> Vec<u8> {
    fs::read(target().join("jotun/base.cpio")).expect("the base was built")
}

#[test]
fn an_empty_archive() {
    let scratch = Scratch::new("empty");
    let sentence = sentence_for(&scratch.file("base", []));
    assert!(sentence.contains("\"base\"") && sentence.contains("trailer"), "{sentence}");
}

#[test]
fn a_truncated_archive() {
    let scratch = Scratch::new("truncated");
    let whole = base();
    // In a header, in a name and in a file.
    for length in [50, 115, whole.len() / 2] {
        let sentence = sentence_for(&scratch.file("base", &whole[..length]));
        assert!(sentence.contains("ends within its entry"), "{length} bytes: {sentence}");
    }
}

#[test]
fn an_archive_without_its_end() {
    let scratch = Scratch::new("trailer");
    let whole = base();
    let trailer = whole.windows(10).rposition(|window| window == b"TRAILER!!!").expect("it has one");
    // The trailer's header is 110 bytes long and stands before its name.
    let sentence = sentence_for(&scratch.file("base", &whole[..trailer - 110]));
    assert!(sentence.contains("ends without its trailer"), "{sentence}");
}

#[test]
fn something_else_than_an_archive() {
    let scratch = Scratch::new("foreign");
    let sentence = sentence_for(&scratch.file("base", vec![0x7f; 70_000]));
    assert!(sentence.contains("at byte 0"), "{sentence}");
}

#[test]
fn a_corrupt_header_is_found_in_the_middle() {
    let scratch = Scratch::new("corrupt");
    let mut bytes = base();
    let at = bytes.windows(6).skip(1000).position(|window| window == b"070701").expect("entries") + 1000;
    bytes[at] = b'x';
    let sentence = sentence_for(&scratch.file("base", bytes));
    assert!(sentence.contains(&format!("at byte {at} ")), "{sentence}");
}

#[test]
fn too_little_memory_for_the_files() {
    // xtask refuses what cannot fit by any reckoning; a little more gets as far as the kernel.
    let outcome = Jotun::new().memory(8).args(["/pkg/hello"]).run().expect(125);
    assert!(outcome.stderr.contains("8 MiB is too little: try --memory"), "{outcome}");
    let scratch = Scratch::new("large");
    let (base, archive) = large_base(&scratch);
    let outcome = Jotun::new().base(&base).memory(archive * 2).args(["/pkg/hello"]).run().expect(70);
    let sentence = the_sentence(&outcome);
    assert!(sentence.to_lowercase().contains("memory"), "{sentence}");
}
