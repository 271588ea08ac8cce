//! Any CPU can make the call of an evicted thread.

use super::machine::{MEMORY, call, machine, process, read, resume, write};
use containers::{Cpu, State};
use syscalls::Sysno;

const EVERY_CPU: [Cpu; 2] = [Cpu(0), Cpu(1)];

#[test]
fn what_a_call_answers_does_not_depend_on_the_cpu() {
    let kernel = &mut *machine();
    let answers = EVERY_CPU.map(|cpu| {
        let thread = process(kernel, cpu);
        let mut make = |number: Sysno, arguments| call(kernel, cpu, thread, number as usize, arguments);
        let number = make(Sysno::getpid, [0; 6]).expect("a number");
        assert_eq!(make(Sysno::gettid, [0; 6]), Some(number));
        // Pages that no program has touched.
        let mapped = make(Sysno::mmap, [0, 0x3000, 3, 0x22, u64::MAX, 0]).expect("an address") as u64;
        let answers = [
            make(Sysno::uname, [mapped + 0x1ff0, 0, 0, 0, 0, 0]),
            make(Sysno::munmap, [mapped, 0x3000, 0, 0, 0, 0]),
            make(Sysno::uname, [mapped, 0, 0, 0, 0, 0]),
            make(Sysno::arch_prctl, [0x1002, 0x1234, 0, 0, 0, 0]),
            make(Sysno::arch_prctl, [0x1003, MEMORY + 64, 0, 0, 0, 0]),
            make(Sysno::pipe, [MEMORY, 0, 0, 0, 0, 0]),
        ];
        assert_eq!(read::<8>(kernel, thread, MEMORY + 64), 0x1234_u64.to_le_bytes());
        answers
    });
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].map(|answer| answer.map(|value| value.signum())), [0, 0, -1, 0, 0, 0].map(Some));
}

/// A thread waits in `read` while its context is evicted; another CPU makes another process's `write`, and so ends the
/// call. Then it makes the reader's next calls itself.
#[test]
fn a_wait_begins_on_one_cpu_and_ends_on_another() {
    let kernel = &mut *machine();
    for [first, second] in [[Cpu(0), Cpu(1)], [Cpu(1), Cpu(0)]] {
        let reader = process(kernel, first);
        assert_eq!(call(kernel, first, reader, Sysno::pipe as usize, [MEMORY, 0, 0, 0, 0, 0]), Some(0));
        let [input, output] = [0, 4].map(|at| u64::from(u32::from_le_bytes(read(kernel, reader, MEMORY + at))));
        let child = call(kernel, first, reader, Sysno::fork as usize, [0; 6]).expect("a child");
        let reads = [input, MEMORY + 0x2000, 5, 0, 0, 0];
        assert_eq!(call(kernel, first, reader, Sysno::read as usize, reads), None, "an empty pipe");
        assert_eq!(kernel.tasks.thread(reader).map(|thread| thread.state), Some(State::Parked));

        let writer = kernel.tasks.take_ready(second, |id, _| id).expect("the child is ready");
        assert_eq!(kernel.tasks.thread(writer).map(|thread| i64::from(thread.number)), Some(child));
        write(kernel, writer, MEMORY + 0x3000, b"words");
        let writes = [output, MEMORY + 0x3000, 5, 0, 0, 0];
        assert_eq!(call(kernel, second, writer, Sysno::write as usize, writes), Some(5));
        assert_eq!(resume(kernel, first, reader), Some(5));
        assert_eq!(&read::<5>(kernel, reader, MEMORY + 0x2000), b"words");

        assert_eq!(call(kernel, second, writer, Sysno::exit_group as usize, [3, 0, 0, 0, 0, 0]), None);
        let waits = [child as u64, MEMORY, 0, 0, 0, 0];
        assert_eq!(call(kernel, second, reader, Sysno::wait4 as usize, waits), Some(child));
        assert_eq!(read::<4>(kernel, reader, MEMORY), [0, 3, 0, 0]);
    }
}

/// Calls with arbitrary numbers and arguments, for processes on either CPU. None executes an instruction that only a kernel may.
#[test]
fn no_call_of_an_evicted_thread_touches_the_cpu() {
    /// Calls that are about the machine and not about a thread: the console's port, and the report of statistics.
    const ABOUT_THE_MACHINE: [u64; 2] = [abi::native::STATISTICS, abi::native::TRACE];
    let mut machine = machine();
    let mut random = 1_u64;
    let mut draw = move || {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        random >> 33
    };
    let (mut made, mut refused) = (0, 0);
    for _ in 0..200 {
        let cpu = EVERY_CPU[draw() as usize % 2];
        let kernel = &mut *machine;
        let mut thread = process(kernel, cpu);
        for _ in 0..100 {
            let number = if draw() % 8 == 0 { abi::native::FIRST + draw() % 12 } else { draw() % 462 };
            if ABOUT_THE_MACHINE.contains(&number) {
                continue;
            }
            let arguments = core::array::from_fn(|_| match draw() % 4 {
                0 => draw() % 8,
                1 => MEMORY + draw() % 0x8000,
                2 => draw() % 0x20_0000,
                _ => draw() << (draw() % 40),
            });
            let answer = call(kernel, cpu, thread, number as usize, arguments);
            made += 1;
            refused += i32::from(answer.is_some_and(|value| value < 0));
            if answer.is_none() {
                // It waits, is gone, or makes the call again: another thread that is ready goes on, if there is one.
                match kernel.tasks.take_ready(cpu, |id, _| id) {
                    Some(ready) => thread = ready,
                    None => break,
                }
            }
        }
        machine.end_processes();
    }
    assert!(made > 5_000 && refused < made, "{made} calls, of which {refused} were refused");
}
