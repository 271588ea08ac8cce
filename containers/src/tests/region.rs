//! Regions against a model: a map from page to rights, with enough of them for many runs.

use super::*;
use crate::frames::PAGE_SIZE;
use proptest::prelude::*;
use std::collections::BTreeMap;

const PAGE: u64 = PAGE_SIZE as u64;
const PAGES: u64 = if cfg!(miri) { 2 } else { 8 } * RUN as u64;

#[derive(Clone, Debug)]
enum Step {
    Map(u64, u64, u8),
    Unmap(u64, u64),
    Protect(u64, u64, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let range = || (0..PAGES, prop_oneof![4 => 1..4_u64, 1 => 1..PAGES]);
    prop_oneof![
        2 => (range(), 0..8_u8).prop_map(|((at, n), rights)| Step::Map(at, n, rights)),
        1 => range().prop_map(|(at, n)| Step::Unmap(at, n)),
        2 => (range(), 0..8_u8).prop_map(|((at, n), rights)| Step::Protect(at, n, rights)),
    ]
}

fn region(start: u64, end: u64, bits: u8) -> Region {
    let rights = Rights::from_bits_truncate(bits);
    Region::new(start * PAGE..end * PAGE, rights, Backing::Zero)
}

fn writable(region: Region) -> Region {
    Region { rights: Rights::WRITE, ..region }
}

fn unmap(regions: &mut Regions, range: Range<u64>) {
    let mut at = range.start;
    while let Some((part, _)) = regions.cut(range.clone(), 0).unwrap() {
        assert!(at <= part.start && part.end <= range.end);
        at = part.end;
    }
}

/// The model's pages in one piece as long as their rights are the same.
fn pieces(model: &BTreeMap<u64, u8>) -> Vec<Region> {
    let mut pieces: Vec<Region> = Vec::new();
    for (page, bits) in model {
        let next = region(*page, page + 1, *bits);
        match pieces.last_mut() {
            Some(last) if last.continues(&next) => last.end = next.end,
            _ => pieces.push(next),
        }
    }
    pieces
}

fn check(regions: &Regions, model: &BTreeMap<u64, u8>) {
    let pieces = pieces(model);
    assert_eq!(regions.iter().copied().collect::<Vec<_>>(), pieces);
    assert_eq!(regions.len(), pieces.len());
    assert_eq!(regions.bytes(), model.len() as u64 * PAGE);
    assert!(regions.runs.iter().all(|run| (1..=RUN).contains(&run.len())));
    assert!(regions.runs.windows(2).all(|pair| pair[0].len() + pair[1].len() > RUN / 2));
    if regions.runs.len() > 1 {
        assert_eq!(regions.bounds.len(), regions.runs.len());
        (0..regions.runs.len()).for_each(|run| assert!(regions.bounds.get(run) >= largest_gap(regions, run)));
    } else {
        assert!(regions.bounds.is_empty());
    }
    for page in 0..PAGES {
        let found = regions.at(page * PAGE + 1).map(|region| region.rights.bits());
        assert_eq!(found, model.get(&page).copied());
    }
}

/// The largest gap before a region of a run.
fn largest_gap(regions: &Regions, run: usize) -> u64 {
    let all: Vec<_> = regions.iter().copied().collect();
    let first = regions.runs[..run].iter().map(Vec::len).sum::<usize>();
    let end_before = |index: usize| index.checked_sub(1).map_or(0, |before| all[before].end);
    (first..first + regions.runs[run].len()).map(|index| all[index].start - end_before(index)).max().unwrap()
}

/// What the questions about a range have to be answered with.
fn check_range(regions: &mut Regions, model: &BTreeMap<u64, u8>, from: u64, to: u64) {
    let range = from * PAGE..to * PAGE;
    let parts: Vec<_> = pieces(&model.range(from..to).map(|(page, bits)| (*page, *bits)).collect());
    assert_eq!(regions.within(range.clone()).collect::<Vec<_>>(), parts);
    assert_eq!(regions.first(range.clone()), parts.first().copied());
    assert_eq!(regions.covers(range.clone()), (from..to).all(|page| model.contains_key(&page)));
    for length in [1, 2, 5, PAGES / 4] {
        let is_free = |start: &u64| model.range(*start..start + length).next().is_none();
        let gap = (from..(to + 1).saturating_sub(length)).rev().find(is_free);
        assert_eq!(regions.gap_below(range.clone(), length * PAGE), gap.map(|start| start * PAGE));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 1 } else { 50 }, ..ProptestConfig::default() })]
    #[test]
    fn regions_behave_as_a_map(every in 1..3_u64, steps in proptest::collection::vec((step(), 0..PAGES, 0..PAGES), 1..40)) {
        let mut regions = Regions::default();
        let mut model = BTreeMap::new();
        // As many regions as fit on these pages, or half of them with gaps between.
        for page in (0..PAGES).filter(|page| page % every == 0) {
            regions.insert(region(page, page + 1, page as u8 % 2)).unwrap();
            model.insert(page, page as u8 % 2);
        }
        check(&regions, &model);
        for (step, a, b) in steps {
            match step {
                Step::Map(at, n, bits) => {
                    unmap(&mut regions, at * PAGE..(at + n) * PAGE);
                    regions.insert(region(at, at + n, bits)).unwrap();
                    (at..at + n).for_each(|page| _ = model.insert(page, bits));
                }
                Step::Unmap(at, n) => {
                    unmap(&mut regions, at * PAGE..(at + n) * PAGE);
                    model.retain(|page, _| !(at..at + n).contains(page));
                }
                Step::Protect(at, n, bits) => {
                    let (mut next, end) = (at * PAGE, (at + n) * PAGE);
                    let rights = Rights::from_bits_truncate(bits);
                    while let Some((part, rests)) = regions.alter(next..end, |it| Region { rights, ..it }).unwrap() {
                        prop_assert_eq!(Some(&part.rights.bits()), model.get(&(part.start / PAGE)));
                        prop_assert!(rests <= 2 && next <= part.start && part.end <= end);
                        next = part.end;
                    }
                    model.range_mut(at..at + n).for_each(|(_, old)| *old = bits);
                }
            }
            // Mapped may be more than there was at first.
            model.retain(|page, _| *page < PAGES);
            unmap(&mut regions, PAGES * PAGE..2 * PAGES * PAGE);
            check(&regions, &model);
            check_range(&mut regions, &model, a.min(b), a.max(b));
        }
        unmap(&mut regions, 0..PAGES * PAGE);
        prop_assert!(regions.is_empty() && regions.runs.is_empty() && regions.bytes() == 0);
    }
}

#[test]
fn a_copy_has_the_same_regions() {
    let mut regions = Regions::default();
    (0..200).for_each(|page| regions.insert(region(2 * page, 2 * page + 1, 1)).unwrap());
    let mut copy = Regions::default();
    regions.runs_from(0).for_each(|run| copy.append(run));
    assert!(copy.iter().eq(regions.iter()));
    assert_eq!((copy.len(), copy.bytes()), (regions.len(), regions.bytes()));
    copy.insert(region(1, 2, 1)).unwrap();
    assert_eq!((copy.len(), copy.at(PAGE).unwrap().end), (199, 3 * PAGE));
}

#[test]
#[cfg_attr(miri, ignore = "takes too long")]
fn a_region_that_would_be_one_too_many_is_refused() {
    let mut regions = Regions::default();
    let pages = MAX_REGIONS as u64;
    (0..pages).for_each(|page| regions.insert(region(4 * page, 4 * page + 3, 1)).unwrap());
    assert_eq!(regions.len(), MAX_REGIONS);
    assert_eq!(regions.insert(region(4 * pages, 4 * pages + 1, 1)), Err(TooMany));
    assert_eq!(regions.cut(PAGE..2 * PAGE, 0), Err(TooMany));
    assert_eq!(regions.cut(0..PAGE, 1), Err(TooMany));
    assert_eq!(regions.alter(0..PAGE, writable), Err(TooMany));
    // The same number, before and after.
    assert!(regions.alter(0..3 * PAGE, writable).unwrap().is_some());
    assert_eq!(regions.len(), MAX_REGIONS);
}
