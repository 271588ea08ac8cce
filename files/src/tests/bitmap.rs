//! A set of numbers against a model.

use super::*;
use alloc::collections::BTreeSet;
use proptest::prelude::*;

proptest! {
    #[test]
    fn the_lowest_absent_number_is_found(
        filled in 0..Bitmap::END,
        holes in prop::collection::vec(0..Bitmap::END, 0..8),
        more in prop::collection::vec(0..Bitmap::END, 0..8),
        asked in prop::collection::vec(0..Bitmap::END, 1..20),
    ) {
        let (mut numbers, mut model) = (Bitmap::default(), BTreeSet::new());
        for number in (0..filled).chain(more) {
            numbers.insert(number);
            model.insert(number);
        }
        for number in holes {
            numbers.remove(number);
            model.remove(&number);
        }
        for from in asked.into_iter().chain([0, filled.saturating_sub(1), Bitmap::END - 1]) {
            let expected = (from..).find(|number| !model.contains(number));
            prop_assert_eq!(Some(numbers.lowest_absent(from)), expected);
        }
    }
}

#[test]
fn a_full_set_has_room_at_its_end_only() {
    let mut numbers = Bitmap::default();
    (0..Bitmap::END).for_each(|number| numbers.insert(number));
    assert_eq!(numbers.lowest_absent(0), Bitmap::END);
    assert_eq!(numbers.lowest_absent(Bitmap::END), Bitmap::END);
}
