//! A machine of two CPUs for the tests: memory, a kernel on it, and processes without programs.

use crate::arch::extension::Supply;
use crate::arch::frame::{Progress, SystemCall};
use crate::arch::layout::DIRECT_MAP;
use crate::arch::physical::Frames;
use crate::arch::{cpulocal, extended, paging};
use crate::calls;
use crate::core::kernel::Kernel;
use crate::core::lifecycle;
use crate::core::process::{Invocation, Name, Resources};
use crate::core::schedule;
use crate::options::Options;
use crate::start;
use ::cpulocal::InKernel;
use alloc::rc::Rc;
use alloc::vec::Vec;
use containers::{Backing, ContainerId, Cpu, Ending, PAGE_SIZE, Region, Registers, Rights, Space, Thread, ThreadId};
use core::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, OnceLock};

/// Where a process's memory begins, and how much it is.
pub(super) const MEMORY: u64 = 0x40_0000;
const PAGES: u64 = 64;

/// Frames of the machine.
const FRAMES: usize = 32 << 8;

/// A test's turn at the machine. There is one for all tests, since the kernel's heap and its CPU-local variables are statics.
pub(super) struct Machine(MutexGuard<'static, Kernel>);

/// Memory for two CPUs and a kernel on it, without a process.
pub(super) fn machine() -> Machine {
    static MACHINE: OnceLock<Mutex<Kernel>> = OnceLock::new();
    let machine = MACHINE.get_or_init(|| {
        let bytes = (FRAMES + 1) * PAGE_SIZE;
        // SAFETY: a new mapping at an address that nothing else has.
        let at = unsafe {
            libc::mmap(
                DIRECT_MAP as *mut _,
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        assert_eq!(at as u64, DIRECT_MAP, "memory for the machine");
        let mut frames = Frames::over(FRAMES);
        let globals = paging::build_for_tests(&mut frames, 2);
        let (kernel, _) = start::kernel(
            frames,
            globals,
            &Options { size: (24, 80), seed: Some(1), ..Options::default() },
            Supply::default(),
        );
        Mutex::new(kernel)
    });
    let mut machine = Machine(machine.lock().unwrap_or_else(|failed| failed.into_inner()));
    machine.end_processes();
    machine
}

impl Machine {
    /// Ends the processes that are there, each on the CPU that has one of its threads.
    pub(super) fn end_processes(&mut self) {
        let kernel = &mut *self.0;
        let all: Vec<_> = kernel.tasks.processes().collect();
        for id in all {
            let cpu = proof();
            cpulocal::set_number(&cpu, kernel.tasks.running_on(id).lowest().unwrap_or_default());
            lifecycle::end_process(kernel, &cpu, id, Ending::Exited(0));
        }
        assert_eq!(kernel.tasks.processes_live(), 0, "processes that cannot be ended");
    }
}

impl Deref for Machine {
    type Target = Kernel;

    fn deref(&self) -> &Kernel {
        &self.0
    }
}

impl DerefMut for Machine {
    fn deref_mut(&mut self) -> &mut Kernel {
        &mut self.0
    }
}

/// The proof that the test's CPU is in the kernel.
fn proof() -> InKernel {
    // SAFETY: the test is the only one in its kernel, by the machine's lock.
    unsafe { InKernel::new() }
}

/// A process with memory at [`MEMORY`], whose thread a CPU has taken, and of whose context it has loaded nothing.
pub(super) fn process(kernel: &mut Kernel, on: Cpu) -> ThreadId {
    let container = kernel.memory.make_container_with_directory(on).expect("memory for a container");
    let rights = Rights::READ | Rights::WRITE;
    let region = Region::new(MEMORY..MEMORY + PAGES * PAGE_SIZE as u64, rights, Backing::Zero);
    kernel.memory.map(container, region).expect("room for a region");
    let root = kernel.files.root();
    kernel.files.enter(root).expect("the root");
    let invocation = Invocation { executable: (*b"/test").into(), inode: root, command_line: (*b"test\0").into() };
    let resources = Resources::new(
        kernel.files.standard_descriptors(),
        kernel.files.root(),
        Name::of_path(b"/test"),
        Rc::new(invocation),
    );
    let main = Thread::new(container, extended::fresh(None));
    let id = kernel.tasks.make_process(main, None, resources).expect("room for a process");
    kernel.memory.container_mut(container).expect("it was made").processes = 1;
    let thread = ThreadId::main(id);
    kernel.tasks.make_ready(thread);
    dispatch(kernel, on, thread);
    thread
}

/// Has a CPU take this thread, and no other, out of the ready queue. It loads nothing of the thread.
fn dispatch(kernel: &mut Kernel, on: Cpu, thread: ThreadId) {
    assert_eq!(kernel.tasks.take_ready(on, |id, _| id), Some(thread), "the one thread that is ready");
}

/// Makes a call of a thread on a CPU, from the registers in the thread's control block to the result in them. `None`: the
/// thread does not go on now.
pub(super) fn call(kernel: &mut Kernel, on: Cpu, thread: ThreadId, number: usize, arguments: [u64; 6]) -> Option<i64> {
    let registers = &mut kernel.tasks.thread_mut(thread).expect("a thread").context.registers;
    let [rdi, rsi, rdx, r10, r8, r9] = arguments;
    let number = number as u64;
    *registers = Registers { rdi, rsi, rdx, r10, r8, r9, code: number, rax: number, ..*registers };
    registers.vector = Registers::SYSTEM_CALL;
    let (rip, rflags, rsp) = (registers.rip, registers.rflags, registers.rsp);
    let frame = SystemCall { arguments, rip, rflags, rsp, number, cpu: proof() };
    cpulocal::set_number(&frame.cpu, on);
    schedule::act_for(kernel, &frame.cpu, Some(thread));
    let progress = calls::make(&frame, kernel, calls::find(number));
    schedule::act_for(kernel, &frame.cpu, None);
    match progress {
        Progress::Returns(value) | Progress::Held(value) => {
            if let Some(thread) = kernel.tasks.thread_mut(thread) {
                thread.context.registers.rax = value;
            }
            Some(value as i64)
        }
        Progress::Stays | Progress::Unmade => None,
    }
}

/// Lets a thread that has been woken go on, and make its call again on a CPU if the wake-up has not ended the call; returns
/// the call's result.
pub(super) fn resume(kernel: &mut Kernel, on: Cpu, thread: ThreadId) -> Option<i64> {
    dispatch(kernel, on, thread);
    let thread_now = kernel.tasks.thread(thread)?;
    let Registers { rax, rdi, rsi, rdx, r10, r8, r9, .. } = thread_now.context.registers;
    match thread_now.restart {
        Some(_) => call(kernel, on, thread, rax as usize, [rdi, rsi, rdx, r10, r8, r9]),
        None => Some(rax as i64),
    }
}

/// Writes to a process's memory.
pub(super) fn write(kernel: &mut Kernel, thread: ThreadId, address: u64, bytes: &[u8]) {
    let space = Space { container: container(kernel, thread), cpu: Cpu(0) };
    kernel.memory.copy_out(space, address, bytes).expect("memory of the process");
}

/// Reads a process's memory.
pub(super) fn read<const N: usize>(kernel: &mut Kernel, thread: ThreadId, address: u64) -> [u8; N] {
    let space = Space { container: container(kernel, thread), cpu: Cpu(0) };
    let mut bytes = [0; N];
    kernel.memory.copy_in(space, address, &mut bytes).expect("memory of the process");
    bytes
}

fn container(kernel: &Kernel, thread: ThreadId) -> ContainerId {
    kernel.tasks.thread(thread).expect("a thread").container
}

// The linker script's symbols, for what the report of statistics would read; tests do not make that call.
#[unsafe(no_mangle)]
static __cpulocal_start: u8 = 0;
#[unsafe(no_mangle)]
static __cpulocal_end: u8 = 0;
