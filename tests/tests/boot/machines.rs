//! Machines of many kinds: firmware, CPUs with much and with little, memory from too little to plenty.

use std::fs;

use boot_tests::{Jotun, Outcome, Scratch, busybox, fewest, kernel_cpus, large_base, program_cpus, target};

/// MiB of the image's files, rounded up. While they are unpacked they are in memory twice.
fn archive() -> u32 {
    let bytes = fs::metadata(target().join("jotun/base.cpio")).expect("the base was built").len();
    bytes.div_ceil(1 << 20).try_into().expect("less than 4 PiB")
}

/// Runs `fpu`, which needs threads, time slices and whatever vector registers the CPU has.
#[track_caller]
fn fpu(jotun: Jotun, registers: &str) -> Outcome {
    let outcome = jotun.args(["/bin/fpu"]).run().expect(0).expect_calm_log().expect_all_back();
    outcome.expect_output(format!("ok fpu: 4 threads, 2000 turns each, {registers} registers\n"))
}

/// A program is told of all CPUs that are for programs.
#[track_caller]
fn all_up(jotun: Jotun, cpus: u8) {
    jotun
        .args([busybox().to_str().unwrap(), "nproc"])
        .run()
        .expect(0)
        .expect_output(format!("{}\n", program_cpus(cpus)));
}

/// Runs on a machine that will not do; the sentence that xtask passes on.
#[track_caller]
fn stopped(jotun: Jotun) -> String {
    let outcome = jotun.args(["/bin/fpu"]).timeout(30.0).run().expect(70);
    assert!(outcome.stdout.is_empty() && !outcome.stderr.contains("panic"), "{outcome}");
    let sentences: Vec<_> =
        outcome.stderr.lines().filter_map(|line| line.strip_prefix("xtask: the kernel stopped: ")).collect();
    assert_eq!(sentences.len(), 1, "{outcome}");
    sentences[0].to_owned()
}

#[test]
fn bios_and_uefi_give_the_same() {
    let scratch = Scratch::new("firmware");
    scratch.file("data", vec![b'x'; 100_000]);
    let words = [busybox().to_str().unwrap(), "sha256sum", "/data", "-"];
    let run = |jotun: Jotun| {
        let outcome = jotun.rootfs(scratch.path()).args(words).stdin("from the host").run();
        outcome.expect(0).expect_calm_log().expect_all_back()
    };
    let (bios, uefi) = (run(Jotun::new()), run(Jotun::new().uefi()));
    assert_eq!(bios.text(), uefi.text());
    assert_eq!(bios.text().lines().count(), 2, "{bios}");
    for outcome in [&bios, &uefi] {
        // 256 MiB, less what firmware keeps, the kernel itself and its table of frames.
        let total = (outcome.stat("frames_total") * 4096) >> 20;
        assert!((200..256).contains(&total), "{total} MiB\n{outcome}");
        assert!(outcome.log.contains("ACPI: 1 CPU(s), 1 I/O APIC(s)"), "{outcome}");
    }
}

#[test]
fn uefi_with_little_memory() {
    fpu(Jotun::new().uefi().memory(96), "AVX");
    let outcome = Jotun::new().uefi().memory(63).args(["/bin/fpu"]).run().expect(125);
    assert!(outcome.stderr.contains("UEFI's firmware needs 64 MiB of memory; --memory says 63"), "{outcome}");
}

#[test]
fn cpus_with_less() {
    for (model, registers, without) in [
        ("qemu64", "SSE", "SMAP XSAVE AVX GIB_PAGES"),
        ("Haswell", "AVX", "SMAP UMIP GIB_PAGES"),
        ("max,-xsave", "SSE", "XSAVE"),
        ("max,-avx", "SSE", "AVX"),
        ("max,-smap,-smep,-umip", "AVX", "SMAP SMEP UMIP"),
        ("max,-pge,-pdpe1gb", "AVX", "GLOBAL_PAGES GIB_PAGES"),
    ] {
        let outcome = fpu(Jotun::new().cpu(model), registers);
        let line = outcome.log.lines().find(|line| line.contains("INFO cpu: ")).expect("a line on the CPU");
        let features: Vec<&str> = line.rsplit(": ").next().unwrap().split(" | ").collect();
        for feature in without.split(' ') {
            assert!(!features.contains(&feature), "{model}: {line}");
        }
    }
}

#[test]
fn cpus_that_will_not_do() {
    for model in ["qemu32", "max,-nx"] {
        let sentence = stopped(Jotun::new().cpu(model));
        assert_eq!(sentence, "this CPU has no 64-bit mode with no-execute pages; Jotun needs both", "{model}");
    }
    for (model, feature) in [("max,-apic", "APIC"), ("max,-syscall", "SYSCALL"), ("max,-tsc", "TSC")] {
        let sentence = stopped(Jotun::new().cpu(model));
        assert_eq!(sentence, format!("this CPU lacks what Jotun needs: {feature}"), "{model}");
    }
}

#[test]
fn a_program_is_killed_the_same_without_the_newer_protections() {
    for deed in ["execute-data", "read-kernel"] {
        let outcome = Jotun::new().cpu("qemu64").args(["hostile", deed]).run().expect(139).expect_all_back();
        outcome.expect_log_lines(1, &["] WARN ", "hostile (1) killed by SIGSEGV: "]);
    }
}

/// Frames with the state that FXSAVE has.
#[test]
fn signals_without_xsave() {
    Jotun::new().cpu("qemu64").args(["sent-signals"]).run().expect(0).expect_in_output("\nok sent-signals\n");
}

/// The state of a component that this CPU has not would begin where the state ends, beyond the page.
#[test]
fn a_state_has_no_more_than_the_cpu() {
    let outcome = Jotun::new().cpu("max,-avx").args(["hostile", "sigreturn-component"]).run();
    outcome.expect(139).expect_all_back().expect_log_lines(1, &["] WARN ", "a signal frame that cannot be returned"]);
}

#[test]
fn little_memory() {
    // A few MiB are left when all is unpacked.
    let least = archive() * 2 + 10;
    for mebibytes in [least, 64] {
        let outcome = fpu(Jotun::new().memory(mebibytes), "AVX");
        assert!(outcome.stat("frames_total") * 4096 < i64::from(mebibytes) << 20, "{outcome}");
    }
    let outcome = Jotun::new().memory(least).args(["hostile", "out-of-memory"]).run().expect(137).expect_all_back();
    outcome.expect_log_lines(1, &["] WARN ", "hostile (1) killed: no memory left for the page at 0x"]);
    for (deed, mebibytes) in [("many-files", least), ("many-threads", 128), ("many-mappings", 128)] {
        let outcome = Jotun::new().memory(mebibytes).args(["hostile", deed]).run().expect(0).expect_all_back();
        outcome.expect_calm_log().expect_in_output(&format!("ok hostile {deed}\n"));
    }
}

#[test]
fn from_too_little_memory_to_just_enough() {
    // xtask has refused less than the first; at the last all programs fit.
    let scratch = Scratch::new("large");
    let (base, archive) = large_base(&scratch);
    let mut sentences = 0;
    for mebibytes in archive * 2..=archive * 2 + 4 {
        let outcome = Jotun::new().base(&base).memory(mebibytes).args(["/pkg/hello"]).timeout(30.0).run();
        match outcome.status {
            0 | 125 => {}
            70 => {
                let said = |line: &&str| line.starts_with("xtask: the kernel stopped: ") && line.contains("emory");
                assert_eq!(outcome.stderr.lines().filter(said).count(), 1, "{outcome}");
                assert!(!outcome.stderr.contains("panic"), "{outcome}");
                sentences += 1;
            }
            126 => drop(outcome.expect_log_lines(1, &["] ERROR ", "there is not enough memory for it"])),
            _ => panic!("{mebibytes} MiB\n{outcome}"),
        }
    }
    assert!(sentences > 0, "no machine was too small");
}

#[test]
fn much_memory() {
    // Much of it lies above 4 GiB.
    let outcome = Jotun::new().memory(6144).args(["/bin/mem"]).run().expect(0).expect_calm_log().expect_all_back();
    let total = (outcome.stat("frames_total") * 4096) >> 20;
    assert!((6000..6144).contains(&total), "{total} MiB\n{outcome}");
}

#[test]
fn further_cpus_are_left_alone() {
    let outcome = fpu(Jotun::new().option("--qemu=-smp").option("--qemu=4"), "AVX");
    assert!(outcome.log.contains("ACPI: 4 CPU(s)"), "{outcome}");
}

#[test]
fn from_one_cpu_to_as_many_as_can_be() {
    for cpus in [1, 2, 8, 64].into_iter().filter(|cpus| *cpus >= fewest()) {
        let outcome = fpu(Jotun::new().smp(cpus), "AVX");
        assert!(outcome.log.contains(&format!("ACPI: {cpus} CPU(s)")), "{outcome}");
    }
}

#[test]
fn gaps_between_the_ids_of_local_apics() {
    // Three cores in each of two packages.
    let jotun = || Jotun::new().smp(6).option("--qemu=-smp").option("--qemu=6,sockets=2,cores=3");
    let outcome = fpu(jotun(), "AVX");
    assert!(kernel_cpus(6) < 6 || outcome.log.contains("6 CPU(s) up: local APICs [0, 1, 2, 4, 5, 6]"), "{outcome}");
    all_up(jotun(), 6);
}

#[test]
fn uefi_with_several_cpus() {
    let jotun = || Jotun::new().uefi().smp(8);
    let outcome = fpu(jotun(), "AVX");
    assert!(kernel_cpus(8) < 8 || outcome.log.contains(" 8 CPU(s) up"), "{outcome}");
    all_up(jotun(), 8);
}

#[test]
fn unknown_words_are_logged_and_ignored() {
    let words = [busybox().to_str().unwrap(), "echo", "still"];
    let outcome = Jotun::new().append("colour=green quiet").args(words).run().expect(0).expect_output("still\n");
    let outcome = outcome.expect_log_lines(1, &["] WARN ", "unknown word on the command line: colour=green"]);
    outcome.expect_log_lines(1, &["] WARN ", "unknown word on the command line: quiet"]);
}

#[test]
fn words_with_wrong_values_are_logged_and_ignored() {
    let wrong =
        ["seed=x", "aslr=maybe", "rows=-1", "cols=70000", "console=paper", "stats=12", "affinity=firm", "patience=0"];
    let mut outcome = Jotun::new().strategy("giant", 2).append(&wrong.join(" ")).args(["hello-std"]).run().expect(0);
    for word in wrong {
        outcome = outcome.expect_log_lines(1, &["] WARN ", &format!("{word} is not understood: behind ")]);
    }
    // One CPU waits for no other.
    let outcome = Jotun::new().append("patience=5").args(["hello-std"]).run().expect(0);
    outcome.expect_log_lines(1, &["] WARN ", "patience=5 means nothing to this kernel"]);
}
