//! A set of numbers against a model.

use super::*;
use alloc::collections::BTreeSet;
use proptest::prelude::*;

proptest! {
    #[test]
    fn the_lowest_absent_number_is_found(
        filled in 0..Numbers::END,
        holes in prop::collection::vec(0..Numbers::END, 0..8),
        more in prop::collection::vec(0..Numbers::END, 0..8),
        asked in prop::collection::vec(0..Numbers::END, 1..20),
    ) {
        let (mut numbers, mut model) = (Numbers::default(), BTreeSet::new());
        for number in (0..filled).chain(more) {
            numbers.insert(number);
            model.insert(number);
        }
        for number in holes {
            numbers.remove(number);
            model.remove(&number);
        }
        for from in asked.into_iter().chain([0, filled.saturating_sub(1), Numbers::END - 1]) {
            let expected = (from..).find(|number| !model.contains(number));
            prop_assert_eq!(Some(numbers.lowest_absent(from)), expected);
        }
    }
}

#[test]
fn a_full_set_has_room_at_its_end_only() {
    let mut numbers = Numbers::default();
    (0..Numbers::END).for_each(|number| numbers.insert(number));
    assert_eq!(numbers.lowest_absent(0), Numbers::END);
    assert_eq!(numbers.lowest_absent(Numbers::END), Numbers::END);
}
