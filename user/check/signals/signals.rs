//! SIGSEGV, SIGFPE, SIGILL and SIGBUS by exceptions: the handler learns where and why, mends the cause, and returns
//! to the instruction.
//!
//! Run by: `tests/tests/boot/application.rs`, `tests/tests/boot/checked.rs`, `tests/tests/boot/programs.rs`,
//! `tests/tests/boot/statistics.rs`, `tests/tests/smp.rs`.

use libc::*;
use programs::sys;
use programs::system::{PAGE, pages};
use std::arch::asm;
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr;

/// Causes, as `si_code` names them; crate `libc` has them not for every C library.
const SEGV_MAPERR: i32 = 1;
const SEGV_ACCERR: i32 = 2;
const FPE_INTDIV: i32 = 1;
const FPE_FLTDIV: i32 = 3;
const ILL_ILLOPN: i32 = 2;

/// What the handler saw last, and how it mends it.
struct Seen {
    signal: i32,
    code: i32,
    address: usize,
    /// Instruction at which it happened.
    instruction: usize,
    /// An address on the stack that the handler ran on.
    stack: usize,
    count: u32,
    mend: Mend,
    /// The vector registers were overwritten in the handler, to see that they come back.
    spoil: bool,
}

#[derive(Clone, Copy)]
enum Mend {
    /// Goes on this many bytes behind the instruction.
    Skip(i64),
    /// Makes the page of the address readable and writable, and repeats the instruction.
    Protect,
    /// Sets `rcx`, and repeats the instruction.
    Divisor(i64),
    /// Goes on at the return address of the call that led here.
    Return,
}

struct Shared(UnsafeCell<Seen>);

// SAFETY: this program has one thread; the handler runs in its midst, while no reference is held.
unsafe impl Sync for Shared {}

static SEEN: Shared = Shared(UnsafeCell::new(Seen {
    signal: 0,
    code: 0,
    address: 0,
    instruction: 0,
    stack: 0,
    count: 0,
    mend: Mend::Skip(0),
    spoil: false,
}));

extern "C" fn handler(signal: i32, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes what `sigaction` promises; the program holds no reference to SEEN
    // while it does what may be interrupted.
    unsafe {
        let seen = &mut *SEEN.0.get();
        let registers = &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs;
        seen.signal = signal;
        seen.code = (*info).si_code;
        seen.address = (*info).si_addr().addr();
        seen.instruction = registers[REG_RIP as usize] as usize;
        seen.stack = (&raw const signal).addr();
        seen.count += 1;
        match seen.mend {
            Mend::Skip(bytes) => registers[REG_RIP as usize] += bytes,
            Mend::Divisor(value) => registers[REG_RCX as usize] = value,
            Mend::Protect => {
                let page = seen.address & !(PAGE - 1);
                assert_eq!(sys!(SYS_mprotect, page, PAGE, PROT_READ | PROT_WRITE), Ok(0));
            }
            Mend::Return => {
                let stack = registers[REG_RSP as usize];
                registers[REG_RIP as usize] = *ptr::with_exposed_provenance::<i64>(stack as usize);
                registers[REG_RSP as usize] = stack + 8;
            }
        }
        if seen.spoil {
            asm!("pxor xmm0, xmm0", "pxor xmm15, xmm15", out("xmm0") _, out("xmm15") _);
        }
    }
}

/// What the last signals were, since the last time.
fn seen(mend: Mend, what: impl FnOnce()) -> Seen {
    let fresh = Seen { signal: 0, code: 0, address: 0, instruction: 0, stack: 0, count: 0, mend, spoil: false };
    // SAFETY: no signal comes during the two exchanges, and no reference is kept.
    unsafe {
        SEEN.0.get().write(fresh);
        what();
        SEEN.0.get().read()
    }
}

fn install(signal: i32, flags: i32) {
    // SAFETY: the handler is one for SA_SIGINFO; zeroes are a valid `sigaction`.
    unsafe {
        let mut action: sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = SA_SIGINFO | flags;
        assert_eq!(sigaction(signal, &action, ptr::null_mut()), 0, "a handler for signal {signal}");
    }
}

fn main() {
    for signal in [SIGSEGV, SIGFPE, SIGILL, SIGBUS] {
        install(signal, 0);
    }
    memory();
    division();
    illegal();
    privileged();
    jumps();
    bus();
    alternate_stack();
    registers();
    masks();
    kept();
    println!("ok signals");
}

fn memory() {
    // Where nothing is, and where something is that may not be touched.
    let nothing = seen(Mend::Skip(2), || {
        // SAFETY: a two-byte load which the handler skips.
        unsafe { asm!("mov al, [rcx]", out("al") _, in("rcx") 0x1234) }
    });
    assert_eq!((nothing.signal, nothing.code, nothing.address), (SIGSEGV, SEGV_MAPERR, 0x1234));

    let page = pages(2);
    let place = page.addr() + PAGE + 123;
    assert_eq!(sys!(SYS_mprotect, page.addr() + PAGE, PAGE, PROT_NONE), Ok(0));
    let denied = seen(Mend::Protect, || {
        // SAFETY: a store to a page of ours, repeated when the handler has made it writable.
        unsafe { asm!("mov byte ptr [{}], 42", in(reg) place) }
    });
    assert_eq!((denied.signal, denied.code, denied.address), (SIGSEGV, SEGV_ACCERR, place));
    // SAFETY: the page is readable now.
    assert_eq!(unsafe { page.add(PAGE + 123).read_volatile() }, 42, "the store was repeated");
    assert_eq!(denied.count, 1, "once");

    assert_eq!(sys!(SYS_mprotect, page, PAGE, PROT_READ), Ok(0));
    let read_only = seen(Mend::Protect, || {
        // SAFETY: as above.
        unsafe { asm!("mov byte ptr [{}], 43", in(reg) page) }
    });
    assert_eq!((read_only.signal, read_only.code, read_only.address), (SIGSEGV, SEGV_ACCERR, page.addr()));

    // An address of the kernel's looks like nothing; one that is no address at all has none.
    let kernel = seen(Mend::Skip(2), || {
        // SAFETY: a two-byte load which the handler skips.
        unsafe { asm!("mov al, [rcx]", out("al") _, in("rcx") 0xffff_ffff_8020_0000u64) }
    });
    assert_eq!((kernel.signal, kernel.code, kernel.address), (SIGSEGV, SEGV_MAPERR, 0xffff_ffff_8020_0000));
    let none = seen(Mend::Skip(2), || {
        // SAFETY: a two-byte load which the handler skips.
        unsafe { asm!("mov al, [rcx]", out("al") _, in("rcx") 0x8000_0000_0000_0000u64) }
    });
    assert_eq!((none.signal, none.code, none.address), (SIGSEGV, SI_KERNEL, 0));
    assert_eq!(sys!(SYS_munmap, page, 2 * PAGE), Ok(0));
}

fn division() {
    let mut quotient = 100u64;
    let zero = seen(Mend::Divisor(7), || {
        // SAFETY: registers only; the handler puts a divisor into `rcx`.
        unsafe { asm!("div rcx", inout("rax") quotient, in("rcx") 0u64, inout("rdx") 0u64 => _) }
    });
    assert_eq!((zero.signal, zero.code, zero.address), (SIGFPE, FPE_INTDIV, zero.instruction));
    assert_eq!(quotient, 14, "divided by what the handler said");

    // The same in floating point, with the exception unmasked: first on the x87, where the next
    // instruction that waits takes it.
    let (unmasked, one, zero) = (0x037fu16 & !4, 1f64, 0f64);
    let x87 = seen(Mend::Skip(1), || {
        // SAFETY: the x87 is reset in the end; `fwait` has one byte.
        unsafe {
            asm!(
                "fldcw [{unmasked}]", "fld qword ptr [{one}]", "fdiv qword ptr [{zero}]", "fwait", "fninit",
                unmasked = in(reg) &unmasked, one = in(reg) &one, zero = in(reg) &zero,
                out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
            )
        }
    });
    assert_eq!((x87.signal, x87.code, x87.address), (SIGFPE, FPE_FLTDIV, x87.instruction));
    vector_division();
}

/// A division by zero in a vector register, with the exception unmasked.
fn vector_division() {
    let unmasked = 0x1f80u32 & !(1 << 9);
    let masked = 0x1f80u32;
    let vector = seen(Mend::Skip(4), || {
        // SAFETY: the masks are as before at the end; `divss xmm0, xmm1` has four bytes.
        unsafe {
            asm!(
                "ldmxcsr [{unmasked}]", "mov {one:e}, 0x3f800000", "movd xmm0, {one:e}", "pxor xmm1, xmm1",
                "divss xmm0, xmm1", "ldmxcsr [{masked}]",
                unmasked = in(reg) &unmasked, masked = in(reg) &masked, one = out(reg) _,
                out("xmm0") _, out("xmm1") _,
            )
        }
    });
    if vector.count == 0 {
        // QEMU's TCG is such a processor.
        println!("this processor raises no exceptions in vector arithmetic");
        return;
    }
    // Emulators leave SSE exceptions out (QEMU's TCG does): no signal then.
    if vector.signal != 0 {
        assert_eq!((vector.signal, vector.code, vector.address), (SIGFPE, FPE_FLTDIV, vector.instruction));
    }
}

fn illegal() {
    let illegal = seen(Mend::Skip(2), || {
        // SAFETY: `ud2` has two bytes, which the handler skips.
        unsafe { asm!("ud2") }
    });
    assert_eq!((illegal.signal, illegal.code, illegal.address), (SIGILL, ILL_ILLOPN, illegal.instruction));
}

/// What only the kernel may do: refused, and nothing of it happens.
fn privileged() {
    macro_rules! refused {
        ($length:literal, $($instruction:literal),+ $(; $($operand:tt)*)?) => {
            let refused = seen(Mend::Skip($length), || {
                // SAFETY: the handler skips the instruction.
                unsafe { asm!($($instruction),+ $(, $($operand)*)?) }
            });
            assert_eq!((refused.signal, refused.code, refused.address), (SIGSEGV, SI_KERNEL, 0), $($instruction),+);
            assert_eq!(refused.count, 1);
        };
    }
    refused!(1, "hlt");
    refused!(1, "cli");
    refused!(1, "sti");
    refused!(2, "in al, 0x60"; out("al") _);
    refused!(1, "out dx, al"; in("dx") 0x8900u16, in("al") b'S');
    refused!(2, "wrmsr"; in("ecx") 0xc000_0080u32, in("eax") 0, in("edx") 0);
    refused!(2, "rdmsr"; in("ecx") 0xc000_0080u32, out("eax") _, out("edx") _);
    refused!(3, "mov rax, cr0"; out("rax") _);
    refused!(3, "mov cr3, rax"; in("rax") 0);
    refused!(3, "lidt [rax]"; in("rax") pages(1));
    refused!(3, "ltr ax"; in("ax") 0x28u16);
    refused!(3, "invlpg [rax]"; in("rax") 0);
    refused!(2, "wbinvd");
    refused!(2, "clts");
    refused!(2, "int 0x20");
    refused!(2, "int 0x0e");
}

/// Jumps to where no code is: the instruction is the address.
fn jumps() {
    let data = pages(1);
    // SAFETY: a `ret`, were it executed.
    unsafe { data.write(0xc3) };
    for (to, code) in [(0, SEGV_MAPERR), (data.addr(), SEGV_ACCERR), (0xffff_ffff_8020_0000, SEGV_MAPERR)] {
        let jump = seen(Mend::Return, || {
            // SAFETY: nothing is executed there; the handler returns to behind the call.
            unsafe { asm!("call {}", in(reg) to, clobber_abi("C")) }
        });
        assert_eq!((jump.signal, jump.code, jump.address, jump.instruction), (SIGSEGV, code, to, to));
    }
    assert_eq!(sys!(SYS_munmap, data, PAGE), Ok(0));
}

/// Pages of a mapping that lie behind its file's end.
fn bus() {
    let fd = sys!(SYS_open, c"/tmp/signals.file", O_RDWR | O_CREAT | O_TRUNC, 0o600).expect("a file");
    assert_eq!(sys!(SYS_unlink, c"/tmp/signals.file"), Ok(0));
    assert_eq!(sys!(SYS_ftruncate, fd, 100), Ok(0));
    let start = sys!(SYS_mmap, 0, 2 * PAGE, PROT_READ, MAP_SHARED, fd, 0).expect("a mapping") as usize;
    let behind = seen(Mend::Skip(2), || {
        // SAFETY: a two-byte load which the handler skips.
        unsafe { asm!("mov al, [rcx]", out("al") _, in("rcx") start + PAGE + 5) }
    });
    assert_eq!((behind.signal, behind.code, behind.address), (SIGBUS, BUS_ADRERR, start + PAGE + 5));
    assert_eq!(sys!(SYS_munmap, start, 2 * PAGE), Ok(0));
    assert_eq!(sys!(SYS_close, fd), Ok(0));
}

fn alternate_stack() {
    const SIZE: usize = 16 * PAGE;
    let base = pages(16);
    let set = |stack: &stack_t| sys!(SYS_sigaltstack, stack, 0);
    let stack = |ss_flags, ss_size| stack_t { ss_sp: base.cast(), ss_flags, ss_size };
    assert_eq!(set(&stack(0, 100)), Err(ENOMEM), "too small");
    assert_eq!(set(&stack(0x40, SIZE)), Err(EINVAL), "no such flag");
    assert_eq!(set(&stack(0, SIZE)), Ok(0));
    let mut now = stack(0, 0);
    assert_eq!(sys!(SYS_sigaltstack, 0, &mut now), Ok(0));
    assert_eq!((now.ss_sp.addr(), now.ss_flags, now.ss_size), (base.addr(), 0, SIZE));

    let ud2 = || {
        // SAFETY: `ud2` has two bytes, which the handler skips.
        unsafe { asm!("ud2") }
    };
    let within = base.addr()..base.addr() + SIZE;
    assert!(!within.contains(&seen(Mend::Skip(2), ud2).stack), "only for handlers that ask for it");
    install(SIGILL, SA_ONSTACK);
    assert!(within.contains(&seen(Mend::Skip(2), ud2).stack), "on the alternate stack");

    // The stack pointer itself is what is wrong: without another stack there is no way on.
    install(SIGSEGV, SA_ONSTACK);
    let lost = seen(Mend::Skip(1), || {
        // SAFETY: `push` to nowhere, one byte, which the handler skips; then the stack is back.
        unsafe { asm!("mov {0}, rsp", "mov rsp, 0x1000", "push rax", "mov rsp, {0}", out(reg) _) }
    });
    assert_eq!((lost.signal, lost.address), (SIGSEGV, 0xff8));
    assert!(within.contains(&lost.stack));
    install(SIGSEGV, 0);
    install(SIGILL, 0);
    assert_eq!(set(&stack(SS_DISABLE, 0)), Ok(0));
    assert_eq!(sys!(SYS_munmap, base, SIZE), Ok(0));
}

/// All registers are after the handler what they were before.
fn registers() {
    let mut after = [0u64; 8];
    let wide = [0x1111_2222_3333_4444u64, 0x5555_6666_7777_8888];
    let mut wide_after = [[0u64; 2]; 2];
    let spoiled = seen(Mend::Skip(2), || {
        // SAFETY: registers and two arrays of ours; the handler skips `ud2`. The red zone below the
        // stack pointer holds a word, which the handler must leave alone.
        unsafe {
            (*SEEN.0.get()).spoil = true;
            asm!(
                "movdqu xmm0, [{wide}]", "movdqu xmm15, [{wide}]", "mov qword ptr [rsp - 64], 77",
                "mov r8, 8", "mov r9, 9", "mov r10, 10", "mov r11, 11", "mov r12, 12", "mov r13, 13", "stc",
                "ud2",
                "setc byte ptr [{after} + 56]",
                "mov [{after}], r8", "mov [{after} + 8], r9", "mov [{after} + 16], r10", "mov [{after} + 24], r11",
                "mov [{after} + 32], r12", "mov [{after} + 40], r13", "mov r8, [rsp - 64]", "mov [{after} + 48], r8",
                "movdqu [{wide_after}], xmm0", "movdqu [{wide_after} + 16], xmm15",
                wide = in(reg) &wide, after = in(reg) &mut after, wide_after = in(reg) &mut wide_after,
                out("r8") _, out("r9") _, out("r10") _, out("r11") _, out("r12") _, out("r13") _,
                out("xmm0") _, out("xmm15") _,
            )
        }
    });
    assert_eq!(spoiled.count, 1);
    assert_eq!(after, [8, 9, 10, 11, 12, 13, 77, 1], "general registers, red zone, carry");
    assert_eq!(wide_after, [wide, wide], "vector registers");
}

/// The mask is a thread's own, and the handler runs with its signal blocked.
fn masks() {
    let change = |how: i32, set: u64| {
        let mut old = 0u64;
        sys!(SYS_rt_sigprocmask, how, &set, &mut old, 8).map(|_| old)
    };
    let usr1 = 1u64 << (SIGUSR1 - 1);
    let usr2 = 1u64 << (SIGUSR2 - 1);
    let start = change(SIG_BLOCK, 0).expect("asking");
    assert_eq!(change(SIG_BLOCK, usr1 | usr2), Ok(start));
    assert_eq!(change(SIG_UNBLOCK, usr1), Ok(start | usr1 | usr2));
    assert_eq!(change(SIG_SETMASK, !0), Ok(start | usr2));
    let unblockable = 1u64 << (SIGKILL - 1) | 1 << (SIGSTOP - 1);
    assert_eq!(change(SIG_SETMASK, start), Ok(!unblockable), "two signals are never blocked");
    assert_eq!(change(9, 0), Err(EINVAL), "no such change");
    assert_eq!(sys!(SYS_rt_sigprocmask, SIG_BLOCK, 0, 0, 4), Err(EINVAL), "the size of a set is 8");
    assert_eq!(sys!(SYS_rt_sigprocmask, SIG_BLOCK, 8, 0, 8), Err(EFAULT));
}

/// The kernel remembers handlers, and refuses some.
fn kept() {
    let mut old = [0u64; 4];
    assert_eq!(sys!(SYS_rt_sigaction, SIGILL, 0, &mut old, 8), Ok(0));
    assert_eq!(old[0], handler as *const () as u64, "the handler");
    assert_eq!(old[1] & SA_SIGINFO as u64, SA_SIGINFO as u64, "its flags");
    for signal in [0, SIGKILL, SIGSTOP, 65, -1] {
        assert_eq!(sys!(SYS_rt_sigaction, signal, &old, 0, 8), Err(EINVAL), "signal {signal}");
    }
    assert_eq!(sys!(SYS_rt_sigaction, SIGILL, 8, 0, 8), Err(EFAULT));
    assert_eq!(sys!(SYS_rt_sigaction, SIGILL, 0, 0, 4), Err(EINVAL), "the size of a set is 8");
}
