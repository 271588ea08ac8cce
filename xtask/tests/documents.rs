//! What the documents lead to is there: the targets of links, with their headings, the files and folders that
//! are named, and the functions, tests and statistics.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above this package")
}

/// The files of the checkout, of the whole of it or of a folder, by the ends of their names.
fn files(folder: &Path, ends: &[&str], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the checkout") {
        let entry = entry.expect("an entry of a folder");
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if entry.file_type().expect("a type").is_dir() {
            if !name.starts_with('.') && name != "target" {
                files(&path, ends, found);
            }
        } else if ends.iter().any(|end| name.ends_with(end)) {
            found.push(path);
        }
    }
}

fn texts(ends: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    files(root(), ends, &mut found);
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(&path).expect("a text"))).collect()
}

/// The documents, without what stands in blocks of code.
fn documents() -> Vec<(PathBuf, String)> {
    let prose = |text: String| {
        let lines = text.lines().filter(|line| !line.starts_with("    ") && !line.starts_with('\t'));
        lines.collect::<Vec<_>>().join("\n")
    };
    texts(&[".md"]).into_iter().map(|(path, text)| (path, prose(text))).collect()
}

/// What stands between single backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2).filter(|span| !span.is_empty() && !span.contains('\n'))
}

/// A heading's name in links.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Fails with a list of what is missing, if anything is.
#[track_caller]
fn none(missing: Vec<String>) {
    assert!(missing.is_empty(), "named in documents, but not there:\n{}", missing.join("\n"));
}

#[test]
fn links_lead_somewhere() {
    let mut missing = Vec::new();
    let mut seen = 0;
    for (document, text) in documents() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            seen += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { document.clone() } else { document.with_file_name("").join(file) };
            let has_heading = || {
                let text = fs::read_to_string(&target).unwrap_or_default();
                text.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == heading)
            };
            if !target.exists() || !heading.is_empty() && !has_heading() {
                missing.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(seen > 0, "no link was found at all");
    none(missing);
}

#[test]
fn named_files_are_there() {
    let tops: BTreeSet<String> = fs::read_dir(root())
        .expect("the checkout")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name != "target")
        .collect();
    let mut missing = Vec::new();
    let mut seen = 0;
    for (document, text) in documents() {
        for path in code(&text).filter(|span| span.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))) {
            if path.split_once('/').is_some_and(|(top, _)| tops.contains(top)) {
                seen += 1;
                if !root().join(path).exists() {
                    missing.push(format!("{}: {path}", document.display()));
                }
            }
        }
    }
    assert!(seen > 0, "no file was found named");
    none(missing);
}

/// Names with an underscore: what only code is called.
#[test]
fn named_functions_are_there() {
    let sources: String = texts(&[".rs", ".toml", ".ld", ".S"]).into_iter().map(|(_, text)| text).collect();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words: BTreeSet<&str> = sources.split(|c| !is_word(c)).collect();
    let mut missing = Vec::new();
    let mut seen = 0;
    for (document, text) in documents() {
        for span in code(&text).filter(|span| span.chars().all(|c| is_word(c) || c == ':')) {
            let name = span.rsplit("::").next().unwrap_or(span);
            if name.contains('_') {
                seen += 1;
                // Statistics of one CPU bear its number: `cpu0_user_cycles`, `cpuN_user_cycles`.
                let of_one = || name.strip_prefix("cpu").and_then(|rest| rest.get(1..));
                if !words.contains(name) && !of_one().is_some_and(|end| words.contains(end)) {
                    missing.push(format!("{}: {span}", document.display()));
                }
            }
        }
    }
    assert!(seen > 0, "no name was found");
    none(missing);
}
