//! The table of the calls on files: each arm names the subsystems that the call touches.
//!
//! The older calls are the `…at` calls with the working directory and no flags, and are made as such.

use super::{AT_FDCWD, attributes, copying, descriptors, devices, io, listing, names, opening, polling, stamps};
use crate::calls::{Answer, Caller, DONE};
use crate::kernel::Kernel;
use ::files::{Errno, OpenFlags};
use syscalls::Sysno;

/// The working directory as an argument.
const HERE: u64 = AT_FDCWD as u64;

/// What `creat` opens with.
const CREAT: u64 = OpenFlags::CREATE.union(OpenFlags::WRITE_ONLY).union(OpenFlags::TRUNCATE).bits() as u64;

/// Makes a call, if it is one on files.
pub fn call(number: Sysno, c: &Caller, k: &mut Kernel) -> Option<Answer> {
    io_call(number, c, k).or_else(|| name_call(number, c, k)).or_else(|| file_call(number, c, k))
}

/// Calls that move bytes or wait for them.
fn io_call(number: Sysno, c: &Caller, k: &mut Kernel) -> Option<Answer> {
    use Sysno::*;
    let (memory, tasks, files, console) = (&mut k.memory, &mut k.tasks, &mut k.files, &mut k.console);
    Some(match number {
        read => io::read(c, memory, tasks, files, console, &mut k.random),
        readv => io::readv(c, memory, tasks, files, console, &mut k.random),
        pread64 => io::pread(c, memory, tasks, files, console, &mut k.random),
        preadv | preadv2 => io::preadv(c, memory, tasks, files, console, &mut k.random),
        write => io::write(c, memory, tasks, files, console),
        writev => io::writev(c, memory, tasks, files, console),
        pwrite64 => io::pwrite(c, memory, tasks, files, console),
        pwritev | pwritev2 => io::pwritev(c, memory, tasks, files, console),
        lseek => io::lseek(c, memory, tasks, files),
        sendfile => copying::sendfile(c, memory, tasks, files, console),
        copy_file_range => copying::copy_file_range(c, memory, tasks, files, console),

        poll => polling::poll(c, memory, tasks, files, console),
        ppoll => polling::ppoll(c, memory, tasks, files, console),
        select => polling::select(c, memory, tasks, files, console),
        pselect6 => polling::pselect(c, memory, tasks, files, console),

        ioctl => devices::ioctl(c, memory, tasks, files, console),
        _ => return None,
    })
}

/// Calls that open, make, move and remove names.
fn name_call(number: Sysno, c: &Caller, k: &mut Kernel) -> Option<Answer> {
    use Sysno::*;
    let (memory, tasks, files) = (&mut k.memory, &mut k.tasks, &mut k.files);
    let at = |arguments| Caller { arguments, ..*c };
    let [a, b, d, ..] = c.arguments;
    Some(match number {
        open => opening::openat(&at([HERE, a, b, d, 0, 0]), memory, tasks, files),
        openat => opening::openat(c, memory, tasks, files),
        creat => opening::openat(&at([HERE, a, CREAT, b, 0, 0]), memory, tasks, files),
        close => opening::close(c, memory, tasks, files),
        close_range => opening::close_range(c, memory, tasks, files),

        mkdir => names::mkdirat(&at([HERE, a, b, 0, 0, 0]), memory, tasks, files),
        mkdirat => names::mkdirat(c, memory, tasks, files),
        rmdir => names::unlinkat(&at([HERE, a, names::AT_REMOVEDIR, 0, 0, 0]), memory, tasks, files),
        unlink => names::unlinkat(&at([HERE, a, 0, 0, 0, 0]), memory, tasks, files),
        unlinkat => names::unlinkat(c, memory, tasks, files),
        rename => names::renameat(&at([HERE, a, HERE, b, 0, 0]), memory, tasks, files),
        renameat => names::renameat(&at([a, b, d, c.arguments[3], 0, 0]), memory, tasks, files),
        renameat2 => names::renameat(c, memory, tasks, files),
        link => names::linkat(&at([HERE, a, HERE, b, 0, 0]), memory, tasks, files),
        linkat => names::linkat(c, memory, tasks, files),
        symlink => names::symlinkat(&at([a, HERE, b, 0, 0, 0]), memory, tasks, files),
        symlinkat => names::symlinkat(c, memory, tasks, files),
        readlink => names::readlinkat(&at([HERE, a, b, d, 0, 0]), memory, tasks, files),
        readlinkat => names::readlinkat(c, memory, tasks, files),

        chdir => names::chdir(c, memory, tasks, files),
        fchdir => names::fchdir(c, memory, tasks, files),
        getcwd => names::getcwd(c, memory, tasks, files),
        getdents64 => listing::getdents(c, memory, tasks, files),
        _ => return None,
    })
}

/// Calls on what files are, and on descriptors.
fn file_call(number: Sysno, c: &Caller, k: &mut Kernel) -> Option<Answer> {
    use Sysno::*;
    let (memory, tasks, files) = (&mut k.memory, &mut k.tasks, &mut k.files);
    let at = |arguments| Caller { arguments, ..*c };
    let [a, b, d, ..] = c.arguments;
    Some(match number {
        stat => attributes::fstatat(&at([HERE, a, b, 0, 0, 0]), memory, tasks, files),
        lstat => attributes::fstatat(&at([HERE, a, b, attributes::AT_SYMLINK_NOFOLLOW, 0, 0]), memory, tasks, files),
        newfstatat => attributes::fstatat(c, memory, tasks, files),
        fstat => attributes::fstat(c, memory, tasks, files),
        statx => attributes::statx(c, memory, tasks, files),
        access => attributes::faccessat(&at([HERE, a, b, 0, 0, 0]), memory, tasks, files),
        faccessat => attributes::faccessat(&at([a, b, d, 0, 0, 0]), memory, tasks, files),
        faccessat2 => attributes::faccessat(c, memory, tasks, files),
        chmod => attributes::fchmodat(&at([HERE, a, b, 0, 0, 0]), memory, tasks, files),
        fchmodat => attributes::fchmodat(&at([a, b, d, 0, 0, 0]), memory, tasks, files),
        fchmodat2 => attributes::fchmodat(c, memory, tasks, files),
        fchmod => attributes::fchmod(c, tasks, files),
        chown => attributes::fchownat(&at([HERE, a, b, d, 0, 0]), memory, tasks, files),
        lchown => attributes::fchownat(&at([HERE, a, b, d, attributes::AT_SYMLINK_NOFOLLOW, 0]), memory, tasks, files),
        fchownat => attributes::fchownat(c, memory, tasks, files),
        fchown => attributes::fchown(c, tasks, files),
        utimensat => stamps::utimensat(c, memory, tasks, files),
        utimes => stamps::utimes(c, memory, tasks, files),
        truncate => attributes::truncate(c, memory, tasks, files),
        ftruncate => attributes::ftruncate(c, memory, tasks, files),
        fallocate => attributes::fallocate(c, memory, tasks, files),
        statfs => attributes::statfs(c, memory, tasks, files),
        fstatfs => attributes::fstatfs(c, memory, tasks, files),

        dup => descriptors::dup(c, tasks, files),
        dup2 => descriptors::dup2(c, memory, tasks, files),
        dup3 => descriptors::dup3(c, memory, tasks, files),
        fcntl => descriptors::fcntl(c, memory, tasks, files),
        fsync | fdatasync | flock | fadvise64 => descriptors::nothing_to_do(c, tasks, files),
        umask => descriptors::umask(c, tasks),
        sync => DONE,
        // Extended attributes: as on a file system that has none.
        getxattr | lgetxattr | fgetxattr | setxattr | lsetxattr | fsetxattr | listxattr | llistxattr | flistxattr
        | removexattr | lremovexattr | fremovexattr => Err(Errno::EOPNOTSUPP),
        _ => return None,
    })
}
