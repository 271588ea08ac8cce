//! A lock that is held for long is reported, with its holder and where that is; the run goes on.

use boot_tests::{Jotun, leaves_out};

#[test]
fn a_lock_held_for_long_is_told() {
    if leaves_out("patience", "a_lock_held_for_long_is_told") {
        return;
    }
    // One thread is in the kernel for long until another, on the other CPU, has waited for it.
    let outcome = Jotun::new().smp(2).timeout(240.0).append("patience=50").args(["hold"]).run().expect(0);
    let outcome = outcome.expect_output("ok hold: a call took 100 ms\n");
    let said =
        |cpu: u8, other: u8| format!("CPU {cpu} has waited 50 ms for the giant lock; CPU {other} holds it, depth 1");
    assert!(outcome.log.contains(&said(0, 1)) || outcome.log.contains(&said(1, 0)), "{outcome}");
    // The number of `burn` (crate `abi`).
    let call = format!("level 1, system call {}", 0x1005);
    assert!(outcome.stderr.contains(&call), "what the holder does\n{outcome}");
    assert!(outcome.stderr.contains("hardware::cpu::burn"), "where the holder is\n{outcome}");
}
