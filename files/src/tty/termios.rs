//! The terminal's settings, in the layouts of `TCGETS` and `TIOCGWINSZ`.

use bitflags::bitflags;
use linux_raw_sys::general as linux;

bitflags! {
    /// `c_iflag`. Other modes are kept and have no effect.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct InputModes: u32 {
        /// Clear the eighth bit.
        const ISTRIP = linux::ISTRIP;
        /// Newline is read as carriage return.
        const INLCR = linux::INLCR;
        /// Carriage return is ignored.
        const IGNCR = linux::IGNCR;
        /// Carriage return is read as newline.
        const ICRNL = linux::ICRNL;
        /// Ring the bell when the queue is full.
        const IMAXBEL = linux::IMAXBEL;
        /// Erasing takes whole UTF-8 characters.
        const IUTF8 = linux::IUTF8;
        const _ = !0;
    }

    /// `c_oflag`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct OutputModes: u32 {
        /// The other modes have an effect.
        const OPOST = linux::OPOST;
        /// Newline is written as carriage return and newline.
        const ONLCR = linux::ONLCR;
        /// Carriage return is written as newline.
        const OCRNL = linux::OCRNL;
        /// Tabs are written as spaces (`XTABS`).
        const TAB3 = linux::TAB3;
        const _ = !0;
    }

    /// `c_lflag`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct LocalModes: u32 {
        /// Some characters send signals.
        const ISIG = linux::ISIG;
        /// Input is read in lines, which can be edited.
        const ICANON = linux::ICANON;
        /// Input is shown.
        const ECHO = linux::ECHO;
        /// Erasing rubs the character out.
        const ECHOE = linux::ECHOE;
        /// Killing the line starts a new one.
        const ECHOK = linux::ECHOK;
        /// Newline is shown even without `ECHO`.
        const ECHONL = linux::ECHONL;
        /// A signal leaves the queues alone.
        const NOFLSH = linux::NOFLSH;
        /// A process that writes in the background is stopped.
        const TOSTOP = linux::TOSTOP;
        /// Control characters are shown as `^X`.
        const ECHOCTL = linux::ECHOCTL;
        /// Killing the line rubs it out.
        const ECHOKE = linux::ECHOKE;
        /// `VWERASE`, `VLNEXT` and `VREPRINT` have an effect.
        const IEXTEN = linux::IEXTEN;
        const _ = !0;
    }
}

/// The function of a control character: an index into [`Termios::control`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are those of termios(3)")]
pub enum Control {
    Intr = linux::VINTR as isize,
    Quit = linux::VQUIT as isize,
    Erase = linux::VERASE as isize,
    Kill = linux::VKILL as isize,
    Eof = linux::VEOF as isize,
    Time = linux::VTIME as isize,
    Min = linux::VMIN as isize,
    Susp = linux::VSUSP as isize,
    Eol = linux::VEOL as isize,
    Reprint = linux::VREPRINT as isize,
    Werase = linux::VWERASE as isize,
    Lnext = linux::VLNEXT as isize,
    Eol2 = linux::VEOL2 as isize,
}

/// The kernel's `struct termios`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Termios {
    /// `c_iflag`.
    pub input: InputModes,
    /// `c_oflag`.
    pub output: OutputModes,
    /// `c_cflag`: kept, without effect.
    pub line: u32,
    /// `c_lflag`.
    pub local: LocalModes,
    /// `c_line`.
    pub discipline: u8,
    /// `c_cc`; 0 turns a character off.
    pub control: [u8; 19],
}

impl Termios {
    /// Bytes of a `struct termios`.
    pub const SIZE: usize = 36;

    /// The settings of a new terminal: Linux's, but with UTF-8 and without flow control by ^S and ^Q, which does not
    /// exist here.
    pub const DEFAULT: Termios = Termios {
        input: InputModes::ICRNL.union(InputModes::IUTF8),
        output: OutputModes::OPOST.union(OutputModes::ONLCR),
        line: linux::B38400 | linux::CS8 | linux::CREAD | linux::HUPCL,
        local: LocalModes::ISIG
            .union(LocalModes::ICANON)
            .union(LocalModes::ECHO)
            .union(LocalModes::ECHOE)
            .union(LocalModes::ECHOK)
            .union(LocalModes::ECHOCTL)
            .union(LocalModes::ECHOKE)
            .union(LocalModes::IEXTEN),
        discipline: 0,
        control: *b"\x03\x1c\x7f\x15\x04\x00\x01\x00\x11\x13\x1a\x00\x12\x0f\x17\x16\0\0\0",
    };

    /// The character for a function, or the number (`Min`, `Time`).
    pub fn control(&self, what: Control) -> u8 {
        self.control.get(what as usize).copied().unwrap_or(0)
    }

    /// Whether a byte has this function.
    pub(super) fn is(&self, byte: u8, what: Control) -> bool {
        byte != 0 && byte == self.control(what)
    }

    /// The structure in memory, little endian.
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let words = [self.input.bits(), self.output.bits(), self.line, self.local.bits()];
        let words = words.into_iter().flat_map(u32::to_le_bytes);
        let bytes = words.chain([self.discipline]).chain(self.control);
        let mut structure = [0; Self::SIZE];
        structure.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        structure
    }

    /// The settings in a structure in memory.
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Termios {
        let word = |n: usize| u32::from_le_bytes([bytes[n], bytes[n + 1], bytes[n + 2], bytes[n + 3]]);
        let mut control = [0; 19];
        control.copy_from_slice(&bytes[17..]);
        Termios {
            input: InputModes::from_bits_retain(word(0)),
            output: OutputModes::from_bits_retain(word(4)),
            line: word(8),
            local: LocalModes::from_bits_retain(word(12)),
            discipline: bytes[16],
            control,
        }
    }
}

/// `struct winsize`: rows and columns, and the size in pixels, which is unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WindowSize {
    /// Rows of characters.
    pub rows: u16,
    /// Columns of characters.
    pub columns: u16,
    /// Width and height in pixels.
    pub pixels: (u16, u16),
}

impl WindowSize {
    /// The structure in memory.
    pub fn to_bytes(self) -> [u8; 8] {
        let [a, b] = self.rows.to_le_bytes();
        let [c, d] = self.columns.to_le_bytes();
        let [e, f] = self.pixels.0.to_le_bytes();
        let [g, h] = self.pixels.1.to_le_bytes();
        [a, b, c, d, e, f, g, h]
    }

    /// The size in a structure in memory.
    pub fn from_bytes([a, b, c, d, e, f, g, h]: [u8; 8]) -> WindowSize {
        let half = |low, high| u16::from_le_bytes([low, high]);
        WindowSize { rows: half(a, b), columns: half(c, d), pixels: (half(e, f), half(g, h)) }
    }
}
