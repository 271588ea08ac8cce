//! Signals by number, and a process's action for each.

use alloc::rc::Rc;
use containers::signals::bit;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub const SIGHUP: u8 = 1;
pub const SIGINT: u8 = 2;
pub const SIGQUIT: u8 = 3;
pub const SIGILL: u8 = 4;
pub const SIGTRAP: u8 = 5;
pub const SIGABRT: u8 = 6;
pub const SIGBUS: u8 = 7;
pub const SIGFPE: u8 = 8;
pub const SIGKILL: u8 = 9;
pub const SIGSEGV: u8 = 11;
pub const SIGPIPE: u8 = 13;
pub const SIGALRM: u8 = 14;
pub const SIGTERM: u8 = 15;
pub const SIGCHLD: u8 = 17;
pub const SIGCONT: u8 = 18;
pub const SIGSTOP: u8 = 19;
pub const SIGXFSZ: u8 = 25;
pub const SIGTSTP: u8 = 20;
pub const SIGTTIN: u8 = 21;
pub const SIGTTOU: u8 = 22;
pub const SIGURG: u8 = 23;
pub const SIGWINCH: u8 = 28;
pub const SI_USER: i32 = 0;
pub const SI_TKILL: i32 = -6;
pub const SI_KERNEL: i32 = 128;
pub const CLD_EXITED: i32 = 1;
pub const CLD_KILLED: i32 = 2;
pub const CLD_STOPPED: i32 = 5;
pub const CLD_CONTINUED: i32 = 6;
pub const FPE_INTDIV: i32 = 1;
pub const ILL_ILLOPN: i32 = 2;
pub const TRAP_TRACE: i32 = 2;
pub const SEGV_MAPERR: i32 = 1;
pub const SEGV_ACCERR: i32 = 2;
pub const BUS_ADRALN: i32 = 1;
pub const BUS_ADRERR: i32 = 2;

/// The highest signal number; the lowest is 1.
pub const SIGNALS: u8 = 64;

/// Signals that can be neither handled nor blocked.
pub const UNSTOPPABLE: u64 = bit(SIGKILL) | bit(SIGSTOP);

/// Signals that stop a process by default.
pub const STOPS: u64 = bit(SIGSTOP) | bit(SIGTSTP) | bit(SIGTTIN) | bit(SIGTTOU);

/// The log's name for a signal.
pub fn name(signal: u8) -> &'static str {
    match signal {
        SIGHUP => "SIGHUP",
        SIGINT => "SIGINT",
        SIGQUIT => "SIGQUIT",
        SIGILL => "SIGILL",
        SIGTRAP => "SIGTRAP",
        SIGABRT => "SIGABRT",
        SIGBUS => "SIGBUS",
        SIGFPE => "SIGFPE",
        SIGKILL => "SIGKILL",
        SIGSEGV => "SIGSEGV",
        SIGPIPE => "SIGPIPE",
        SIGALRM => "SIGALRM",
        SIGTERM => "SIGTERM",
        SIGXFSZ => "SIGXFSZ",
        _ => "a signal",
    }
}

/// A process's action for a signal, as `rt_sigaction` has it.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Action {
    /// [`DEFAULT`], [`IGNORE`] or the handler's address.
    pub handler: u64,
    /// `SA_` flags.
    pub flags: u64,
    /// The address that the handler returns to.
    pub restorer: u64,
    /// Signals that are blocked while the handler runs.
    pub mask: u64,
}

/// `SIG_DFL`
pub const DEFAULT: u64 = 0;
/// `SIG_IGN`
pub const IGNORE: u64 = 1;

impl Action {
    /// Whether this action for `SIGCHLD` says that the process does not wait for children, so that they leave no
    /// zombies.
    pub fn leaves_no_zombies(&self) -> bool {
        const SA_NOCLDWAIT: u64 = 2;
        self.handler == IGNORE || self.flags & SA_NOCLDWAIT != 0
    }
}

/// A flag of `SIGCHLD`'s action: the signal is not sent when a child stops or continues.
pub const SA_NOCLDSTOP: u64 = 1;

/// A process's actions. The table is made with the first action that is not the default; a child shares its parent's
/// table until one of them changes an action.
#[derive(Default, Clone)]
pub struct Handlers(Option<Rc<[Action; SIGNALS as usize]>>);

impl Handlers {
    /// The action for a signal.
    pub fn get(&self, signal: u8) -> Action {
        self.0.as_ref().and_then(|actions| actions.get(usize::from(signal) - 1)).copied().unwrap_or_default()
    }

    /// Sets the action for a signal.
    pub fn set(&mut self, signal: u8, action: Action) {
        let actions = self.0.get_or_insert_with(|| Rc::new([Action::default(); SIGNALS as usize]));
        if let Some(slot) = Rc::make_mut(actions).get_mut(usize::from(signal) - 1) {
            *slot = action;
        }
    }
}

impl Handlers {
    /// Resets the actions when another program begins: signals that were ignored stay ignored, all others get the
    /// default.
    pub fn forget_functions(&mut self) {
        for action in self.0.iter_mut().flat_map(Rc::make_mut) {
            let handler = if action.handler == IGNORE { IGNORE } else { DEFAULT };
            *action = Action { handler, ..Action::default() };
        }
    }
}

/// The effect of a signal's delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// It does nothing.
    Nothing,
    /// The process stops.
    Stops,
    /// The process ends.
    Ends,
    /// A handler runs.
    Handler,
}

/// The effect of a signal's delivery to a process with these actions.
pub fn effect_with(handlers: &Handlers, signal: u8) -> Effect {
    effect_of(&handlers.get(signal), signal)
}

/// The effect of a signal's delivery by this action.
pub fn effect_of(action: &Action, signal: u8) -> Effect {
    match action.handler {
        DEFAULT if matches!(signal, SIGCHLD | SIGURG | SIGWINCH | SIGCONT) => Effect::Nothing,
        DEFAULT if STOPS & bit(signal) != 0 => Effect::Stops,
        DEFAULT => Effect::Ends,
        IGNORE => Effect::Nothing,
        _ => Effect::Handler,
    }
}
