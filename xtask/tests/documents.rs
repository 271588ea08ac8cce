//! What the documents lead to is there: the targets of links, with their headings, the files and folders that
//! are named, and the functions, tests and statistics. Figures in pages are those of `docs/results.md`, and what the pages
//! teach by them holds there.

mod tree;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use tree::{code, files, root};

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

/// The calls of Linux's in the kernel's tables: `names(arguments) uses … => function`.
fn calls_in_tables() -> BTreeSet<String> {
    let mut calls = BTreeSet::new();
    for table in ["kernel/src/calls/table.rs", "kernel/src/calls/files/table.rs"] {
        let text = fs::read_to_string(root().join(table)).expect("a table of calls");
        let of_linux = text.split("\ncalls! {").filter_map(|part| part.split_once("(Sysno,")).map(|(_, lines)| lines);
        for line in of_linux.flat_map(str::lines).filter_map(|line| line.strip_prefix("    ")) {
            let are_names = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_ |".contains(c);
            if let Some((names, _)) = line.split_once('(')
                && names.starts_with(|c: char| c.is_ascii_lowercase())
                && names.chars().all(are_names)
            {
                calls.extend(names.split(" | ").map(str::to_owned));
            }
        }
    }
    assert!(calls.len() > 150, "{} calls are not all", calls.len());
    calls
}

/// The source of a test program.
fn source(program: &str) -> Option<String> {
    let mut found = Vec::new();
    files(&root().join("user"), &[".rs"], &mut found);
    let folder = |file: &Path| file.parent().is_some_and(|it| it.ends_with(program) && it.join("main.rs").exists());
    found.retain(|file| file.ends_with(format!("{program}.rs")) || folder(file));
    let texts: Vec<String> = found.iter().filter_map(|file| fs::read_to_string(file).ok()).collect();
    (!texts.is_empty()).then(|| texts.concat())
}

/// `docs/linux-abi.md` says each call of the tables once, and what it names as a test makes that call.
#[test]
fn every_call_is_described() {
    /// What makes calls without naming them in its source.
    const OTHERS: [&str; 3] = ["busybox", "scripts", "threads-std"];
    let text = fs::read_to_string(root().join("docs/linux-abi.md")).expect("the list of calls");
    let mut described = BTreeSet::new();
    let mut wrong = Vec::new();
    for row in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [calls, what, tests] = cells[..] else { panic!("a row of three cells: {row}") };
        assert!(!what.trim().is_empty(), "{row}");
        let tests: Vec<&str> = code(tests).collect();
        assert!(!tests.is_empty() || row.ends_with("| not tested |"), "{row}");
        let sources: Vec<Option<String>> = tests.iter().map(|test| source(test)).collect();
        let known = |(test, source): (&&str, &Option<String>)| source.is_some() || OTHERS.contains(test);
        assert!(tests.iter().zip(&sources).all(known), "a test that is not there: {row}");
        for call in code(calls) {
            let makes = |source: &String| {
                let words: BTreeSet<&str> = source.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
                words.contains(&*format!("SYS_{call}")) || words.contains(call)
            };
            if !tests.is_empty()
                && !sources.iter().flatten().any(makes)
                && !tests.iter().any(|test| OTHERS.contains(test))
            {
                wrong.push(format!("{call}: made by none of {tests:?}"));
            }
            if !described.insert(call.to_owned()) {
                wrong.push(format!("{call}: described twice"));
            }
        }
    }
    let tables = calls_in_tables();
    wrong.extend(tables.difference(&described).map(|call| format!("{call}: not described")));
    wrong.extend(described.difference(&tables).map(|call| format!("{call}: described, but in no table")));
    assert!(wrong.is_empty(), "docs/linux-abi.md:\n{}", wrong.join("\n"));
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join("docs").join(name)).expect("a page")
}

/// The rows of a table of results: those behind the heading or the mark `title`, head and rule left out.
fn rows<'a>(page: &'a str, title: &str) -> Vec<Vec<&'a str>> {
    let (_, rest) = page.split_once(title).unwrap_or_else(|| panic!("no {title}"));
    let rows = rest.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    rows.skip(2).map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// What `bench --write-docs` writes into other pages stands there as it stands in the page of results.
#[test]
fn tables_in_pages_are_those_of_the_results() {
    const BEGIN: &str = "<!-- results: ";
    let results = page("results.md");
    let mut seen = 0;
    for (document, text) in texts(&[".md"]) {
        for region in text.split(BEGIN).skip(1) {
            let (title, rest) = region.split_once(" -->").expect("the end of a mark");
            let (region, _) = rest.split_once("<!-- end of results -->").expect("the end of a region");
            let (_, table) = results.split_once(&format!("\n### {title}\n")).expect("the table in docs/results.md");
            let lines = |text: &str| -> Vec<String> {
                let table = text.trim_start().lines().take_while(|line| line.starts_with('|'));
                table.map(str::to_owned).collect()
            };
            assert_eq!(lines(region), lines(table), "{}: {title}", document.display());
            assert!(lines(region).len() > 2, "{}: {title} is empty", document.display());
            seen += 1;
        }
    }
    assert!(seen > 0, "no page shows results");
}

/// Each lesson of the guide has targets in the results, and they are met.
#[test]
fn the_guide_teaches_what_was_measured() {
    let (guide, results) = (page("smp-guide.md"), page("results.md"));
    let (_, list) = guide.split_once("What to point at").expect("the lessons");
    let (list, _) = list.split_once("\n## ").expect("the end of the lessons");
    let lessons: Vec<&str> =
        list.lines().filter_map(|line| line.strip_prefix("- **")?.split_once("**")).map(|(lesson, _)| lesson).collect();
    let targets: Vec<_> = rows(&results, "\n## Targets\n")
        .into_iter()
        .filter_map(|row| Some((row[0].strip_prefix("guide: ")?, row[3])))
        .collect();
    assert!(lessons.len() > 3, "{lessons:?}");
    for lesson in &lessons {
        assert!(targets.iter().any(|(target, _)| target.starts_with(lesson)), "nothing measures: {lesson}");
    }
    for (target, verdict) in targets {
        assert_eq!(verdict, "met", "{target}");
        assert!(lessons.iter().any(|lesson| target.starts_with(lesson)), "the guide does not teach: {target}");
    }
}

/// The steps on the way into the kernel and back are as many as were counted.
#[test]
fn the_steps_of_the_entry_path_add_up() {
    let text = page("entry-path.md");
    let counted: Vec<u32> = rows(&text, "<!-- results: Into the kernel and back -->")[0][1..]
        .iter()
        .map(|figure| figure.parse().expect("a number"))
        .collect();
    let steps = rows(&text, "\n## The fast path, step by step\n");
    let sum = |column: usize| steps.iter().map(|row| row[column].parse().unwrap_or(0)).sum::<u32>();
    assert_eq!([sum(2), sum(3)], counted[..]);
}

/// README lists the words of the kernel's command line as the kernel knows them.
#[test]
fn the_words_of_the_command_line_are_listed() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let listed = rows(&readme, "\n## Words of the kernel's command line\n");
    let known =
        abi::words::WORDS.iter().map(|word| vec![format!("`{}`", word.begin), word.value.into(), word.about.into()]);
    assert_eq!(listed, known.collect::<Vec<_>>());
}

/// The files that README has a newcomer read are as long as it says, to a tenth.
#[test]
fn the_reading_order_tells_the_lines() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let files = rows(&readme, "\n## Reading it\n");
    assert!(files.len() > 8, "{files:?}");
    for row in files {
        let path = row[0].trim_matches('`');
        let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        let (said, lines): (usize, _) = (row[1].parse().expect("a number"), lines_of_code(&text));
        assert!(said.abs_diff(lines) * 10 <= lines, "{path} has {lines} lines of code, not {said}");
    }
}

/// The lines of code of a source.
fn lines_of_code(text: &str) -> usize {
    text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("//")).count()
}

/// The parts of the kernel have the lines that the table of sizes says, to a hundredth; each source is in one part; and the
/// core is as small as it is meant to be.
#[test]
fn the_table_of_sizes_counts_right() {
    let architecture = page("ARCHITECTURE.md");
    let parts = rows(&architecture, "\n## Size\n");
    let places: Vec<(&str, usize)> = parts
        .iter()
        .enumerate()
        .flat_map(|(part, row)| row[3].split_whitespace().map(move |path| (path.trim_matches('`'), part)))
        .collect();
    let mut counted = vec![0; parts.len()];
    for name in ["abi", "containers", "cpulocal", "files", "giantlock", "hardware", "kernel", "slabs", "trace"] {
        let mut sources = Vec::new();
        files(&root().join(name).join("src"), &[".rs"], &mut sources);
        for source in sources {
            let path = source.strip_prefix(root()).expect("in the checkout").display().to_string();
            if path.contains("/tests") || path.ends_with("/testing.rs") {
                continue;
            }
            let place = places.iter().filter(|(place, _)| path.starts_with(place)).max_by_key(|(place, _)| place.len());
            let (_, part) = place.unwrap_or_else(|| panic!("{path} is in no part"));
            counted[*part] += lines_of_code(&fs::read_to_string(&source).expect("a source"));
        }
    }
    for (row, counted) in parts.iter().zip(&counted) {
        let said: usize = row[1].replace(',', "").parse().expect("a number");
        assert!(said.abs_diff(*counted) * 100 <= *counted, "{} has {counted} lines of code, not {said}", row[0]);
    }
    assert_eq!(parts[0][0], "core");
    assert!(counted[0] <= 6_000, "the core has {} lines of code", counted[0]);
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    assert!(readme.contains(&format!("{} lines", parts[0][1])), "README says how large the core is");
}
