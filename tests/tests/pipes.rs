//! Pipes and waiting on descriptors, as Linux has them: the program `pipes` says the same on both.

use std::process::Command;

use boot_tests::{Jotun, std_program};

#[test]
fn pipes_are_linuxs() {
    let linux = Command::new(std_program("pipes")).output().expect("it runs on the host");
    assert!(linux.status.success(), "{}", String::from_utf8_lossy(&linux.stderr));
    let outcome = Jotun::new().args(["pipes"]).run().expect(0);
    assert_eq!(outcome.text(), String::from_utf8_lossy(&linux.stdout), "{outcome}");
    outcome.expect_calm_log().expect_all_back();
}

#[test]
fn writing_where_nobody_reads_kills() {
    let outcome = Jotun::new().args(["pipes", "broken"]).run().expect(128 + 13);
    assert_eq!(outcome.text(), "", "{outcome}");
    outcome.expect_log_lines(1, &["] WARN ", "pipes (1) killed by SIGPIPE, sent to it"]).expect_all_back();
}
