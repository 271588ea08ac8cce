//! The Fourier transform in six steps, as SPLASH-2's FFT (D. H. Bailey, FFTs in External or Hierarchical Memory, 1990):
//! the points are the rows of a square; it is transposed, its rows are transformed and turned, and so on.

use super::{Ticks, near, now, part, shared::Shared, team};
use programs::cpus::Random;
use std::f64::consts::TAU;
use std::iter;

/// Squares of points, two numbers a point; and the roots of one.
struct Transform {
    /// Points of a side.
    side: usize,
    points: [Shared; 2],
    /// Roots for the transform of a row.
    roots: Vec<[f64; 2]>,
    /// By which each point is turned between the steps.
    turns: Vec<[f64; 2]>,
}

/// Transforms this number of points, an even power of two.
pub(crate) fn run(size: usize) -> Result<Ticks, String> {
    let side = size.isqrt();
    if side * side != size || !side.is_power_of_two() || side < 2 {
        return Err(format!("{size} points are no even power of two"));
    }
    let before = now();
    let transform = Transform {
        side,
        points: [Shared::new(made(size).flatten()), Shared::new(iter::repeat_n(0.0, 2 * size))],
        roots: (0..side).map(|at| root(at, side)).collect(),
        turns: (0..size).map(|at| root((at / side) * (at % side), size)).collect(),
    };
    let [points, other] = &transform.points;
    let threads = team(|number, barrier| {
        let rows = part(side, number);
        let steps: [&dyn Fn(usize); 5] = [
            &|row| transform.transpose(points, other, row),
            &|row| transform.transform(other, row, true),
            &|row| transform.transpose(other, points, row),
            &|row| transform.transform(points, row, false),
            &|row| transform.transpose(points, other, row),
        ];
        for step in steps {
            rows.clone().for_each(step);
            barrier.wait();
        }
    });
    let ticks = Ticks { whole: now() - before, threads };
    check(other, size).map(|()| ticks)
}

/// The points that are transformed.
fn made(size: usize) -> impl Iterator<Item = [f64; 2]> {
    const STEPS: u64 = 1 << 20;
    let mut random = Random::new(0);
    let mut number = move || random.below(STEPS) as f64 / STEPS as f64 - 0.5;
    iter::repeat_with(move || [number(), number()]).take(size)
}

/// The power `at` of the root of one that has to be taken to the power `of` for one.
fn root(at: usize, of: usize) -> [f64; 2] {
    let (sin, cos) = (-TAU * (at % of) as f64 / of as f64).sin_cos();
    [cos, sin]
}

fn times([a, b]: [f64; 2], [c, d]: [f64; 2]) -> [f64; 2] {
    [a * c - b * d, a * d + b * c]
}

impl Transform {
    /// Column `row` of one square becomes a row of the other.
    fn transpose(&self, from: &Shared, to: &Shared, row: usize) {
        for column in 0..self.side {
            let (here, there) = (2 * (row * self.side + column), 2 * (column * self.side + row));
            to.set(here, from.get(there));
            to.set(here + 1, from.get(there + 1));
        }
    }

    /// Transforms a row in its place, and turns its points if asked to.
    fn transform(&self, points: &Shared, row: usize, turned: bool) {
        let start = row * self.side;
        let mut own = vec![[0.0; 2]; self.side];
        points.read(2 * start, own.as_flattened_mut());
        for at in 0..self.side {
            let mirrored = at.reverse_bits() >> (usize::BITS - self.side.trailing_zeros());
            if at < mirrored {
                own.swap(at, mirrored);
            }
        }
        let halves = iter::successors(Some(1), |half| Some(2 * half)).take_while(|half| *half < self.side);
        for half in halves {
            let apart = self.side / (2 * half);
            for group in own.chunks_exact_mut(2 * half) {
                let (low, high) = group.split_at_mut(half);
                for ((low, high), root) in low.iter_mut().zip(high).zip(self.roots.iter().step_by(apart)) {
                    let [re, im] = times(*high, *root);
                    *high = [low[0] - re, low[1] - im];
                    *low = [low[0] + re, low[1] + im];
                }
            }
        }
        if turned {
            own.iter_mut().zip(&self.turns[start..]).for_each(|(point, turn)| *point = times(*point, *turn));
        }
        points.write(2 * start, own.as_flattened());
    }
}

/// Frequencies that are computed by the definition, in 1,024ths of all.
const CHECKED: [usize; 4] = [0, 1, 389, 1000];

/// Whether the transform has the energy of the points (Parseval's theorem), and some of it is right by the definition.
fn check(transformed: &Shared, size: usize) -> Result<(), String> {
    let at = |index: usize| [transformed.get(2 * index), transformed.get(2 * index + 1)];
    let norm = |[a, b]: [f64; 2]| a * a + b * b;
    let energy: f64 = made(size).map(norm).sum::<f64>() * size as f64;
    let found: f64 = (0..size).map(|index| norm(at(index))).sum();
    // Rounding errors grow with the logarithm of the size.
    let error = 1e-9 * energy;
    if !near(found, energy, error) {
        return Err(format!("its energy is {found} instead of {energy}"));
    }
    for frequency in CHECKED.map(|part| part * size / 1024) {
        let (step, mut turn, mut sum) = (root(frequency, size), [1.0, 0.0], [0.0; 2]);
        for point in made(size) {
            let [a, b] = times(point, turn);
            sum = [sum[0] + a, sum[1] + b];
            turn = times(turn, step);
        }
        let [a, b] = at(frequency);
        if !near(norm([a - sum[0], b - sum[1]]), 0.0, error / size as f64) {
            return Err(format!("at {frequency} it is {:?} instead of {sum:?}", at(frequency)));
        }
    }
    Ok(())
}
