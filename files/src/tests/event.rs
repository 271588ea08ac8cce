//! Counters of events.

use super::*;

#[test]
fn a_counter_is_emptied_or_counted_down() {
    let mut all = Counter::new(3, false);
    assert_eq!((all.take(), all.take(), all.count()), (Some(3), None, 0));
    let mut one = Counter::new(2, true);
    assert_eq!((one.take(), one.take(), one.take()), (Some(1), Some(1), None));
    assert!(one.add(COUNT_MAX) && !one.add(1) && one.add(0));
    assert_eq!(one.count(), COUNT_MAX);
}
