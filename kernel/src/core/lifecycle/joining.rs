//! What the kernel writes to a thread's memory when the thread ends: the word that its joiner waits for, and the
//! futexes on its robust list.
//!
//! For example, `pthread_join` waits until the word at `clear_child_tid` is 0; the kernel clears it and wakes one
//! waiter.

use crate::arch::physical::Memory;
use crate::core::linux;
use crate::core::process::Tasks;
use containers::{Channel, Space, ThreadId};

/// Clears the word that the joiner of an ending thread waits for, and wakes the joiner.
pub fn tell_joiner(memory: &mut Memory, tasks: &mut Tasks, space: Space, id: ThreadId) {
    let clear = tasks.thread(id).map_or(0, |thread| thread.clear_child_tid);
    if clear != 0 && memory.copy_out(space, clear, &0_u32.to_le_bytes()).is_ok() {
        tasks.wake(shared_futex(memory, space, clear), 1, u32::MAX);
    }
}

/// The channel of a futex. If the futex lies in a shared mapping, all processes that map it get one channel.
pub fn shared_futex(memory: &Memory, space: Space, address: u64) -> Channel {
    match memory.shared_place(space.container, address) {
        Some((object, offset)) => Channel::SharedFutex(object, offset),
        None => Channel::Futex(space.container, address),
    }
}

fn read_word(memory: &mut Memory, space: Space, address: u64) -> Option<u32> {
    let mut word = [0; 4];
    memory.copy_in(space, address, &mut word).ok().map(|()| u32::from_le_bytes(word))
}

fn read_pointer(memory: &mut Memory, space: Space, address: u64) -> Option<u64> {
    let mut word = [0; 8];
    memory.copy_in(space, address, &mut word).ok().map(|()| u64::from_le_bytes(word))
}

/// The most robust futexes that are released when threads end together.
pub const ROBUST: usize = 2048;

/// Marks the futexes on an ending thread's robust list as orphaned, if the thread owns them, and wakes a waiter of
/// each. The program keeps the list, so it may be corrupt or endless: at most `room` futexes are looked at, and `room`
/// falls by each of them.
#[inline]
pub fn release_robust(memory: &mut Memory, tasks: &mut Tasks, space: Space, id: ThreadId, room: &mut usize) {
    if let Some(thread) = tasks.thread(id).filter(|thread| thread.robust_list != 0) {
        let (head, number) = (thread.robust_list, thread.number);
        release_list(memory, tasks, space, (head, number), room);
    }
}

/// Releases the robust futexes on the list whose head is at an address, for the thread with a given number.
#[inline(never)]
fn release_list(memory: &mut Memory, tasks: &mut Tasks, space: Space, (head, number): (u64, u32), room: &mut usize) {
    let offset = read_pointer(memory, space, head.wrapping_add(8));
    let about_to = read_pointer(memory, space, head.wrapping_add(16)).filter(|entry| *entry != 0);
    let Some(offset) = offset else { return };
    let mut entry = read_pointer(memory, space, head);
    let mut release = |memory: &mut Memory, entry: u64| {
        let address = (entry & !1).wrapping_add(offset);
        let is_mine = |word: u32| word & linux::FUTEX_TID_MASK == number;
        // The word is changed atomically: on another CPU a thread that is about to wait may be setting its waiters bit.
        let left = |word| if is_mine(word) { word & linux::FUTEX_WAITERS | linux::FUTEX_OWNER_DIED } else { word };
        if read_word(memory, space, address).is_some_and(is_mine)
            && memory
                .change_word(space, address, left)
                .is_ok_and(|word| is_mine(word) && word & linux::FUTEX_WAITERS != 0)
        {
            tasks.wake(shared_futex(memory, space, address), 1, u32::MAX);
        }
    };
    while let Some(at) = entry.filter(|at| *at & !1 != head && *room > 0) {
        *room -= 1;
        entry = read_pointer(memory, space, at & !1);
        if Some(at) != about_to {
            release(memory, at);
        }
    }
    if let Some(at) = about_to {
        release(memory, at);
    }
}
