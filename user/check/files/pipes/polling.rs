//! `poll`, `select` and their kin on pipes: what is ready, how long they wait, and for which signals.

use super::*;
use std::thread;
use std::time::{Duration, Instant};

pub(crate) fn check() {
    ready();
    hang_ups();
    woken();
    sets();
    time_outs();
    masks();
}

/// Polls one descriptor: what it is ready for.
fn poll(fd: i32, events: i16, milliseconds: i32) -> i16 {
    let mut entry = pollfd { fd, events, revents: -1 };
    let count = sys!(SYS_poll, &mut entry, 1, milliseconds).expect("poll");
    assert_eq!(count, u64::from(entry.revents != 0));
    entry.revents
}

fn ready() {
    let [output, input] = pipe(O_NONBLOCK);
    let both = POLLIN | POLLOUT;
    assert_eq!((poll(output, both, 0), poll(input, both, 0)), (0, POLLOUT));
    assert_eq!(write(input, b"x"), Ok(1));
    assert_eq!((poll(output, both, -1), poll(output, POLLOUT, 0)), (POLLIN, 0));
    assert_eq!(poll(output, POLLIN | POLLRDNORM, 0), POLLIN | POLLRDNORM);
    assert_eq!(read(output, 1), Ok(b"x".to_vec()));
    assert_eq!(write(input, &pattern(0, CAPACITY)), Ok(CAPACITY as u64));
    assert_eq!(poll(input, both, 0), 0, "full");
    assert_eq!(read(output, ATOMIC).map(|bytes| bytes.len()), Ok(ATOMIC));
    assert_eq!(poll(input, both, 0), POLLOUT, "room for a whole write");
    close(output);
    close(input);
    assert_eq!((poll(output, both, 0), poll(-1, both, 0)), (POLLNVAL, 0));
}

fn hang_ups() {
    let [output, input] = pipe(0);
    assert_eq!(write(input, b"x"), Ok(1));
    close(input);
    assert_eq!(poll(output, POLLIN, 0), POLLIN | POLLHUP);
    assert_eq!(read(output, 1), Ok(b"x".to_vec()));
    assert_eq!(poll(output, 0, -1), POLLHUP, "asked for or not");
    close(output);
    let [output, input] = pipe(0);
    close(output);
    assert_eq!(poll(input, POLLOUT, -1), POLLOUT | POLLERR);
    close(input);
}

fn woken() {
    // By bytes, by room, and by either end's closing.
    type Deed = fn(i32, i32);
    let deeds: [(bool, i16, Deed, i16); 4] = [
        (false, POLLIN, |_, input| assert_eq!(write(input, b"x"), Ok(1)), POLLIN),
        (true, POLLOUT, |output, _| assert_eq!(read(output, ATOMIC).map(|b| b.len()), Ok(ATOMIC)), POLLOUT),
        (false, POLLIN, |_, input| close(input), POLLHUP),
        (true, POLLOUT, |output, _| close(output), POLLOUT | POLLERR),
    ];
    for (n, (full, events, deed, expected)) in deeds.into_iter().enumerate() {
        let [output, input] = pipe(0);
        if full {
            assert_eq!(write(input, &pattern(0, CAPACITY)), Ok(CAPACITY as u64));
        }
        let fd = if events == POLLIN { output } else { input };
        let waiter = thread::spawn(move || poll(fd, events, -1));
        thread::sleep(Duration::from_millis(10));
        deed(output, input);
        let revents = waiter.join().expect("it ends");
        // A full pipe whose reader has gone: whether there is room in it does not matter any more.
        assert_eq!(if n == 3 { revents | POLLOUT } else { revents }, expected, "deed {n}");
        // One may be closed already.
        _ = (sys!(SYS_close, output), sys!(SYS_close, input));
    }
}

fn set(fds: &[i32]) -> [u64; 16] {
    let mut set = [0; 16];
    fds.iter().for_each(|fd| set[*fd as usize / 64] |= 1 << (fd % 64));
    set
}

fn sets() {
    let (one, two) = (pipe(0), pipe(0));
    assert_eq!(write(two[1], b"x"), Ok(1));
    let (mut reads, mut writes) = (set(&[one[0], two[0]]), set(&[one[1]]));
    assert_eq!(sys!(SYS_select, 1024, &mut reads, &mut writes, 0, 0), Ok(2));
    assert_eq!((reads, writes), (set(&[two[0]]), set(&[one[1]])));
    close(one[1]);
    let mut reads = set(&[one[0]]);
    assert_eq!(sys!(SYS_select, 1024, &mut reads, 0, 0, 0), Ok(1), "the end can be read");
    let mut reads = set(&[one[1]]);
    assert_eq!(sys!(SYS_select, 1024, &mut reads, 0, 0, 0), Err(EBADF), "closed");
    [one[0], two[0], two[1]].into_iter().for_each(close);
}

fn time_outs() {
    const TIME: Duration = Duration::from_millis(30);
    let [output, input] = pipe(0);
    let time = timespec { tv_sec: 0, tv_nsec: TIME.as_nanos() as i64 };
    let micro = timeval { tv_sec: 0, tv_usec: TIME.as_micros() as i64 };
    let mut entry = pollfd { fd: output, events: POLLIN, revents: 0 };
    let began = |call: &mut dyn FnMut() -> Result| {
        let start = Instant::now();
        assert_eq!(call(), Ok(0));
        assert!(start.elapsed() >= TIME);
    };
    began(&mut || sys!(SYS_poll, &mut entry, 1, 30));
    began(&mut || sys!(SYS_poll, 0, 0, 30));
    began(&mut || sys!(SYS_ppoll, &mut entry, 1, &mut time.clone(), 0, 8));
    began(&mut || sys!(SYS_select, output + 1, &mut set(&[output]), 0, 0, &mut micro.clone()));
    began(&mut || sys!(SYS_pselect6, output + 1, &mut set(&[output]), 0, 0, &mut time.clone(), 0));
    let negative = timespec { tv_sec: -1, tv_nsec: 0 };
    assert_eq!(sys!(SYS_ppoll, &mut entry, 1, &negative, 0, 8), Err(EINVAL));
    close(output);
    close(input);
}

/// The mask of `ppoll` and `pselect6` is in place for the wait and only for it.
fn masks() {
    let [output, input] = pipe(0);
    let blocked: u64 = 1 << (SIGUSR1 - 1);
    let mut before = 0_u64;
    assert_eq!(sys!(SYS_rt_sigprocmask, SIG_BLOCK, &blocked, &mut before, 8), Ok(0));
    let blocks = || {
        let mut mask = 0_u64;
        assert_eq!(sys!(SYS_rt_sigprocmask, SIG_BLOCK, 0, &mut mask, 8), Ok(0));
        mask & blocked != 0
    };
    catch(SIGUSR1, SA_RESTART);
    let me = sys!(SYS_gettid).expect("a number") as i32;
    let kill = move || assert_eq!(sys!(SYS_tgkill, std::process::id(), me, SIGUSR1), Ok(0));
    let mut entry = pollfd { fd: output, events: POLLIN, revents: 0 };
    let (open, second) = (0_u64, timespec { tv_sec: 1, tv_nsec: 0 });
    // It is there already.
    kill();
    assert_eq!(CAUGHT.load(SeqCst), 0);
    assert_eq!(sys!(SYS_ppoll, &mut entry, 1, 0, &open, 8), Err(EINTR));
    assert_eq!((CAUGHT.load(SeqCst), blocks()), (1, true));
    // It comes during the wait.
    for (n, timeout) in [(2, 0), (3, &raw const second as u64)] {
        let other = thread::spawn(move || {
            thread::sleep(Duration::from_millis(10));
            kill();
        });
        assert_eq!(sys!(SYS_pselect6, 0, 0, 0, 0, timeout, &[&raw const open as u64, 8]), Err(EINTR));
        assert_eq!((CAUGHT.load(SeqCst), blocks()), (n, true));
        other.join().expect("it ends");
    }
    // Something is ready: the signal has to wait.
    assert_eq!(write(input, b"x"), Ok(1));
    kill();
    assert_eq!(sys!(SYS_ppoll, &mut entry, 1, 0, &open, 8), Ok(1));
    assert_eq!((CAUGHT.load(SeqCst), blocks()), (3, true));
    assert_eq!(sys!(SYS_ppoll, &mut entry, 1, 0, &open, 4), Err(EINVAL), "no mask has that size");
    assert_eq!(sys!(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, 8), Ok(0));
    assert_eq!(CAUGHT.load(SeqCst), 4, "and comes when it may");
    // A mask that blocks: bytes wake, the signal does not.
    assert_eq!(read(output, 1), Ok(b"x".to_vec()));
    let other = thread::spawn(move || {
        kill();
        assert_eq!(write(input, b"y"), Ok(1));
    });
    assert_eq!(sys!(SYS_ppoll, &mut entry, 1, 0, &blocked, 8).map_err(|errno| errno == EINTR), Ok(1));
    other.join().expect("it ends");
    close(output);
    close(input);
}
