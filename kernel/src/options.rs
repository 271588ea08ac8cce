//! What the kernel's command line asks for.

use crate::core::console::ConsoleMode;
use crate::strategies::{Chosen, Strategy};
use ::files::size::Size;
use abi::channel;
use abi::words::WORDS;
use containers::Affinity;
use hardware::exit;

/// What the kernel's command line asks for.
#[derive(Default)]
pub struct Options {
    /// Whether the console, framed for the host, is a terminal or pipes; `None`: there is no host, and it is a plain
    /// terminal.
    pub console: Option<ConsoleMode>,
    /// Rows and columns of the terminal.
    pub size: (u16, u16),
    /// Whether the kernel reports statistics at the end.
    pub statistics: bool,
    /// How large the file system may become, if the command line sets that.
    pub file_system: Option<Size>,
    /// The seed from which all random numbers follow; `None`: they are unpredictable.
    pub seed: Option<u64>,
    /// Whether the parts of Linux programs go to fixed addresses.
    pub fixed_places: bool,
    /// Whether processes may load extensions.
    pub extensions: bool,
    /// The extension that the boot loads: its path, and behind colons its parameters.
    pub load: Option<&'static str>,
    /// How a thread is tied to the CPU that it ran on.
    pub affinity: Affinity,
}

/// The strategy that this kernel was built with.
const STRATEGY: &str = <Chosen as Strategy>::NAME;

impl Options {
    /// Reads the command line. A word that is unknown, or does not concern this kernel, is logged and otherwise
    /// ignored. A strategy that the kernel does not have ends the run, which would otherwise show another strategy than
    /// the user asked for.
    pub fn read(command_line: &'static str) -> Options {
        let mut options = Options { size: (24, 80), ..Options::default() };
        for word in command_line.split_ascii_whitespace() {
            match WORDS.iter().find_map(|known| Some((known, word.strip_prefix(known.begin)?))) {
                Some((known, _)) if !is_for_this_kernel(known.begin) => {
                    log::warn!("{word} means nothing to this kernel");
                }
                Some((known, value)) if options.take(known.begin, value).is_none() => {
                    log::warn!("{word} is not understood: behind {} comes {}", known.begin, known.value);
                }
                Some(_) => {}
                // The boot loader may have put the kernel's own path there.
                None if word.starts_with('/') => {}
                None => log::warn!("unknown word on the command line: {word}"),
            }
        }
        options
    }

    /// Takes an option, given the beginning of its word and its value. `None`: the value is none that the option may
    /// have.
    fn take(&mut self, begin: &str, value: &'static str) -> Option<()> {
        match begin {
            channel::CONSOLE_WORD => {
                let modes = [(channel::CONSOLE_PIPE, ConsoleMode::Pipe), (channel::CONSOLE_TTY, ConsoleMode::Terminal)];
                self.console = Some(one_of(value, modes)?);
            }
            channel::ROWS_WORD => self.size.0 = value.parse().ok()?,
            channel::COLUMNS_WORD => self.size.1 = value.parse().ok()?,
            channel::STRATEGY_WORD if value != STRATEGY => {
                exit::fatal(format_args!("this kernel has no strategy `{value}`, only `{STRATEGY}`"))
            }
            #[cfg(feature = "smp")]
            channel::PATIENCE_WORD => crate::arch::patience::set(value.parse().ok().filter(|bound| *bound > 0)?),
            channel::SIZE_WORD => self.file_system = Some(Size::parse(value)?),
            channel::SEED_WORD => {
                self.seed = Some(value.parse().ok()?);
                log::info!("{begin}{value}: random numbers can be foretold");
            }
            channel::ASLR_WORD => {
                self.fixed_places = one_of(value, [(channel::ASLR_ON, false), (channel::ASLR_OFF, true)])?;
            }
            channel::AFFINITY_WORD => {
                let kinds = [(channel::AFFINITY_SOFT, Affinity::Soft), (channel::AFFINITY_STRICT, Affinity::Strict)];
                self.affinity = one_of(value, kinds)?;
            }
            channel::EXTENSIONS_WORD => self.extensions = value.is_empty().then_some(true)?,
            channel::LOAD_WORD => self.load = Some(value),
            channel::STATS_WORD => self.statistics = value.is_empty().then_some(true)?,
            // The recorder has read its own words long before; the strategy has been checked.
            _ => {}
        }
        Some(())
    }
}

/// Whether this kernel has the feature that an option, given by the beginning of its word, is about.
fn is_for_this_kernel(begin: &str) -> bool {
    let of_several = [channel::PATIENCE_WORD, channel::AFFINITY_WORD].contains(&begin);
    let of_traces = [channel::TRACE_WORD, channel::TRACE_CPU_WORD, channel::TRACE_REGION_WORD].contains(&begin);
    (!of_several || cfg!(feature = "smp")) && (!of_traces || cfg!(feature = "trace"))
}

/// The meaning of a value in a list of values and meanings.
fn one_of<T, const N: usize>(value: &str, meanings: [(&str, T); N]) -> Option<T> {
    meanings.into_iter().find_map(|(name, meaning)| (name == value).then_some(meaning))
}
