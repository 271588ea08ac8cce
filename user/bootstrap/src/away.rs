//! The program on the boot CPU, for as long as it calls the kernel more than it computes (`migrate`).
//!
//! The bootstrap thread leaves its loop and goes on with the application thread's registers, signal actions and alternate
//! stack, as if there were no application kernel. When the program computes, the application kernel diverts the thread
//! to [`come_back`], with all signals blocked, and the loop goes on. For example, `find` is here from its 64th call on.

use crate::call::own;
use crate::pair::{self, Pair, REGION};
use crate::signals;
use abi::application::{Call, EXTENDED, MESSAGES};
use core::arch::{asm, naked_asm, x86_64};
use linux_raw_sys::general::*;

const ARCH_SET_FS: u64 = 0x1002;
const ARCH_GET_FS: u64 = 0x1003;
const ARCH_GET_GS: u64 = 0x1004;

/// The parts of the extended state that a context has: x87, SSE, AVX.
const PARTS: u32 = 7;

/// Counts a message, which has not been dealt with; now and then asks whether the program is to go on here.
pub fn consider(pair: &'static Pair) {
    let left = pair.until_asked.get() - 1;
    pair.until_asked.set(left);
    if left == 0 {
        ask(pair);
    }
}

#[cold]
fn ask(pair: &'static Pair) {
    pair.until_asked.set(MESSAGES);
    if pair.has_companions() || !pair.is_alone.get() {
        return;
    }
    let mask = signals::block();
    if !pair.pending.get() {
        let back = [come_back as *const () as u64, pair.stack()];
        match pair.ask(Call::Depart, back.as_ptr().addr() as u64) {
            1 => depart(pair, mask),
            0 => {}
            // It is not to be asked.
            _ => pair.until_asked.set(u32::MAX),
        }
    }
    signals::unblock(mask);
}

/// Goes on as the program, which makes its call, or the access that has faulted, by itself.
fn depart(pair: &Pair, mask: u64) -> ! {
    pair.rewind();
    pair.mask.set(mask);
    signals::leave_for_good(pair)
}

/// Where the bootstrap thread is diverted to, on the stack that it has given, with the mask before in rdi.
#[unsafe(naked)]
extern "C" fn come_back() -> ! {
    naked_asm!(
        "mov rsi, rdi",
        "lea rdi, [rsp - {region}]",
        "xor ebp, ebp",
        "call {work}",
        region = const REGION,
        work = sym take_up_work,
    )
}

/// Gives the program's registers back to the application thread, and becomes its bootstrap thread again.
extern "C" fn take_up_work(pair: &'static Pair, mask: u64) -> ! {
    let context = pair.get();
    own!(__NR_arch_prctl, ARCH_GET_FS, (&raw mut context.fs_base).addr());
    own!(__NR_arch_prctl, ARCH_GET_GS, (&raw mut context.gs_base).addr());
    save_extended(&mut context.extended);
    context.with_extended = 1;
    own!(__NR_arch_prctl, ARCH_SET_FS, pair.itself.addr());
    let mut size = 0_u64;
    own!(__NR_get_robust_list, 0, pair.robust.as_ptr().addr(), (&raw mut size).addr());
    signals::take_over(pair);
    pair.set();
    signals::unblock(mask);
    pair::run(pair)
}

/// Stores the extended state, which is still the program's: this one uses none.
fn save_extended(to: &mut [u8; EXTENDED]) {
    const OSXSAVE: u32 = 1 << 27;
    let place = to.as_mut_ptr();
    // SAFETY: the area is large enough and aligned, as `Context` has it; `xsave` is there if the kernel has switched it on.
    unsafe {
        if x86_64::__cpuid(1).ecx & OSXSAVE != 0 {
            asm!("xsave64 [{}]", in(reg) place, in("eax") PARTS, in("edx") 0);
        } else {
            asm!("fxsave64 [{}]", in(reg) place);
        }
    }
}
