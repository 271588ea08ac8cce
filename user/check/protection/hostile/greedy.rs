//! Deeds that want more than there is.

use libc::*;
use programs::sys;
use programs::system::{PAGE, pages};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

pub(super) fn huge() {
    let map = |length: u64| sys!(SYS_mmap, 0, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for length in [1 << 46, 1 << 47, 1 << 62, 1 << 63, u64::MAX] {
        assert_eq!(map(length), Err(ENOMEM), "{length:#x} bytes");
    }
    let mut vector = Vec::<u8>::new();
    assert!(vector.try_reserve_exact(isize::MAX as usize).is_err(), "std is told as well");
}

pub(super) fn open_many() {
    let mut limit = rlimit { rlim_cur: 0, rlim_max: 0 };
    assert_eq!(sys!(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &mut limit), Ok(0));
    if limit.rlim_cur > 100_000 {
        limit.rlim_cur = 1024;
        assert_eq!(sys!(SYS_prlimit64, 0, RLIMIT_NOFILE, &limit, 0), Ok(0));
    }
    let mut opened = Vec::with_capacity(100_000);
    let mut refused = 0;
    for _ in 0..100_000 {
        match sys!(SYS_open, c"/dev/null", O_RDONLY) {
            Ok(fd) => opened.push(fd),
            Err(EMFILE) => refused += 1,
            Err(error) => panic!("open after {} files: errno {error}", opened.len()),
        }
    }
    assert_eq!(opened.last().map(|fd| fd + 1), Some(limit.rlim_cur), "numbers up to the limit");
    println!("{} opened, {refused} refused", opened.len());
    for fd in opened {
        assert_eq!(sys!(SYS_close, fd), Ok(0));
    }
    let fd = sys!(SYS_open, c"/dev/null", O_RDONLY).expect("there is room again");
    assert_eq!(sys!(SYS_close, fd), Ok(0));
}

/// More threads than this are no test of anything.
const MOST_THREADS: usize = 20_000;

/// 0 until all threads may end.
static END: AtomicU32 = AtomicU32::new(0);

/// Threads of the C library's: those of std panic if there is no memory for their signal stacks.
pub(super) fn many_threads() {
    extern "C" fn wait(argument: *mut c_void) -> *mut c_void {
        while END.load(SeqCst) == 0 {
            let _ = sys!(SYS_futex, END.as_ptr(), FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, 0);
        }
        argument
    }
    let mut threads = Vec::with_capacity(MOST_THREADS);
    let mut error = 0;
    // SAFETY: attributes are initialised before they are used, and `wait` takes any argument.
    unsafe {
        let mut attributes = std::mem::zeroed();
        assert_eq!(pthread_attr_init(&mut attributes), 0);
        assert_eq!(pthread_attr_setstacksize(&mut attributes, 16 << 10), 0);
        while threads.len() < MOST_THREADS && error == 0 {
            let mut thread = std::mem::zeroed();
            error = pthread_create(&mut thread, &attributes, wait, ptr::null_mut());
            if error == 0 {
                threads.push(thread);
            }
        }
    }
    println!("{} threads, then errno {error}", threads.len());
    assert!([0, EAGAIN].contains(&error), "the reason to refuse");
    END.store(1, SeqCst);
    sys!(SYS_futex, END.as_ptr(), FUTEX_WAKE | FUTEX_PRIVATE_FLAG, i32::MAX).expect("wake");
    for thread in threads {
        // SAFETY: a thread of ours, joined once.
        assert_eq!(unsafe { pthread_join(thread, ptr::null_mut()) }, 0);
    }
    std::thread::spawn(|| {}).join().expect("there is room again");
}

/// Every other page gets other rights, so that each is a mapping of its own.
pub(super) fn many_mappings() {
    // As much as there is to be had: a machine with little memory may refuse to map more than it has.
    let flags = MAP_PRIVATE | MAP_ANONYMOUS;
    let mapped = |count: &usize| sys!(SYS_mmap, 0, count * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    let largest = [200_000, 100_000, 40_000, 20_000].into_iter().find_map(|count| Some((count, mapped(&count).ok()?)));
    let (count, start) = largest.expect("20,000 pages");
    let start = start as usize;
    let refused = (0..count).step_by(2).find_map(|index| {
        let result = sys!(SYS_mprotect, start + index * PAGE, PAGE, PROT_READ);
        result.err().map(|error| (index, error))
    });
    println!("{count} pages, refused: {refused:?}");
    assert!(refused.is_none_or(|(_, error)| error == ENOMEM), "the reason to refuse");
    assert_eq!(sys!(SYS_munmap, start, count * PAGE), Ok(0), "all at once");
    assert_eq!(sys!(SYS_munmap, pages(1), PAGE), Ok(0), "there is room again");
}

/// Empty files, then full ones, until there is no room; then everything is removed.
pub(super) fn many_files() {
    let directory = std::path::Path::new("/tmp/many-files");
    std::fs::create_dir(directory).expect("a directory");
    let full = |contents: &[u8], most: usize| {
        (0..most).find_map(|n| {
            let path = directory.join(format!("{}-{n}", contents.len()));
            std::fs::write(path, contents).err().map(|error| (n, error))
        })
    };
    let small = full(b"", 20_000);
    let large = full(&vec![1; 1 << 20], 4096).expect("there is less than 4 GiB");
    println!("empty files: {small:?}, files of 1 MiB: {large:?}");
    let kinds = [Some(ENOSPC), Some(ENOMEM)];
    assert!(small.is_none_or(|(_, error)| kinds.contains(&error.raw_os_error())), "the reason to refuse");
    assert!(kinds.contains(&large.1.raw_os_error()), "the reason to refuse");
    std::fs::remove_dir_all(directory).expect("everything can be removed");
    std::fs::write("/tmp/after", vec![2; 1 << 20]).expect("there is room again");
    std::fs::remove_file("/tmp/after").expect("it can be removed");
}

/// Touches page after page until the kernel has no more.
pub(super) fn out_of_memory() {
    const PIECE: usize = 4 << 20;
    for piece in 0.. {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS;
        match sys!(SYS_mmap, 0, PIECE, PROT_READ | PROT_WRITE, flags, -1, 0) {
            Ok(start) => {
                for offset in (0..PIECE).step_by(PAGE) {
                    // SAFETY: a page of the new mapping.
                    unsafe { ptr::with_exposed_provenance_mut::<u8>(start as usize + offset).write_volatile(1) };
                }
            }
            Err(error) => panic!("after {} MiB: errno {error}", (piece * PIECE) >> 20),
        }
    }
}
