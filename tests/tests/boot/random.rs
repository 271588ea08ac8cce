//! Random numbers and random places: others in every process and every run, unless an option asks for the same ones.

use boot_tests::Jotun;

/// Processes of a run.
const PROCESSES: usize = 3;

/// What `scattered` prints: where program, stack, mapping and heap are, then `AT_RANDOM` and a random number.
type Line = [u64; 6];

/// The places among it.
const PLACES: std::ops::Range<usize> = 0..4;

/// The lines that all processes of a run print.
#[track_caller]
fn lines(jotun: Jotun) -> Vec<Line> {
    let outcome = jotun.args(["scattered", &PROCESSES.to_string()]).run().expect(0).expect_calm_log();
    // Of AT_RANDOM, sixteen bytes, the last eight will do.
    let word = |text: &str| {
        let digits = text.strip_prefix("0x").expect("an address");
        u64::from_str_radix(&digits[digits.len().saturating_sub(16)..], 16).expect("a number")
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().try_into().expect("six words");
    let lines: Vec<Line> = outcome.text().lines().map(line).collect();
    assert_eq!(lines.len(), PROCESSES, "{outcome}");
    lines
}

/// How many different values a column has.
fn different(lines: &[Line], column: usize) -> usize {
    let mut values: Vec<u64> = lines.iter().map(|line| line[column]).collect();
    values.sort_unstable();
    values.dedup();
    values.len()
}

#[test]
fn every_process_has_other_numbers_and_places() {
    // Two runs: what follows from the boot alone would come again.
    let lines = [lines(Jotun::new()), lines(Jotun::new().smp(2))].concat();
    for column in 0..lines[0].len() {
        assert_eq!(different(&lines, column), 2 * PROCESSES, "column {column} of {lines:x?}");
    }
    // No part tells where another one is.
    for a in PLACES {
        for b in PLACES.filter(|b| *b != a) {
            let apart: Vec<Line> = lines.iter().map(|line| [line[a].wrapping_sub(line[b]); 6]).collect();
            assert!(different(&apart, 0) > 1, "columns {a} and {b} of {lines:x?}");
        }
    }
}

#[test]
fn without_aslr_places_are_the_same_and_numbers_are_not() {
    // The application kernel has other places, those beside its launcher.
    let several = Jotun::new().strategy("giant", 2);
    let lines = [lines(Jotun::new().append("aslr=off")), lines(several.append("aslr=off"))].concat();
    for column in 0..lines[0].len() {
        let expected = if PLACES.contains(&column) { 1 } else { 2 * PROCESSES };
        assert_eq!(different(&lines, column), expected, "column {column} of {lines:x?}");
    }
}

#[test]
fn a_seed_gives_the_same_run_again() {
    let once = lines(Jotun::new().append("seed=7"));
    assert_eq!(once, lines(Jotun::new().append("seed=7")));
    assert_ne!(once, lines(Jotun::new().append("seed=8")));
    assert_eq!(different(&once, 0), PROCESSES, "{once:x?}");
}
