//! `/proc/self/exe` leads to the program that runs, also when its name is gone or leads to another file.

use super::Check;
use super::running::{ME, file, run};
use libc::*;
use programs::children::*;
use programs::sys;
use std::os::unix::fs::MetadataExt;
use std::{env, fs};

pub(crate) const CHECKS: &[Check] = &[("a-program-that-is-deleted", deleted)];

fn deleted() {
    let inodes = || {
        let mut about = [0u64; 15];
        sys!(SYS_statfs, c"/tmp", &mut about).unwrap();
        about[6]
    };
    let program = fs::read(env::current_exe().unwrap()).unwrap();
    let before = inodes();
    let path = file("gone", 0o755, &program);
    let pid = child(|| run(&path, &["me", "as:deleted", "0"]));
    assert_eq!(end_of(pid), End::Exited(0));
    assert_eq!(inodes(), before, "the file is gone with the last process that ran it");
}

/// What the program does whose file goes, and what it does as its own child when it is gone.
pub(crate) fn play(round: u64) -> i32 {
    const PATH: &str = "/tmp/processes.gone";
    const DELETED: &str = "/tmp/processes.gone (deleted)";
    let says = || fs::read_link("/proc/self/exe").unwrap();
    let leads_to = || fs::metadata("/proc/self/exe").map(|file| (file.ino(), file.len())).unwrap();
    if round == 1 {
        // By now the name is that of another file.
        assert_eq!((says().to_str(), fs::read(PATH).unwrap()), (Some(DELETED), b"another".to_vec()));
        fs::remove_file(PATH).unwrap();
        assert!(leads_to().1 > 100_000);
        return 0;
    }
    let file = fs::metadata(PATH).unwrap();
    assert_eq!((says().to_str(), leads_to()), (Some(PATH), (file.ino(), file.len())));
    fs::remove_file(PATH).unwrap();
    assert_eq!((says().to_str(), leads_to()), (Some(DELETED), (file.ino(), file.len())));
    assert_eq!(fs::metadata("/proc/self/exe").unwrap().nlink(), 0);
    assert_eq!(&fs::read("/proc/self/exe").unwrap()[..4], b"\x7fELF");
    assert_eq!(sys!(SYS_open, ME, O_RDWR), Err(ETXTBSY));
    assert_eq!(sys!(SYS_open, ME, O_RDONLY | O_NOFOLLOW), Err(ELOOP));
    fs::write(PATH, b"another").unwrap();
    assert_eq!(leads_to(), (file.ino(), file.len()));
    // A child keeps the file as well.
    let pid = child(|| run(ME, &["me", "as:deleted", "1"]));
    assert_eq!(end_of(pid), End::Exited(0));
    assert_eq!(leads_to(), (file.ino(), file.len()));
    0
}
