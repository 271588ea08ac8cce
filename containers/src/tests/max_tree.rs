//! A row of numbers, and the last of them that is large enough.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Insert(usize, u64),
    Remove(usize),
    Set(usize, u64),
    Raise(usize, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (place, value) = (|| 0..100_usize, || 0..20_u64);
    prop_oneof![
        3 => (place(), value()).prop_map(|(at, value)| Step::Insert(at, value)),
        1 => place().prop_map(Step::Remove),
        2 => (place(), value()).prop_map(|(at, value)| Step::Set(at, value)),
        1 => (place(), value()).prop_map(|(at, value)| Step::Raise(at, value)),
    ]
}

proptest! {
    #[test]
    fn the_last_that_is_large_enough_is_found(
        steps in prop::collection::vec((step(), 0..100_usize, 1..21_u64), 1..80),
    ) {
        let (mut row, mut model) = (MaxTree::default(), Vec::new());
        for (step, before, least) in steps {
            let len = model.len().max(1);
            match step {
                Step::Insert(at, value) => {
                    let at = at % (model.len() + 1);
                    row.insert(at, value);
                    model.insert(at, value);
                }
                Step::Set(at, value) if !model.is_empty() => {
                    row.set(at % len, value);
                    model[at % len] = value;
                }
                Step::Remove(at) if !model.is_empty() => {
                    row.remove(at % len);
                    model.remove(at % len);
                }
                Step::Raise(at, value) if !model.is_empty() => {
                    row.raise(at % len, value);
                    model[at % len] = value.max(model[at % len]);
                }
                Step::Set(..) | Step::Raise(..) | Step::Remove(_) => {}
            }
            prop_assert_eq!(row.len(), model.len());
            if !model.is_empty() {
                let before = before % (model.len() + 1);
                let expected = model[..before].iter().rposition(|value| *value >= least);
                prop_assert_eq!(row.last_before(before, least), expected);
            }
        }
    }
}
