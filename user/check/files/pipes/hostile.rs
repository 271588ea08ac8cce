//! Bad addresses, bad lengths, and more pipes than there may be.

use super::*;
use programs::system::{PAGE, pages};

const NOWHERE: u64 = 0x1000;
const KERNEL: u64 = 0xffff_ffff_8020_0000;

pub(crate) fn check() {
    addresses();
    many();
}

fn descriptors() -> usize {
    (0..1024).filter(|fd| sys!(SYS_fcntl, *fd, F_GETFD).is_ok()).count()
}

fn addresses() {
    let before = descriptors();
    for address in [0, NOWHERE, KERNEL, u64::MAX - 3] {
        assert_eq!(sys!(SYS_pipe2, address, 0), Err(EFAULT), "{address:#x}");
    }
    assert_eq!(descriptors(), before, "nothing stays open");
    let [output, input] = pipe(O_NONBLOCK);
    for address in [0, NOWHERE, KERNEL] {
        assert_eq!(sys!(SYS_write, input, address, 100), Err(EFAULT), "{address:#x}");
        assert_eq!(write(input, b"kept"), Ok(4));
        assert_eq!(sys!(SYS_read, output, address, 100), Err(EFAULT), "{address:#x}");
        assert_eq!(read(output, 100), Ok(b"kept".to_vec()));
        assert_eq!(sys!(SYS_poll, address, 1, 0), Err(EFAULT));
        assert_eq!(sys!(SYS_ioctl, output, FIONREAD, address), Err(EFAULT));
    }
    assert_eq!(sys!(SYS_poll, 0, u32::MAX, 0), Err(EINVAL));
    // A page, and nothing behind it.
    let page = pages(2);
    assert_eq!(sys!(SYS_munmap, page.wrapping_add(PAGE), PAGE), Ok(0));
    assert_eq!(sys!(SYS_write, input, page, 1 << 30), Ok(PAGE as u64));
    assert_eq!(sys!(SYS_read, output, page, 1 << 30), Ok(PAGE as u64));
    close(output);
    close(input);
}

/// Twice as many as a process may have, each with something in it; and everything comes back.
fn many() {
    let room = 1024 - descriptors();
    for _ in 0..2 {
        let mut pipes = Vec::new();
        let mut ends = [-1; 2];
        let error = loop {
            match sys!(SYS_pipe2, &mut ends, O_NONBLOCK) {
                Ok(_) => pipes.push(ends),
                Err(error) => break error,
            }
        };
        assert_eq!((pipes.len(), error), (room / 2, EMFILE));
        for (n, [output, input]) in pipes.into_iter().enumerate() {
            assert_eq!(write(input, &pattern(n, 5000)), Ok(5000));
            assert_eq!(waiting(output), 5000);
            close(if n % 2 == 0 { input } else { output });
            close(if n % 2 == 0 { output } else { input });
        }
        assert_eq!(descriptors(), 1024 - room);
    }
}
