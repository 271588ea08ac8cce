//! `futex`: threads wait until a word in user memory changes, and are woken up by address.

use super::argument::{Argument, Pointer};
use super::time::{Timespec, relative};
use super::{Answer, Caller, Reply, bad_address, point, preempt_at, restart, value};
use crate::core::kernel::{Memory, Tasks};
use crate::core::lifecycle::joining::shared_futex;
use crate::core::linux;
use ::files::Errno;
use containers::directory::USER_END;
use containers::tasks::{MAX_PROCESSES, MAX_THREADS};
use containers::{Backing, Channel, Point, Region, Resume, Rights, Space, Wait};
use hardware::clock;

/// The channel of a futex. Unless the program says that the futex is private, there must be memory at its address:
/// `EFAULT`
#[inline]
fn futex_at(memory: &Memory, space: Space, address: u64, private: bool) -> Result<Channel, Errno> {
    if private { Ok(Channel::Futex(space.container, address)) } else { public_futex_at(memory, space, address) }
}

/// The channel of a futex that other processes may use too.
fn public_futex_at(memory: &Memory, space: Space, address: u64) -> Result<Channel, Errno> {
    let region = memory.container(space.container).and_then(|container| container.regions.at(address));
    // As on Linux, memory that no process can write holds no futex.
    let holds = |region: &Region| match region.backing {
        Backing::Object { .. } => region.rights.contains(Rights::READ),
        _ => region.rights.contains(Rights::WRITE),
    };
    if region.is_some_and(holds) { Ok(shared_futex(memory, space, address)) } else { Err(Errno::EFAULT) }
}

/// What `futex` is to do.
#[derive(Clone, Copy)]
pub struct Operation {
    /// The address of the word.
    pub word: u64,
    /// The command and its flags.
    pub operation: u32,
    /// The value compared, or how many threads to wake up.
    pub number: u32,
    /// A time-out, or how many threads to wake up or move at the second word.
    pub fourth: u64,
    /// The address of the second word.
    pub second: u64,
    /// Bits, a second value compared, or the code of `FUTEX_WAKE_OP`.
    pub third: u32,
}

/// Threads to wake up or move: a negative number is none.
fn count(number: u32) -> usize {
    (number as i32).max(0) as usize
}

/// `futex(word, operation, value, time-out or second value, second word, third value)`
pub fn futex(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, wanted: Operation) -> Answer {
    let Operation { word, operation, number, fourth, third, .. } = wanted;
    let realtime = operation & linux::FUTEX_CLOCK_REALTIME != 0;
    let private = operation & linux::FUTEX_PRIVATE_FLAG != 0;
    let channel = |memory: &Memory, address| futex_at(memory, caller.space, address, private);
    let command = operation & linux::FUTEX_CMD_MASK as u32;
    let is_known = matches!(
        command,
        linux::FUTEX_WAIT
            | linux::FUTEX_WAKE
            | linux::FUTEX_REQUEUE
            | linux::FUTEX_CMP_REQUEUE
            | linux::FUTEX_WAKE_OP
            | linux::FUTEX_WAIT_BITSET
            | linux::FUTEX_WAKE_BITSET
    );
    if !is_known || realtime && command != linux::FUTEX_WAIT_BITSET {
        return Err(Errno::ENOSYS);
    }
    if !word.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    if word >= USER_END {
        return Err(Errno::EFAULT);
    }
    match command {
        linux::FUTEX_WAIT | linux::FUTEX_WAIT_BITSET => {
            let time = Argument::of(fourth);
            let (deadline, bits) = match command {
                linux::FUTEX_WAIT => (relative(caller, memory, tasks, time)?, u32::MAX),
                _ => {
                    restart(tasks, caller);
                    (absolute(caller, memory, time, realtime)?, third)
                }
            };
            if bits == 0 {
                return Err(Errno::EINVAL);
            }
            if memory.word(caller.space, word).map_err(bad_address)? != number {
                return Err(Errno::EAGAIN);
            }
            let wait = Wait {
                channel: channel(memory, word)?,
                deadline,
                woken: Resume::Return(0),
                expired: Resume::Return(-i64::from(Errno::ETIMEDOUT.into_raw())),
                bits,
                progress: 0,
            };
            tasks.park(caller.thread, wait);
            Ok(Reply::Parked)
        }
        linux::FUTEX_WAKE_BITSET if third == 0 => Err(Errno::EINVAL),
        linux::FUTEX_WAKE | linux::FUTEX_WAKE_BITSET => {
            let bits = if command == linux::FUTEX_WAKE { u32::MAX } else { third };
            let channel = channel(memory, word)?;
            match count(number).max(1) {
                few @ ..=AT_ONCE if !caller.resumed => value(tasks.wake(channel, few, bits)),
                most => {
                    let begun = point(tasks, caller);
                    in_pieces(caller, tasks, begun, [most, 0], |tasks, _, most| tasks.wake(channel, most, bits))
                }
            }
        }
        _ => futex_of_two(caller, memory, tasks, &wanted, (command, private)),
    }
}

/// The operations of `futex` on two words.
fn futex_of_two(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    wanted: &Operation,
    (command, private): (u32, bool),
) -> Answer {
    let Operation { word, number, second, third, .. } = *wanted;
    let numbers = [number, wanted.fourth as u32];
    let channel = |memory: &Memory, address| futex_at(memory, caller.space, address, private);
    if !second.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    let begun = point(tasks, caller);
    let is_first = begun.progress == 0;
    let most = numbers.map(count);
    if command == linux::FUTEX_WAKE_OP {
        let from = channel(memory, word)?;
        let also = match is_first {
            true => operate(caller, memory, second, third)?,
            false => begun.place & FIRST_ALONE == 0,
        };
        let to = if also { Some(channel(memory, second)?) } else { None };
        let most = [most[0], if also { most[1] } else { 0 }];
        return in_pieces(caller, tasks, begun, most, |tasks, step, most| match step {
            0 => tasks.wake(from, most, u32::MAX),
            _ => to.map_or(0, |to| tasks.wake(to, most, u32::MAX)),
        });
    }
    if numbers.iter().any(|number| (*number as i32) < 0) {
        return Err(Errno::EINVAL);
    }
    if second >= USER_END {
        return Err(Errno::EFAULT);
    }
    if command == linux::FUTEX_CMP_REQUEUE && is_first && memory.word(caller.space, word).map_err(bad_address)? != third
    {
        return Err(Errno::EAGAIN);
    }
    let (from, to) = (channel(memory, word)?, channel(memory, second)?);
    in_pieces(caller, tasks, begun, most, |tasks, step, most| match step {
        0 => tasks.wake(from, most, u32::MAX),
        _ => tasks.requeue(from, to, most),
    })
}

/// The most waiters that one visit wakes or moves.
const AT_ONCE: usize = 200;

/// A bit of a preemption point's place: the second step does nothing.
const FIRST_ALONE: u64 = 1 << 32;

/// Wakes or moves waiters in two steps, each with a most: `act` handles as many waiters of a step as it is told, and
/// returns how many there were. Later visits go on with the steps of the first, whatever has become of the words. A
/// thread that begins to wait in between may be woken too, but in all no more are woken than there can be threads.
fn in_pieces(
    caller: &Caller,
    tasks: &mut Tasks,
    begun: Point,
    most: [usize; 2],
    mut act: impl FnMut(&mut Tasks, usize, usize) -> usize,
) -> Answer {
    const ALL: u64 = MAX_THREADS as u64 + MAX_PROCESSES as u64;
    let first = begun.place & (FIRST_ALONE - 1);
    let mut done = [first, begun.progress - first].map(|done| done as usize);
    let mut left = AT_ONCE;
    for (step, done) in done.iter_mut().enumerate() {
        let now = act(tasks, step, (most[step] - *done).min(left));
        (*done, left) = (*done + now, left - now);
    }
    let progress = (done[0] + done[1]) as u64;
    if left > 0 || progress >= ALL {
        return value(progress);
    }
    let place = done[0] as u64 | if most[1] == 0 { FIRST_ALONE } else { 0 };
    preempt_at(tasks, caller, Point { progress, place, ends_for_handlers: false })
}

/// The operation of `FUTEX_WAKE_OP`: changes the second word as `code` says, and returns whether the comparison in
/// `code` held for the old value.
fn operate(caller: &Caller, memory: &mut Memory, address: u64, code: u32) -> Result<bool, Errno> {
    let signed = |field: u32| (field << 20) as i32 >> 20;
    let (mut operand, against) = (signed(code >> 12 & 0xfff) as u32, signed(code & 0xfff));
    if code >> 28 & linux::FUTEX_OP_OPARG_SHIFT != 0 {
        operand = 1_u32.wrapping_shl(operand);
    }
    let change: fn(u32, u32) -> u32 = match code >> 28 & 7 {
        linux::FUTEX_OP_SET => |_, operand| operand,
        linux::FUTEX_OP_ADD => u32::wrapping_add,
        linux::FUTEX_OP_OR => |old, operand| old | operand,
        linux::FUTEX_OP_ANDN => |old, operand| old & !operand,
        linux::FUTEX_OP_XOR => |old, operand| old ^ operand,
        _ => return Err(Errno::ENOSYS),
    };
    // The change is atomic: user threads may be changing the word on other CPUs.
    let old = memory.change_word(caller.space, address, |old| change(old, operand)).map_err(bad_address)? as i32;
    match code >> 24 & 0xf {
        linux::FUTEX_OP_CMP_EQ => Ok(old == against),
        linux::FUTEX_OP_CMP_NE => Ok(old != against),
        linux::FUTEX_OP_CMP_LT => Ok(old < against),
        linux::FUTEX_OP_CMP_LE => Ok(old <= against),
        linux::FUTEX_OP_CMP_GT => Ok(old > against),
        linux::FUTEX_OP_CMP_GE => Ok(old >= against),
        _ => Err(Errno::ENOSYS),
    }
}

/// The deadline for an absolute time, by the wall clock or since boot.
fn absolute(
    caller: &Caller,
    memory: &mut Memory,
    time: Option<Pointer<Timespec>>,
    realtime: bool,
) -> Result<Option<u64>, Errno> {
    let Some(time) = time else { return Ok(None) };
    let time = caller.read(memory, time)?.total()?;
    if !realtime {
        return Ok(Some(time));
    }
    Ok(Some(clock::nanoseconds().saturating_add(time.saturating_sub(clock::wall_clock()))))
}
