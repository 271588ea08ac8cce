//! Extensions of the kernel: `insmod` and `rmmod`, and what is refused.

use boot_tests::{Jotun, leaves_out, on_up_and_smp};

#[test]
fn an_extension_is_loaded_used_and_ended() {
    on_up_and_smp(4, |jotun| {
        let outcome =
            jotun.append("extensions").args(["/bin/extensions"]).run().expect(0).expect_in_output("ok extensions");
        for why in
            ["an ELF file", "position-independent", "thread-local", "no note", "another version", "name is not one"]
        {
            assert!(outcome.log.lines().any(|line| line.contains("refused") && line.contains(why)), "{why}\n{outcome}");
        }
        for why in ["overlap", "written and executed", "dynamic section", "not relative", "too large", "ends at once"] {
            assert!(outcome.log.lines().any(|line| line.contains("refused") && line.contains(why)), "{why}\n{outcome}");
        }
        outcome.expect_log_lines(1, &["hello: good morning, kernel"]);
    });
}

#[test]
fn without_the_word_extensions_are_forbidden() {
    let outcome = Jotun::new().args(["/bin/extensions", "forbidden"]).run().expect(0);
    outcome.expect_output("ok extensions\n").expect_calm_log().expect_all_back();
}

#[test]
fn busyboxs_tools_load_list_and_end_an_extension() {
    let script =
        "insmod /lib/hello.ko greeting=1 && lsmod && ls /dev/hello && rmmod hello && ! ls /dev/hello 2>&1 && lsmod";
    let outcome =
        Jotun::new().append("extensions").args(["busybox", "sh", "-c", script]).run().expect(0).expect_calm_log();
    let text = outcome.text();
    let first: Vec<_> = text.lines().map(|line| line.split_whitespace().next().unwrap_or_default()).collect();
    assert_eq!(first, ["Module", "hello", "/dev/hello", "ls:", "Module"], "{outcome}");
    outcome.expect_log_lines(1, &["hello: good morning, kernel"]);
}

#[test]
fn an_extension_is_served_by_the_kernel() {
    if leaves_out("extensions", "an_extension_is_served_by_the_kernel") {
        return;
    }
    on_up_and_smp(4, |jotun| {
        let outcome = jotun.append("extensions").args(["/bin/extension-services"]).run().expect(0);
        let outcome = outcome.expect_output("ok extension-services\n");
        // Two faults are on purpose, and logged.
        let bad = ["] ERROR ", "no extension has taken", "the extension has kept"];
        assert!(bad.iter().all(|words| !outcome.log.contains(words)), "{outcome}");
    });
}
