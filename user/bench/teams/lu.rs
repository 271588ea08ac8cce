//! A matrix taken apart into a lower and an upper triangle, in blocks, as SPLASH-2's LU with non-contiguous blocks:
//! threads own blocks in the pattern of a board, and each works on its own.

use super::{THREADS, Ticks, near, now, shared::Shared, team};
use programs::cpus::Random;
use std::sync::Barrier;

/// Rows and columns of a block, as in the paper.
const BLOCK: usize = 16;

/// Rows and columns of the pattern in which threads own blocks.
const PATTERN: [usize; 2] = [2, THREADS / 2];

type Block = [[f64; BLOCK]; BLOCK];

/// The matrix, row by row; in the end both triangles, but for the ones on the lower one's diagonal.
struct Matrix {
    size: usize,
    numbers: Shared,
}

/// Factorises a matrix with this number of rows.
pub(crate) fn run(size: usize) -> Result<Ticks, String> {
    if size == 0 || !size.is_multiple_of(BLOCK) {
        return Err(format!("{size} rows are no blocks of {BLOCK}"));
    }
    let before = now();
    let matrix = Matrix { size, numbers: Shared::new(made(size)) };
    let threads = team(|number, barrier| matrix.take_apart(number, barrier));
    let ticks = Ticks { whole: now() - before, threads };
    matrix.check().map(|()| ticks)
}

/// The matrix that is taken apart: no row needs to be exchanged, as the diagonal outweighs the rest.
fn made(size: usize) -> impl Iterator<Item = f64> {
    const STEPS: u64 = 1 << 20;
    let mut random = Random::new(0);
    (0..size * size).map(move |at| {
        let diagonal = if at / size == at % size { size as f64 } else { 0.0 };
        diagonal + random.below(STEPS) as f64 / STEPS as f64
    })
}

/// Whether the thread works on the block.
fn owns(number: usize, row: usize, column: usize) -> bool {
    number == row % PATTERN[0] * PATTERN[1] + column % PATTERN[1]
}

impl Matrix {
    fn block(&self, row: usize, column: usize) -> Block {
        let mut block = [[0.0; BLOCK]; BLOCK];
        for (line, numbers) in block.iter_mut().enumerate() {
            self.numbers.read((row * BLOCK + line) * self.size + column * BLOCK, numbers);
        }
        block
    }

    fn set_block(&self, row: usize, column: usize, block: &Block) {
        for (line, numbers) in block.iter().enumerate() {
            self.numbers.write((row * BLOCK + line) * self.size + column * BLOCK, numbers);
        }
    }

    /// What one thread does.
    fn take_apart(&self, number: usize, barrier: &Barrier) {
        let blocks = self.size / BLOCK;
        for step in 0..blocks {
            if owns(number, step, step) {
                let mut block = self.block(step, step);
                factor(&mut block);
                self.set_block(step, step, &block);
            }
            barrier.wait();
            let rest = || step + 1..blocks;
            let diagonal = self.block(step, step);
            for at in rest() {
                if owns(number, at, step) {
                    let mut block = self.block(at, step);
                    below(&mut block, &diagonal);
                    self.set_block(at, step, &block);
                }
                if owns(number, step, at) {
                    let mut block = self.block(step, at);
                    beside(&mut block, &diagonal);
                    self.set_block(step, at, &block);
                }
            }
            barrier.wait();
            for row in rest() {
                for column in rest().filter(|column| owns(number, row, *column)) {
                    let mut block = self.block(row, column);
                    inside(&mut block, &self.block(row, step), &self.block(step, column));
                    self.set_block(row, column, &block);
                }
            }
        }
    }

    /// Whether lower times upper triangle does to a vector what the matrix did.
    fn check(&self) -> Result<(), String> {
        let size = self.size;
        let at = |row: usize, column: usize| self.numbers.get(row * size + column);
        let vector: Vec<f64> = (0..size).map(|index| 1.0 + (index % 7) as f64).collect();
        let upper = |row: usize| (row..size).map(|column| at(row, column) * vector[column]).sum::<f64>();
        let half: Vec<f64> = (0..size).map(upper).collect();
        let lower = |row: usize| half[row] + (0..row).map(|column| at(row, column) * half[column]).sum::<f64>();
        let mut numbers = made(size);
        for row in 0..size {
            let wanted: f64 = vector.iter().zip(&mut numbers).map(|(a, b)| a * b).sum();
            let found = lower(row);
            if !near(found, wanted, 1e-10 * wanted) {
                return Err(format!("row {row} comes to {found} instead of {wanted}"));
            }
        }
        Ok(())
    }
}

/// `line` less `times` times `other`, from the column `from` on.
fn subtract(line: &mut [f64; BLOCK], times: f64, other: &[f64; BLOCK], from: usize) {
    line.iter_mut().zip(other).skip(from).for_each(|(to, other)| *to -= times * other);
}

/// A block of the diagonal becomes its two triangles.
fn factor(block: &mut Block) {
    for step in 0..BLOCK {
        let (done, rest) = block.split_at_mut(step + 1);
        for line in rest {
            line[step] /= done[step][step];
            subtract(line, line[step], &done[step], step + 1);
        }
    }
}

/// A block below the diagonal becomes part of the lower triangle.
fn below(block: &mut Block, diagonal: &Block) {
    for line in block {
        for step in 0..BLOCK {
            line[step] /= diagonal[step][step];
            subtract(line, line[step], &diagonal[step], step + 1);
        }
    }
}

/// A block to the diagonal's right becomes part of the upper triangle.
fn beside(block: &mut Block, diagonal: &Block) {
    for step in 0..BLOCK {
        let (done, rest) = block.split_at_mut(step + 1);
        rest.iter_mut()
            .zip(&diagonal[step + 1..])
            .for_each(|(line, lower)| subtract(line, lower[step], &done[step], 0));
    }
}

/// A block inside is less by the product of those at the edges.
fn inside(block: &mut Block, lower: &Block, upper: &Block) {
    for (line, lower) in block.iter_mut().zip(lower) {
        lower.iter().zip(upper).for_each(|(times, other)| subtract(line, *times, other, 0));
    }
}
