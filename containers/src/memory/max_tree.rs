//! A segment tree of maxima: a row of numbers in which the last one before an index that is large enough is found in
//! logarithmic time. For example, in the row 5, 2, 9, 1, the last number before index 3 that is at least 5 is the one
//! at index 2.

use alloc::vec::Vec;

/// The row, and above each two of its numbers the larger one, above each two of those the larger one, and so on.
///
/// Changing a number takes logarithmic time. Inserting or removing one moves the numbers behind it and so takes linear
/// time, except at the end of the row.
#[derive(Clone, Default)]
pub(crate) struct MaxTree {
    /// Node n is the larger one of nodes 2n and 2n + 1; node 1 is the root. The second half is the row, with zeroes
    /// behind it.
    nodes: Vec<u64>,
    len: usize,
}

impl MaxTree {
    /// Whether the row is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number at an index.
    #[cfg(test)]
    pub(crate) fn get(&self, index: usize) -> u64 {
        self.nodes[self.room() + index]
    }

    /// The length of the row.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The capacity of the row, always more than its length.
    fn room(&self) -> usize {
        self.nodes.len() / 2
    }

    /// Changes a number.
    pub(crate) fn set(&mut self, index: usize, value: u64) {
        let mut node = self.room() + index;
        self.nodes[node] = value;
        while node > 1 {
            node /= 2;
            let larger = self.nodes[2 * node].max(self.nodes[2 * node + 1]);
            if core::mem::replace(&mut self.nodes[node], larger) == larger {
                break;
            }
        }
    }

    /// Raises a number to this value, if it is less.
    pub(crate) fn raise(&mut self, index: usize, value: u64) {
        if self.nodes[self.room() + index] < value {
            self.set(index, value);
        }
    }

    /// Inserts a number at an index.
    pub(crate) fn insert(&mut self, index: usize, value: u64) {
        if self.len + 1 >= self.room() {
            self.grow();
        }
        let (row, len) = (self.room(), self.len);
        self.len += 1;
        if index < len {
            self.nodes.copy_within(row + index..row + len, row + index + 1);
            self.nodes[row + index] = value;
            self.compare_all();
        } else {
            self.set(index, value);
        }
    }

    /// Removes a number.
    pub(crate) fn remove(&mut self, index: usize) {
        let (row, len) = (self.room(), self.len);
        self.nodes.copy_within(row + index + 1..row + len, row + index);
        self.nodes[row + len - 1] = 0;
        self.len -= 1;
        self.compare_all();
    }

    /// The index of the last number before `index` that is at least `least`, which is not zero. `index` may be the
    /// row's length.
    pub(crate) fn last_before(&self, index: usize, least: u64) -> Option<usize> {
        let row = self.room();
        let is_enough = |node: usize| self.nodes[node] >= least;
        // Up to the lowest node that has such a number to the left of the index, then down to the last of them.
        let mut node = row + index;
        while node.is_multiple_of(2) || !is_enough(node - 1) {
            node /= 2;
            if node <= 1 {
                return None;
            }
        }
        node -= 1;
        while node < row {
            node = 2 * node + usize::from(is_enough(2 * node + 1));
        }
        Some(node - row)
    }

    /// Doubles the capacity.
    fn grow(&mut self) {
        let row = self.nodes.split_off(self.room());
        let room = (2 * row.len()).max(4);
        self.nodes.clear();
        self.nodes.resize(room, 0);
        self.nodes.extend(row);
        self.nodes.resize(2 * room, 0);
        self.compare_all();
    }

    fn compare_all(&mut self) {
        for node in (1..self.room()).rev() {
            self.nodes[node] = self.nodes[2 * node].max(self.nodes[2 * node + 1]);
        }
    }
}

#[cfg(test)]
#[path = "../tests/max_tree.rs"]
mod tests;
