//! Random operations in directories against a model: names, contents, and the owner of each content.
//!
//! The model knows a directory or a file for each path, and nothing of inodes. It decides whether an
//! operation succeeds and what it does; the tree must agree, keep its counts, and give each content
//! back exactly once, when its last name and its last hold are gone.

use files::{Freed, InodeId, Kind, New, Result, Tree};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
enum Operation {
    Create(String),
    Mkdir(String),
    Link(String, String),
    Unlink(String),
    Rmdir(String),
    Rename(String, String, bool),
    Hold(String),
    Release(usize),
}

fn operation() -> impl Strategy<Value = Operation> {
    let path = || "/[ab](/[ab]){0,2}";
    prop_oneof![
        4 => path().prop_map(Operation::Create),
        4 => path().prop_map(Operation::Mkdir),
        2 => (path(), path()).prop_map(|(from, to)| Operation::Link(from, to)),
        2 => path().prop_map(Operation::Unlink),
        2 => path().prop_map(Operation::Rmdir),
        4 => (path(), path(), any::<bool>()).prop_map(|(from, to, keep)| Operation::Rename(from, to, keep)),
        2 => path().prop_map(Operation::Hold),
        2 => any::<usize>().prop_map(Operation::Release),
    ]
}

/// What a path stands for: a directory (`None`) or a file with this content.
type Model = BTreeMap<String, Option<u32>>;

fn above(path: &str) -> &str {
    path.rsplit_once('/').unwrap().0
}

fn is_directory(model: &Model, path: &str) -> bool {
    path.is_empty() || model.get(path) == Some(&None)
}

fn is_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.starts_with('/'))
}

fn is_empty(model: &Model, path: &str) -> bool {
    !model.keys().any(|name| is_below(name, path))
}

fn is_vacant(model: &Model, path: &str) -> bool {
    is_directory(model, above(path)) && !model.contains_key(path)
}

/// Whether a rename succeeds, by POSIX.
fn may_rename(model: &Model, from: &str, to: &str, keep: bool) -> bool {
    let (source, target) = (model.get(from), model.get(to));
    let fits = match (source, target) {
        (None, _) => false,
        (Some(_), None) => is_directory(model, above(to)),
        (Some(None), Some(None)) => from == to || is_empty(model, to),
        (Some(a), Some(b)) => a.is_some() == b.is_some(),
    };
    fits && !(keep && target.is_some()) && !is_below(to, from)
}

struct Pair {
    model: Model,
    tree: Tree<u32>,
    next_content: u32,
    /// Holds in the order they were taken, with the content of what is held.
    held: Vec<(InodeId, Option<u32>)>,
    /// Contents that have come back.
    freed: BTreeSet<u32>,
}

impl Pair {
    fn find(&self, path: &str) -> Result<InodeId> {
        let mut names = path.split('/').skip(1);
        names.try_fold(self.tree.root(), |at, name| self.tree.lookup(at, name.as_bytes()))
    }

    /// The directory and name of a path, if the directory is there.
    fn split<'a>(&self, path: &'a str) -> Result<(InodeId, &'a [u8])> {
        Ok((self.find(above(path))?, path.rsplit_once('/').unwrap().1.as_bytes()))
    }

    fn take_back(&mut self, Freed(content): Freed<u32>) {
        if let Some(content) = content {
            assert!(self.freed.insert(content), "content {content} came back twice");
        }
    }

    fn run(&mut self, operation: &Operation) -> bool {
        self.try_run(operation).is_ok()
    }

    fn try_run(&mut self, operation: &Operation) -> Result<()> {
        match operation {
            Operation::Create(path) => {
                let ((directory, name), content) = (self.split(path)?, self.next_content);
                self.tree.add(directory, name, New::Regular(content), 0o644, 0)?;
            }
            Operation::Mkdir(path) => {
                let (directory, name) = self.split(path)?;
                self.tree.add(directory, name, New::Directory, 0o755, 0)?;
            }
            Operation::Link(from, to) => {
                let ((directory, name), id) = (self.split(to)?, self.find(from)?);
                self.tree.link(directory, name, id, 0)?;
            }
            Operation::Unlink(path) => {
                let (directory, name) = self.split(path)?;
                let freed = self.tree.unlink(directory, name, 0)?;
                self.take_back(freed);
            }
            Operation::Rmdir(path) => {
                let (directory, name) = self.split(path)?;
                self.tree.rmdir(directory, name, 0)?;
            }
            Operation::Rename(from, to, keep) => {
                let (from, to) = (self.split(from)?, self.split(to)?);
                let freed = self.tree.rename(from, to, *keep, 0)?;
                self.take_back(freed);
            }
            Operation::Hold(path) => {
                let id = self.find(path)?;
                self.tree.hold(id)?;
                self.held.push((id, self.model.get(path).copied().flatten()));
            }
            Operation::Release(number) => {
                if let Some(at) = number.checked_rem(self.held.len()) {
                    let (id, _) = self.held.swap_remove(at);
                    let freed = self.tree.release(id);
                    self.take_back(freed);
                }
            }
        }
        Ok(())
    }

    /// Performs the operation in the model, and returns whether it was possible.
    fn run_model(&mut self, operation: &Operation) -> bool {
        let model = &mut self.model;
        match operation {
            Operation::Create(path) if is_vacant(model, path) => {
                model.insert(path.clone(), Some(self.next_content));
                self.next_content += 1;
            }
            Operation::Mkdir(path) if is_vacant(model, path) => {
                model.insert(path.clone(), None);
            }
            Operation::Link(from, to) if is_vacant(model, to) => match model.get(from) {
                Some(&Some(content)) => drop(model.insert(to.clone(), Some(content))),
                _ => return false,
            },
            Operation::Unlink(path) if matches!(model.get(path), Some(Some(_))) => drop(model.remove(path)),
            Operation::Rmdir(path) if model.get(path) == Some(&None) && is_empty(model, path) => {
                model.remove(path);
            }
            Operation::Rename(from, to, keep) if may_rename(model, from, to, *keep) => {
                let same_file = model[from].is_some() && model.get(from) == model.get(to);
                if from != to && !same_file {
                    model.remove(to);
                    let moves = |path: &String| path == from || is_below(path, from);
                    let moved: Vec<String> = model.keys().filter(|path| moves(path)).cloned().collect();
                    for path in moved {
                        let what = model.remove(&path).unwrap();
                        model.insert(format!("{to}{}", &path[from.len()..]), what);
                    }
                }
            }
            Operation::Hold(path) => return model.contains_key(path),
            Operation::Release(_) => {}
            _ => return false,
        }
        true
    }

    /// Every name, count and content is as the model says.
    fn check(&self) {
        let owned: BTreeSet<u32> =
            self.model.values().chain(self.held.iter().map(|(_, c)| c)).flatten().copied().collect();
        let expected: BTreeSet<u32> = (0..self.next_content).filter(|content| !owned.contains(content)).collect();
        assert_eq!(self.freed, expected, "contents without owner");
        for (path, what) in &self.model {
            let id = self.find(path).unwrap();
            let inode = self.tree.get(id).unwrap();
            let names = self.model.values().filter(|other| *other == what).count();
            let below = |name: &&String| above(name) == path;
            match &inode.kind {
                Kind::Regular { content, .. } => assert_eq!((Some(*content), inode.links), (*what, names as u32)),
                Kind::Directory(_) => {
                    let children: Vec<&String> = self.model.keys().filter(below).collect();
                    let directories = children.iter().filter(|name| is_directory(&self.model, name)).count();
                    assert_eq!((what, inode.links), (&None, 2 + directories as u32));
                    assert_eq!(self.tree.list(id, 0).unwrap().count(), 2 + children.len());
                    assert_eq!(self.tree.path_of(self.tree.root(), id).unwrap(), path.as_bytes());
                }
                _ => panic!("{path} is of a kind nobody made"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 500 }, ..ProptestConfig::default() })]

    #[test]
    fn the_tree_agrees_with_the_model(operations in prop::collection::vec(operation(), 1..80)) {
        let mut pair = Pair {
            model: Model::new(),
            tree: Tree::new(0),
            next_content: 0,
            held: Vec::new(),
            freed: BTreeSet::new(),
        };
        for operation in &operations {
            let done = pair.run(operation);
            prop_assert_eq!(done, pair.run_model(operation), "{:?}", operation);
            pair.check();
        }
        // In the end nothing is left but the root.
        while let Some(path) = pair.model.keys().next_back().cloned() {
            let operation = match pair.model[&path] {
                Some(_) => Operation::Unlink(path),
                None => Operation::Rmdir(path),
            };
            prop_assert!(pair.run(&operation) && pair.run_model(&operation));
        }
        while !pair.held.is_empty() {
            pair.run(&Operation::Release(0));
        }
        prop_assert_eq!((pair.tree.len(), pair.freed.len()), (1, pair.next_content as usize));
    }
}
