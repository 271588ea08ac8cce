//! The subcommands, a file each. A doc comment here is what `--help` shows.

pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod compare;
pub(crate) mod debug;
pub(crate) mod doctor;
pub(crate) mod image;
pub(crate) mod profile;
pub(crate) mod run;
pub(crate) mod test;

use abi::channel::{
    AFFINITY_STRICT, AFFINITY_WORD, COLUMNS_WORD, CONSOLE_PIPE, CONSOLE_TTY, CONSOLE_WORD, EXTENSIONS_WORD, LOAD_WORD,
    ROWS_WORD, SEED_WORD, STATS_WORD, STRATEGY_WORD,
};

use crate::options::{Affinity, Build, Kind, Payload};

/// How the kernel's console is used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Console {
    /// As a terminal on its own: no framing.
    Plain,
    /// As a pipe.
    Pipe,
    /// As the user's terminal, of this many rows and columns if that is known.
    Terminal(Option<(u16, u16)>),
}

/// The kernel's command line. On a machine that counts instructions random numbers are the same in every run.
pub(crate) fn kernel_words(
    build: &Build,
    machine: Kind,
    console: Console,
    stats: bool,
    payload: &Payload,
) -> Vec<String> {
    let mut words = Vec::new();
    let strategy = build.variant().strategy;
    match strategy.load {
        None => words.extend(strategy.several.then(|| format!("{STRATEGY_WORD}{}", strategy.name))),
        Some(extension) => words.extend([EXTENSIONS_WORD.to_owned(), format!("{LOAD_WORD}{extension}")]),
    }
    words.extend((build.affinity == Affinity::Strict).then(|| format!("{AFFINITY_WORD}{AFFINITY_STRICT}")));
    match console {
        Console::Plain => {}
        Console::Pipe => words.push(format!("{CONSOLE_WORD}{CONSOLE_PIPE}")),
        Console::Terminal(size) => {
            words.push(format!("{CONSOLE_WORD}{CONSOLE_TTY}"));
            if let Some((rows, columns)) = size {
                words.extend([format!("{ROWS_WORD}{rows}"), format!("{COLUMNS_WORD}{columns}")]);
            }
        }
    }
    words.extend(stats.then(|| STATS_WORD.to_owned()));
    words.extend(machine.counts_instructions().then(|| format!("{SEED_WORD}1")));
    words.extend(payload.append.iter().flat_map(|words| words.split_whitespace()).map(str::to_owned));
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Lock;
    use abi::strategies::STRATEGIES;

    fn payload(append: &str) -> Payload {
        Payload { rootfs: None, environment: Vec::new(), base: None, append: Some(append.into()), program: Vec::new() }
    }

    #[test]
    fn appended_words_come_last() {
        let build = |up, affinity| Build {
            up,
            smp: Some(2),
            strategy: &STRATEGIES[1],
            lock: Lock::Mcs,
            affinity,
            no_build: true,
        };
        let (up, smp) = (&build(true, Affinity::Soft), &build(false, Affinity::Soft));
        let words = kernel_words(smp, Kind::Qemu, Console::Terminal(Some((24, 80))), true, &payload(" a=1  b\n"));
        assert_eq!(words, ["strategy=giant", "console=tty", "rows=24", "cols=80", "stats=1", "a=1", "b"]);
        assert_eq!(kernel_words(up, Kind::Bochs, Console::Pipe, false, &payload("")), ["console=pipe", "seed=1"]);
        let words = kernel_words(&build(false, Affinity::Strict), Kind::Qemu, Console::Pipe, false, &payload("b"));
        assert_eq!(words, ["strategy=giant", "affinity=strict", "console=pipe", "b"]);
        assert!(kernel_words(up, Kind::Qemu, Console::Plain, false, &payload("")).is_empty());
    }
}
