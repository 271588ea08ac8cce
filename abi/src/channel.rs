//! The protocol between the kernel and xtask: the log channel, the console's framing, the end of the machine. For
//! example, a run that ends with status 3 sends the line `exit 3`, after [`RECORD`], to port 0xE9.
//!
//! Program output goes to the console (COM1) and nothing else does, once the preamble is out. Kernel
//! log and control records go to the log channel, port 0xE9, as lines. Both are byte streams.

/// I/O port of the console.
pub const CONSOLE_PORT: u16 = 0x3f8;

/// I/O port of the log channel.
pub const LOG_PORT: u16 = 0xe9;

/// First byte of a control record on the log channel; lines that begin otherwise are log text.
pub const RECORD: u8 = 0x1e;

/// Record `exit N`: the run's status, 0 to 255, sent just before the machine is ended.
pub const EXIT: &str = "exit";

/// Record `panic MESSAGE`: the kernel panicked; the run's status is [`PANIC_STATUS`].
pub const PANIC: &str = "panic";

/// Record `backtrace ADDRESS`: one frame, hexadecimal without `0x`, innermost first, after `panic`.
pub const BACKTRACE: &str = "backtrace";

/// Record `report MESSAGE`: the place where a CPU is, on request; the `backtrace` records that follow are its. After
/// `panic` there is one for each other CPU.
pub const REPORT: &str = "report";

/// Record `stats {…}`: the kernel's statistics as one flat JSON object of integers.
pub const STATS: &str = "stats";

/// Status of a run whose kernel panicked.
pub const PANIC_STATUS: u8 = 70;

/// Status of a run whose machine ended without an `exit` or `panic` record.
pub const UNKNOWN_STATUS: u8 = 71;

/// Status of a run that was ended by its time-out, as of the command `timeout`.
pub const TIMEOUT_STATUS: u8 = 124;

/// Added to the number of the signal that killed a program, as shells do.
pub const SIGNAL_STATUS: u8 = 128;

/// I/O port of QEMU's `isa-debug-exit` device, four bytes wide.
pub const QEMU_EXIT_PORT: u16 = 0xf4;

/// What the kernel writes to [`QEMU_EXIT_PORT`].
pub const QEMU_EXIT_CODE: u32 = 0x10;

/// The status QEMU then ends with: none of its own, nor a triple fault's.
pub const QEMU_EXIT_STATUS: i32 = ((QEMU_EXIT_CODE << 1) | 1) as i32;

/// I/O port that ends Bochs when [`BOCHS_EXIT_WORD`] is written to it byte by byte.
pub const BOCHS_EXIT_PORT: u16 = 0x8900;

/// See [`BOCHS_EXIT_PORT`].
pub const BOCHS_EXIT_WORD: &[u8] = b"Shutdown";

/// Kernel command line: how the console is framed, `console=pipe` or `console=tty`. Without it there
/// is no framing: a plain terminal.
pub const CONSOLE_WORD: &str = "console=";

/// Value of [`CONSOLE_WORD`]: standard streams are no terminal, bytes pass as they are.
pub const CONSOLE_PIPE: &str = "pipe";

/// Value of [`CONSOLE_WORD`]: standard streams are a terminal with line editing and echo.
pub const CONSOLE_TTY: &str = "tty";

/// Kernel command line word: send the [`STATS`] record at the end.
pub const STATS_WORD: &str = "stats=1";

/// Record `trace ADDRESS BYTES`: where the trace region is in physical memory, hexadecimal without `0x`.
pub const TRACE: &str = "trace";

/// Kernel command line: record events, `trace=CPUSxRECORDS`, with this number of rings of this number of records each.
pub const TRACE_WORD: &str = "trace=";

/// Kernel command line: the only CPU that records.
pub const TRACE_CPU_WORD: &str = "trace_cpu=";

/// Kernel command line word: recording begins when a program asks for it.
pub const TRACE_REGION_WORD: &str = "trace_region=1";

/// Kernel command line: height of the terminal.
pub const ROWS_WORD: &str = "rows=";

/// Kernel command line: width of the terminal.
pub const COLUMNS_WORD: &str = "cols=";

/// Kernel command line: the strategy by which CPUs share the kernel, as [`strategies`](crate::strategies) name it.
pub const STRATEGY_WORD: &str = "strategy=";

/// Kernel command line of a kernel for several CPUs: milliseconds that a CPU may wait for the giant lock, or
/// for another CPU's answer, before that is reported.
pub const PATIENCE_WORD: &str = "patience=";

/// Kernel command line: the greatest size of all files of the file system together: bytes, with `k`, `m` or `g` behind
/// them, or a part of memory with `%`. The default is a half of it.
pub const SIZE_WORD: &str = "size=";

/// Kernel command line: the seed of all random numbers, so that a run can be repeated.
pub const SEED_WORD: &str = "seed=";

/// Kernel command line: whether the parts of Linux programs go to random places, `aslr=on` (the default) or `aslr=off`.
pub const ASLR_WORD: &str = "aslr=";

/// Value of [`ASLR_WORD`]: they go to random places.
pub const ASLR_ON: &str = "on";

/// Value of [`ASLR_WORD`]: every program finds its parts in the same places.
pub const ASLR_OFF: &str = "off";

/// Kernel command line: processes may load extensions of the kernel.
pub const EXTENSIONS_WORD: &str = "extensions";

/// The boot loads an extension: its path, and behind colons its parameters.
pub const LOAD_WORD: &str = "load=";

/// Kernel command line of a kernel for several CPUs: how firmly a thread is bound to the CPU that it ran on.
pub const AFFINITY_WORD: &str = "affinity=";

/// Value of [`AFFINITY_WORD`], and the default: a thread moves to a CPU that has time for it.
pub const AFFINITY_SOFT: &str = "soft";

/// Value of [`AFFINITY_WORD`]: a thread stays on the CPU that it started on, as in papers/001.
pub const AFFINITY_STRICT: &str = "strict";

/// The kernel's first bytes on a framed console. The host drops everything up to and including them,
/// since firmware may have written there before.
pub const PREAMBLE: &[u8] = b"\x01JOTUN-CONSOLE\x02";

/// On a framed console's input: begins an escape, ended by one of the three bytes below.
pub const ESCAPE: u8 = 0x10;

/// After [`ESCAPE`]: end of file, for good.
pub const ESCAPE_END: u8 = b'E';

/// After [`ESCAPE`]: a literal [`ESCAPE`].
pub const ESCAPE_LITERAL: u8 = ESCAPE;

/// After [`ESCAPE`]: the terminal's size follows, `rows;columns\n`.
pub const ESCAPE_SIZE: u8 = b'S';

/// Boot module with the image's file system, a cpio archive ("newc").
pub const BASE_MODULE: &str = "base";

/// Boot module with what a run adds, laid over [`BASE_MODULE`]. Optional.
pub const RUN_MODULE: &str = "run";

/// Boot module with the first input of the console, as it would come from the serial line. Optional.
pub const INPUT_MODULE: &str = "input";

/// What to run: NUL-terminated strings, the program's path in the image, then `argv[0]`, `argv[1]`, …
pub const ARGV_FILE: &str = "/etc/jotun/argv";

/// Its environment: NUL-terminated `NAME=value` strings. Optional.
pub const ENV_FILE: &str = "/etc/jotun/env";

/// What runs without [`ARGV_FILE`].
pub const DEFAULT_PROGRAM: &str = "/bin/tour";

/// Directory of the image's Linux programs.
pub const PROGRAM_DIRECTORY: &str = "/bin";

/// Directory of the native code packages, all of which are resident from boot on.
pub const PACKAGE_DIRECTORY: &str = "/pkg";

/// Directory of programs taken from the host for one run.
pub const HOST_DIRECTORY: &str = "/host";
