//! This CPU's features and its control registers.

use crate::gdt;
use bitflags::bitflags;
use core::fmt;
use lazy_static::lazy_static;
use raw_cpuid::CpuId;
use x86_64::VirtAddr;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr2, Cr4, Cr4Flags, Efer, EferFlags};
use x86_64::registers::model_specific::{FsBase, GsBase, LStar, SFMask, Star};
use x86_64::registers::rflags::RFlags;

bitflags! {
    /// The features that the kernel needs or uses.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Features: u32 {
        /// FXSAVE and FXRSTOR.
        const FXSR = 1 << 0;
        /// SSE2, which user programs take for granted.
        const SSE2 = 1 << 1;
        /// `syscall`, `sysret`.
        const SYSCALL = 1 << 2;
        /// No-execute pages.
        const NO_EXECUTE = 1 << 3;
        /// A local APIC.
        const APIC = 1 << 4;
        /// The time-stamp counter.
        const TSC = 1 << 5;
        /// Global pages.
        const GLOBAL_PAGES = 1 << 8;
        /// 1 GiB pages.
        const GIB_PAGES = 1 << 9;
        /// The kernel cannot execute user pages.
        const SMEP = 1 << 10;
        /// The kernel cannot touch user pages by accident.
        const SMAP = 1 << 11;
        /// Users cannot read the descriptor tables' addresses.
        const UMIP = 1 << 12;
        /// XSAVE and XRSTOR.
        const XSAVE = 1 << 13;
        /// AVX.
        const AVX = 1 << 14;
        /// The local APIC by model-specific registers.
        const X2APIC = 1 << 15;
        /// The local APIC's timer fires at a value of the time-stamp counter.
        const TSC_DEADLINE = 1 << 16;
        /// The time-stamp counter runs evenly.
        const INVARIANT_TSC = 1 << 17;
        /// The time-stamp counter can be set forward and back.
        const TSC_ADJUST = 1 << 18;
    }
}

/// The features that the kernel cannot do without.
const MANDATORY: Features = Features::FXSR
    .union(Features::SSE2)
    .union(Features::SYSCALL)
    .union(Features::NO_EXECUTE)
    .union(Features::APIC)
    .union(Features::TSC);

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bitflags::parser::to_writer_strict(self, f)
    }
}

lazy_static! {
    static ref FEATURES: Features = read();
}

/// The CPU's features.
pub fn features() -> &'static Features {
    &FEATURES
}

fn read() -> Features {
    let id = CpuId::new();
    let mut found = Features::empty();
    if let Some(basic) = id.get_feature_info() {
        found.set(Features::FXSR, basic.has_fxsave_fxstor());
        found.set(Features::SSE2, basic.has_sse2());
        found.set(Features::APIC, basic.has_apic());
        found.set(Features::TSC, basic.has_tsc());
        found.set(Features::GLOBAL_PAGES, basic.has_pge());
        found.set(Features::XSAVE, basic.has_xsave());
        found.set(Features::AVX, basic.has_avx());
        found.set(Features::X2APIC, basic.has_x2apic());
        found.set(Features::TSC_DEADLINE, basic.has_tsc_deadline());
    }
    if let Some(more) = id.get_extended_feature_info() {
        found.set(Features::SMEP, more.has_smep());
        found.set(Features::SMAP, more.has_smap());
        found.set(Features::UMIP, more.has_umip());
        found.set(Features::TSC_ADJUST, more.has_tsc_adjust_msr());
    }
    if let Some(extended) = id.get_extended_processor_and_feature_identifiers() {
        found.set(Features::SYSCALL, extended.has_syscall_sysret());
        found.set(Features::NO_EXECUTE, extended.has_execute_disable());
        found.set(Features::GIB_PAGES, extended.has_1gib_pages());
    }
    if let Some(power) = id.get_advanced_power_mgmt_info() {
        found.set(Features::INVARIANT_TSC, power.has_invariant_tsc());
    }
    found
}

/// Logs the CPU's model and features; the error names the features that are missing.
pub fn check() -> Result<(), Missing> {
    let id = CpuId::new();
    let brand = id.get_processor_brand_string();
    log::info!("{}: {}", brand.as_ref().map_or("unnamed CPU", |brand| brand.as_str().trim()), features());
    let missing = MANDATORY - *features();
    if missing.is_empty() { Ok(()) } else { Err(Missing(missing)) }
}

/// The features that the kernel needs and the CPU lacks.
#[derive(Debug)]
pub struct Missing(Features);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this CPU lacks what Jotun needs: {}", self.0)
    }
}

/// The address of the last page fault.
#[inline]
pub fn fault_address() -> u64 {
    Cr2::read_raw()
}

/// Sets the FS and GS bases that user mode sees. They are below the end of user space, so canonical.
#[inline]
pub fn set_user_bases(fs: u64, gs: u64) {
    FsBase::write(VirtAddr::new_truncate(fs));
    GsBase::write(VirtAddr::new_truncate(gs));
}

/// Executes about `instructions` instructions: a loop of two.
pub fn burn(instructions: u64) {
    // SAFETY: counts a register down to zero and touches nothing else.
    unsafe {
        core::arch::asm!("2: dec {n}", "jnz 2b", n = inout(reg) (instructions / 2).max(1) => _, options(nomem, nostack));
    }
}

/// The value of `AT_HWCAP`: the features of CPUID leaf 1 in edx.
pub fn hardware_capabilities() -> u64 {
    // Every 64-bit CPU has the leaf.
    core::arch::x86_64::__cpuid(1).edx.into()
}

/// The local APIC id of this CPU as CPUID tells it, at any time, with nothing set up.
pub fn initial_id() -> u32 {
    let topology = core::arch::x86_64::__cpuid(0).eax >= 0xb;
    let extended = core::arch::x86_64::__cpuid_count(0xb, 0);
    if topology && extended.ebx != 0 { extended.edx } else { core::arch::x86_64::__cpuid(1).ebx >> 24 }
}

/// Sets the control registers, and the registers of `syscall` except its target: see [`set_system_call_entry`].
///
/// Any further feature that the firmware may have enabled is off afterwards.
pub fn init() {
    let has = |feature: Features, flag: Cr4Flags| if features().contains(feature) { flag } else { Cr4Flags::empty() };
    let cr4 = Cr4Flags::PHYSICAL_ADDRESS_EXTENSION
        | Cr4Flags::OSFXSR
        | Cr4Flags::OSXMMEXCPT_ENABLE
        | (Cr4::read() & Cr4Flags::MACHINE_CHECK_EXCEPTION)
        | has(Features::GLOBAL_PAGES, Cr4Flags::PAGE_GLOBAL)
        | has(Features::SMEP, Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION)
        | has(Features::SMAP, Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION)
        | has(Features::UMIP, Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION)
        | has(Features::XSAVE, Cr4Flags::OSXSAVE);
    let cr0 = Cr0Flags::PAGING
        | Cr0Flags::WRITE_PROTECT
        | Cr0Flags::NUMERIC_ERROR
        | Cr0Flags::EXTENSION_TYPE
        | Cr0Flags::MONITOR_COPROCESSOR
        | Cr0Flags::PROTECTED_MODE_ENABLE;
    let efer = EferFlags::LONG_MODE_ENABLE
        | EferFlags::LONG_MODE_ACTIVE
        | EferFlags::NO_EXECUTE_ENABLE
        | EferFlags::SYSTEM_CALL_EXTENSIONS;
    // SAFETY: the mode the CPU is in stays, each flag is one that the CPU has, and no page of the kernel
    // is a user page.
    unsafe {
        Cr0::write(cr0);
        Cr4::write(cr4);
        Efer::write(efer);
    }
    Star::write(gdt::USER_CODE, gdt::USER_DATA, gdt::KERNEL_CODE, gdt::KERNEL_DATA)
        .expect("segments in sysret's order");
    SFMask::write(
        RFlags::INTERRUPT_FLAG
            | RFlags::DIRECTION_FLAG
            | RFlags::TRAP_FLAG
            | RFlags::ALIGNMENT_CHECK
            | RFlags::NESTED_TASK,
    );
}

/// Sets the target of `syscall` on this CPU.
pub fn set_system_call_entry(address: u64) {
    LStar::write(VirtAddr::new(address));
}

/// The control registers on the way to long mode, before [`init`] sets the kernel's own values. CR4: physical-address
/// extension, which long mode needs.
pub const BOOT_CR4: u32 = 1 << 5;
/// EFER: system calls, long mode, no-execute pages.
pub const BOOT_EFER: u32 = 1 << 11 | 1 << 8 | 1;
/// CR0: paging, write protection in the kernel too, native FPU errors, monitor coprocessor, protection.
pub const BOOT_CR0: u32 = 1 << 31 | 1 << 16 | 1 << 5 | 1 << 1 | 1;
