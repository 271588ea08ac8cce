//! Pipes and waiting on descriptors, as Linux has them: the program `pipes` says the same on both.

use std::process::Command;

use boot_tests::{Jotun, busybox, on_up_and_smp, std_program};

#[test]
fn pipes_are_linuxs() {
    let linux = Command::new(std_program("pipes")).output().expect("it runs on the host");
    assert!(linux.status.success(), "{}", String::from_utf8_lossy(&linux.stderr));
    on_up_and_smp(4, |jotun| {
        let outcome = jotun.args(["pipes"]).run().expect(0);
        assert_eq!(outcome.text(), String::from_utf8_lossy(&linux.stdout), "{outcome}");
        outcome.expect_calm_log().expect_all_back();
    });
}

#[test]
fn writing_where_nobody_reads_kills() {
    let outcome = Jotun::new().args(["pipes", "broken"]).run().expect(128 + 13);
    assert_eq!(outcome.text(), "", "{outcome}");
    outcome.expect_log_lines(1, &["] WARN ", "pipes (1) killed by SIGPIPE, sent to it"]).expect_all_back();
}

/// A shell gives a here-document to itself through a pipe.
#[test]
fn a_shell_reads_here_documents() {
    let script = "while read a b; do echo \"$b-$a\"; done <<EOF\n1 2\n3 $((2*2))\nEOF\necho out >/dev/stdout";
    let outcome = Jotun::new().args([busybox().to_str().unwrap(), "sh", "-c", script]).run().expect(0);
    assert_eq!(outcome.text(), "2-1\n4-3\nout\n", "{outcome}");
}
