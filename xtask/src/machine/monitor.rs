//! QEMU's monitor: where each CPU is, when a machine does not end.
//!
//! Spoken over a socket that QEMU inherits, in its machine protocol (QMP). Whatever goes wrong here
//! only costs the report.

use std::{
    io::{BufRead, BufReader, Write},
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{backtrace, notes::note};

/// First address of the kernel's half.
const KERNEL_HALF: u64 = 0xffff_8000_0000_0000;

/// Frames that are followed at most.
const DEPTH: usize = 32;

/// Our end of the monitor.
pub(super) struct Monitor(UnixStream);

/// Where a CPU was.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cpu {
    registers: Registers,
    /// Addresses as `backtrace` wants them, if it was in the kernel.
    frames: Vec<u64>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Registers {
    pub(super) rip: u64,
    pub(super) rbp: u64,
    pub(super) halted: bool,
    pub(super) user: bool,
}

impl Cpu {
    /// A CPU with these registers; `two_words` reads the memory of the machine.
    pub(super) fn new(registers: Registers, mut two_words: impl FnMut(u64) -> Option<(u64, u64)>) -> Self {
        let Registers { rip, mut rbp, .. } = registers;
        if rip < KERNEL_HALF {
            return Self { registers, frames: Vec::new() };
        }
        // The frame pointers lead through the kernel's stack. Return addresses are told by the call
        // before them; the first is not one.
        let mut frames = vec![rip.wrapping_add(1)];
        while frames.len() < DEPTH && rbp >= KERNEL_HALF && rbp.is_multiple_of(8) {
            let Some((next, address)) = two_words(rbp) else { break };
            if address < KERNEL_HALF {
                break;
            }
            frames.push(address);
            if next <= rbp {
                break;
            }
            rbp = next;
        }
        Self { registers, frames }
    }
}

impl Monitor {
    /// Our end, and the one that QEMU inherits.
    pub(super) fn new() -> Result<(Self, UnixStream)> {
        let (ours, theirs) = UnixStream::pair().context("cannot make a pair of sockets")?;
        ours.set_read_timeout(Some(Duration::from_secs(1))).context("cannot set a time limit")?;
        Ok((Self(ours), theirs))
    }

    /// What QEMU is told of its end.
    pub(super) fn arguments(theirs: &UnixStream) -> [String; 4] {
        let device = format!("socket,id=monitor,fd={}", theirs.as_raw_fd());
        ["-chardev", &device, "-mon", "chardev=monitor,mode=control"].map(str::to_owned)
    }

    /// Stops the machine and looks where its CPUs are.
    pub(super) fn cpus(&self) -> Result<Vec<Cpu>> {
        let mut talk = Talk { to: &self.0, from: BufReader::new(&self.0) };
        talk.execute(&json!({ "execute": "qmp_capabilities" }))?;
        talk.execute(&json!({ "execute": "stop" }))?;
        let text = talk.human("info registers -a")?;
        let cpus = text.split("CPU#").skip(1).map(registers);
        Ok(cpus.map(|registers| Cpu::new(registers, |address| talk.two_words(address))).collect())
    }
}

/// The conversation.
struct Talk<'a> {
    to: &'a UnixStream,
    from: BufReader<&'a UnixStream>,
}

impl Talk<'_> {
    fn execute(&mut self, command: &Value) -> Result<Value> {
        self.to.write_all(format!("{command}\n").as_bytes())?;
        loop {
            let mut line = String::new();
            self.from.read_line(&mut line)?;
            // The greeting and events may come between.
            let answer: Value = serde_json::from_str(&line)?;
            if let Some(value) = answer.get("return").or_else(|| answer.get("error")) {
                return Ok(value.clone());
            }
        }
    }

    fn human(&mut self, line: &str) -> Result<String> {
        let arguments = json!({ "command-line": line });
        let command = json!({ "execute": "human-monitor-command", "arguments": arguments });
        Ok(self.execute(&command)?.as_str().unwrap_or_default().to_owned())
    }

    fn two_words(&mut self, address: u64) -> Option<(u64, u64)> {
        two_words(&self.human(&format!("x /2gx {address:#x}")).ok()?)
    }
}

/// Tells where the CPUs were; those at the same place together, since most of many are idle.
pub(super) fn print(cpus: &[Cpu], symbols: &Path) {
    for (numbers, Cpu { registers, frames }) in by_place(cpus) {
        let Registers { rip, halted, user, .. } = registers;
        let were = names(&numbers);
        match (frames.is_empty(), halted) {
            (true, _) if *user => note(format_args!("{were} in user mode at {rip:#x}")),
            (true, _) => note(format_args!("{were} in firmware, boot loader or start-up code at {rip:#x}")),
            (false, true) => note(format_args!("{were} halted in the kernel:")),
            (false, false) => note(format_args!("{were} in the kernel:")),
        }
        backtrace::print(symbols, frames);
    }
}

/// CPUs of which the same is to be told, by their numbers. Each has a stack of its own all the same.
fn by_place(cpus: &[Cpu]) -> Vec<(Vec<usize>, &Cpu)> {
    let place = |cpu: &Cpu| (Registers { rbp: 0, ..cpu.registers }, cpu.frames.clone());
    let mut groups: Vec<(Vec<usize>, &Cpu)> = Vec::new();
    for (number, cpu) in cpus.iter().enumerate() {
        match groups.iter_mut().find(|(_, other)| place(other) == place(cpu)) {
            Some((numbers, _)) => numbers.push(number),
            None => groups.push((vec![number], cpu)),
        }
    }
    groups
}

/// Subject and verb: `CPU 0 was`, `CPUs 0, 2-5 were`.
fn names(numbers: &[usize]) -> String {
    if let [number] = numbers {
        return format!("CPU {number} was");
    }
    let ranges = numbers.chunk_by(|one, next| one + 1 == *next).map(|range| match range {
        [first, .., last] => format!("{first}-{last}"),
        _ => range[0].to_string(),
    });
    format!("CPUs {} were", ranges.collect::<Vec<_>>().join(", "))
}

/// Reads one CPU's part of `info registers`.
fn registers(text: &str) -> Registers {
    let mut registers = Registers::default();
    for word in text.split_whitespace() {
        let Some((name, value)) = word.split_once('=') else { continue };
        let value = u64::from_str_radix(value, 16).unwrap_or(0);
        match name {
            "RIP" | "EIP" => registers.rip = value,
            "RBP" => registers.rbp = value,
            "CPL" => registers.user = value == 3,
            "HLT" => registers.halted = value != 0,
            _ => {}
        }
    }
    registers
}

/// Reads what `x /2gx` answers.
fn two_words(text: &str) -> Option<(u64, u64)> {
    let (_, words) = text.trim().split_once(": ")?;
    let (first, second) = words.split_once(' ')?;
    let number = |word: &str| u64::from_str_radix(word.trim().strip_prefix("0x")?, 16).ok();
    Some((number(first)?, number(second)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_read() {
        let text = "0\r\nRAX=0000000000000001 RBX=0000000000000000\r\n\
                    RSI=0000000000000000 RDI=0000000000000000 RBP=ffffff4000020f80 RSP=ffffff4000020f00\r\n\
                    RIP=ffffffff80201234 RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\r\n";
        let (rip, rbp) = (0xffff_ffff_8020_1234, 0xffff_ff40_0002_0f80);
        assert_eq!(registers(text), Registers { rip, rbp, halted: true, user: false });
        let expected = Registers { rip: 0x40_1000, user: true, ..Registers::default() };
        assert_eq!(registers("RIP=0000000000401000 RFL=00000246 CPL=3 HLT=0"), expected);
    }

    #[test]
    fn cpus_at_the_same_place_are_told_together() {
        let cpu = |rip, rbp| Cpu::new(Registers { rip, rbp, halted: true, user: false }, |_| None);
        let (idle, busy) = (0xffff_ffff_8020_0000, 0xffff_ffff_8020_1000);
        let stack = |number: u64| 0xffff_ff40_0000_0f00 + number * 0x2_1000;
        let cpus = [cpu(idle, stack(0)), cpu(busy, stack(1)), cpu(idle, stack(2)), cpu(idle, stack(3))];
        let groups: Vec<_> = by_place(&cpus).into_iter().map(|(numbers, cpu)| (names(&numbers), cpu)).collect();
        assert_eq!(groups, [("CPUs 0, 2-3 were".into(), &cpus[0]), ("CPU 1 was".into(), &cpus[1])]);
    }

    #[test]
    fn memory_is_read() {
        let text = "ffffff4000020f80: 0xffffff4000020fa0 0xffffffff80201000\r\n";
        assert_eq!(two_words(text), Some((0xffff_ff40_0002_0fa0, 0xffff_ffff_8020_1000)));
        assert_eq!(two_words("Cannot access memory at address 0x10\r\n"), None);
        assert_eq!(two_words(""), None);
    }
}
