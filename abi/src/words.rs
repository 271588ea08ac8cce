//! The words of the kernel's command line, for its parser and its documents: for example, `size=64m`.

use crate::channel::{
    AFFINITY_WORD, ASLR_WORD, COLUMNS_WORD, CONSOLE_WORD, EXTENSIONS_WORD, LOAD_WORD, PATIENCE_WORD, ROWS_WORD,
    SEED_WORD, SIZE_WORD, STATS_WORD, STRATEGY_WORD, TRACE_CPU_WORD, TRACE_REGION_WORD, TRACE_WORD,
};

/// A word of the command line.
pub struct Word {
    /// How it begins; all of it if it has no value.
    pub begin: &'static str,
    /// The value that follows.
    pub value: &'static str,
    /// Its meaning, and what holds without it.
    pub about: &'static str,
}

const fn word(begin: &'static str, value: &'static str, about: &'static str) -> Word {
    Word { begin, value, about }
}

/// All words.
pub const WORDS: [Word; 15] = [
    word(
        SIZE_WORD,
        "a number with k, m or g behind it, or a percentage with %",
        "the greatest size of all files; half of the memory",
    ),
    word(SEED_WORD, "a number below 2^64", "the seed of all random numbers, so that a run can be repeated"),
    word(ASLR_WORD, "on or off", "whether the parts of programs have random addresses; on"),
    word(EXTENSIONS_WORD, "nothing", "processes may load extensions of the kernel; they may not"),
    word(LOAD_WORD, "a path, and parameters behind colons", "the boot loads this extension; none"),
    word(PATIENCE_WORD, "a number of milliseconds", "how long a CPU waits for another before that is reported; 10000"),
    word(AFFINITY_WORD, "soft or strict", "whether threads leave the CPU that they started on; soft"),
    word(STRATEGY_WORD, "a strategy's name", "the strategy that is expected; with another one the kernel stops"),
    word(CONSOLE_WORD, "pipe or tty", "the console is framed for the host, and a terminal or not"),
    word(ROWS_WORD, "a number below 65536", "height of the terminal; 24"),
    word(COLUMNS_WORD, "a number below 65536", "width of the terminal; 80"),
    word(STATS_WORD, "nothing", "statistics are sent to the host at the end"),
    word(
        TRACE_WORD,
        "a number of CPUs, x, a number of records",
        "a kernel that records keeps this number of records for each CPU",
    ),
    word(TRACE_CPU_WORD, "a number", "only this CPU records"),
    word(TRACE_REGION_WORD, "nothing", "recording begins when a program asks for it"),
];
