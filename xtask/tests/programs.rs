//! Each program of `user/` is built, and its header says which tests run it.
//!
//! A header is the comment that a program begins with. It says what the program is for, and ends with a list of files:
//! "Run by: `tests/tests/boot/programs.rs`, `tests/tests/smp.rs`." All tests that run the program are in it. Behind them,
//! or if there is none, it has the other files that do: benchmarks, programs, pages.

mod tree;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use tree::{code, files, root};

struct Program {
    /// Its file, or its `main.rs`, from the root of the checkout.
    path: String,
    /// As tests name it.
    name: String,
    /// The header's text, its lines joined.
    header: String,
    /// A native package, and no Linux program.
    native: bool,
}

impl Program {
    fn new(file: &Path) -> Self {
        let text = fs::read_to_string(file).expect("a text");
        let comment = |line: &&str| ["//", "/*", " *", "--"].iter().any(|begin| line.starts_with(begin));
        let words = |line| str::trim(line).trim_matches(['/', '!', '*', '-', ' ']);
        let stem = |path: &Path| path.file_stem().expect("a name").to_string_lossy().into_owned();
        let name = match stem(file) {
            main if main == "main" => stem(file.parent().expect("a folder")),
            _ if file.extension().is_some_and(|end| end == "go" || end == "lua") => file_name(file),
            name => name,
        };
        Self {
            path: file.strip_prefix(root()).expect("a file of the checkout").to_string_lossy().into_owned(),
            name,
            header: text.lines().take_while(comment).map(words).collect::<Vec<_>>().join(" "),
            native: text.contains("\n#![no_std]\n"),
        }
    }

    /// The files that run it, as its header lists them.
    fn runners(&self) -> Vec<&str> {
        let (purpose, list) = self.header.split_once(" Run by: ").unwrap_or_default();
        let runners: Vec<&str> = code(list).collect();
        let whole = runners.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", ") + ".";
        if purpose.is_empty() || list != whole { Vec::new() } else { runners }
    }

    /// Whether a test runs it: by its path in the image, or by its name behind `--`, as an argument, or in a list. Packages go
    /// by their paths: some have the names of statistics.
    fn is_run_by(&self, test: &str) -> bool {
        let name = &self.name;
        let path = if self.native { "\"/pkg/" } else { "\"/bin/" };
        let begins = [path, "\"--\", \"", "std_program(\"", "c_program(\"", "native_package(\""];
        begins.iter().any(|begin| test.contains(&format!("{begin}{name}\"")))
            || !self.native && (begins_a_list(test, name) || is_looped_over(test, name))
    }

    /// Whether it is named there as a whole word.
    fn is_named_in(&self, text: &str) -> bool {
        text.split(|c: char| !c.is_alphanumeric() && !"_-.".contains(c)).any(|word| {
            let word = word.trim_end_matches('.');
            word == self.name || word.strip_suffix("-musl") == Some(&self.name)
        })
    }
}

/// Whether the name is the first word of a list. Brackets behind a value are an index.
fn begins_a_list(test: &str, name: &str) -> bool {
    let is_index = |before: &str| before.ends_with(|c: char| c.is_alphanumeric() || "_])".contains(c));
    test.match_indices(&format!("[\"{name}\"")).any(|(at, _)| !is_index(&test[..at]))
}

/// Whether the name is a word of a list that a `for` goes through.
fn is_looped_over(test: &str, name: &str) -> bool {
    let mut lists = test.split(" in [\"").skip(1).filter_map(|rest| rest.split(']').next());
    lists.any(|list| list.split('"').step_by(2).any(|word| word == name))
}

fn file_name(file: &Path) -> String {
    file.file_name().expect("a name").to_string_lossy().into_owned()
}

/// Programs lie in folders that say their purpose; what belongs to a `main.rs` is no program of its own.
fn programs() -> Vec<Program> {
    let mut found = Vec::new();
    for purpose in ["bench", "check", "helpers", "show"] {
        files(&root().join("user").join(purpose), &[".rs", ".c", ".go", ".lua"], &mut found);
    }
    found.retain(|file| file.ends_with("main.rs") || !file.with_file_name("main.rs").exists());
    found.iter().map(|file| Program::new(file)).collect()
}

/// A file's text without comments, with single spaces between words and none behind opening brackets.
fn statements(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    words.join(" ").replace("[ ", "[").replace("( ", "(")
}

/// The sources of the tests, by their paths from the root of the checkout.
fn tests() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for folder in ["tests/tests", "tests/src"] {
        files(&root().join(folder), &[".rs"], &mut found);
    }
    let path = |file: &PathBuf| file.strip_prefix(root()).expect("of the checkout").to_string_lossy().into_owned();
    found.iter().map(|file| (path(file), statements(file))).collect()
}

#[track_caller]
fn none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn headers_say_what_runs_a_program() {
    let tests = tests();
    let mut wrong = Vec::new();
    for program in programs() {
        let runners = program.runners();
        if runners.is_empty() {
            wrong.push(format!("{}: the header does not end with \"Run by: `FILE`, `FILE`.\"", program.path));
        }
        for runner in &runners {
            if !program.is_named_in(&statements(&root().join(runner))) {
                wrong.push(format!("{}: {runner} does not run it", program.path));
            }
        }
        for (test, text) in &tests {
            if program.is_run_by(text) && !runners.contains(&test.as_str()) {
                wrong.push(format!("{}: {test} runs it, and its header does not say so", program.path));
            }
        }
        if program.path.starts_with("user/check/") && !runners.iter().any(|runner| runner.starts_with("tests/")) {
            wrong.push(format!("{}: a check that no test makes", program.path));
        }
    }
    none(wrong);
}

/// Cargo builds what its lists name, and only that. The workspace in `user/check/real` has lists of its own.
#[test]
fn cargo_builds_every_program() {
    let mut listed = BTreeSet::new();
    for package in ["std", "native"] {
        let manifest = fs::read_to_string(root().join("user").join(package).join("Cargo.toml")).expect("a manifest");
        for line in manifest.lines().filter_map(|line| line.trim().strip_prefix("{ name = \"")) {
            let (name, path) = line.split_once("\", path = \"../").expect("a path");
            let path = path.strip_suffix("\" },").expect("the end of a line");
            listed.insert((package == "native", name.to_owned(), format!("user/{path}")));
        }
    }
    let all = programs().into_iter().filter(|it| it.path.ends_with(".rs") && !it.path.starts_with("user/check/real/"));
    let there: BTreeSet<_> = all.map(|program| (program.native, program.name, program.path)).collect();
    assert!(there.len() > 60, "{} programs are not all", there.len());
    let mut wrong = Vec::new();
    wrong.extend(there.difference(&listed).map(|(_, _, path)| format!("{path}: in no list, or in the wrong one")));
    wrong
        .extend(listed.difference(&there).map(|(_, name, path)| format!("{name}: there is no such program in {path}")));
    none(wrong);
}
