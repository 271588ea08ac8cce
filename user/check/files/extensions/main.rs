//! Extensions of the kernel: one is loaded, used and ended; broken ones are refused; and all of their memory comes back.
//!
//! With the word `forbidden`, that nothing can be loaded. Run by: `tests/tests/boot/extensions.rs`.

mod files;

use libc::{
    EBADF, EBUSY, EEXIST, EFAULT, EINVAL, ENOENT, ENOTTY, ENXIO, EPERM, O_PATH, O_RDONLY, SYS_delete_module,
    SYS_finit_module, SYS_init_module, SYS_ioctl,
};
use programs::children::{self, End};
use programs::counts::Counts;
use programs::sys;
use std::ffi::CStr;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// The extension that every image has: `user/extension/hello.rs`.
const FILE: &str = "/lib/hello.ko";
const DEVICE: &str = "/dev/hello";

/// Requests of the device.
const EXCHANGE: u32 = 1;
const COUNT: u32 = 2;
const NAME: u32 = 3;

type Result<T> = std::result::Result<T, i32>;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("forbidden") {
        forbidden();
    } else {
        // Page tables and tables of the heap stay. A child does the work: pages that it touches are not the counting process's.
        by_child(c"");
        let before = Counts::now();
        by_child(c"greeting=1");
        assert_eq!(Counts::now(), before, "after all extensions have ended");
    }
    println!("ok extensions");
}

fn by_child(parameters: &CStr) {
    let child = children::child(|| {
        // The application kernel, for example, is loaded already.
        let before = loaded();
        whole_life(parameters);
        refused_parameters();
        files::refused();
        assert_eq!(loaded(), before);
        0
    });
    assert_eq!(children::end_of(child), End::Exited(0));
}

/// The extensions that are loaded, a line for each.
fn loaded() -> String {
    fs::read_to_string("/proc/modules").expect("it is there")
}

fn init(image: &[u8], parameters: &CStr) -> Result<()> {
    sys!(SYS_init_module, image.as_ptr(), image.len(), parameters.as_ptr()).map(drop)
}

fn finit(file: &File, parameters: &CStr, flags: u32) -> Result<()> {
    sys!(SYS_finit_module, file.as_raw_fd(), parameters.as_ptr(), flags).map(drop)
}

fn delete(name: &CStr) -> Result<()> {
    sys!(SYS_delete_module, name.as_ptr(), 0).map(drop)
}

fn ioctl(device: &File, request: u32, argument: u64) -> Result<u64> {
    sys!(SYS_ioctl, device.as_raw_fd(), request, argument)
}

fn open(path: &str) -> Result<File> {
    OpenOptions::new().read(true).write(true).open(path).map_err(|error| error.raw_os_error().unwrap_or(0))
}

/// Without the word on the kernel's command line all is refused, whatever the arguments.
fn forbidden() {
    let image = fs::read(FILE).expect("the extension");
    assert_eq!(init(&image, c""), Err(EPERM));
    assert_eq!(finit(&File::open(FILE).expect("the extension"), c"", 0), Err(EPERM));
    assert_eq!(delete(c"hello"), Err(EPERM));
    assert_eq!(loaded(), "");
}

fn whole_life(parameters: &CStr) {
    let file = File::open(FILE).expect("the extension");
    assert_eq!(finit(&file, parameters, 0), Ok(()));
    assert_eq!(finit(&file, parameters, 0), Err(EEXIST), "a second one of the name");
    let modules = loaded();
    assert!(modules.starts_with("hello ") && modules.contains(" 0 - Live 0xffffff58"), "{modules}");
    requests();
    used();
    // The standard library takes `O_PATH` for an access mode.
    let path = sys!(libc::SYS_open, c"/dev/hello", O_PATH).expect("a name can be held") as i32;
    assert_eq!(sys!(SYS_ioctl, path, COUNT, 0), Err(EBADF));
    assert_eq!(delete(c"hello"), Ok(()));
    assert_eq!(delete(c"hello"), Err(ENOENT));
    assert_eq!(open(DEVICE).map(drop), Err(ENOENT));
    // The inode is still there, the device is not.
    assert_eq!(open(&format!("/proc/self/fd/{path}")).map(drop), Err(ENXIO));
    children::close_all(&[path]);
}

/// The device does what its source says.
fn requests() {
    let metadata = fs::metadata(DEVICE).expect("the device");
    assert!(metadata.file_type().is_char_device() && metadata.rdev() >> 8 == 254, "{:#x}", metadata.rdev());
    let (first, second) = (open(DEVICE).expect("opened"), open(DEVICE).expect("opened again"));
    assert_eq!([ioctl(&first, NAME, 0), ioctl(&second, NAME, 0)], [Ok(1), Ok(2)], "the open files' own names");
    assert_eq!(sys!(libc::SYS_lseek, first.as_raw_fd(), 5, libc::SEEK_SET), Ok(0), "it has no position");
    assert_eq!(ioctl(&first, NAME, 0), Ok(1));
    assert_eq!(ioctl(&first, COUNT, 0), Ok(2));
    let duplicate = first.try_clone().expect("a further descriptor");
    drop(second);
    assert_eq!(ioctl(&first, COUNT, 0), Ok(1));
    drop(first);
    assert_eq!(ioctl(&duplicate, COUNT, 0), Ok(1), "the open file has another descriptor");
    let mut word = 17u64;
    let at = &raw mut word as u64;
    for expected in [0, 17, 0] {
        assert_eq!((ioctl(&duplicate, EXCHANGE, at), word), (Ok(0), expected));
    }
    assert_eq!(ioctl(&duplicate, EXCHANGE, 0xffff_8000_0000_0000), Err(EFAULT));
    assert_eq!(ioctl(&duplicate, 99, 0), Err(ENOTTY));
    assert_eq!((&duplicate).read(&mut [0]).map_err(|error| error.raw_os_error()), Err(Some(EINVAL)));
}

/// An extension stays while its device is open, also in another process, and however that process ends.
fn used() {
    let device = open(DEVICE).expect("opened");
    assert_eq!(delete(c"hello"), Err(EBUSY));
    let child = children::child(|| {
        loop {
            // Its descriptor is closed by its end.
            sys!(libc::SYS_pause).ok();
        }
    });
    drop(device);
    assert_eq!(delete(c"hello"), Err(EBUSY), "the child has it");
    sys!(libc::SYS_kill, child, libc::SIGKILL).expect("killed");
    children::end_of(child);
    assert_eq!(fs::remove_file(DEVICE).map_err(|error| error.raw_os_error()), Err(Some(EPERM)));
}

/// An extension that fails at once, and arguments that are wrong.
fn refused_parameters() {
    let image = fs::read(FILE).expect("the extension");
    assert_eq!(init(&image, c"greeting=7"), Err(EINVAL));
    assert_eq!(init(&image, c"nonsense"), Err(EINVAL));
    assert_eq!(sys!(SYS_init_module, image.as_ptr(), image.len(), 1), Err(EFAULT));
    assert_eq!(sys!(SYS_init_module, 0x1000, image.len(), c"".as_ptr()), Err(EFAULT));
    let long = std::ffi::CString::new(vec![b'x'; 256]).expect("no NUL");
    assert_eq!(init(&image, &long), Err(libc::E2BIG));
    assert_eq!(finit(&File::open(FILE).expect("the extension"), c"", 1), Err(EINVAL));
    let written = OpenOptions::new().write(true).open(FILE).expect("the extension");
    assert_eq!(finit(&written, c"", 0), Err(EBADF));
    assert_eq!(finit(&File::open("/dev/null").expect("a device"), c"", 0), Err(EINVAL));
    assert_eq!(sys!(SYS_finit_module, -1, c"".as_ptr(), O_RDONLY), Err(EBADF));
    assert_eq!(delete(c"a-name-that-is-longer-than-any-extension-has"), Err(ENOENT));
    assert_eq!(sys!(SYS_delete_module, 0, 0), Err(EFAULT));
}
