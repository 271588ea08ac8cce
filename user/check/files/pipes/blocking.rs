//! Threads at the two ends: which one waits, which one wakes it, and what a signal does to the wait.

use super::*;
use programs::system::{PAGE, pages};
use std::thread;
use std::time::Duration;

pub(crate) fn check() {
    ping_pong();
    whatever_the_buffer();
    private_buffer();
    one_after_the_other();
    long_write();
    atomic_writes();
    closed_meanwhile();
    interrupted_read();
    restarted_read();
    interrupted_write();
}

fn ping_pong() {
    let (there, back) = (pipe(0), pipe(0));
    let echo = thread::spawn(move || {
        while let Ok(bytes) = read(there[0], 10) {
            if bytes.is_empty() {
                break;
            }
            assert_eq!(write(back[1], &bytes), Ok(bytes.len() as u64));
        }
    });
    for n in 0..500_u32 {
        assert_eq!(write(there[1], &n.to_le_bytes()), Ok(4));
        assert_eq!(read(back[0], 10), Ok(n.to_le_bytes().to_vec()));
    }
    close(there[1]);
    echo.join().expect("the echo ends");
    [there[0], back[0], back[1]].into_iter().for_each(close);
}

/// Long enough, most likely, for another thread to wait. Nothing depends on it but the way that bytes take.
fn let_wait() {
    (0..50).for_each(|_| thread::yield_now());
}

/// Who waits for bytes gets them wherever they are to go: into a page that is there, to one that is still to come, across
/// two of them, to less room than there are bytes, and not at all where nothing may be written.
fn whatever_the_buffer() {
    let [output, input] = pipe(0);
    for (touched, offset, room) in [(true, 5, 9), (true, 0, 2), (false, 7, 4), (false, PAGE - 2, 4)] {
        let (written, buffer) = (pattern(offset, 4), pages(2));
        if touched {
            // SAFETY: the pages are this function's.
            unsafe { buffer.write_bytes(0xff, PAGE) };
        }
        let at = buffer.addr() + offset;
        let reader = thread::spawn(move || sys!(SYS_read, output, at, room));
        let_wait();
        assert_eq!(write(input, b""), Ok(0), "nothing is not the end");
        assert_eq!(write(input, &written), Ok(4));
        let count = reader.join().expect("it ends").expect("bytes") as usize;
        // SAFETY: as above, and no code writes to them any more.
        let bytes = unsafe { std::slice::from_raw_parts(buffer.add(offset), count) };
        assert_eq!(bytes, &written[..room.min(4)], "{room} bytes at {offset}");
        assert_eq!(read(output, 4 - count), Ok(written[count..].to_vec()), "the rest");
        assert_eq!(sys!(SYS_munmap, buffer, 2 * PAGE), Ok(0));
    }
    let buffer = pages(1).addr();
    assert_eq!(sys!(SYS_mprotect, buffer, PAGE, PROT_READ), Ok(0));
    let reader = thread::spawn(move || sys!(SYS_read, output, buffer, 4));
    let_wait();
    assert_eq!(write(input, b"kept"), Ok(4));
    assert_eq!(reader.join().expect("it ends"), Err(EFAULT));
    assert_eq!(read(output, 9), Ok(b"kept".to_vec()));
    let parts = thread::spawn(move || {
        let mut bytes = [0_u8; 4];
        let (one, two) = bytes.split_at_mut(1);
        let into = [one, two].map(|part| iovec { iov_base: part.as_mut_ptr().cast(), iov_len: part.len() });
        (sys!(SYS_readv, output, into.as_ptr(), 2), bytes)
    });
    let_wait();
    assert_eq!(write(input, b"both"), Ok(4));
    assert_eq!(parts.join().expect("it ends"), (Ok(4), *b"both"));
    close(output);
    close(input);
}

/// What a child reads into a page that it shares with its parent until one of them writes is the child's alone.
fn private_buffer() {
    let [output, input] = pipe(0);
    let buffer = pages(1);
    // SAFETY: the page is this function's.
    unsafe { buffer.write_bytes(1, 8) };
    let child = sys!(SYS_fork).expect("a child");
    if child == 0 {
        let count = sys!(SYS_read, output, buffer, 8);
        // SAFETY: as above.
        let bytes = unsafe { std::slice::from_raw_parts(buffer, 8) };
        let right = count == Ok(4) && *bytes == [2, 2, 2, 2, 1, 1, 1, 1];
        let _ = sys!(SYS_exit_group, if right { 0 } else { 1 });
    }
    let_wait();
    assert_eq!(write(input, &[2; 4]), Ok(4));
    let mut status = -1;
    assert_eq!(sys!(SYS_wait4, child, &mut status, 0, 0), Ok(child));
    // SAFETY: as above.
    assert_eq!((status, unsafe { std::slice::from_raw_parts(buffer, 8) }), (0, &[1; 8][..]));
    assert_eq!(sys!(SYS_munmap, buffer, PAGE), Ok(0));
    close(output);
    close(input);
}

/// Of several that wait each gets one write.
fn one_after_the_other() {
    let [output, input] = pipe(0);
    let readers: Vec<_> = (0..3).map(|_| thread::spawn(move || read(output, 4).expect("bytes"))).collect();
    let_wait();
    for n in 0..3 {
        assert_eq!(write(input, &[n; 4]), Ok(4));
    }
    let mut all: Vec<_> = readers.into_iter().map(|reader| reader.join().expect("it ends")).collect();
    all.sort();
    assert_eq!(all, [[0; 4], [1; 4], [2; 4]]);
    close(output);
    close(input);
}

/// A write far longer than the pipe returns only when all has been read.
fn long_write() {
    const LENGTH: usize = 1_000_003;
    let [output, input] = pipe(0);
    let writer = thread::spawn(move || {
        assert_eq!(write(input, &pattern(0, LENGTH)), Ok(LENGTH as u64));
        close(input);
    });
    let mut seen = 0;
    loop {
        let bytes = read(output, 7001).expect("bytes");
        if bytes.is_empty() {
            break;
        }
        assert_eq!(bytes, pattern(seen, bytes.len()), "at {seen}");
        seen += bytes.len();
    }
    assert_eq!(seen, LENGTH);
    writer.join().expect("the writer ends");
    // A write from several buffers.
    let [output, again] = pipe(0);
    let writer = thread::spawn(move || {
        let bytes = pattern(0, LENGTH);
        let part = |bytes: &[u8]| iovec { iov_base: bytes.as_ptr() as *mut c_void, iov_len: bytes.len() };
        let parts = [part(&bytes[..10]), part(&bytes[10..400_000]), part(&bytes[400_000..])];
        assert_eq!(sys!(SYS_writev, again, parts.as_ptr(), 3), Ok(LENGTH as u64));
        close(again);
    });
    let mut all = Vec::new();
    while let Some(bytes) = read(output, CAPACITY).ok().filter(|bytes| !bytes.is_empty()) {
        all.extend(bytes);
    }
    assert!(all == pattern(0, LENGTH));
    writer.join().expect("the writer ends");
    close(output);
}

/// Writes of `PIPE_BUF` bytes by several threads are never mixed.
fn atomic_writes() {
    const WRITERS: u8 = 4;
    const WRITES: usize = 100;
    let [output, input] = pipe(0);
    let writers: Vec<_> = (0..WRITERS)
        .map(|n| {
            thread::spawn(move || {
                for _ in 0..WRITES {
                    assert_eq!(write(input, &[n; ATOMIC]), Ok(ATOMIC as u64));
                }
            })
        })
        .collect();
    let mut counts = [0; WRITERS as usize];
    for _ in 0..usize::from(WRITERS) * WRITES {
        let mut block = Vec::new();
        while block.len() < ATOMIC {
            block.extend(read(output, ATOMIC - block.len()).expect("bytes"));
        }
        assert!(block.iter().all(|byte| *byte == block[0]), "a mixture");
        counts[usize::from(block[0])] += 1;
    }
    writers.into_iter().for_each(|writer| writer.join().expect("a writer ends"));
    println!("{counts:?} whole writes");
    close(output);
    close(input);
}

fn closed_meanwhile() {
    // The last writer goes: a reader that waits gets the end.
    let [output, input] = pipe(0);
    let readers: Vec<_> = (0..3).map(|_| thread::spawn(move || read(output, 1))).collect();
    thread::sleep(Duration::from_millis(20));
    close(input);
    readers.into_iter().for_each(|reader| assert_eq!(reader.join().expect("it ends"), Ok(Vec::new())));
    close(output);
    // The last reader goes: a writer that waits returns what has gone in, and then EPIPE.
    let [output, input] = pipe(0);
    catch(SIGPIPE, 0);
    let writer = thread::spawn(move || (write(input, &pattern(0, 200_000)), write(input, b"x")));
    while waiting(output) < CAPACITY as i32 {
        thread::yield_now();
    }
    close(output);
    assert_eq!(writer.join().expect("it ends"), (Ok(CAPACITY as u64), Err(EPIPE)));
    assert_eq!(CAUGHT.load(SeqCst), 2);
    ignore(SIGPIPE);
    close(input);
}

/// A thread that has told its number, and what it does then.
fn numbered<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> (i32, thread::JoinHandle<T>) {
    let (tell, told) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || {
        tell.send(sys!(SYS_gettid).expect("a number") as i32).expect("the starter listens");
        work()
    });
    (told.recv().expect("the thread runs"), thread)
}

fn kill(thread: i32, number: i32) {
    assert_eq!(sys!(SYS_tgkill, std::process::id(), thread, number), Ok(0));
}

fn interrupted_read() {
    let [output, input] = pipe(0);
    catch(SIGUSR1, 0);
    let (number, reader) = numbered(move || read(output, 1));
    while !reader.is_finished() {
        kill(number, SIGUSR1);
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(reader.join().expect("it ends"), Err(EINTR));
    assert!(CAUGHT.load(SeqCst) > 0);
    close(output);
    close(input);
}

fn restarted_read() {
    let [output, input] = pipe(0);
    catch(SIGUSR1, SA_RESTART);
    let (number, reader) = numbered(move || read(output, 10));
    for n in 1..=5 {
        kill(number, SIGUSR1);
        while CAUGHT.load(SeqCst) < n {
            thread::yield_now();
        }
        thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(write(input, b"late"), Ok(4));
    assert_eq!(reader.join().expect("it ends"), Ok(b"late".to_vec()));
    close(output);
    close(input);
}

/// A write that has begun returns what has gone in, whatever the handler's flags, and the handler's own
/// writes are its own.
fn interrupted_write() {
    let [output, input] = pipe(0);
    catch(SIGUSR1, SA_RESTART);
    let echo = pipe(O_NONBLOCK);
    ECHO.store(echo[1], SeqCst);
    let (number, writer) = numbered(move || write(input, &pattern(0, 3 * CAPACITY)));
    while waiting(output) < CAPACITY as i32 {
        thread::yield_now();
    }
    kill(number, SIGUSR1);
    assert_eq!(writer.join().expect("it ends"), Ok(CAPACITY as u64));
    assert_eq!(CAUGHT.load(SeqCst), 1);
    ECHO.store(-1, SeqCst);
    assert_eq!(read(echo[0], 9), Ok(b"h".to_vec()), "the handler's own");
    echo.into_iter().for_each(close);
    assert_eq!(read(output, 2 * CAPACITY), Ok(pattern(0, CAPACITY)));
    close(output);
    close(input);
}
