//! The table of system calls: each arm names the subsystems that the call touches.

use super::{Answer, Caller, DONE, files, memory, native, signals, system, threads, time as clocks, value};
use crate::kernel::Kernel;
use crate::schedule;
use ::files::Errno;
use abi::native as own;
use cpulocal::InKernel;
use syscalls::Sysno;

/// Whether a call is made even when the kernel's heap has no reserve: those that give memory back.
pub(super) fn frees(number: u64) -> bool {
    use Sysno::*;
    matches!(Sysno::new(number as usize), Some(exit | exit_group | munmap | close | rt_sigreturn | futex))
}

/// Whether a call can take long enough for devices to notice, so that interrupts are let in.
pub(super) fn is_long(number: u64) -> bool {
    const BITS: [u64; 8] = {
        use Sysno::*;
        const LONG: [Sysno; 26] = [
            read,
            write,
            readv,
            writev,
            pread64,
            pwrite64,
            preadv,
            pwritev,
            sendfile,
            copy_file_range,
            mmap,
            munmap,
            mprotect,
            mremap,
            madvise,
            brk,
            exit,
            exit_group,
            open,
            openat,
            close,
            getdents64,
            getrandom,
            ftruncate,
            truncate,
            fallocate,
        ];
        let mut bits = [0; 8];
        let mut n = 0;
        while n < LONG.len() {
            bits[LONG[n] as usize / 64] |= 1 << (LONG[n] as usize % 64);
            n += 1;
        }
        bits
    };
    match BITS.get(number as usize / 64) {
        Some(bits) => bits >> (number % 64) & 1 != 0,
        None => matches!(number, own::START | own::BURN | own::STATISTICS),
    }
}

/// Makes a call.
pub(super) fn call(k: &mut Kernel, cpu: &InKernel, caller: &Caller) -> Answer {
    let c = caller;
    if (own::FIRST..=own::LAST).contains(&c.number) {
        return own_call(k, cpu, c);
    }
    let Some(number) = usize::try_from(c.number).ok().and_then(Sysno::new) else { return unknown(k, c, "(no name)") };
    use Sysno::*;
    match number {
        mmap => memory::mmap(c, &mut k.memory, &mut k.tasks, &k.files),
        munmap => memory::munmap(c, &mut k.memory),
        mprotect => memory::mprotect(c, &mut k.memory),
        mremap => memory::mremap(c, &mut k.memory, &k.tasks),
        brk => memory::brk(c, &mut k.memory, &k.tasks),
        madvise => memory::madvise(c, &mut k.memory),
        msync | mlock | munlock => memory::check_range(c, &mut k.memory),
        mincore => memory::mincore(c, &mut k.memory),

        clone => threads::clone(c, k, cpu),
        exit => threads::exit(c, k, cpu),
        exit_group => threads::exit_group(c, k, cpu),
        futex => threads::futex(c, &mut k.memory, &mut k.tasks),
        set_tid_address => threads::set_tid_address(c, &mut k.tasks),
        set_robust_list => threads::set_robust_list(c, &mut k.tasks),
        arch_prctl => threads::arch_prctl(c, &mut k.memory, &mut k.tasks),
        getpid | getpgrp | getpgid | getsid => threads::getpid(c, &k.tasks),
        getppid => threads::getppid(c, &k.tasks),
        gettid => threads::gettid(c, &k.tasks),
        sched_yield => threads::sched_yield(c, &mut k.tasks),
        sched_getaffinity => threads::sched_getaffinity(c, &mut k.memory, &k.tasks),
        sched_setaffinity => threads::sched_setaffinity(c, &mut k.memory, &k.tasks),
        sched_getscheduler => threads::sched_getscheduler(c, &k.tasks),
        sched_getparam => threads::sched_getparam(c, &mut k.memory, &k.tasks),
        sched_get_priority_min | sched_get_priority_max => DONE,
        getcpu => threads::getcpu(c, &mut k.memory),

        clock_gettime => {
            if matches!(c.int(0), clocks::PROCESS_CPU | clocks::THREAD_CPU) {
                schedule::charge(k, cpu);
            }
            clocks::clock_gettime(c, &mut k.memory, &k.tasks)
        }
        clock_getres => clocks::clock_getres(c, &mut k.memory, &k.tasks),
        gettimeofday => clocks::gettimeofday(c, &mut k.memory),
        time => clocks::time(c, &mut k.memory),
        nanosleep => clocks::nanosleep(c, &mut k.memory, &mut k.tasks),
        clock_nanosleep => clocks::clock_nanosleep(c, &mut k.memory, &mut k.tasks),

        rt_sigaction => signals::action(c, &mut k.memory, &mut k.tasks),
        rt_sigprocmask => signals::mask(c, &mut k.memory, &mut k.tasks),
        rt_sigpending => signals::pending(c, &mut k.memory, &k.tasks),
        rt_sigreturn => signals::handler_done(c, k, cpu),
        sigaltstack => signals::stack(c, &mut k.memory, &mut k.tasks),
        kill => signals::kill(c, k),
        tkill => signals::kill_thread(k, None, c.int(0), c.arguments[1]),
        tgkill => signals::kill_thread(k, Some(c.int(0)), c.int(1), c.arguments[2]),

        uname => system::uname(c, &mut k.memory),
        sysinfo => system::sysinfo(c, &mut k.memory, &k.tasks),
        getrandom => system::getrandom(c, &mut k.memory, &mut k.random),
        prlimit64 => system::prlimit(c, &mut k.memory, &mut k.tasks),
        getrlimit => system::getrlimit(c, &mut k.memory, &mut k.tasks),
        setrlimit => system::setrlimit(c, &mut k.memory, &mut k.tasks),
        getuid | geteuid | getgid | getegid | getgroups => DONE,
        getresuid | getresgid => system::three_zeroes(c, &mut k.memory),
        setuid | setgid | setreuid | setregid | setresuid | setresgid => system::become_root(c),
        prctl => system::prctl(c, &mut k.memory, &mut k.tasks),
        getpriority => value(20_u64),

        _ => match files::call(number, c, k) {
            Some(answer) => answer,
            None => unknown(k, c, number.name()),
        },
    }
}

fn own_call(k: &mut Kernel, cpu: &InKernel, c: &Caller) -> Answer {
    match c.number {
        own::START => native::start(c, k, cpu),
        own::SEND => native::send(c, &mut k.memory, &mut k.tasks, &mut k.messages),
        own::RECEIVE => native::receive(c, &mut k.memory, &mut k.tasks, &mut k.messages),
        own::WAIT => native::wait(c, &mut k.memory, &mut k.tasks),
        own::STATISTICS => native::statistics(c, k, cpu),
        own::BURN => native::burn(c),
        own::THREAD => native::thread(c, k),
        own::CONTAINER => native::container(c, &mut k.memory, &k.tasks),
        own::PRIORITY => native::priority(c, &mut k.tasks),
        _ => Err(Errno::ENOSYS),
    }
}

/// A call that is not there: logged once by name, or by number if it has none.
fn unknown(k: &mut Kernel, caller: &Caller, name: &str) -> Answer {
    k.statistics.unknown_calls += 1;
    // Numbers beyond the bits share the last one.
    let bit = caller.number.min(511);
    let logged = &mut k.statistics.logged_calls[bit as usize / 64];
    if *logged & 1 << (bit % 64) == 0 {
        *logged |= 1 << (bit % 64);
        let program = k.tasks.process(caller.process).map(|process| process.resources.name).unwrap_or_default();
        log::info!("{program}: system call {} {name} is not there: ENOSYS", caller.number);
    }
    Err(Errno::ENOSYS)
}
