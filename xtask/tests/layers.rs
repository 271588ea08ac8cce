//! The kernel's modules stand in layers, and none names one above it. The rooms of the crates `containers` and `files`, a file
//! or a folder each, do not name each other in a circle.
//!
//! ```text
//! main, boot, start, options, panic, statistics   the boot as one list
//! boundary                                        how a CPU comes in and goes out
//! strategies                                      how several CPUs share the kernel
//! calls                                           what programs ask for
//! core                                            rooms in the order that core/mod.rs lists
//! arch                                            memory, traps, and what each CPU has for itself
//! ```
//!
//! The crates below the kernel stand in an order too: `hardware` knows no kernel, `containers` and `files` know no hardware.
//!
//! A module names another by a path that begins with `crate`, `self` or `super`, in a `use` or in code. The paths in macros
//! are found among their tokens.

mod tree;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};
use syn::{UseTree, visit::Visit};
use tree::{code, files, root};

/// The path of a module or of something in it, from the root of its crate.
type Names = Vec<String>;

/// The modules of a crate, each with the paths that it names.
type Modules = BTreeMap<Names, BTreeSet<Names>>;

/// Collects the paths that a module names.
struct Collector<'a> {
    module: &'a [String],
    found: BTreeSet<Names>,
}

impl Collector<'_> {
    /// Takes note of a path, if it begins in this crate.
    fn note(&mut self, path: &[String]) {
        let from_here = |depth: usize| self.module[..self.module.len().saturating_sub(depth)].to_vec();
        let supers = path.iter().take_while(|part| *part == "super").count();
        let (mut names, rest) = match path.first().map(String::as_str) {
            Some("crate") => (Vec::new(), &path[1..]),
            Some("self") => (from_here(0), &path[1..]),
            Some("super") => (from_here(supers), &path[supers..]),
            _ => return,
        };
        names.extend_from_slice(rest);
        self.found.insert(names);
    }

    fn tree(&mut self, tree: &UseTree, before: &[String]) {
        let with = |ident: &dyn ToString| [before, &[ident.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.tree(&path.tree, &with(&path.ident)),
            UseTree::Name(name) => self.note(&with(&name.ident)),
            UseTree::Rename(rename) => self.note(&with(&rename.ident)),
            UseTree::Glob(_) => self.note(before),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(tree, before)),
        }
    }
}

impl<'ast> Visit<'ast> for Collector<'_> {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.note(&path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>());
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        // Brackets stand close to what they enclose.
        let tokens = mac.tokens.to_string().replace(['(', ')', '[', ']', '{', '}', ',', ';'], " ");
        let tokens: Vec<&str> = tokens.split_whitespace().collect();
        for (at, token) in tokens.iter().enumerate() {
            if matches!(*token, "crate" | "self" | "super") && (at == 0 || tokens[at - 1] != "::") {
                let parts = tokens[at..].chunks(2).take_while(|pair| pair.get(1) == Some(&"::") || is_name(pair[0]));
                let mut path: Names = Vec::new();
                for pair in parts {
                    path.push(pair[0].to_owned());
                    if pair.get(1) != Some(&"::") {
                        break;
                    }
                }
                self.note(&path);
            }
        }
    }
}

fn is_name(token: &str) -> bool {
    token.chars().all(|c| c.is_alphanumeric() || c == '_')
}

fn names_in(module: &[String], source: &str) -> BTreeSet<Names> {
    let mut collector = Collector { module, found: BTreeSet::new() };
    collector.visit_file(&syn::parse_file(source).expect("a file that compiles"));
    collector.found
}

/// The modules of the crate whose sources are in a folder; those of tests are left out.
fn modules(folder: &Path) -> Modules {
    let mut sources = Vec::new();
    files(folder, &[".rs"], &mut sources);
    let module = |path: &Path| -> Names {
        let inside = path.strip_prefix(folder).expect("a source of the crate").with_extension("");
        let parts: Names = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        parts.into_iter().filter(|part| !matches!(part.as_str(), "mod" | "lib" | "main")).collect()
    };
    let all = sources.iter().map(|path| (module(path), path));
    let kept = all.filter(|(module, _)| !module.iter().any(|part| part == "tests"));
    kept.map(|(module, path)| {
        let names = names_in(&module, &fs::read_to_string(path).expect("a source"));
        (module, names)
    })
    .collect()
}

/// A module as an example: its path, and what it names.
fn example(path: &str, source: &str) -> (Names, BTreeSet<Names>) {
    let path: Names = path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
    (path.clone(), names_in(&path, source))
}

/// The module that a path leads to or into.
fn target<'a>(modules: &'a Modules, names: &[String]) -> &'a Names {
    let module = (0..=names.len()).rev().find_map(|length| modules.get_key_value(&names[..length]));
    module.expect("the root is a module").0
}

/// The rooms of `core` from the ground up, as its list says.
fn rooms_of_core(source: &str) -> Vec<String> {
    let lines = source.lines().filter_map(|line| line.strip_prefix("//! "));
    let listed = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
    listed.filter_map(|line| code(line).next()).map(str::to_owned).collect()
}

/// How high a module of the kernel stands.
fn height(rooms: &[String], module: &[String]) -> usize {
    const BASE: usize = 100;
    match module.first().map(String::as_str) {
        Some("arch") => 0,
        Some("core") => match module.get(1) {
            Some(room) => {
                1 + rooms
                    .iter()
                    .position(|known| known == room)
                    .unwrap_or_else(|| panic!("core::{room} is not in the list"))
            }
            None => 0,
        },
        Some("calls") => BASE,
        Some("strategies") => BASE + 1,
        Some("boundary") => BASE + 2,
        _ => BASE + 3,
    }
}

/// The arrows that run upstairs.
fn upstairs(rooms: &[String], modules: &Modules) -> Vec<String> {
    let mut found = Vec::new();
    for (module, names) in modules {
        for path in names {
            let to = target(modules, path);
            if height(rooms, to) > height(rooms, module) {
                found.push(format!("{} names {}, which stands above it", module.join("::"), path.join("::")));
            }
        }
    }
    found
}

#[test]
fn no_arrow_runs_upstairs() {
    let folder = root().join("kernel/src");
    let rooms = rooms_of_core(&fs::read_to_string(folder.join("core/mod.rs")).expect("core/mod.rs"));
    let modules = modules(&folder);
    let missing: Vec<_> =
        rooms.iter().filter(|room| !modules.contains_key(&vec!["core".into(), (*room).clone()])).collect();
    assert!(missing.is_empty(), "core/mod.rs lists rooms that are not there: {missing:?}");
    let found = upstairs(&rooms, &modules);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn an_arrow_upstairs_is_found() {
    let rooms = ["low".to_owned(), "high".to_owned()];
    let others = || [example("", ""), example("core::high", "fn f() {}"), example("calls", ""), example("core", "")];
    for source in [
        "use crate::core::high;",
        "use super::{super::calls::make};",
        "fn f() { crate::core::high::f() }",
        "fn f() { asm!(\"call {f}\", f = sym super::high::f) }",
        "use super::high::*;",
    ] {
        let modules = Modules::from_iter(others().into_iter().chain([example("core::low", source)]));
        assert_eq!(upstairs(&rooms, &modules).len(), 1, "{source}");
    }
    let modules =
        Modules::from_iter(others().into_iter().chain([example("core::low", "use self::f; use core::high;")]));
    assert!(upstairs(&rooms, &modules).is_empty());
}

/// The room that a path leads into: what stands behind the name, if the crate's root only passes it on.
fn room<'a>(modules: &'a Modules, path: &'a [String]) -> Option<&'a String> {
    match target(modules, path).first() {
        Some(room) => Some(room),
        None => modules[&Vec::new()].iter().find(|known| known.last() == path.first())?.first(),
    }
}

/// A way from a room back to it, if there is one.
fn circle(modules: &Modules) -> Option<Vec<&String>> {
    let mut arrows: BTreeMap<&String, BTreeSet<&String>> = BTreeMap::new();
    for (module, names) in modules.iter().filter_map(|(module, names)| Some((module.first()?, names))) {
        let to = names.iter().filter_map(|path| room(modules, path)).filter(|to| *to != module);
        arrows.entry(module).or_default().extend(to);
    }
    // Rooms that name none but rooms of this kind are in no circle.
    while let Some(free) = arrows.iter().find_map(|(room, to)| to.is_empty().then_some(*room)) {
        arrows.remove(free);
        arrows.values_mut().for_each(|to| _ = to.remove(free));
    }
    let mut way = vec![*arrows.keys().next()?];
    loop {
        let next = *arrows.get(way.last()?)?.first()?;
        if let Some(begin) = way.iter().position(|room| *room == next) {
            return Some(way.split_off(begin));
        }
        way.push(next);
    }
}

#[test]
fn no_rooms_go_round_in_a_circle() {
    for name in ["containers", "cpulocal", "files", "giantlock", "hardware", "slabs", "trace"] {
        // What tests share may name all that they test.
        let mut modules = modules(&root().join(name).join("src"));
        modules.retain(|module, _| module.first().is_none_or(|room| room != "testing"));
        assert_eq!(circle(&modules), None, "{name}");
    }
}

/// The kernel's crates from the ground up.
const CRATES: [&str; 9] =
    ["abi", "cpulocal", "slabs", "trace", "giantlock", "files", "containers", "hardware", "kernel"];

#[test]
fn crates_stand_in_layers() {
    let manifest = |name: &str| {
        let text = fs::read_to_string(root().join(name).join("Cargo.toml")).expect("a manifest");
        text.parse::<toml::Table>().expect("a manifest that cargo reads")
    };
    for (at, name) in CRATES.iter().enumerate() {
        let manifest = manifest(name);
        let named =
            manifest.get("dependencies").and_then(|named| named.as_table()).into_iter().flat_map(|named| named.keys());
        let ours = named.filter(|named| CRATES.contains(&named.as_str()));
        let above: Vec<&String> = ours.filter(|named| !CRATES[..at].contains(&named.as_str())).collect();
        assert!(above.is_empty(), "{name} depends on {above:?}, above it");
    }
    for name in ["containers", "files"] {
        assert!(!manifest(name)["dependencies"].as_table().expect("dependencies").contains_key("hardware"), "{name}");
    }
}

#[test]
fn a_circle_is_found() {
    let ring = |last: &str| {
        Modules::from_iter([
            example("", "pub use self::b::Thing; mod a; mod b; mod c;"),
            example("a", "use crate::Thing;"),
            example("b", "use super::c::Other;"),
            example("c", last),
            example("d", "use crate::a;"),
        ])
    };
    assert_eq!(circle(&ring("fn f() { crate::a::f() }")).map(|way| way.len()), Some(3));
    assert_eq!(circle(&ring("")), None);
}

/// Where the kernel makes a proof that a CPU is in it, and how often. Entries make them; what is listed beside those says why
/// it has none at hand.
const PROOFS: [(&str, usize); 7] = [
    ("arch/physical.rs", 1), // frames, which only a CPU in the kernel reaches, ask for shootdowns
    ("arch/smp.rs", 2),      // the boot, and a further CPU that comes up
    ("arch/stack.rs", 1),    // the boot, before it has been handed one
    ("boundary/mod.rs", 8),  // the entries
    ("boundary/stop.rs", 1), // the non-maskable interrupt
    ("start.rs", 1),         // the boot's own, which the boundary takes over
    ("strategies/waiting.rs", 1), // the way out of the kernel, which keeps no register for it
];

#[test]
fn proofs_are_made_at_entries() {
    let folder = root().join("kernel/src");
    let mut sources = Vec::new();
    files(&folder, &[".rs"], &mut sources);
    let mut found = BTreeMap::new();
    for path in sources {
        let text = fs::read_to_string(&path).expect("a source");
        let made = text.matches("InKernel::new()").count() + text.matches("AtLevel1::new()").count();
        let name = path.strip_prefix(&folder).expect("below it").display().to_string();
        if name.starts_with("tests/") {
            continue;
        }
        found.extend((made > 0).then_some((name, made)));
    }
    assert_eq!(found, PROOFS.map(|(file, made)| (file.to_owned(), made)).into());
}
