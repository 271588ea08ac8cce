//! What there is not enough of: files, names, pipes, memory. The program `shortage` says what must hold.

use boot_tests::{Jotun, Outcome, Scratch, busybox, on_up_and_smp, std_program};
use std::fs;

fn shortage(jotun: Jotun, part: &str) -> Outcome {
    let jotun = jotun.memory(64).timeout(240.0);
    jotun.args(["shortage", part]).run().expect(0).expect_in_output("ok shortage\n").expect_all_back()
}

#[test]
fn a_full_file_system_says_so() {
    on_up_and_smp(2, |jotun| {
        shortage(jotun.append("size=12m"), "files").expect_in_output("3072 blocks\n");
    });
    let half = shortage(Jotun::new(), "files");
    let blocks = half.text().split(' ').next().and_then(|word| word.parse::<i64>().ok());
    assert_eq!(blocks, Some(half.stat("frames_total") / 2), "{half}");
    let text =
        "size=much is not understood: behind size= comes a number with k, m or g behind it, or a percentage with %";
    Jotun::new().append("size=much").args(["hello-std"]).run().expect(0).expect_log_lines(1, &["] WARN ", text]);
}

#[test]
fn names_leave_room_for_others() {
    on_up_and_smp(2, |jotun| drop(shortage(jotun, "names").expect_calm_log()));
}

#[test]
fn pipes_leave_room_for_others() {
    on_up_and_smp(4, |jotun| drop(shortage(jotun, "pipes").expect_log_lines(0, &["] ERROR "])));
}

/// Calls that keep nothing of the heap are made when it cannot grow any more.
#[test]
fn mappings_leave_room_for_output_and_kill() {
    on_up_and_smp(2, |jotun| drop(shortage(jotun, "regions").expect_in_output("this can be said\n")));
}

/// Which process is killed, and what the log says of it.
#[test]
fn the_largest_process_goes() {
    for (part, goes) in [("memory", 2), ("held", 1)] {
        on_up_and_smp(4, |jotun| {
            let outcome = shortage(jotun, part).expect_log_lines(0, &["] ERROR "]);
            outcome
                .expect_log_lines(goes, &["] WARN ", "killed: no memory left for the page at 0x", " gives back more"]);
        });
    }
}

#[test]
fn a_process_that_sits_on_memory_can_be_ended() {
    on_up_and_smp(2, |jotun| drop(shortage(jotun, "edge")));
    let script = ": >/ready; shortage sit >>/ready & until { read begins && read sits; } </ready; do sleep 0.1; done; echo $sits; \
                  touch /file; rm /file && echo removed; kill %1; wait; echo over";
    let scratch = Scratch::new("sits");
    let bin = scratch.path().join("bin");
    fs::create_dir(&bin).unwrap();
    fs::copy(std_program("shortage"), bin.join("shortage")).unwrap();
    let jotun = Jotun::new().smp(2).memory(64).rootfs(scratch.path());
    let outcome = jotun.args([busybox().to_str().unwrap(), "sh", "-c", script]).run().expect(0);
    assert_eq!(outcome.text(), "sits\nremoved\nover\n", "{outcome}");
}

/// A file system that a program has filled, beside one that has filled memory: no process is killed for it.
#[test]
fn a_shell_removes_what_has_filled_the_file_system() {
    let script = "for n in 1 2; do dd if=/dev/zero of=/f bs=1M 2>/dev/null; echo dd $?; rm -f /f; done; echo gone";
    on_up_and_smp(2, |jotun| {
        let outcome = jotun.memory(64).args([busybox().to_str().unwrap(), "sh", "-c", script]).run().expect(0);
        assert_eq!(outcome.text(), "dd 1\ndd 1\ngone\n", "{outcome}");
        outcome.expect_log_lines(0, &["killed"]);
    });
}
