//! The table of the calls on files, whose lines are as [`crate::calls::table`] describes.
//!
//! The older calls are made as the `…at` calls, with the working directory and no flags.

use super::attributes;
use super::copying;
use super::io::{self, At};
use super::names::{self, RenameFlags};
use super::opening::{self, CloseRangeFlags};
use super::patience::{Mask, Timeout};
use super::polling::{self, PollFd};
use super::stamps::{self, Times};
use super::structures::{Stat, StatFs, Statx};
use super::transfer::Buffer;
use super::watching::{self, Event};
use super::{AtFlags, descriptors, devices, listing, locking};
use crate::calls::argument::{Fd, Pointer, UserPath};
use crate::calls::entry::{WITH_INTERRUPTS, WITHOUT_RESERVE, calls};
use crate::calls::time::Timespec;
use ::files::OpenFlags;
use syscalls::Sysno;

/// The flags with which `creat` opens a file.
const CREAT: OpenFlags = OpenFlags::CREATE.union(OpenFlags::WRITE_ONLY).union(OpenFlags::TRUNCATE);

calls! {
    /// Puts the calls into the table.
    pub(in crate::calls) fn fill(Sysno, 0);

    // Calls that move bytes or wait for them.
    read(fd: Fd, address: u64, length: u64)
        uses memory, tasks, files, console, random: WITHOUT_RESERVE | WITH_INTERRUPTS
        => io::read(fd, Buffer { address, length }, Ok(At::Offset)),
    pread64(fd: Fd, address: u64, length: u64, position: i64)
        uses memory, tasks, files, console, random: WITHOUT_RESERVE | WITH_INTERRUPTS
        => io::read(fd, Buffer { address, length }, At::position(position)),
    readv(fd: Fd, buffers: Pointer<Buffer>, count: u64)
        uses memory, tasks, files, console, random: WITHOUT_RESERVE | WITH_INTERRUPTS
        => io::readv(fd, (buffers, count), Ok(At::Offset)),
    preadv(fd: Fd, buffers: Pointer<Buffer>, count: u64, position: i64)
        uses memory, tasks, files, console, random: WITHOUT_RESERVE | WITH_INTERRUPTS
        => io::readv(fd, (buffers, count), At::position(position)),
    preadv2(fd: Fd, buffers: Pointer<Buffer>, count: u64, position: i64, _high_half: u64, flags: u32)
        uses memory, tasks, files, console, random: WITHOUT_RESERVE | WITH_INTERRUPTS
        => io::readv(fd, (buffers, count), At::position_with_flags(position, flags)),
    write(fd: Fd, address: u64, length: u64)
        uses memory, tasks, files, console: WITHOUT_RESERVE | WITH_INTERRUPTS
        => io::write(fd, Buffer { address, length }, Ok(At::Offset)),
    pwrite64(fd: Fd, address: u64, length: u64, position: i64)
        uses memory, tasks, files, console: WITHOUT_RESERVE | WITH_INTERRUPTS
        => io::write(fd, Buffer { address, length }, At::position(position)),
    writev(fd: Fd, buffers: Pointer<Buffer>, count: u64)
        uses memory, tasks, files, console: WITHOUT_RESERVE | WITH_INTERRUPTS
        => io::writev(fd, (buffers, count), Ok(At::Offset)),
    pwritev(fd: Fd, buffers: Pointer<Buffer>, count: u64, position: i64)
        uses memory, tasks, files, console: WITHOUT_RESERVE | WITH_INTERRUPTS
        => io::writev(fd, (buffers, count), At::position(position)),
    pwritev2(fd: Fd, buffers: Pointer<Buffer>, count: u64, position: i64, _high_half: u64, flags: u32)
        uses memory, tasks, files, console: WITHOUT_RESERVE | WITH_INTERRUPTS
        => io::writev(fd, (buffers, count), At::position_with_flags(position, flags)),
    lseek(fd: Fd, offset: i64, whence: u32) uses memory, tasks, files => io::lseek,
    sendfile(to: Fd, from: Fd, position: Option<Pointer<i64>>, count: u64)
        uses memory, tasks, files, console: WITH_INTERRUPTS => copying::sendfile,
    copy_file_range(from: Fd, at: Option<Pointer<i64>>, to: Fd, at_other: Option<Pointer<i64>>, count: u64, flags: u32)
        uses memory, tasks, files, console: WITH_INTERRUPTS => copying::copy_file_range,

    poll(fds: Pointer<PollFd>, count: u32, milliseconds: i32) uses memory, tasks, files, console
        => polling::poll(fds, count, Timeout::Milliseconds(milliseconds), Mask::NONE),
    ppoll(fds: Pointer<PollFd>, count: u32, time: Option<Pointer<Timespec>>, set: Option<Pointer<u64>>, size: u64)
        uses memory, tasks, files, console
        => polling::poll(fds, count, Timeout::Time(time), Mask { set, size }),
    select(
        count: i32, read: Option<Pointer<u64>>, write: Option<Pointer<u64>>, except: Option<Pointer<u64>>,
        time: Option<Pointer<[i64; 2]>>
    ) uses memory, tasks, files, console
        => polling::select(count, [read, write, except], Timeout::Microseconds(time), None),
    pselect6(
        count: i32, read: Option<Pointer<u64>>, write: Option<Pointer<u64>>, except: Option<Pointer<u64>>,
        time: Option<Pointer<Timespec>>, mask: Option<Pointer<[u64; 2]>>
    ) uses memory, tasks, files, console
        => polling::select(count, [read, write, except], Timeout::Time(time), mask),

    eventfd(count: u32) uses memory, tasks, files => watching::eventfd(count, OpenFlags::empty()),
    eventfd2(count: u32, flags: OpenFlags) uses memory, tasks, files => watching::eventfd,
    epoll_create(size: i32) uses memory, tasks, files => watching::create_sized,
    epoll_create1(flags: OpenFlags) uses memory, tasks, files => watching::create,
    epoll_ctl(epoll: Fd, operation: u32, fd: Fd, event: Pointer<Event>) uses memory, tasks, files, console
        => watching::control,
    epoll_wait(epoll: Fd, events: Pointer<Event>, most: i32, milliseconds: i32) uses memory, tasks, files, console
        => watching::wait(epoll, events, most, Timeout::Milliseconds(milliseconds), Mask::NONE),
    epoll_pwait(
        epoll: Fd, events: Pointer<Event>, most: i32, milliseconds: i32, set: Option<Pointer<u64>>, size: u64
    ) uses memory, tasks, files, console
        => watching::wait(epoll, events, most, Timeout::Milliseconds(milliseconds), Mask { set, size }),
    epoll_pwait2(
        epoll: Fd, events: Pointer<Event>, most: i32, time: Option<Pointer<Timespec>>, set: Option<Pointer<u64>>,
        size: u64
    ) uses memory, tasks, files, console
        => watching::wait(epoll, events, most, Timeout::Time(time), Mask { set, size }),

    ioctl(fd: Fd, request: u32, argument: u64) uses memory, tasks, files, console: WITHOUT_RESERVE => devices::ioctl,

    // Calls that open, make, move and remove names.
    open(path: UserPath, flags: OpenFlags, mode: u32) uses memory, tasks, files, console: WITH_INTERRUPTS
        => opening::openat(Fd::HERE, path, flags, mode),
    openat(directory: Fd, path: UserPath, flags: OpenFlags, mode: u32)
        uses memory, tasks, files, console: WITH_INTERRUPTS => opening::openat,
    creat(path: UserPath, mode: u32) uses memory, tasks, files, console => opening::openat(Fd::HERE, path, CREAT, mode),
    pipe(fds: Pointer<[u32; 2]>) uses memory, tasks, files => opening::pipe2(fds, OpenFlags::empty()),
    pipe2(fds: Pointer<[u32; 2]>, flags: OpenFlags) uses memory, tasks, files => opening::pipe2,
    close(fd: Fd) uses memory, tasks, files: WITHOUT_RESERVE | WITH_INTERRUPTS => opening::close,
    close_range(first: u32, last: u32, flags: CloseRangeFlags) uses memory, tasks, files => opening::close_range,

    mkdir(path: UserPath, mode: u32) uses memory, tasks, files => names::mkdirat(Fd::HERE, path, mode),
    mkdirat(directory: Fd, path: UserPath, mode: u32) uses memory, tasks, files => names::mkdirat,
    rmdir(path: UserPath) uses memory, tasks, files => names::unlinkat(Fd::HERE, path, AtFlags::REMOVEDIR),
    unlink(path: UserPath) uses memory, tasks, files => names::unlinkat(Fd::HERE, path, AtFlags::empty()),
    unlinkat(directory: Fd, path: UserPath, flags: AtFlags) uses memory, tasks, files => names::unlinkat,
    rename(old: UserPath, new: UserPath) uses memory, tasks, files
        => names::renameat(Fd::HERE, old, Fd::HERE, new, RenameFlags::empty()),
    renameat(from: Fd, old: UserPath, to: Fd, new: UserPath) uses memory, tasks, files
        => names::renameat(from, old, to, new, RenameFlags::empty()),
    renameat2(from: Fd, old: UserPath, to: Fd, new: UserPath, flags: RenameFlags) uses memory, tasks, files
        => names::renameat,
    link(old: UserPath, new: UserPath) uses memory, tasks, files
        => names::linkat(Fd::HERE, old, Fd::HERE, new, AtFlags::empty()),
    linkat(from: Fd, old: UserPath, to: Fd, new: UserPath, flags: AtFlags) uses memory, tasks, files => names::linkat,
    symlink(target: UserPath, path: UserPath) uses memory, tasks, files => names::symlinkat(target, Fd::HERE, path),
    symlinkat(target: UserPath, directory: Fd, path: UserPath) uses memory, tasks, files => names::symlinkat,
    readlink(path: UserPath, buffer: Pointer<u8>, size: i32) uses memory, tasks, files
        => names::readlinkat(Fd::HERE, path, buffer, size),
    readlinkat(directory: Fd, path: UserPath, buffer: Pointer<u8>, size: i32) uses memory, tasks, files
        => names::readlinkat,

    chdir(path: UserPath) uses memory, tasks, files => names::chdir,
    fchdir(fd: Fd) uses memory, tasks, files => names::fchdir,
    getcwd(buffer: Pointer<u8>, size: u64) uses memory, tasks, files => names::getcwd,
    getdents64(fd: Fd, buffer: Pointer<u8>, size: u32) uses memory, tasks, files: WITH_INTERRUPTS => listing::getdents,

    // Calls on attributes of files, and on descriptors.
    stat(path: UserPath, stat: Pointer<Stat>) uses memory, tasks, files
        => attributes::fstatat(Fd::HERE, path, stat, AtFlags::empty()),
    lstat(path: UserPath, stat: Pointer<Stat>) uses memory, tasks, files
        => attributes::fstatat(Fd::HERE, path, stat, AtFlags::SYMLINK_NOFOLLOW),
    newfstatat(directory: Fd, path: UserPath, stat: Pointer<Stat>, flags: AtFlags) uses memory, tasks, files
        => attributes::fstatat,
    fstat(fd: Fd, stat: Pointer<Stat>) uses memory, tasks, files => attributes::fstat,
    statx(directory: Fd, path: UserPath, flags: AtFlags, mask: u32, statx: Pointer<Statx>) uses memory, tasks, files
        => attributes::statx,
    access(path: UserPath, mode: u32) uses memory, tasks, files
        => attributes::faccessat(Fd::HERE, path, mode, AtFlags::empty()),
    faccessat(directory: Fd, path: UserPath, mode: u32) uses memory, tasks, files
        => attributes::faccessat(directory, path, mode, AtFlags::empty()),
    faccessat2(directory: Fd, path: UserPath, mode: u32, flags: AtFlags) uses memory, tasks, files
        => attributes::faccessat,
    chmod(path: UserPath, mode: u32) uses memory, tasks, files
        => attributes::fchmodat(Fd::HERE, path, mode, AtFlags::empty()),
    fchmodat(directory: Fd, path: UserPath, mode: u32) uses memory, tasks, files
        => attributes::fchmodat(directory, path, mode, AtFlags::empty()),
    fchmodat2(directory: Fd, path: UserPath, mode: u32, flags: AtFlags) uses memory, tasks, files
        => attributes::fchmodat,
    fchmod(fd: Fd, mode: u32) uses tasks, files => attributes::fchmod,
    chown(path: UserPath, user: u32, group: u32) uses memory, tasks, files
        => attributes::fchownat(Fd::HERE, path, user, group, AtFlags::empty()),
    lchown(path: UserPath, user: u32, group: u32) uses memory, tasks, files
        => attributes::fchownat(Fd::HERE, path, user, group, AtFlags::SYMLINK_NOFOLLOW),
    fchownat(directory: Fd, path: UserPath, user: u32, group: u32, flags: AtFlags) uses memory, tasks, files
        => attributes::fchownat,
    fchown(fd: Fd, user: u32, group: u32) uses tasks, files => attributes::fchown,
    utimensat(directory: Fd, path: UserPath, times: Option<Pointer<Times>>, flags: AtFlags) uses memory, tasks, files
        => stamps::utimensat,
    utimes(path: UserPath, times: Option<Pointer<Times>>) uses memory, tasks, files => stamps::utimes,
    truncate(path: UserPath, size: i64) uses memory, tasks, files: WITH_INTERRUPTS => attributes::truncate,
    ftruncate(fd: Fd, size: i64) uses memory, tasks, files: WITH_INTERRUPTS => attributes::ftruncate,
    fallocate(fd: Fd, mode: u32, offset: i64, length: i64) uses memory, tasks, files: WITH_INTERRUPTS
        => attributes::fallocate,
    statfs(path: UserPath, about: Pointer<StatFs>) uses memory, tasks, files => attributes::statfs,
    fstatfs(fd: Fd, about: Pointer<StatFs>) uses memory, tasks, files => attributes::fstatfs,

    dup(fd: Fd) uses tasks, files => descriptors::dup,
    dup2(fd: Fd, new: Fd) uses memory, tasks, files => descriptors::dup2,
    dup3(fd: Fd, new: Fd, flags: OpenFlags) uses memory, tasks, files => descriptors::dup3,
    fcntl(fd: Fd, command: u32, argument: u64) uses memory, tasks, files => descriptors::fcntl,
    flock(fd: Fd, operation: u32) uses tasks, files => locking::flock,
    fsync | fdatasync(fd: Fd) uses tasks, files => descriptors::sync,
    fadvise64(fd: Fd, _offset: i64, length: i64, advice: u32) uses tasks, files
        => descriptors::advise(fd, length, advice),
    umask(mask: u32) uses tasks: WITHOUT_RESERVE => descriptors::umask,
    sync(): WITHOUT_RESERVE => descriptors::sync_all,
    // Extended attributes, of which no file has any.
    getxattr | setxattr | removexattr(path: UserPath) uses memory, tasks, files
        => attributes::attribute_of_path(path, true),
    lgetxattr | lsetxattr | lremovexattr(path: UserPath) uses memory, tasks, files
        => attributes::attribute_of_path(path, false),
    fgetxattr | fsetxattr | fremovexattr(fd: Fd) uses tasks, files => attributes::attribute_of_file,
    listxattr(path: UserPath) uses memory, tasks, files => attributes::list_of_path(path, true),
    llistxattr(path: UserPath) uses memory, tasks, files => attributes::list_of_path(path, false),
    flistxattr(fd: Fd) uses tasks, files => attributes::list_of_file,
}
