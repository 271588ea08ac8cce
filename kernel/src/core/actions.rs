//! Signals by number, and a process's action for each.

use super::linux;
use alloc::rc::Rc;
use containers::signals::bit;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Linux's constants of these names, as numbers of the type that they have here.
macro_rules! linux {
    ($type:ty: $($name:ident),+) => {
        $(pub const $name: $type = linux::$name as $type;)+
    };
}

linux!(u8: SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGSEGV, SIGPIPE, SIGALRM, SIGTERM);
linux!(u8: SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGXFSZ, SIGWINCH);
linux!(i32: SI_USER, SI_TKILL, SI_KERNEL, CLD_EXITED, CLD_KILLED, CLD_STOPPED, CLD_CONTINUED);
linux!(i32: FPE_INTDIV, ILL_ILLOPN, TRAP_TRACE, SEGV_MAPERR, SEGV_ACCERR, BUS_ADRALN, BUS_ADRERR);
// Flags of actions, of which a program gives a word of 64 bits.
linux!(u64: SA_NOCLDSTOP, SA_NOCLDWAIT, SA_RESTORER, SA_ONSTACK, SA_RESTART, SA_NODEFER, SA_RESETHAND);

/// The highest signal number; the lowest is 1.
pub const SIGNALS: u8 = linux::_NSIG as u8;

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
        self.handler == IGNORE || self.flags & SA_NOCLDWAIT != 0
    }
}

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
