//! A compiler of a small language, in the place of papers/000's GCC: it makes much in memory and keeps it, and calls the
//! kernel seldom.
//!
//! A source has lines `NAME = EXPRESSION` with numbers, names, `+`, `-`, `*` and parentheses. It becomes a tree, then a
//! tree in which what is constant has been computed, then code for a machine with a stack. For example, `a = b + 2 * 3`
//! becomes `load b`, `push 6`, `+`, `store a`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};

/// An expression; names by their numbers.
#[derive(Clone)]
enum Tree {
    Number(i64),
    Name(usize),
    Both(u8, Box<Tree>, Box<Tree>),
}

/// What the compiler knows of a program.
#[derive(Default)]
struct Program {
    /// The names and their numbers.
    names: Vec<String>,
    numbers: HashMap<String, usize>,
    /// Each line as it was read and as it is compiled: the name and the expression.
    read: Vec<(usize, Tree)>,
    folded: Vec<(usize, Tree)>,
}

/// A line that is being read.
struct Line<'a> {
    rest: &'a [u8],
    program: &'a mut Program,
}

/// The lines of a file.
fn lines(path: &str) -> Result<impl Iterator<Item = Result<String, String>>, String> {
    let file = File::open(path).map_err(|error| format!("{path}: {error}"))?;
    Ok(BufReader::new(file).lines().map(|line| line.map_err(|error| error.to_string())))
}

/// Compiles a file into another.
pub(crate) fn compile(source: &str, code: &str) -> Result<(), String> {
    let mut program = Program::default();
    for (number, line) in lines(source)?.enumerate() {
        let line = line?;
        let read = Line { rest: line.as_bytes(), program: &mut program }.assignment();
        program.read.push(read.ok_or_else(|| format!("line {}: `{line}` is no assignment", number + 1))?);
    }
    program.folded = program.read.iter().map(|(name, tree)| (*name, tree.folded())).collect();
    let io = |error: std::io::Error| format!("{code}: {error}");
    let mut out = BufWriter::new(File::create(code).map_err(io)?);
    for (name, tree) in &program.folded {
        tree.emit(&program.names, &mut out).map_err(io)?;
        writeln!(out, "store {}", program.names[*name]).map_err(io)?;
    }
    out.flush().map_err(io)
}

impl Program {
    /// The number of a name.
    fn number(&mut self, name: &str) -> usize {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), self.names.len() - 1);
        self.names.len() - 1
    }
}

impl Line<'_> {
    /// The next byte that is no space.
    fn next(&mut self) -> Option<u8> {
        let at = self.rest.iter().position(|byte| *byte != b' ')?;
        self.rest = &self.rest[at..];
        Some(self.rest[0])
    }

    /// Takes that byte if it is one of these.
    fn take(&mut self, wanted: &[u8]) -> Option<u8> {
        let found = self.next().filter(|byte| wanted.contains(byte))?;
        self.rest = &self.rest[1..];
        Some(found)
    }

    /// Takes the next word: a name or a number.
    fn word(&mut self) -> Option<String> {
        self.next()?;
        let length = self.rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let (word, rest) = self.rest.split_at(length);
        self.rest = rest;
        (length > 0).then(|| String::from_utf8_lossy(word).into_owned())
    }

    fn assignment(mut self) -> Option<(usize, Tree)> {
        let name = self.word()?;
        self.take(b"=")?;
        let tree = self.sum()?;
        self.next().is_none().then(|| (self.program.number(&name), tree))
    }

    fn sum(&mut self) -> Option<Tree> {
        let mut tree = self.product()?;
        while let Some(operator) = self.take(b"+-") {
            tree = Tree::Both(operator, Box::new(tree), Box::new(self.product()?));
        }
        Some(tree)
    }

    fn product(&mut self) -> Option<Tree> {
        let mut tree = self.operand()?;
        while let Some(operator) = self.take(b"*") {
            tree = Tree::Both(operator, Box::new(tree), Box::new(self.operand()?));
        }
        Some(tree)
    }

    fn operand(&mut self) -> Option<Tree> {
        if self.take(b"(").is_some() {
            let tree = self.sum()?;
            return self.take(b")").map(|_| tree);
        }
        let word = self.word()?;
        Some(word.parse().map_or_else(|_| Tree::Name(self.program.number(&word)), Tree::Number))
    }
}

impl Tree {
    /// This tree with each operation on two numbers replaced by its result.
    fn folded(&self) -> Tree {
        let Tree::Both(operator, left, right) = self else { return self.clone() };
        match (left.folded(), right.folded()) {
            (Tree::Number(left), Tree::Number(right)) => Tree::Number(computed(*operator, left, right)),
            (left, right) => Tree::Both(*operator, Box::new(left), Box::new(right)),
        }
    }

    fn emit(&self, names: &[String], to: &mut impl Write) -> std::io::Result<()> {
        match self {
            Tree::Number(number) => writeln!(to, "push {number}"),
            Tree::Name(name) => writeln!(to, "load {}", names[*name]),
            Tree::Both(operator, left, right) => {
                left.emit(names, to)?;
                right.emit(names, to)?;
                writeln!(to, "{}", char::from(*operator))
            }
        }
    }
}

/// What an operator makes of two numbers.
pub(crate) fn computed(operator: u8, left: i64, right: i64) -> i64 {
    match operator {
        b'+' => left.wrapping_add(right),
        b'-' => left.wrapping_sub(right),
        _ => left.wrapping_mul(right),
    }
}

/// Executes code: the value that is stored last.
pub(crate) fn run(code: &str) -> Result<i64, String> {
    let (mut stack, mut values, mut last) = (Vec::new(), HashMap::new(), 0);
    for line in lines(code)? {
        let line = line?;
        let wrong = || format!("`{line}` cannot be executed");
        match line.split_once(' ') {
            Some(("push", number)) => stack.push(number.parse().map_err(|_| wrong())?),
            Some(("load", name)) => stack.push(*values.get(name).ok_or_else(wrong)?),
            Some(("store", name)) => {
                last = stack.pop().ok_or_else(wrong)?;
                values.insert(name.to_owned(), last);
            }
            _ => {
                let (right, left) = stack.pop().zip(stack.pop()).ok_or_else(wrong)?;
                stack.push(computed(line.bytes().next().unwrap_or_default(), left, right));
            }
        }
    }
    Ok(last)
}
