//! Files that are no files on a disk: /dev and /proc.
//!
//! Run by: `tests/tests/boot/programs.rs`, `tests/tests/smp.rs`.

use libc::{SIGCONT, SIGSTOP, SYS_kill};
use programs::{children, cpus, native, sys};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

fn main() {
    null();
    zero_and_full();
    random();
    own_executable();
    maps();
    descriptions();
    by_number();
    states();
    descriptors();
    println!("ok proc-files");
}

fn open(path: &str) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn null() {
    let mut null = open("/dev/null");
    assert_eq!(null.write(b"anything").expect("takes anything"), 8);
    assert_eq!(null.read(&mut [1; 10]).expect("gives nothing"), 0);
    let metadata = fs::metadata("/dev/null").expect("it is there");
    assert!(metadata.file_type().is_char_device(), "a character device");
    assert_eq!(metadata.rdev(), 1 << 8 | 3, "number 1:3");
    // On Linux root can take it away.
    if native::present() {
        assert_eq!(fs::remove_file("/dev/null").expect_err("it stays").kind(), ErrorKind::PermissionDenied);
        assert!(fs::rename("/tmp", "/dev/null").is_err() && fs::write("/dev/new", "").is_err());
    }
}

fn zero_and_full() {
    let mut bytes = [1; 10_000];
    open("/dev/zero").read_exact(&mut bytes).expect("as many zeroes as one likes");
    assert_eq!(bytes, [0; 10_000]);
    assert_eq!(open("/dev/zero").write(b"anything").expect("takes anything"), 8);
    let mut full = open("/dev/full");
    assert_eq!(full.write(b"x").expect_err("no room").kind(), ErrorKind::StorageFull);
    bytes.fill(1);
    full.read_exact(&mut bytes).expect("reads as zeroes");
    assert_eq!(bytes, [0; 10_000]);
}

fn random() {
    for path in ["/dev/random", "/dev/urandom"] {
        let mut file = File::open(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut bytes = [[0u8; 4096]; 2];
        for half in &mut bytes {
            file.read_exact(half).unwrap_or_else(|error| panic!("{path}: {error}"));
        }
        assert_ne!(bytes[0], bytes[1], "{path} does not repeat itself");
        // 32,768 fair bits: the mean is 16,384 and the standard deviation 91.
        let ones: u32 = bytes[0].iter().map(|byte| byte.count_ones()).sum();
        assert!((15_884..16_884).contains(&ones), "{path}: {ones} ones of 32768 bits");
        let kinds = (0..=255).filter(|value| bytes[0].contains(value)).count();
        assert_eq!(kinds, 256, "{path}: all values in 4096 bytes");
    }
}

/// `/proc/self/exe` is a link to the program, and opens as it.
fn own_executable() {
    let path = fs::read_link("/proc/self/exe").expect("a link");
    assert!(path.is_absolute() && path.ends_with("proc-files"), "the link says {}", path.display());
    assert_eq!(std::env::current_exe().expect("std reads it"), path);
    let mut start = [0; 4];
    File::open("/proc/self/exe").expect("it opens").read_exact(&mut start).expect("it reads");
    assert_eq!(&start, b"\x7fELF");
    let (by_link, by_name) = (fs::metadata("/proc/self/exe"), fs::metadata(&path));
    assert_eq!(by_link.expect("the link's end").ino(), by_name.expect("the program").ino(), "the same file");
    assert!(fs::symlink_metadata("/proc/self/exe").expect("the link").is_symlink());
}

static CONSTANT: u8 = 1;

/// `/proc/self/maps` has a line for everything this program stands on.
fn maps() {
    let variable = 1u8;
    let boxed = Box::new(1u8);
    let text = fs::read_to_string("/proc/self/maps").expect("it reads");
    for (what, address, rights) in [
        ("text", main as *const () as usize, "r-xp"),
        ("constants", &raw const CONSTANT as usize, "r--p"),
        ("the stack", &raw const variable as usize, "rw-p"),
        ("the heap", &raw const *boxed as usize, "rw-p"),
    ] {
        let line = text.lines().find(|line| range(line).contains(&address));
        let line = line.unwrap_or_else(|| panic!("no line for {what} at {address:#x} in\n{text}"));
        assert_eq!(line.split(' ').nth(1), Some(rights), "rights of {what}: {line}");
    }
    assert!(text.lines().any(|line| line.ends_with("[stack]")), "the stack is named in\n{text}");
    assert!(text.lines().any(|line| line.ends_with("/proc-files")), "the program is named in\n{text}");
    let ranges: Vec<_> = text.lines().map(range).collect();
    assert!(ranges.is_sorted_by(|one, next| one.end <= next.start), "in order, and nothing twice:\n{text}");
    for line in text.lines() {
        let rights = line.split(' ').nth(1).expect("rights");
        assert!(!(rights.contains('w') && rights.contains('x')), "writable and executable: {line}");
    }
}

/// The addresses that a line of maps speaks of.
fn range(line: &str) -> std::ops::Range<usize> {
    let addresses = line.split(' ').next().and_then(|range| range.split_once('-'));
    let number = |text| usize::from_str_radix(text, 16);
    match addresses.map(|(start, end)| (number(start), number(end))) {
        Some((Ok(start), Ok(end))) => start..end,
        _ => panic!("no range in {line}"),
    }
}

/// Every process has a directory under its number, which tells the same as `/proc/self`.
fn by_number() {
    let pid = std::process::id();
    let home = format!("/proc/{pid}");
    let listed = fs::read_dir("/proc")
        .expect("it lists")
        .filter_map(|entry| entry.expect("an entry").file_name().into_string().ok());
    assert!(listed.into_iter().any(|name| name == pid.to_string()), "it is listed");
    let stat = fs::read_to_string(format!("{home}/stat")).expect("it reads");
    assert!(stat.starts_with(&format!("{pid} (proc-files) R ")), "{stat}");
    assert!(stat.split(' ').count() >= 44, "{stat}");
    let status = fs::read_to_string(format!("{home}/status")).expect("it reads");
    assert!(status.contains(&format!("\nPid:\t{pid}\n")) && status.starts_with("Name:\tproc-files\n"), "{status}");
    assert_eq!(fs::read_to_string(format!("{home}/comm")).expect("it reads"), "proc-files\n");
    assert_eq!(fs::read_link(format!("{home}/exe")).expect("a link"), fs::read_link("/proc/self/exe").expect("a link"));
    let maps = fs::read_to_string(format!("{home}/maps")).expect("it reads");
    assert!(maps.lines().any(|line| range(line).contains(&(main as *const () as usize))), "{maps}");
    let arguments: Vec<u8> = std::env::args().flat_map(|argument| [argument.as_bytes(), b"\0"].concat()).collect();
    assert_eq!(fs::read(format!("{home}/cmdline")).expect("it reads"), arguments);
    assert_eq!(fs::read("/proc/self/cmdline").expect("it reads"), arguments);
    for path in ["/proc/999999999/stat", "/proc/0/stat", "/proc/99999999999999999999/stat"] {
        assert_eq!(fs::read(path).expect_err("no such process").kind(), ErrorKind::NotFound, "{path}");
    }
    assert!(fs::create_dir(format!("{home}/new")).is_err() && fs::remove_file(format!("{home}/stat")).is_err());
}

/// Other processes: one that waits, is stopped, has ended, and is gone.
fn states() {
    let [output, input] = children::pipe_ends();
    let pid = children::child(|| {
        let ended = children::take(output);
        i32::from(ended.is_none())
    });
    let state = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it reads");
        stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).expect("a state")
    };
    let becomes = |wanted| cpus::spin_until(|| state() == wanted);
    becomes('S');
    let send = |signal| assert_eq!(sys!(SYS_kill, pid, signal), Ok(0));
    send(SIGSTOP);
    becomes('T');
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it reads");
    assert!(status.contains("\nState:\tT (stopped)\n"), "{status}");
    send(SIGCONT);
    becomes('S');
    children::give(input, 1);
    becomes('Z');
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it reads");
    assert!(status.contains("\nState:\tZ (zombie)\n"), "{status}");
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("it reads"), "");
    let is_listed =
        || fs::read_dir("/proc").expect("it lists").any(|it| *it.expect("an entry").file_name() == *pid.to_string());
    assert!(is_listed());
    assert_eq!(children::end_of(pid), children::End::Exited(0));
    assert!(!is_listed() && fs::read(format!("/proc/{pid}/stat")).is_err());
    children::close_all(&[output, input]);
}

/// What is open can be listed, named, and opened again, whatever it is.
fn descriptors() {
    let pid = std::process::id();
    assert_eq!(fs::read_link("/proc/self").expect("a link"), std::path::Path::new(&pid.to_string()));
    let names = |path: &str| -> Vec<String> {
        let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name().into_string()).collect();
        names.sort();
        names.into_iter().map(|name| name.expect("digits")).collect()
    };
    let before = names("/proc/self/fd");
    assert!(["0", "1", "2"].iter().all(|fd| before.contains(&fd.to_string())), "{before:?}");
    fs::write("/tmp/proc-files", "contents").expect("a file");
    let file = File::open("/tmp/proc-files").expect("it opens");
    fs::remove_file("/tmp/proc-files").expect("it has lost its name");
    let (mut output, mut input) = std::io::pipe().expect("a pipe");
    let fd = file.as_raw_fd();
    assert!(names("/dev/fd").contains(&fd.to_string()));
    assert_eq!(fs::read_to_string(format!("/dev/fd/{fd}")).expect("it reads"), "contents");
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/fd/{fd}")).expect("it reads"), "contents");
    let link = format!("/proc/self/fd/{}", output.as_raw_fd());
    let name = fs::read_link(&link).expect("a link").into_os_string().into_string().expect("text");
    assert!(name.starts_with("pipe:[") && name.ends_with(']'), "{name}");
    assert!(fs::symlink_metadata(&link).expect("the link").is_symlink());
    assert!(fs::metadata(&link).expect("the pipe").file_type().is_fifo());
    let mut another = OpenOptions::new().write(true).open(&link).expect("one more writer");
    another.write_all(b"there").and_then(|()| input.write_all(b" and here")).expect("room");
    drop((another, input));
    let mut text = String::new();
    output.read_to_string(&mut text).expect("to the end");
    assert_eq!(text, "there and here");
    drop((file, output));
    assert_eq!(names("/proc/self/fd"), before, "what is closed is not listed");
    assert_eq!(fs::read(format!("/dev/fd/{fd}")).expect_err("it is closed").kind(), ErrorKind::NotFound);
    std::env::set_current_dir("/tmp").expect("a directory");
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).expect("a link"), std::path::Path::new("/tmp"));
    assert_eq!(fs::read_link("/proc/self/cwd").expect("a link"), std::path::Path::new("/tmp"));
    std::env::set_current_dir("/proc/self/fd").expect("it can be entered");
    assert!(fs::metadata("0").is_ok());
    std::env::set_current_dir("/").expect("a directory");
}

fn descriptions() {
    let cpus = fs::read_to_string("/proc/cpuinfo").expect("it reads");
    let processors = cpus.lines().filter(|line| line.starts_with("processor\t")).count();
    assert_eq!(processors, std::thread::available_parallelism().expect("std asks").get(), "CPUs in\n{cpus}");
    assert!(cpus.contains("model name\t: ") && cpus.contains("\nflags\t"), "names and flags in\n{cpus}");

    let memory = fs::read_to_string("/proc/meminfo").expect("it reads");
    let kilobytes = |name: &str| -> u64 {
        let line = memory.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
        number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name} in\n{memory}"))
    };
    let (total, free) = (kilobytes("MemTotal"), kilobytes("MemFree"));
    assert!(0 < free && free < total, "{free} kB of {total} kB are free");
    assert!(kilobytes("MemAvailable") <= total);

    // A file of /proc can be read in pieces and from the start again.
    let mut file = File::open("/proc/meminfo").expect("it opens");
    let mut piece = [0; 8];
    file.read_exact(&mut piece).expect("a piece");
    assert_eq!(&piece, b"MemTotal");
    file.seek(SeekFrom::Start(0)).expect("back to the start");
    file.read_exact(&mut piece).expect("the piece again");
    assert_eq!(&piece, b"MemTotal");
    let error = OpenOptions::new().write(true).open("/proc/meminfo").map(|mut file| file.write(b"x").is_err());
    assert!(error.unwrap_or(true), "nobody writes it");
}
