//! The log channel: lines of kernel log, and control records among them.

use abi::channel;

/// What the kernel tells xtask.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// The run's status; the machine ends next.
    Exit(u8),
    /// The kernel panicked.
    Panic(String),
    /// Where a CPU is that was asked.
    Report(String),
    /// A frame of the backtrace of the latest panic or report.
    Backtrace(u64),
    /// Statistics, a JSON object.
    Stats(String),
    /// Where the trace region is: physical address and bytes.
    Trace { address: u64, bytes: u64 },
    /// Begins like a record and is none that is known: kernel and xtask are of different versions.
    Unknown(String),
}

/// A line of the log channel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// A line of kernel log.
    Log(&'a [u8]),
    /// A control record.
    Record(Record),
}

/// Reads one line, without its newline.
pub(crate) fn parse(line: &[u8]) -> Line<'_> {
    let Some((&channel::RECORD, record)) = line.split_first() else {
        return Line::Log(line);
    };
    let text = String::from_utf8_lossy(record).into_owned();
    let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
    let known = match word {
        channel::EXIT => rest.parse().ok().map(Record::Exit),
        channel::PANIC => Some(Record::Panic(rest.to_owned())),
        channel::REPORT => Some(Record::Report(rest.to_owned())),
        channel::BACKTRACE => u64::from_str_radix(rest, 16).ok().map(Record::Backtrace),
        channel::TRACE => rest.split_once(' ').and_then(|(address, bytes)| {
            let number = |text| u64::from_str_radix(text, 16).ok();
            Some(Record::Trace { address: number(address)?, bytes: number(bytes)? })
        }),
        channel::STATS => rest.starts_with('{').then(|| Record::Stats(rest.to_owned())),
        _ => None,
    };
    Line::Record(known.unwrap_or(Record::Unknown(text)))
}

/// What a line of the log says, if it is an error: `[0.123456] ERROR place: words`.
pub(crate) fn error(line: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(line);
    let (_, entry) = text.strip_prefix('[')?.split_once("] ")?;
    let (_, words) = entry.strip_prefix("ERROR ")?.split_once(": ")?;
    Some(words.to_owned())
}

/// What the records of a run amount to.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// The status the kernel gave.
    pub(crate) exit: Option<u8>,
    /// The panic's message.
    pub(crate) panic: Option<String>,
    /// The panic's backtrace, innermost frame first.
    pub(crate) backtrace: Vec<u64>,
    /// Where CPUs were that were asked, with the backtrace of each.
    pub(crate) reports: Vec<(String, Vec<u64>)>,
    /// Whether frames that come are the latest report's.
    reporting: bool,
    /// The statistics.
    pub(crate) stats: Option<String>,
}

impl Verdict {
    /// Takes one record into account.
    pub(crate) fn apply(&mut self, record: Record) {
        match record {
            Record::Exit(status) => self.exit = Some(status),
            // The first panic is the story; what follows from it is not.
            Record::Panic(message) => {
                self.panic.get_or_insert(message);
                self.reporting = false;
            }
            Record::Report(message) => {
                self.reports.push((message, Vec::new()));
                self.reporting = true;
            }
            Record::Backtrace(address) => match self.reports.last_mut().filter(|_| self.reporting) {
                Some((_, backtrace)) => backtrace.push(address),
                None => self.backtrace.push(address),
            },
            Record::Stats(json) => self.stats = Some(json),
            // The session keeps it for the code that takes the region out.
            Record::Trace { .. } => {}
            Record::Unknown(_) => {}
        }
    }

    /// The run's status as far as the kernel told it. A panic counts for more than a status.
    pub(crate) fn status(&self) -> Option<u8> {
        self.panic.as_ref().map(|_| channel::PANIC_STATUS).or(self.exit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(lines: &[&[u8]]) -> Verdict {
        let mut verdict = Verdict::default();
        for line in lines {
            if let Line::Record(record) = parse(line) {
                verdict.apply(record);
            }
        }
        verdict
    }

    #[test]
    fn ordinary_lines_are_log() {
        for line in [&b"[0.1] INFO boot: hello"[..], b"", b"exit 3", b" \x1eexit 3"] {
            assert_eq!(parse(line), Line::Log(line));
        }
    }

    #[test]
    fn errors_are_picked_from_the_log() {
        let words = error(b"[0.1] ERROR start: /a cannot be run: it is text");
        assert_eq!(words.as_deref(), Some("/a cannot be run: it is text"));
        for line in [&b"[0.1] WARN start: a] ERROR b: c"[..], b"ERROR a: b", b"[0.1] ERROR a"] {
            assert_eq!(error(line), None, "{line:?}");
        }
    }

    #[test]
    fn records_are_recognised() {
        assert_eq!(parse(b"\x1eexit 255"), Line::Record(Record::Exit(255)));
        assert_eq!(parse(b"\x1epanic at x: y"), Line::Record(Record::Panic("at x: y".into())));
        assert_eq!(parse(b"\x1epanic"), Line::Record(Record::Panic(String::new())));
        let address = Record::Backtrace(0xffff_ffff_8020_0000);
        assert_eq!(parse(b"\x1ebacktrace ffffffff80200000"), Line::Record(address));
        let region = Record::Trace { address: 0xfe00_0000, bytes: 0x1000 };
        assert_eq!(parse(b"\x1etrace fe000000 1000"), Line::Record(region));
        assert_eq!(parse(b"\x1estats {\"a\":1}"), Line::Record(Record::Stats("{\"a\":1}".into())));
    }

    #[test]
    fn broken_records_are_told_apart() {
        for line in [&b"\x1eexit"[..], b"\x1eexit 256", b"\x1eexit -1", b"\x1ebacktrace 0x10", b"\x1estats", b"\x1e"] {
            assert!(matches!(parse(line), Line::Record(Record::Unknown(_))), "{line:?}");
        }
    }

    #[test]
    fn each_report_has_its_backtrace() {
        let before: &[&[u8]] = &[b"\x1ereport CPU 1: slow", b"\x1ebacktrace 1", b"\x1ebacktrace 2"];
        let after: &[&[u8]] = &[b"\x1epanic bug", b"\x1ebacktrace 3", b"\x1ereport CPU 0: idle", b"\x1ebacktrace 4"];
        let verdict = verdict(&[before, after].concat());
        assert_eq!(verdict.backtrace, [3]);
        assert_eq!(verdict.reports, [("CPU 1: slow".into(), vec![1, 2]), ("CPU 0: idle".into(), vec![4])]);
    }

    #[test]
    fn a_run_without_a_record_has_no_status() {
        assert_eq!(verdict(&[b"log", b"\x1estats {}"]).status(), None);
    }

    #[test]
    fn the_exit_record_gives_the_status() {
        assert_eq!(verdict(&[b"log", b"\x1eexit 3"]).status(), Some(3));
    }

    #[test]
    fn a_panic_outweighs_an_exit() {
        let verdict = verdict(&[b"\x1epanic first", b"\x1ebacktrace 1f", b"\x1epanic second", b"\x1eexit 0"]);
        assert_eq!(verdict.status(), Some(70));
        assert_eq!(verdict.panic.as_deref(), Some("first"));
        assert_eq!(verdict.backtrace, [0x1f]);
    }
}
