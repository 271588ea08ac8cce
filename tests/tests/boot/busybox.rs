//! Debian's busybox on a tree of some hundred files: byte for byte what it prints on the host.
//!
//! Each command runs twice on the same tree, on the host and in Jotun, with the tree as `tree` in the
//! current directory. What is left out is what must differ: owners, times and the sizes of directories. Where a command prints
//! in the order in which a directory lists its files, which is each file system's own, lines are sorted.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    process::Command,
};

use boot_tests::{Outcome, Scratch, busybox, on_up};

/// Words for text files.
const WORDS: [&str; 16] = [
    "container",
    "process",
    "thread",
    "page",
    "directory",
    "level",
    "lock",
    "Kernel",
    "giant",
    "CPU",
    "local",
    "entry",
    "fault",
    "Zähler",
    "frame",
    "idle",
];

/// Numbers that look like chance and are the same every time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0 >> 33
    }

    fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    fn line(&mut self) -> String {
        let words: Vec<_> = (0..1 + self.below(9)).map(|_| WORDS[self.below(WORDS.len())]).collect();
        format!("{} {}\n", self.below(100_000), words.join(" "))
    }

    fn text(&mut self, lines: usize) -> String {
        (0..lines).map(|_| self.line()).collect()
    }
}

/// A tree of 400 files in 60 directories, and what is special besides.
fn tree() -> Scratch {
    let scratch = Scratch::new("busybox");
    let mut numbers = Numbers(7);
    for n in 0..400 {
        let lines = numbers.below(60);
        let path = format!("tree/part {}/{}/file-{n}.txt", n % 6, n % 20);
        scratch.file(&path, numbers.text(lines));
    }
    scratch.file("tree/big.txt", numbers.text(20_000));
    scratch.file("tree/binary", numbers.bytes(300_000));
    scratch.file("tree/empty", "");
    scratch.file("tree/no-newline", "the last line does not end");
    scratch.file("tree/Größe.txt", "Maß\nÜbermaß\n");
    scratch.file("tree/page", vec![b'p'; 4096]);
    scratch.file("tree/a/b/c/d/e/f/g/h/deep", "deep\n");
    let mut sorted: Vec<String> =
        numbers.text(3000).lines().map(|line| line.split_once(' ').unwrap().1.into()).collect();
    sorted.sort();
    scratch.file("tree/sorted.txt", sorted.join("\n") + "\n");
    symlink("big.txt", scratch.path().join("tree/link")).unwrap();
    symlink("/nowhere", scratch.path().join("tree/dangling")).unwrap();
    symlink("a/b", scratch.path().join("tree/link-to-directory")).unwrap();
    scratch
}

/// How two outputs are compared.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    Exact,
    Sorted,
}
use Order::{Exact, Sorted};

/// What a command comes to on the host.
struct OnHost {
    /// Standard output and standard error, which are one on a console.
    output: Vec<u8>,
    status: Option<i32>,
}

impl OnHost {
    fn run(tree: &Scratch, words: &[&str], stdin: &[u8]) -> Self {
        let scratch = Scratch::new("on-host");
        let input = File::open(scratch.file("input", stdin)).unwrap();
        let path = scratch.path().join("output");
        let output = File::create(&path).unwrap();
        let mut busybox = Command::new(busybox());
        busybox.args(words).current_dir(tree.path()).env_clear();
        busybox.stdin(input).stderr(output.try_clone().unwrap()).stdout(output);
        let status = busybox.status().expect("busybox runs on the host").code();
        Self { output: fs::read(path).unwrap(), status }
    }
}

/// Runs a command on both sides and compares output and status.
#[track_caller]
fn same(tree: &Scratch, order: Order, words: &[&str], stdin: &[u8]) {
    let host = OnHost::run(tree, words, stdin);
    on_up(|jotun| {
        let program = [busybox().to_str().unwrap()].into_iter().chain(words.iter().copied());
        same_as(&host, order, words, jotun.rootfs(tree.path()).args(program).stdin(stdin).run());
    });
}

/// Compares output and status of a command.
#[track_caller]
fn same_as(host: &OnHost, order: Order, words: &[&str], outcome: Outcome) {
    assert_eq!(Some(outcome.status), host.status, "busybox {words:?}\n{outcome}");
    let arranged = |bytes: &[u8]| {
        let mut lines: Vec<Vec<u8>> = bytes.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
        if order == Sorted {
            lines.sort();
        }
        lines
    };
    let (here, there) = (arranged(&host.output), arranged(&outcome.stdout));
    let differs = here.iter().zip(&there).position(|(here, there)| here != there);
    let differs = differs.or((here.len() != there.len()).then(|| here.len().min(there.len())));
    if let Some(at) = differs {
        let line = |lines: &[Vec<u8>]| lines.get(at).map(|line| String::from_utf8_lossy(line).into_owned());
        panic!("busybox {words:?}: line {at} is {:?} on the host, here {:?}\n{outcome}", line(&here), line(&there));
    }
    // A command that did nothing would be the same on both sides, too.
    assert!(!host.output.is_empty(), "busybox {words:?} printed nothing");
    let _ = outcome.expect_calm_log();
}

#[test]
fn listing() {
    let tree = tree();
    same(&tree, Exact, &["ls", "-1R", "tree"], b"");
    same(&tree, Exact, &["ls", "-1ap", "tree", "tree/part 1/7"], b"");
    same(&tree, Sorted, &["find", "tree"], b"");
    same(&tree, Sorted, &["find", "tree", "-name", "*1*.txt", "-size", "+1k", "-o", "-type", "l"], b"");
    let files = ["tree/empty", "tree/page", "tree/big.txt", "tree/link", "tree/part 0/0/file-0.txt"];
    same(&tree, Exact, &[&["stat", "-c", "%n|%N|%F|%s|%a|%h"], &files[..]].concat(), b"");
    // A directory's size is its file system's affair.
    same(&tree, Exact, &["stat", "-c", "%n|%F|%a", "tree", "tree/a", "tree/link-to-directory/"], b"");
    same(&tree, Exact, &["readlink", "tree/link"], b"");
}

#[test]
fn printing() {
    let tree = tree();
    same(&tree, Exact, &["cat", "tree/big.txt", "tree/binary", "tree/empty", "tree/no-newline", "tree/link"], b"");
    same(&tree, Exact, &["head", "-n", "123", "tree/big.txt", "tree/Größe.txt"], b"");
    same(&tree, Exact, &["tail", "-c", "5000", "tree/binary"], b"");
    same(&tree, Exact, &["od", "-A", "x", "-t", "x1", "tree/binary"], b"");
    same(&tree, Exact, &["cat", "tree/sorted.txt", "tree/not-there", "tree/page"], b"");
}

#[test]
fn searching() {
    let tree = tree();
    same(&tree, Sorted, &["grep", "-rn", "giant.*lock", "tree"], b"");
    same(&tree, Sorted, &["grep", "-rc", "-i", "kernel", "tree"], b"");
    same(&tree, Exact, &["grep", "-n", "-E", "^[0-9]{5} (page|frame) .*(CPU|Zähler)$", "tree/big.txt"], b"");
    same(&tree, Exact, &["diff", "-r", "tree/part 0/0", "tree/part 2/0"], b"");
    same(&tree, Exact, &["cmp", "tree/big.txt", "tree/sorted.txt"], b"");
}

#[test]
fn counting() {
    let tree = tree();
    let files = ["tree/big.txt", "tree/binary", "tree/empty", "tree/no-newline", "tree/page"];
    same(&tree, Exact, &[&["wc"], &files[..]].concat(), b"");
    same(&tree, Exact, &[&["md5sum"], &files[..]].concat(), b"");
    same(&tree, Exact, &[&["sha256sum"], &files[..]].concat(), b"");
    same(&tree, Exact, &["uniq", "-c", "tree/sorted.txt"], b"");
}

#[test]
fn arranging() {
    let tree = tree();
    same(&tree, Exact, &["sort", "tree/big.txt"], b"");
    same(&tree, Exact, &["sort", "-u", "-k", "2,3", "-k", "1,1nr", "tree/big.txt"], b"");
    same(&tree, Exact, &["cut", "-d", " ", "-f", "1,3-4", "tree/big.txt"], b"");
    same(&tree, Exact, &["sed", "-n", "-e", "s/\\(giant\\) \\(lock\\)/\\2 \\1/gp", "tree/big.txt"], b"");
    let program = "{ n[$2] += $1; w += NF } END { for (k in n) printf \"%s %.3f\\n\", k, n[k] / w }";
    same(&tree, Exact, &["awk", program, "tree/big.txt"], b"");
    same(
        &tree,
        Exact,
        &["awk", "NR % 1000 == 0 { print NR, length($0), toupper($2), substr($0, 7), $1 / 7 }", "tree/big.txt"],
        b"",
    );
}

#[test]
fn standard_input() {
    let tree = tree();
    let mut numbers = Numbers(11);
    let (text, binary) = (numbers.text(30_000).into_bytes(), numbers.bytes(1 << 20));
    assert!(text.len() > 1 << 20, "{} bytes", text.len());
    same(&tree, Exact, &["sort", "-n"], &text);
    same(&tree, Exact, &["wc"], &text);
    same(&tree, Exact, &["sha256sum"], &binary);
    same(&tree, Exact, &["tr", "a-zA-Z", "n-za-mN-ZA-M"], &text);
    same(&tree, Exact, &["gzip", "-c"], &text);
}
