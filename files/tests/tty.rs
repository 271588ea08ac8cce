//! What is typed, what is shown, what is read.

use files::Tty;
use files::tty::{Control, Framing, Input, InputModes, LocalModes, OutputModes, QUEUE, Read, Signal};
use files::tty::{Termios, WindowSize};
use proptest::prelude::*;

fn terminal() -> Tty {
    Tty::new(true, WindowSize { rows: 24, columns: 80, pixels: (0, 0) })
}

fn terminal_with(change: impl FnOnce(&mut Termios)) -> Tty {
    let mut tty = terminal();
    let mut termios = *tty.termios();
    change(&mut termios);
    tty.set_termios(termios, false);
    tty
}

fn raw(minimum: u8, time: u8) -> Tty {
    terminal_with(|termios| {
        termios.local -= LocalModes::ICANON | LocalModes::ECHO;
        termios.control[Control::Min as usize] = minimum;
        termios.control[Control::Time as usize] = time;
    })
}

/// Types bytes; what was shown and the last signal.
fn enter(tty: &mut Tty, bytes: &[u8]) -> (Vec<u8>, Option<Signal>) {
    let mut shown = Vec::new();
    let signals = bytes.iter().filter_map(|&byte| tty.input(byte, &mut |byte| shown.push(byte)));
    let signal = signals.last();
    (shown, signal)
}

fn shown(tty: &mut Tty, bytes: &[u8]) -> String {
    String::from_utf8(enter(tty, bytes).0).unwrap()
}

fn read(tty: &mut Tty, len: usize) -> Result<Vec<u8>, Read> {
    let mut buffer = vec![0; len];
    match tty.read(&mut buffer) {
        Read::Bytes(read) => Ok(buffer[..read].into()),
        other => Err(other),
    }
}

fn line(tty: &mut Tty) -> String {
    String::from_utf8(read(tty, QUEUE).unwrap()).unwrap()
}

fn write(tty: &mut Tty, bytes: &[u8]) -> Vec<u8> {
    let mut written = Vec::new();
    bytes.iter().for_each(|&byte| tty.output(byte, &mut |byte| written.push(byte)));
    written
}

const BLOCKED: Result<Vec<u8>, Read> = Err(Read::WouldBlock { deciseconds: None });

#[test]
fn a_line_is_readable_when_it_is_finished() {
    let mut tty = terminal();
    assert_eq!(shown(&mut tty, b"hi there"), "hi there");
    assert_eq!((tty.readable(), tty.available(), read(&mut tty, 9)), (false, 0, BLOCKED));
    assert_eq!(shown(&mut tty, b"\rnext\n"), "\r\nnext\r\n");
    assert_eq!((tty.readable(), tty.available()), (true, 14));
    // One line at a time, in as many pieces as the reader likes.
    assert_eq!((read(&mut tty, 3).unwrap(), line(&mut tty)), (b"hi ".to_vec(), "there\n".into()));
    assert_eq!((line(&mut tty), read(&mut tty, 9)), ("next\n".into(), BLOCKED));
}

#[test]
fn end_of_file_ends_a_line_or_is_one_empty_read() {
    let mut tty = terminal();
    assert_eq!(shown(&mut tty, b"abc\x04"), "abc");
    assert_eq!((line(&mut tty), read(&mut tty, 9)), ("abc".into(), BLOCKED));
    enter(&mut tty, b"\x04x\n");
    assert!(tty.readable());
    assert_eq!((read(&mut tty, 9), line(&mut tty)), (Err(Read::EndOfFile), "x\n".into()));
    // A read that takes exactly what stood before the mark takes the mark as well.
    enter(&mut tty, b"abc\x04");
    assert_eq!((read(&mut tty, 3), read(&mut tty, 3)), (Ok(b"abc".to_vec()), BLOCKED));
    // Input that has ended for good gives what is left, and then nothing for ever.
    enter(&mut tty, b"rest");
    tty.end_input();
    assert_eq!(
        (line(&mut tty), read(&mut tty, 9), read(&mut tty, 9)),
        ("rest".into(), Err(Read::EndOfFile), Err(Read::EndOfFile))
    );
    assert!(tty.readable());
}

#[test]
fn editing_takes_back_what_was_shown() {
    let mut tty = terminal();
    assert_eq!(shown(&mut tty, b"\x7fab\x7f"), "ab\x08 \x08");
    assert_eq!(shown(&mut tty, b"\x01\x7f"), "^A\x08 \x08\x08 \x08");
    assert_eq!(shown(&mut tty, "é\x7f".as_bytes()), "é\x08 \x08");
    // The column is 1: the tab goes to 8, and back.
    assert_eq!(shown(&mut tty, b"\t\x7f"), format!("\t{}", "\x08 \x08".repeat(7)));
    assert_eq!(shown(&mut tty, b" one two  \x17"), format!(" one two  {}", "\x08 \x08".repeat(5)));
    assert_eq!(shown(&mut tty, b"\x15x\n"), format!("{}x\r\n", "\x08 \x08".repeat(6)));
    assert_eq!(line(&mut tty), "x\n");
    assert_eq!(shown(&mut tty, b"foo-bar\x17\n"), format!("foo-bar{}\r\n", "\x08 \x08".repeat(3)));
    assert_eq!(line(&mut tty), "foo-\n");
    // What has been finished can no longer be taken back.
    assert_eq!(shown(&mut tty, b"y\n\x7f\x17\x15"), "y\r\n");
    assert_eq!(line(&mut tty), "y\n");
}

#[test]
fn editing_without_rubbing_out_says_what_was_typed() {
    let mut tty = terminal_with(|termios| termios.local -= LocalModes::ECHOE | LocalModes::ECHOKE);
    assert_eq!(shown(&mut tty, b"ab\x7f\x15"), "ab^?^U\r\n");
    let mut silent = terminal_with(|termios| termios.local -= LocalModes::ECHO);
    assert_eq!(shown(&mut silent, b"secrex\x7ft\n"), "");
    assert_eq!(line(&mut silent), "secret\n");
    let mut newline = terminal_with(|termios| {
        termios.local -= LocalModes::ECHO;
        termios.local |= LocalModes::ECHONL;
    });
    assert_eq!(shown(&mut newline, b"pw\n"), "\r\n");
}

#[test]
fn a_literal_next_character_loses_its_meaning_and_reprint_shows_the_line() {
    let mut tty = terminal();
    assert_eq!(shown(&mut tty, b"a\x16\x03\x12"), "a^\x08^C^R\r\na^C");
    assert_eq!(shown(&mut tty, b"\x7f\n"), "\x08 \x08\x08 \x08\r\n");
    assert_eq!(line(&mut tty), "a\n");
    assert_eq!((shown(&mut tty, b"\x16\n\n"), line(&mut tty)), ("^\x08^J\r\n".into(), "\n\n".into()));
    let mut plain = terminal_with(|termios| termios.local -= LocalModes::IEXTEN);
    assert_eq!(shown(&mut plain, b"\x16\x12\x17"), "^V^R^W");
}

#[test]
fn signals_drop_the_line() {
    let mut tty = terminal();
    assert_eq!(enter(&mut tty, b"old\nabc\x03"), (b"old\r\nabc^C".to_vec(), Some(Signal::Interrupt)));
    assert_eq!(read(&mut tty, 9), BLOCKED);
    assert_eq!(enter(&mut tty, b"\x1c").1, Some(Signal::Quit));
    assert_eq!(enter(&mut tty, b"\x1a").1, Some(Signal::Suspend));
    let mut kept = terminal_with(|termios| termios.local |= LocalModes::NOFLSH);
    assert_eq!(enter(&mut kept, b"a\x03\n").1, Some(Signal::Interrupt));
    assert_eq!(line(&mut kept), "a\n");
    let mut off = terminal_with(|termios| termios.local -= LocalModes::ISIG);
    assert_eq!(enter(&mut off, b"\x03\n").1, None);
    assert_eq!(line(&mut off), "\x03\n");
    let mut none = terminal_with(|termios| termios.control[Control::Intr as usize] = 0);
    assert_eq!(enter(&mut none, b"\0\n").1, None);
}

#[test]
fn carriage_returns_become_what_the_modes_say() {
    let mut ignored = terminal_with(|termios| termios.input |= InputModes::IGNCR);
    enter(&mut ignored, b"a\rb\n");
    assert_eq!(line(&mut ignored), "ab\n");
    let mut swapped = terminal_with(|termios| {
        termios.input = InputModes::INLCR | InputModes::ISTRIP;
        termios.control[Control::Eol as usize] = b';';
    });
    enter(&mut swapped, b"a\nb\r\xe1;");
    assert_eq!(line(&mut swapped), "a\rb\ra;");
}

#[test]
fn raw_reads_follow_minimum_and_time() {
    let blocked = |tenths| Err(Read::WouldBlock { deciseconds: tenths });
    let mut tty = raw(1, 0);
    assert_eq!((shown(&mut tty, b"\x7f\x04"), read(&mut tty, 9)), (String::new(), Ok(b"\x7f\x04".to_vec())));
    assert_eq!((read(&mut tty, 9), tty.readable()), (blocked(None), false));

    let mut tty = raw(3, 0);
    enter(&mut tty, b"ab");
    assert_eq!((read(&mut tty, 9), tty.readable(), tty.available()), (blocked(None), false, 2));
    assert_eq!(read(&mut tty, 1), Ok(b"a".to_vec()));
    enter(&mut tty, b"cd");
    assert_eq!((tty.readable(), read(&mut tty, 9)), (true, Ok(b"bcd".to_vec())));

    let mut tty = raw(3, 5);
    assert_eq!(read(&mut tty, 9), blocked(None));
    enter(&mut tty, b"a");
    assert_eq!((read(&mut tty, 9), tty.readable()), (blocked(Some(5)), true));
    assert_eq!((tty.read_available(&mut [0; 9]), tty.read_available(&mut [0; 9])), (1, 0));

    let mut tty = raw(0, 5);
    assert_eq!((read(&mut tty, 9), tty.read_available(&mut [0; 9])), (blocked(Some(5)), 0));
    assert_eq!((read(&mut raw(0, 0), 9), read(&mut raw(1, 0), 0)), (Ok(Vec::new()), Ok(Vec::new())));
    tty.end_input();
    assert_eq!(read(&mut tty, 9), Err(Read::EndOfFile));
}

#[test]
fn what_is_queued_survives_a_change_of_mode() {
    let mut tty = terminal();
    let canonical = *tty.termios();
    enter(&mut tty, b"a\n\x04bc");
    tty.set_termios(*raw(1, 0).termios(), false);
    assert_eq!((tty.available(), read(&mut tty, 2)), (4, Ok(b"a\n".to_vec())));
    tty.set_termios(canonical, false);
    assert_eq!(shown(&mut tty, b"\x7fd\n"), "d\r\n");
    assert_eq!((line(&mut tty), line(&mut tty)), ("bc".into(), "d\n".into()));
    enter(&mut tty, b"lost\nlost");
    tty.set_termios(canonical, true);
    assert_eq!((read(&mut tty, 9), tty.room()), (BLOCKED, QUEUE));
    enter(&mut tty, b"lost\n");
    tty.flush_input();
    assert_eq!(read(&mut tty, 9), BLOCKED);
}

#[test]
fn a_full_queue_drops_input_but_lets_the_line_end() {
    let mut tty = terminal_with(|termios| termios.input |= InputModes::IMAXBEL);
    assert_eq!(enter(&mut tty, &[b'x'; QUEUE - 1]).0.len(), QUEUE - 1);
    assert_eq!(shown(&mut tty, b"yy\n\n"), "\x07\x07\r\n\x07");
    assert_eq!((tty.room(), line(&mut tty).len(), read(&mut tty, 9)), (0, QUEUE, BLOCKED));
}

#[test]
fn output_is_processed_for_a_terminal() {
    let mut tty = terminal();
    assert_eq!(write(&mut tty, b"a\tb\n\r"), b"a\tb\r\n\r");
    let mut plain = terminal_with(|termios| termios.output -= OutputModes::OPOST);
    assert_eq!(write(&mut plain, b"a\tb\n\r"), b"a\tb\n\r");
    let mut spaces = terminal_with(|termios| termios.output |= OutputModes::TAB3 | OutputModes::OCRNL);
    assert_eq!(write(&mut spaces, "aé\tb\r\t".as_bytes()), "aé      b\n       ".as_bytes());
}

#[test]
fn a_prompt_counts_when_tabs_are_erased() {
    let mut tty = terminal();
    write(&mut tty, b"> ");
    assert_eq!(shown(&mut tty, b"\t\x7f"), format!("\t{}", "\x08 \x08".repeat(6)));
}

#[test]
fn a_pipe_passes_every_byte_and_ends_for_good() {
    let mut pipe = Tty::new(false, WindowSize::default());
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(enter(&mut pipe, &all), (Vec::new(), None));
    assert_eq!(write(&mut pipe, &all), all);
    assert_eq!((pipe.is_terminal(), pipe.readable(), pipe.available()), (false, true, 256));
    assert_eq!((read(&mut pipe, QUEUE), read(&mut pipe, 9), pipe.readable()), (Ok(all), BLOCKED, false));
    enter(&mut pipe, &[b'x'; QUEUE + 1]);
    assert_eq!((pipe.room(), pipe.available()), (0, QUEUE));
    pipe.end_input();
    assert_eq!(read(&mut pipe, 2 * QUEUE).unwrap().len(), QUEUE);
    assert_eq!((read(&mut pipe, 9), read(&mut pipe, 9)), (Err(Read::EndOfFile), Err(Read::EndOfFile)));
}

#[test]
fn structures_are_linuxs() {
    let bytes = Termios::DEFAULT.to_bytes();
    assert_eq!(bytes[..20], [0, 0x41, 0, 0, 5, 0, 0, 0, 0xbf, 4, 0, 0, 0x3b, 0x8a, 0, 0, 0, 3, 28, 127]);
    assert_eq!(Termios::from_bytes(&bytes), Termios::DEFAULT);
    let odd = std::array::from_fn(|n| n as u8 ^ 0xa5);
    assert_eq!(Termios::from_bytes(&odd).to_bytes(), odd);
    let size = WindowSize { rows: 0x102, columns: 3, pixels: (4, 5) };
    assert_eq!((size.to_bytes(), WindowSize::from_bytes(size.to_bytes())), ([2, 1, 3, 0, 4, 0, 5, 0], size));
    let mut tty = terminal();
    assert_eq!((tty.set_window(size), tty.set_window(size), tty.window()), (true, false, size));
}

#[test]
fn framing_tells_bytes_from_what_the_host_says() {
    let mut framing = Framing::new();
    let mut decode = |bytes: &[u8]| bytes.iter().filter_map(|&byte| framing.decode(byte)).collect::<Vec<_>>();
    assert_eq!(decode(b"a\x10"), [Input::Byte(b'a')]);
    assert_eq!(decode(b"\x10\x10E"), [Input::Byte(0x10), Input::EndOfFile]);
    let size = WindowSize { rows: 24, columns: 80, pixels: (0, 0) };
    assert_eq!(decode(b"\x10S24;80\nE"), [Input::Resize(size), Input::Byte(b'E')]);
    assert_eq!(decode(b"\x10?b\x10S1x;\n"), b"b;\n".map(Input::Byte));
    let huge = WindowSize { rows: u16::MAX, columns: 0, pixels: (0, 0) };
    assert_eq!(decode(b"\x10S99999999;\n"), [Input::Resize(huge)]);
}

fn any_termios() -> impl Strategy<Value = Termios> {
    (any::<u32>(), any::<u32>(), any::<u32>(), any::<[u8; 19]>()).prop_map(|(input, output, local, control)| Termios {
        input: InputModes::from_bits_retain(input),
        output: OutputModes::from_bits_retain(output),
        local: LocalModes::from_bits_retain(local),
        control,
        ..Termios::DEFAULT
    })
}

proptest! {
    #[test]
    fn nothing_typed_and_no_setting_breaks_the_queue(
        steps in prop::collection::vec(
            (prop::option::of(any_termios()), any::<bool>(), prop::collection::vec(any::<u8>(), 0..600), 0..900usize), 1..12),
        end in any::<bool>(),
    ) {
        let mut tty = terminal();
        let mut typed = 0;
        let mut got = 0;
        for (termios, flush, bytes, len) in steps {
            if let Some(termios) = termios {
                tty.set_termios(termios, flush);
            }
            write(&mut tty, &bytes);
            typed += bytes.len();
            enter(&mut tty, &bytes);
            let (readable, available) = (tty.readable(), tty.available());
            let read = read(&mut tty, len);
            got += read.as_ref().map_or(0, Vec::len);
            prop_assert!(read.as_ref().map_or(0, Vec::len) <= available);
            prop_assert!(!(readable && read == BLOCKED));
            prop_assert!(got <= typed && tty.room() <= QUEUE);
        }
        if end {
            tty.end_input();
            // Each read gives a byte or takes an end-of-file mark away, so they come to an end.
            for _ in 0..=2 * QUEUE {
                let _ = read(&mut tty, 1);
            }
            prop_assert_eq!(read(&mut tty, 9), Err(Read::EndOfFile));
        }
    }

    #[test]
    fn erasing_a_line_brings_the_cursor_back(text in "[a-zé\t\x01]{0,30}", prompt in "[a-z]{0,9}") {
        let mut tty = terminal();
        write(&mut tty, prompt.as_bytes());
        let mut screen = shown(&mut tty, text.as_bytes());
        screen += &shown(&mut tty, &b"\x7f".repeat(text.chars().count()));
        // A terminal's own idea of the column.
        let column = screen.chars().fold(prompt.len(), |column, c| match c {
            '\x08' => column - 1,
            '\t' => (column / 8 + 1) * 8,
            _ => column + 1,
        });
        prop_assert_eq!((column, tty.room()), (prompt.len(), QUEUE));
    }

    #[test]
    fn framing_gives_back_what_was_framed(bytes in prop::collection::vec(any::<u8>(), 0..99)) {
        let mut framing = Framing::new();
        let framed = bytes.iter().flat_map(|&byte| if byte == 0x10 { vec![byte, byte] } else { vec![byte] });
        let found: Vec<Input> = framed.filter_map(|byte| framing.decode(byte)).collect();
        prop_assert_eq!(found, bytes.into_iter().map(Input::Byte).collect::<Vec<_>>());
    }
}
