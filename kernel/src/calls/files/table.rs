//! The table of the calls on files: each line names the subsystems that the call touches.
//!
//! The older calls are made as the `…at` calls, with the working directory and no flags.

use super::{
    AT_FDCWD, attributes, copying, descriptors, devices, io, listing, locking, names, opening, polling, stamps,
    watching,
};
use crate::calls::table::{ALWAYS, LONG, calls};
use crate::calls::{Answer, DONE};
use crate::core::kernel::Kernel;
use ::files::{Errno, OpenFlags};
use syscalls::Sysno;

/// The working directory as an argument.
const HERE: u64 = AT_FDCWD as u64;

/// The flags with which `creat` opens a file.
const CREAT: u64 = OpenFlags::CREATE.union(OpenFlags::WRITE_ONLY).union(OpenFlags::TRUNCATE).bits() as u64;

calls! {
    /// Puts the calls into the table.
    pub fn fill(Sysno, 0, k, cpu, c, { memory, tasks, files, console, random, .. });

    // Calls that move bytes or wait for them.
    read: ALWAYS | LONG => io::read(c, memory, tasks, files, console, random),
    pread64: ALWAYS | LONG => io::pread(c, memory, tasks, files, console, random),
    readv | preadv | preadv2: ALWAYS | LONG => io::readv(c, memory, tasks, files, console, random),
    write: ALWAYS | LONG => io::write(c, memory, tasks, files, console),
    pwrite64: ALWAYS | LONG => io::pwrite(c, memory, tasks, files, console),
    writev | pwritev | pwritev2: ALWAYS | LONG => io::writev(c, memory, tasks, files, console),
    lseek => io::lseek(c, memory, tasks, files),
    sendfile: LONG => copying::sendfile(c, memory, tasks, files, console),
    copy_file_range: LONG => copying::copy_file_range(c, memory, tasks, files, console),

    poll | ppoll => polling::poll(c, memory, tasks, files, console),
    select | pselect6 => polling::select(c, memory, tasks, files, console),

    eventfd => watching::eventfd(&c.with(&[c.arguments[0], 0, 0, 0, 0, 0]), memory, tasks, files),
    eventfd2 => watching::eventfd(c, memory, tasks, files),
    epoll_create => match c.int(0) {
        ..=0 => Err(Errno::EINVAL),
        _ => watching::create(&c.with(&[0; 6]), memory, tasks, files),
    },
    epoll_create1 => watching::create(c, memory, tasks, files),
    epoll_ctl => watching::control(c, memory, tasks, files, console),
    epoll_wait | epoll_pwait | epoll_pwait2 => watching::wait(c, memory, tasks, files, console),

    ioctl => devices::ioctl(c, memory, tasks, files, console),

    // Calls that open, make, move and remove names.
    open: LONG => opening::openat(c, [HERE, c.arguments[0], c.arguments[1], c.arguments[2]], memory, tasks, files, console),
    openat: LONG => opening::openat(c, [c.arguments[0], c.arguments[1], c.arguments[2], c.arguments[3]], memory, tasks, files, console),
    creat => opening::openat(c, [HERE, c.arguments[0], CREAT, c.arguments[1]], memory, tasks, files, console),
    pipe => opening::pipe2(&c.with(&[c.arguments[0], 0, 0, 0, 0, 0]), memory, tasks, files),
    pipe2 => opening::pipe2(c, memory, tasks, files),
    close: ALWAYS | LONG => opening::close(c, memory, tasks, files),
    close_range => opening::close_range(c, memory, tasks, files),

    mkdir => names::mkdirat(&c.with(&[HERE, c.arguments[0], c.arguments[1], 0, 0, 0]), memory, tasks, files),
    mkdirat => names::mkdirat(c, memory, tasks, files),
    rmdir => names::unlinkat(&c.with(&[HERE, c.arguments[0], names::AT_REMOVEDIR, 0, 0, 0]), memory, tasks, files),
    unlink => names::unlinkat(&c.with(&[HERE, c.arguments[0], 0, 0, 0, 0]), memory, tasks, files),
    unlinkat => names::unlinkat(c, memory, tasks, files),
    rename => names::renameat(&c.with(&[HERE, c.arguments[0], HERE, c.arguments[1], 0, 0]), memory, tasks, files),
    renameat => names::renameat(&c.with(&[c.arguments[0], c.arguments[1], c.arguments[2], c.arguments[3], 0, 0]), memory, tasks, files),
    renameat2 => names::renameat(c, memory, tasks, files),
    link => names::linkat(&c.with(&[HERE, c.arguments[0], HERE, c.arguments[1], 0, 0]), memory, tasks, files),
    linkat => names::linkat(c, memory, tasks, files),
    symlink => names::symlinkat(&c.with(&[c.arguments[0], HERE, c.arguments[1], 0, 0, 0]), memory, tasks, files),
    symlinkat => names::symlinkat(c, memory, tasks, files),
    readlink => names::readlinkat(&c.with(&[HERE, c.arguments[0], c.arguments[1], c.arguments[2], 0, 0]), memory, tasks, files),
    readlinkat => names::readlinkat(c, memory, tasks, files),

    chdir | fchdir => names::chdir(c, memory, tasks, files),
    getcwd => names::getcwd(c, memory, tasks, files),
    getdents64: LONG => listing::getdents(c, memory, tasks, files),

    // Calls on attributes of files, and on descriptors.
    stat => attributes::fstatat(&c.with(&[HERE, c.arguments[0], c.arguments[1], 0, 0, 0]), memory, tasks, files),
    lstat => attributes::fstatat(&c.with(&[HERE, c.arguments[0], c.arguments[1], attributes::AT_SYMLINK_NOFOLLOW, 0, 0]), memory, tasks, files),
    newfstatat => attributes::fstatat(c, memory, tasks, files),
    fstat => attributes::fstat(c, memory, tasks, files),
    statx => attributes::statx(c, memory, tasks, files),
    access => attributes::faccessat(&c.with(&[HERE, c.arguments[0], c.arguments[1], 0, 0, 0]), memory, tasks, files),
    faccessat => attributes::faccessat(&c.with(&[c.arguments[0], c.arguments[1], c.arguments[2], 0, 0, 0]), memory, tasks, files),
    faccessat2 => attributes::faccessat(c, memory, tasks, files),
    chmod => attributes::fchmodat(&c.with(&[HERE, c.arguments[0], c.arguments[1], 0, 0, 0]), memory, tasks, files),
    fchmodat => attributes::fchmodat(&c.with(&[c.arguments[0], c.arguments[1], c.arguments[2], 0, 0, 0]), memory, tasks, files),
    fchmodat2 => attributes::fchmodat(c, memory, tasks, files),
    fchmod => attributes::fchmod(c, tasks, files),
    chown => attributes::fchownat(&c.with(&[HERE, c.arguments[0], c.arguments[1], c.arguments[2], 0, 0]), memory, tasks, files),
    lchown => attributes::fchownat(&c.with(&[HERE, c.arguments[0], c.arguments[1], c.arguments[2], attributes::AT_SYMLINK_NOFOLLOW, 0]), memory, tasks, files),
    fchownat => attributes::fchownat(c, memory, tasks, files),
    fchown => attributes::fchown(c, tasks, files),
    utimensat => stamps::utimensat(c, memory, tasks, files),
    utimes => stamps::utimes(c, memory, tasks, files),
    truncate: LONG => attributes::truncate(c, memory, tasks, files),
    ftruncate: LONG => attributes::ftruncate(c, memory, tasks, files),
    fallocate: LONG => attributes::fallocate(c, memory, tasks, files),
    statfs => attributes::statfs(c, memory, tasks, files),
    fstatfs => attributes::fstatfs(c, memory, tasks, files),

    dup => descriptors::dup(c, tasks, files),
    dup2 | dup3 => descriptors::dup2(c, memory, tasks, files),
    fcntl => descriptors::fcntl(c, memory, tasks, files),
    flock => locking::flock(c, tasks, files),
    fsync | fdatasync => descriptors::sync(c, tasks, files),
    fadvise64 => descriptors::advise(c, tasks, files),
    umask: ALWAYS => descriptors::umask(c, tasks),
    sync: ALWAYS => DONE,
    // Extended attributes: as on a file system that has none.
    getxattr | setxattr | removexattr => attributes::path_exists(c, memory, tasks, files, true).and(Err(Errno::EOPNOTSUPP)),
    lgetxattr | lsetxattr | lremovexattr => attributes::path_exists(c, memory, tasks, files, false).and(Err(Errno::EOPNOTSUPP)),
    fgetxattr | fsetxattr | fremovexattr => attributes::is_open(c, tasks, files).and(Err(Errno::EOPNOTSUPP)),
    listxattr => attributes::path_exists(c, memory, tasks, files, true).and(DONE),
    llistxattr => attributes::path_exists(c, memory, tasks, files, false).and(DONE),
    flistxattr => attributes::is_open(c, tasks, files).and(DONE),
}
