//! Load averages.

use super::*;

#[test]
fn averages_go_where_the_number_of_threads_is() {
    let mut load = Load::default();
    let minute = |load: &mut Load, end: u64, threads| {
        (1..=12).for_each(|n| load.sample((end - 1) * 12 * PERIOD + n * PERIOD + 7, || threads));
    };
    minute(&mut load, 1, 1);
    // 1 - e^-1, 1 - e^-(1/5), 1 - e^-(1/15), cut off.
    assert_eq!(load.hundredths(), [63, 18, 6]);
    minute(&mut load, 2, 0);
    assert_eq!(load.hundredths(), [23, 15, 6]);
    (3..100).for_each(|end| minute(&mut load, end, 4));
    assert_eq!(load.hundredths(), [400; 3]);
}

#[test]
fn samples_that_nobody_came_for_are_taken_at_once() {
    let (mut each, mut late) = (Load::default(), Load::default());
    (1..=30).for_each(|n| each.sample(n * PERIOD, || 2));
    late.sample(30 * PERIOD, || 2);
    assert_eq!(each.hundredths(), late.hundredths());
    late.sample(30 * PERIOD, || panic!("none is due"));
    late.sample(u64::MAX, || 0);
    assert_eq!(late.hundredths(), [0; 3]);
}
