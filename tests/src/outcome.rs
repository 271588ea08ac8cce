//! What came out of a run.

use std::{collections::BTreeMap, fmt, fs, path::Path, process::Output};

use serde_json::Value;

/// What came out of a run. All assertions here show the whole of it when they fail.
pub struct Outcome {
    /// The exit status; of xtask killed by a signal, -1.
    pub status: i32,
    /// Standard output, byte for byte.
    pub stdout: Vec<u8>,
    /// The kernel's log.
    pub log: String,
    /// xtask's own words.
    pub stderr: String,
    /// The kernel's statistics; empty if the run ended without.
    pub stats: BTreeMap<String, i64>,
}

impl Outcome {
    pub(crate) fn new(output: Output, log: &Path, stats: &Path) -> Self {
        let text = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        Self {
            status: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            log: text(log),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            stats: parse(&text(stats)),
        }
    }

    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// A statistic.
    #[track_caller]
    pub fn stat(&self, name: &str) -> i64 {
        *self.stats.get(name).unwrap_or_else(|| panic!("no statistic {name}\n{self}"))
    }

    /// Asserts the status.
    #[track_caller]
    pub fn expect(self, status: i32) -> Self {
        assert!(self.status == status, "status {} expected\n{self}", status);
        self
    }

    /// Asserts the whole of standard output.
    #[track_caller]
    pub fn expect_output(self, expected: impl AsRef<[u8]>) -> Self {
        let expected = expected.as_ref();
        let text = String::from_utf8_lossy(expected);
        assert!(self.stdout == expected, "this output was expected:\n{text}\n{self}");
        self
    }

    /// Asserts that standard output contains a text.
    #[track_caller]
    pub fn expect_in_output(self, part: &str) -> Self {
        assert!(self.text().contains(part), "expected in the output: {part}\n{self}");
        self
    }

    /// Asserts how many lines of the log contain all of these words.
    #[track_caller]
    pub fn expect_log_lines(self, count: usize, words: &[&str]) -> Self {
        let lines = self.log.lines().filter(|line| words.iter().all(|word| line.contains(word)));
        let found = lines.count();
        assert!(found == count, "{count} log lines with {words:?} expected, not {found}\n{self}");
        self
    }

    /// The CPUs of which xtask told where they were when it stopped the machine.
    pub fn cpus_told(&self) -> Vec<u32> {
        cpus_told(&self.stderr)
    }

    /// Asserts that nothing of the kernel's own was noteworthy: no warning, no error, no panic. That CPUs waited long for
    /// each other is not: the host may have taken the CPU away from the one that they waited for.
    #[track_caller]
    pub fn expect_calm_log(self) -> Self {
        let waited = |line: &str| line.contains(" for the giant lock; ") || line.contains(" do not answer CPU ");
        let calm = |line: &str| waited(line) || !line.contains("] WARN ") && !line.contains("] ERROR ");
        assert!(
            self.log.lines().all(calm) && !self.stderr.contains("panic"),
            "a log without warnings expected\n{self}"
        );
        self
    }

    /// Asserts that everything programs held has been given back: every frame is free again but those
    /// by which the kernel's heap has grown, and nothing is left but the first process's own entry,
    /// which lasts as long as the run.
    #[track_caller]
    pub fn expect_all_back(self) -> Self {
        let grown = self.stat("heap_pages") + self.stat("heap_idle_pages") - self.stat("heap_pages_at_start");
        let (before, after) = (self.stat("frames_free_at_start"), self.stat("frames_free"));
        let lost = before - after - grown;
        assert!(lost == 0, "frames free: {before} before, {after} after; heap grown by {grown}; {lost} lost\n{self}");
        for name in ["containers_live", "container_directories_live", "directory_copies_live"] {
            assert!(self.stat(name) == 0, "{name}: {}\n{self}", self.stat(name));
        }
        for name in ["processes_live", "threads_live"] {
            assert!(self.stat(name) == 1, "{name}: {}\n{self}", self.stat(name));
        }
        self
    }
}

/// A flat JSON object of integers; anything else is none.
fn parse(json: &str) -> BTreeMap<String, i64> {
    let Ok(Value::Object(fields)) = serde_json::from_str(json) else {
        return BTreeMap::new();
    };
    // An address of the kernel's half is more than an i64 holds: the same 64 bits.
    let integer = |value: Value| value.as_i64().or_else(|| value.as_u64().map(|bits| bits as i64));
    fields.into_iter().filter_map(|(name, value)| Some((name, integer(value)?))).collect()
}

/// The numbers in `CPU 0 was …` and `CPUs 1, 3-5 were …`, ascending.
fn cpus_told(words: &str) -> Vec<u32> {
    let mut told = Vec::new();
    for line in words.lines().filter_map(|line| line.strip_prefix("xtask: CPU")) {
        let numbers = line.trim_start_matches('s').split(" w").next().unwrap_or_default();
        for range in numbers.split(", ") {
            let ends: Vec<u32> = range.split('-').filter_map(|end| end.trim().parse().ok()).collect();
            if let (Some(&first), Some(&last)) = (ends.first(), ends.last()) {
                told.extend(first..=last);
            }
        }
    }
    told.sort_unstable();
    told
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8000;
        let mut part = |name: &str, text: &str| {
            let skipped = text.len().saturating_sub(SHOWN);
            let start = (skipped..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            writeln!(f, "--- {name} ({} bytes)\n{}", text.len(), &text[start..])
        };
        part("status", &self.status.to_string())?;
        part("standard output", &self.text())?;
        part("kernel log", &self.log)?;
        part("xtask", &self.stderr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_integers_by_name() {
        assert_eq!(parse("{\"address\":18446744072635809792}")["address"] as u64, 0xffff_ffff_c000_0000);
        let stats = parse("{\"frames_free\":12,\"boot\":0}\n");
        assert_eq!(stats, BTreeMap::from([("frames_free".into(), 12), ("boot".into(), 0)]));
        assert!(parse("").is_empty() && parse("[1]").is_empty());
    }

    #[test]
    fn cpus_are_read_from_their_places() {
        let words = "xtask: CPUs 0, 2-4 were halted in the kernel:\n   0: CPU 9 was\nxtask: CPU 1 was in user mode\n";
        assert_eq!(cpus_told(words), [0, 1, 2, 3, 4]);
        assert!(cpus_told("xtask: no end within 4 s").is_empty());
    }
}
