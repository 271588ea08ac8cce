//! `--machine icount`: a run is the same every time, whatever the host does meanwhile.

use std::{
    fs::{self, File},
    io::Read,
    process::{ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use boot_tests::{Scratch, busybox, target, xtask};

/// All that a run tells.
#[derive(PartialEq, Eq, Debug)]
struct Told {
    output: Vec<u8>,
    log: String,
    statistics: String,
}

/// Runs a program; `read` takes its output.
fn counted(program: &[&str], input: Stdio, read: impl Fn(&mut ChildStdout) -> Vec<u8>) -> Told {
    let scratch = Scratch::new("counted");
    let (log, statistics) = (scratch.path().join("log"), scratch.path().join("stats"));
    let mut command = Command::new(xtask());
    command.args(["run", "--no-build", "--up", "--machine", "icount", "--timeout", "120"]);
    command.env("CARGO_TARGET_DIR", target()).arg("--log").arg(&log).arg("--stats").arg(&statistics);
    command.arg("--").args(program).stdin(input).stdout(Stdio::piped());
    let mut child = command.spawn().expect("xtask starts");
    let output = read(child.stdout.as_mut().expect("a pipe"));
    let status = child.wait().expect("xtask ends");
    assert_eq!(status.code(), Some(0), "{}", String::from_utf8_lossy(&output));
    let text = |path| fs::read_to_string(path).expect("a text");
    Told { output, log: text(&log), statistics: text(&statistics) }
}

fn at_once(from: &mut ChildStdout) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).expect("output");
    bytes
}

/// Reads more slowly than any machine writes.
fn slowly(from: &mut ChildStdout) -> Vec<u8> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 1 << 13]);
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        bytes.extend(&buffer[..length]);
        thread::sleep(Duration::from_millis(50));
    }
    bytes
}

fn without_input(program: &[&str], read: impl Fn(&mut ChildStdout) -> Vec<u8>) -> Told {
    counted(program, Stdio::null(), read)
}

/// Bytes of all values.
fn mixed(length: u32) -> Vec<u8> {
    (0..length).map(|n| (n.wrapping_mul(n) >> 3) as u8).collect()
}

/// The end of the input is in the image: no interrupt tells of it, early or late.
#[test]
fn empty_input_interrupts_nothing() {
    let told = without_input(&["exit-code", "0"], at_once);
    assert!(told.statistics.contains("\"entries_interrupt\":0,"), "{told:?}");
}

#[test]
fn a_run_with_input_is_the_same_every_time() {
    // Escapes are among the bytes, and they are many more than the kernel holds at a time.
    let input = mixed(100_000);
    let scratch = Scratch::new("input");
    let path = scratch.file("input", &input);
    let run = || {
        counted(&[busybox().to_str().expect("a plain path"), "cat"], File::open(&path).expect("a file").into(), at_once)
    };
    let first = run();
    assert!(first.output == input, "{} bytes", first.output.len());
    assert_eq!(first, run());
}

#[test]
fn a_slow_reader_costs_no_instruction() {
    // More than all pipes on the way hold.
    let program = [busybox().to_str().expect("a plain path"), "head", "-c", "600000", "/dev/zero"];
    let quick = without_input(&program, at_once);
    assert_eq!(quick.output.len(), 600_000);
    assert!(quick == without_input(&program, slowly), "{}", quick.statistics);
}

/// What does not fit into the image comes by the serial line, and so does what is written later.
#[test]
fn input_of_any_length_arrives() {
    let input = mixed(300_000);
    let scratch = Scratch::new("long-input");
    let path = scratch.file("input", &input);
    let program = [busybox().to_str().expect("a plain path"), "cat"];
    let told = counted(&program, File::open(path).expect("a file").into(), at_once);
    assert!(told.output == input, "{} bytes", told.output.len());
}
