//! When a thread goes to the boot CPU, and when it comes back.
#![cfg(not(loom))]

use application::habits::{Habits, LOOKS, MOST, TIMES};

#[test]
fn a_thread_that_is_seldom_in_user_mode_goes() {
    let habits = Habits::new(1000);
    // 100 of 1000 ticks, each time.
    let mut asked = (1..).map(|time| habits.calls(1000 + 1000 * time, 100 * time));
    assert!((1..TIMES).all(|_| !asked.next().expect("endless")));
    assert!(asked.next().expect("endless"));
    assert!(!asked.next().expect("endless"), "it begins anew");
}

#[test]
fn once_is_not_enough() {
    let habits = Habits::new(0);
    let (mut now, mut user) = (0, 0);
    for time in 0..20 {
        let little = time % TIMES != 0;
        (now, user) = (now + 1000, user + if little { 499 } else { 501 });
        assert!(!habits.calls(now, user));
    }
}

#[test]
fn a_stay_on_the_boot_cpu_does_not_count() {
    let habits = Habits::new(0);
    assert!(!habits.calls(1000, 100));
    habits.is_back(1_000_000);
    assert!(!habits.calls(1_001_000, 1000), "900 of 1000 ticks");
}

#[test]
fn a_thread_that_is_found_in_user_mode_comes_back() {
    let habits = Habits::new(0);
    let decide = |in_user_mode: u8| (0..LOOKS).map(|look| habits.computes(look < in_user_mode)).collect::<Vec<_>>();
    for in_user_mode in [0, MOST - 1, MOST, LOOKS] {
        let (last, others) =
            decide(in_user_mode).split_last().map(|(last, others)| (*last, others.to_vec())).expect("looks");
        assert_eq!((last, others.contains(&true)), (in_user_mode >= MOST, false));
    }
}
