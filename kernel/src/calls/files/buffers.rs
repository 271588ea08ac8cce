//! Moving the bytes of several buffers, one after the other, and how far that has come.

use super::io::BYTES_MAX;
use super::transfer::{Buffer, Step};
use ::files::Errno;
use containers::{Budget, Point, Wait};

/// The result of moving a call's buffers.
pub struct Outcome {
    /// Bytes moved, in this call and when it was made before.
    pub done: u64,
    /// The event that the call has to wait for to go on.
    pub wait: Option<Wait>,
    /// The error for which the call cannot go on.
    pub error: Option<Errno>,
    /// Whether the call has done as much as one visit may.
    pub unfinished: bool,
}

impl Outcome {
    /// How far the call has come.
    pub(super) fn point(&self, ends_for_handlers: bool) -> Point {
        Point { progress: self.done, place: 0, ends_for_handlers }
    }
}

/// Instructions that a buffer costs besides its bytes, roughly.
const COST_OF_A_BUFFER: u64 = 500;

/// Bytes that there is room for in buffers; saturating.
pub fn total(buffers: &[Buffer]) -> u64 {
    buffers.iter().fold(0, |total, buffer| total.saturating_add(buffer.length))
}

/// Passes each buffer to `transfer`, with the number of bytes done before it, until one is not moved whole or the visit
/// has done enough; a byte costs a given number of instructions. The first `progress` bytes have been moved by earlier
/// visits.
#[inline(always)]
pub fn each(
    buffers: &[Buffer],
    progress: u64,
    cost: u64,
    mut transfer: impl FnMut(Buffer, u64) -> Result<Step, Errno>,
) -> Outcome {
    let mut budget = Budget::of_a_visit();
    let mut done = progress;
    let mut skip = progress;
    for buffer in buffers {
        let skipped = skip.min(buffer.length);
        skip -= skipped;
        let length = (buffer.length - skipped).min(BYTES_MAX.saturating_sub(done));
        if length == 0 {
            continue;
        }
        let most = budget.left().checked_div(cost).map_or(length, |bytes| bytes.min(length));
        if most == 0 {
            return Outcome { done, wait: None, error: None, unfinished: true };
        }
        match transfer(Buffer { address: buffer.address.wrapping_add(skipped), length: most }, done) {
            Ok(step) => {
                done += step.done;
                if step.done < most {
                    return Outcome { done, wait: step.wait, error: None, unfinished: false };
                }
            }
            Err(error) => return Outcome { done, wait: None, error: Some(error), unfinished: false },
        }
        if most < length {
            return Outcome { done, wait: None, error: None, unfinished: true };
        }
        budget.spend(most * cost + COST_OF_A_BUFFER);
    }
    Outcome { done, wait: None, error: None, unfinished: false }
}
