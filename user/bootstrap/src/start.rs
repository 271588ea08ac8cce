//! The entry of the launcher: relocates itself, decides, and starts the program.

use crate::device;
use crate::pair::{self, Pair};
use abi::application::{Context, General};
use core::arch::{asm, naked_asm};
use linux_raw_sys::auxvec::{AT_ENTRY, AT_NULL};

/// The variable that keeps a program on the boot CPU.
const KEEPS: &[u8] = b"NOAPPKERN=";

#[unsafe(no_mangle)]
#[unsafe(naked)]
extern "C" fn _start() -> ! {
    naked_asm!(
        "mov rdi, rsp",
        "lea rsi, [rip + __ehdr_start]",
        "lea rdx, [rip + _DYNAMIC]",
        "and rsp, -16",
        "call {main}",
        main = sym main,
    )
}

/// Applies the relocations of this program, which are all relative.
///
/// # Safety
/// The program starts at `base` and has its dynamic section at `dynamic`; nothing has been relocated yet.
unsafe fn relocate(base: u64, dynamic: *const [u64; 2]) {
    const DT_RELA: u64 = 7;
    const DT_RELASZ: u64 = 8;
    let (mut table, mut size, mut at) = (0, 0, dynamic);
    // SAFETY: the dynamic section ends with a zero tag; each relocation names a word of the written data.
    unsafe {
        while (*at)[0] != 0 {
            match *at {
                [DT_RELA, value] => table = base + value,
                [DT_RELASZ, value] => size = value,
                _ => {}
            }
            at = at.add(1);
        }
        for entry in (table..table + size).step_by(24) {
            let [offset, _, addend] = *(entry as *const [u64; 3]);
            *((base + offset) as *mut u64) = base + addend;
        }
    }
}

/// What the kernel has put on the stack of a new program.
struct Stack {
    top: *const u64,
    /// Where the program begins.
    entry: u64,
    /// Whether it is to stay on the boot CPU.
    stays: bool,
}

impl Stack {
    /// # Safety
    /// `top` is the stack pointer with which a program begins.
    unsafe fn read(top: *const u64) -> Stack {
        // SAFETY: the count, the arguments, zero; the environment, zero; the auxiliary vector.
        unsafe {
            let mut at = top.add(*top as usize + 2);
            let mut stays = false;
            while *at != 0 {
                let variable = *at as *const u8;
                stays |= KEEPS.iter().enumerate().all(|(index, byte)| *variable.add(index) == *byte);
                at = at.add(1);
            }
            at = at.add(1);
            let mut entry = 0;
            while *at != AT_NULL.into() {
                if *at == u64::from(AT_ENTRY) {
                    entry = *at.add(1);
                }
                at = at.add(2);
            }
            Stack { top, entry, stays }
        }
    }

    /// Runs the program here.
    fn enter(&self) -> ! {
        // SAFETY: this is how the kernel would have started the program.
        unsafe {
            asm!("mov rsp, {}", "xor edx, edx", "xor ebp, ebp", "jmp {}", in(reg) self.top, in(reg) self.entry, options(noreturn))
        }
    }
}

extern "C" fn main(top: *const u64, base: u64, dynamic: *const [u64; 2]) -> ! {
    // SAFETY: the entry's arguments; nothing that is relocated has been used.
    let stack = unsafe {
        relocate(base, dynamic);
        Stack::read(top)
    };
    let Some(device) = device::open().filter(|_| !stack.stays) else { stack.enter() };
    let Some(pair) = Pair::first(device) else { stack.enter() };
    let general = General { rip: stack.entry, rsp: top.addr() as u64, rflags: 0x202, ..General::default() };
    pair::begin(pair, &Context { general, ..Context::ZERO }, || stack.enter())
}
