//! Counters of events.

use super::*;

#[test]
fn a_counter_is_emptied_or_counted_down() {
    let mut all = Counter::new(3, false);
    assert_eq!((all.take(), all.take(), all.count()), (Some(3), None, 0));
    let mut one = Counter::new(2, true);
    assert_eq!((one.take(), one.take(), one.take()), (Some(1), Some(1), None));
    assert_eq!(one.changes(), 2, "a read that found nothing has changed nothing");
    assert!(one.add(COUNT_MAX) && !one.add(1) && one.add(0));
    assert_eq!(one.count(), COUNT_MAX);
}

#[test]
fn levels_are_told_again_and_edges_once() {
    let mut level = Watch { events: 1 | 4, data: 0, seen: None };
    assert_eq!(level.news(1 | 2, 5), 1);
    level.told(5);
    assert_eq!(level.news(1 | 8, 5), 1);
    let mut edge = Watch { events: 1 | Watch::EDGE, ..level };
    assert_eq!(edge.news(1, 6), 1);
    edge.told(6);
    assert_eq!((edge.news(1, 6), edge.news(1, 7), edge.news(8, 7)), (0, 1, 0));
    let mut once = Watch { events: 1 | Watch::ONCE, ..level };
    assert_eq!(once.news(1, 9), 1);
    once.told(9);
    assert_eq!(once.news(1 | 8, 10), 0);
}
