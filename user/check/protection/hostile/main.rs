//! Programs that do what programs must not: `hostile NAME`.
//!
//! Some deeds are survived: then the program checks what the kernel answered and prints `ok hostile NAME`. The others
//! must kill the program, with the status that the table names. `hostile` alone prints the table. All deeds but those
//! marked in the table have the same outcome on Linux.
//!
//! Run by: `tests/tests/boot/application.rs`, `tests/tests/boot/checked.rs`, `tests/tests/boot/hostile.rs`,
//! `tests/tests/boot/machines.rs`, `tests/tests/boot/statistics.rs`, `tests/tests/smp.rs`.

mod deadly;
mod greedy;
mod sigreturn;
mod wild;

use std::process::ExitCode;

/// Statuses: 128 and the signal.
const ABORTED: u8 = 128 + libc::SIGABRT as u8;
const FAULT: u8 = 128 + libc::SIGSEGV as u8;
const ILLEGAL: u8 = 128 + libc::SIGILL as u8;
const ARITHMETIC: u8 = 128 + libc::SIGFPE as u8;
const TRAP: u8 = 128 + libc::SIGTRAP as u8;
const KILLED: u8 = 128 + libc::SIGKILL as u8;

/// What can be done.
struct Deed {
    name: &'static str,
    /// The status with which it must end.
    status: u8,
    /// Not to be run on Linux: it would do harm there.
    jotun_only: bool,
    what: &'static str,
    does: fn(),
}

const fn deed(name: &'static str, status: u8, what: &'static str, does: fn()) -> Deed {
    Deed { name, status, jotun_only: false, what, does }
}

const fn jotun_only(name: &'static str, status: u8, what: &'static str, does: fn()) -> Deed {
    Deed { name, status, jotun_only: true, what, does }
}

const DEEDS: [Deed; 38] = [
    deed("divide", ARITHMETIC, "divides by zero", deadly::divide),
    deed("illegal", ILLEGAL, "executes ud2", deadly::illegal),
    deed("breakpoint", TRAP, "executes int3", deadly::breakpoint),
    deed("single-step", TRAP, "sets the trap flag", deadly::single_step),
    deed("kernel-jump", FAULT, "jumps to a kernel address", deadly::kernel_jump),
    deed("nowhere-jump", FAULT, "jumps to an address that is none", deadly::nowhere_jump),
    deed("privileged", FAULT, "executes hlt", deadly::privileged),
    deed("ports", FAULT, "writes to an I/O port", deadly::ports),
    deed("stack-overflow", FAULT, "recurses until the stack ends", deadly::stack_overflow),
    deed("thread-overflow", ABORTED, "the same in a thread; std says so and aborts", deadly::thread_overflow),
    deed("plain-overflow", FAULT, "the same without std's handler", deadly::plain_overflow),
    deed("null", FAULT, "writes to address 0", deadly::null),
    deed("read-kernel", FAULT, "reads the kernel", deadly::read_kernel),
    deed("write-kernel", FAULT, "writes to the kernel", deadly::write_kernel),
    deed("write-code", FAULT, "writes to its own code", deadly::write_code),
    deed("execute-data", FAULT, "executes its data", deadly::execute_data),
    deed("unmap-stack", FAULT, "unmaps its stack", deadly::unmap_stack),
    deed("unmap-all", FAULT, "unmaps everything it has", deadly::unmap_all),
    deed("bad-signal-stack", FAULT, "wants its fault handled on a stack that is not there", deadly::bad_signal_stack),
    deed("fault-in-handler", FAULT, "faults while it handles a fault", deadly::fault_in_handler),
    deed("thread-fault", FAULT, "one thread of several faults", deadly::thread_fault),
    deed("sigreturn-nothing", FAULT, "returns from no signal", sigreturn::nothing),
    deed("sigreturn-rip", FAULT, "returns to an address that is none", sigreturn::instruction),
    deed("sigreturn-kernel", FAULT, "returns into the kernel", sigreturn::kernel),
    deed("sigreturn-segment", FAULT, "returns with the kernel's code segment", sigreturn::segment),
    deed("sigreturn-state", FAULT, "returns with vector state from nowhere", sigreturn::state),
    deed("sigreturn-mxcsr", FAULT, "returns with reserved bits in its vector state", sigreturn::mxcsr),
    deed("sigreturn-component", FAULT, "returns with vector state of kinds that are not enabled", sigreturn::component),
    deed("sigreturn-flags", 0, "returns with the flags of a kernel; they are not taken", sigreturn::flags),
    deed("flags", 0, "makes calls with direction, alignment and nested-task flags set", wild::flags),
    deed("huge-alloc", 0, "asks for 2^63 bytes", greedy::huge),
    deed("open-many", 0, "opens 100,000 files", greedy::open_many),
    deed("many-threads", 0, "starts threads until there are no more", greedy::many_threads),
    deed("many-mappings", 0, "cuts its memory into pieces until there are no more", greedy::many_mappings),
    jotun_only("many-files", 0, "fills the file system", greedy::many_files),
    jotun_only("out-of-memory", KILLED, "uses memory until there is no more", greedy::out_of_memory),
    deed("pointers", 0, "passes wild, half-mapped and kernel pointers to calls; each says EFAULT", wild::pointers),
    jotun_only("wild", 0, "passes nonsense to every system call", wild::everything),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(name) = arguments.next() else {
        for deed in &DEEDS {
            let mark = if deed.jotun_only { "only on Jotun" } else { "" };
            println!("{:18} {:3} {:14} {}", deed.name, deed.status, mark, deed.what);
        }
        return ExitCode::SUCCESS;
    };
    let Some(deed) = DEEDS.iter().find(|deed| deed.name == name) else {
        eprintln!("hostile: no deed is called {name}; `hostile` alone lists them");
        return ExitCode::from(2);
    };
    if deed.jotun_only && !programs::native::present() {
        eprintln!("hostile: {name} would do harm here; it is for Jotun only");
        return ExitCode::from(2);
    }
    (deed.does)();
    if deed.status != 0 {
        println!("hostile {name}: still here");
        return ExitCode::FAILURE;
    }
    println!("ok hostile {name}");
    ExitCode::SUCCESS
}
