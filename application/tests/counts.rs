//! The counters of what a CPU forwards.
#![cfg(not(loom))]

use application::counts::{Counts, SLOTS, What, what};

#[test]
fn each_call_and_exception_has_its_counter() {
    let counts = Counts::new();
    for (number, times) in [(0, 1), (39, 3), (478, 2)] {
        (0..times).for_each(|_| counts.call(number));
    }
    for number in [479, 480, 1 << 20, u64::MAX] {
        counts.call(number);
    }
    [0, 14, 14, 31].into_iter().for_each(|vector| counts.exception(vector));
    let counted: Vec<_> =
        (0..SLOTS).filter(|slot| counts.get(*slot) > 0).map(|slot| (what(slot), counts.get(slot))).collect();
    let calls = [(What::Call(0), 1), (What::Call(39), 3), (What::Call(478), 2), (What::OtherCalls, 4)];
    let exceptions = [(What::Exception(0), 1), (What::Exception(14), 2), (What::Exception(31), 1)];
    assert_eq!(counted, [&calls[..], &exceptions].concat());
}
