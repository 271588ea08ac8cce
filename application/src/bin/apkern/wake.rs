//! How bootstrap threads learn of messages: the parameter `wake=`.
//!
//! A bootstrap thread looks for a message for some time, and then asks what to do ([`Call::Wait`](abi::application::Call)).
//! For example, with `wake=interrupt` it always sleeps, and the boot CPU is interrupted for each message; papers/000 and
//! 004 have bootstrap threads that yield until a message comes.

use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// What a bootstrap thread without a message does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// It looks on as long as the boot CPU has nothing else to run. Otherwise it lets the others run, and sleeps if there
    /// is no message then: on a busy boot CPU, where there is one, that is cheaper than to be woken up.
    Adaptive,
    /// It looks on, and lets others run in between.
    Poll,
    /// It sleeps.
    Interrupt,
}

const ALL: [(&str, Wake); 3] = [("adaptive", Wake::Adaptive), ("poll", Wake::Poll), ("interrupt", Wake::Interrupt)];

/// The index of the one that is chosen.
static CHOSEN: AtomicU8 = AtomicU8::new(0);

/// Chooses by name; the name if there is no such one.
pub fn choose(name: &str) -> Result<(), &str> {
    let index = ALL.iter().position(|(named, _)| *named == name).ok_or(name)?;
    CHOSEN.store(index as u8, Relaxed);
    Ok(())
}

/// Whether this one is chosen.
pub fn is(wake: Wake) -> bool {
    CHOSEN.load(Relaxed) == wake as u8
}

/// The one that is chosen.
pub fn chosen() -> Wake {
    ALL[usize::from(CHOSEN.load(Relaxed))].1
}
