//! An extension to copy from: `/dev/hello` keeps a word in a frame, and can be asked how often it is open.
//!
//! `insmod /lib/hello.ko greeting=1` chooses a greeting for the kernel's log.
#![no_std]
#![no_main]

use abi::extension::{Device, Services, padded};
use core::cell::UnsafeCell;
use extension::{EINVAL, ENOMEM, ENOTTY, Frame, Kernel, answer};

extension::extension!("hello", start, end);

/// Request: exchanges the word at the argument's address and the word that the device keeps.
const EXCHANGE: u32 = 1;
/// Request: the result is the number of open files of the device.
const COUNT: u32 = 2;
/// Request: the result is the number of times that the device has been opened, which is the open file's name.
const NAME: u32 = 3;

/// The greetings: texts whose addresses are relocated.
static GREETINGS: [&str; 2] = ["hello, kernel", "good morning, kernel"];

/// What the extension keeps.
struct State {
    /// The frame with the word.
    frame: Option<Frame>,
    open: u64,
    opened: u64,
}

/// The state, which only one CPU at a time reaches.
struct Global(UnsafeCell<State>);

// SAFETY: the kernel calls an extension on one CPU at a time, and no function here calls the kernel with the state
// borrowed in a way that could come back to it.
unsafe impl Sync for Global {}

static STATE: Global = Global(UnsafeCell::new(State { frame: None, open: 0, opened: 0 }));

fn with<T>(work: impl FnOnce(&mut State) -> T) -> T {
    // SAFETY: as above.
    work(unsafe { &mut *STATE.0.get() })
}

fn start(kernel: &Kernel, parameters: &str) -> Result<(), i32> {
    let mut greeting = GREETINGS[0];
    // Busybox's `insmod` puts a space behind each parameter.
    for parameter in parameters.split_ascii_whitespace() {
        let number = parameter.strip_prefix("greeting=").and_then(|number| number.parse::<usize>().ok());
        greeting = number.and_then(|number| GREETINGS.get(number)).ok_or(EINVAL)?;
    }
    kernel.register(&Device { name: padded("hello"), data: 0, open, ioctl, close })?;
    let frame = kernel.allocate().ok_or(ENOMEM)?;
    with(|state| state.frame = Some(frame));
    kernel.log(greeting);
    Ok(())
}

fn end(kernel: &Kernel) {
    if let Some(frame) = with(|state| state.frame.take()) {
        kernel.release(frame);
    }
}

unsafe extern "C" fn open(_: &Services, _data: u64) -> i64 {
    with(|state| {
        state.open += 1;
        state.opened += 1;
        state.opened.cast_signed()
    })
}

unsafe extern "C" fn ioctl(services: &Services, _data: u64, file: u64, request: u32, argument: u64) -> i64 {
    let kernel = Kernel::new(services);
    answer(match request {
        EXCHANGE => exchange(&kernel, argument).map(|()| 0),
        COUNT => Ok(with(|state| state.open)),
        NAME => Ok(file),
        _ => Err(ENOTTY),
    })
}

fn exchange(kernel: &Kernel, address: u64) -> Result<(), i32> {
    let new = kernel.read_word(address)?;
    let kept = with(|state| state.frame.as_mut().map_or(0, |frame| frame.words()[0]));
    kernel.write_word(address, kept)?;
    with(|state| state.frame.iter_mut().for_each(|frame| frame.words()[0] = new));
    Ok(())
}

unsafe extern "C" fn close(_: &Services, _data: u64, _file: u64) {
    with(|state| state.open -= 1);
}
