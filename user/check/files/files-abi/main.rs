//! File-system calls and their errors, call by call.
//!
//! Everything here is what Linux does on a local file system for root, and the program passes there as well. It
//! leaves out what depends on the file system: sizes of directories, order of entries, granularity of times.
//!
//! Run by: `tests/tests/boot/programs.rs`, `tests/tests/smp.rs`.

mod attributes;
mod data;
mod descriptors;
mod directories;
mod names;
mod opening;
mod vectors;

use libc::*;
use programs::sys;
use programs::system::Result;
use std::ffi::CStr;

fn main() {
    let home = format!("/tmp/files-abi.{}", std::process::id());
    std::fs::create_dir(&home).expect("a directory for this run");
    std::env::set_current_dir(&home).expect("it can be entered");
    opening::check();
    data::check();
    vectors::check();
    descriptors::check();
    attributes::check();
    directories::check(&home);
    names::check();
    std::env::set_current_dir("/").expect("it can be left");
    std::fs::remove_dir(&home).expect("every check has tidied up");
    println!("ok files-abi");
}

/// An address at which nothing is.
const NOWHERE: u64 = 0x1000;

/// An address of the kernel's.
const KERNEL: u64 = 0xffff_ffff_8020_0000;

/// A path too long by far: 5,000 times `a`.
fn long_path() -> std::ffi::CString {
    std::ffi::CString::new(vec![b'a'; 5000]).expect("no zero in it")
}

/// A path with a name of 256 bytes, one too many.
fn long_name() -> std::ffi::CString {
    std::ffi::CString::new(vec![b'a'; 256]).expect("no zero in it")
}

fn open(path: &CStr, flags: i32) -> Result {
    sys!(SYS_open, path, flags, 0o644)
}

/// Makes a file with these contents; its descriptor, open for reading and writing.
fn file(path: &CStr, contents: &[u8]) -> u64 {
    let fd = open(path, O_RDWR | O_CREAT | O_TRUNC).expect("a file can be made");
    assert_eq!(sys!(SYS_write, fd, contents.as_ptr(), contents.len()), Ok(contents.len() as u64));
    fd
}

fn close(fd: u64) {
    assert_eq!(sys!(SYS_close, fd), Ok(0), "closing {fd}");
}

fn unlink(path: &CStr) {
    assert_eq!(sys!(SYS_unlink, path), Ok(0), "removing {path:?}");
}

fn mkdir(path: &CStr) {
    assert_eq!(sys!(SYS_mkdir, path, 0o755), Ok(0), "making {path:?}");
}

fn rmdir(path: &CStr) {
    assert_eq!(sys!(SYS_rmdir, path), Ok(0), "removing {path:?}");
}

/// Reads at most `most` bytes.
fn read(fd: u64, most: usize) -> std::result::Result<Vec<u8>, i32> {
    let mut bytes = vec![0; most];
    let count = sys!(SYS_read, fd, bytes.as_mut_ptr(), most)?;
    bytes.truncate(count as usize);
    Ok(bytes)
}

/// What `stat` says of a path.
fn stat_of(path: &CStr) -> std::result::Result<stat, i32> {
    stat_by(|stat| sys!(SYS_stat, path, stat))
}

/// What a call of the `stat` family says.
fn stat_by(call: impl FnOnce(*mut stat) -> Result) -> std::result::Result<stat, i32> {
    let mut stat = std::mem::MaybeUninit::zeroed();
    call(stat.as_mut_ptr())?;
    // SAFETY: zeroes are a valid `stat`, and so is what the kernel wrote.
    Ok(unsafe { stat.assume_init() })
}
