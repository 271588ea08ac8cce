//! A lock that is held for long is told, with who holds it and where; the run goes on.

use boot_tests::Jotun;

#[test]
fn a_lock_held_for_long_is_told() {
    // Two processes, 16 calls each: 40 million instructions in the kernel, hardly any outside it.
    let order = (40_000_000_u64 << 40) | (1 << 24) | 1;
    let jotun = Jotun::new().smp(2).timeout(240.0).append("patience=5").args(["two-processes", &order.to_string()]);
    let outcome = jotun.run().expect(0).expect_output("ok two-processes\n");
    let said =
        |cpu: u8, other: u8| format!("CPU {cpu} has waited 5 ms for the giant lock; CPU {other} holds it, depth 1");
    assert!(outcome.log.contains(&said(0, 1)) || outcome.log.contains(&said(1, 0)), "{outcome}");
    assert!(outcome.stderr.contains("level 1, system call"), "where the holder is\n{outcome}");
}
