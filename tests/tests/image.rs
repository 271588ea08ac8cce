//! The kernel image as it was linked: rights, places, and which instructions are in it.
//!
//! What holds of the source by design is looked up here in the machine code: no instruction that
//! synchronises CPUs on the paths of the uniprocessor kernel, none of the user's vector registers, no
//! `swapgs`. Every instruction of `.text` is decoded, function by function.

use std::{collections::BTreeSet, fs};

use boot_tests::kernel;
use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use object::{
    Object, ObjectSection, ObjectSegment, ObjectSymbol, SectionFlags, SegmentFlags, SymbolKind,
    read::elf::{ElfFile64, ProgramHeader},
};

/// Where the kernel's half of the address space begins.
const HIGH: u64 = 0xffff_8000_0000_0000;

/// Where each CPU finds its own variables.
const CPULOCAL: u64 = 0xffff_ffff_c000_0000;

const PAGE: u64 = 4096;

/// A function of the kernel's.
struct Function {
    name: String,
    code: Vec<Instruction>,
}

fn bytes() -> Vec<u8> {
    fs::read(kernel("up")).expect("the kernel was built")
}

/// All of `.text`, cut at its symbols.
fn functions() -> Vec<Function> {
    let bytes = bytes();
    let file = ElfFile64::<object::Endianness>::parse(&*bytes).expect("an ELF file");
    let text = file.section_by_name(".text").expect(".text");
    let (start, data) = (text.address(), text.data().expect("its bytes"));
    let end = start + data.len() as u64;
    let code = |symbol: &object::read::elf::ElfSymbol64<'_, '_>| {
        matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Unknown | SymbolKind::Label)
            && (start..end).contains(&symbol.address())
    };
    let mut symbols: Vec<(u64, String)> = file
        .symbols()
        .filter(code)
        .map(|symbol| (symbol.address(), format!("{:#}", rustc_demangle::demangle(symbol.name().unwrap_or("?")))))
        .collect();
    symbols.sort();
    symbols.dedup_by_key(|symbol| symbol.0);
    assert!(symbols.len() > 100, "a kernel with its symbols: {}", symbols.len());
    let ends = symbols.iter().skip(1).map(|symbol| symbol.0).chain([end]);
    symbols
        .iter()
        .zip(ends)
        .map(|((from, name), to)| {
            let piece = &data[(from - start) as usize..(to - start) as usize];
            let decoder = Decoder::with_ip(64, piece, *from, DecoderOptions::NONE);
            Function { name: name.clone(), code: decoder.into_iter().collect() }
        })
        .collect()
}

/// Names of the functions that hold an instruction of a kind.
fn with(functions: &[Function], kind: impl Fn(&Instruction) -> bool) -> BTreeSet<&str> {
    let holds = |function: &&Function| function.code.iter().any(&kind);
    functions.iter().filter(holds).map(|function| function.name.as_str()).collect()
}

#[test]
fn all_of_it_is_code() {
    // Else the tests below would have looked at something else.
    let functions = functions();
    let count: usize = functions.iter().map(|function| function.code.len()).sum();
    assert!(count > 50_000, "{count} instructions");
    let bad = with(&functions, |instruction| instruction.code() == Code::INVALID);
    assert!(bad.is_empty(), "not decoded: {bad:?}");
    let called = |part: &str| functions.iter().any(|function| function.name.contains(part));
    for part in ["boundary::enter_system_call", "boundary::enter_trap", "boundary::choose", "entry::common"] {
        assert!(called(part), "{part}");
    }
}

#[test]
fn nothing_is_written_and_executed() {
    let bytes = bytes();
    let file = ElfFile64::<object::Endianness>::parse(&*bytes).expect("an ELF file");
    const EXECUTE: u32 = 1;
    const WRITE: u32 = 2;
    let mut kinds = BTreeSet::new();
    for segment in file.segments() {
        let SegmentFlags::Elf { p_flags, .. } = segment.flags() else { panic!("an ELF file") };
        assert_eq!(segment.address() % PAGE, 0, "a segment begins with a page");
        if segment.address() >= HIGH {
            assert_ne!(p_flags.0 & (WRITE | EXECUTE), WRITE | EXECUTE, "{:#x}", segment.address());
            kinds.insert(p_flags.0);
        } else {
            // Where the boot loader jumps to, before paging; not mapped later (see `protection`).
            assert!(segment.address() >= 2 << 20 && segment.size() <= 64 << 10, "{:#x}", segment.address());
        }
    }
    assert_eq!(kinds, BTreeSet::from([4, 5, 6]), "constants, code and data");
    for section in file.sections().filter(|section| section.address() >= HIGH) {
        let SectionFlags::Elf { sh_flags, .. } = section.flags() else { panic!("an ELF file") };
        let executable = sh_flags.0 & object::elf::SHF_EXECINSTR.0 != 0;
        assert_eq!(executable, section.name() == Ok(".text"), "{:?}", section.name());
    }
}

#[test]
fn the_cpu_local_section_is_where_every_cpu_has_it() {
    let bytes = bytes();
    let file = ElfFile64::<object::Endianness>::parse(&*bytes).expect("an ELF file");
    let section = file.section_by_name(".cpulocal").expect(".cpulocal");
    assert_eq!(section.address(), CPULOCAL);
    assert!(section.size() > 0 && section.size() % PAGE == 0, "{} bytes", section.size());
    let endian = file.endian();
    let segments = file.elf_program_headers().iter();
    let segment = segments.clone().find(|segment| segment.p_vaddr(endian) == CPULOCAL).expect("a segment of its own");
    assert_eq!((segment.p_filesz(endian), segment.p_memsz(endian)), (section.size(), section.size()));
    assert_eq!(segment.p_paddr(endian) % PAGE, 0, "its contents begin with a page");
    // Reached by ordinary addresses, never through a segment register.
    let functions = functions();
    let local = CPULOCAL..CPULOCAL + section.size();
    let users = with(&functions, |instruction| {
        instruction.is_ip_rel_memory_operand() && local.contains(&instruction.ip_rel_memory_address())
    });
    assert!(users.iter().any(|name| name.contains("boundary::enter_system_call")), "{users:?}");
    let by_segment =
        with(&functions, |instruction| matches!(instruction.segment_prefix(), Register::FS | Register::GS));
    assert!(by_segment.is_empty(), "{by_segment:?}");
}

#[test]
fn no_swapgs() {
    let functions = functions();
    let swapping = with(&functions, |instruction| instruction.mnemonic() == Mnemonic::Swapgs);
    assert!(swapping.is_empty(), "{swapping:?}");
}

/// Where synchronising instructions may be: on the way of no entry, and of no subsystem.
const MAY_SYNCHRONISE: [&str; 6] = [
    // The log and its records take a lock, since a panic or an NMI may come while they are in use.
    "<kernel::arch::debugcon::Logger as log::Log>::log",
    "kernel::arch::debugcon::record",
    // Once at boot: the crate `log` takes its logger, `lazy_static` makes a table.
    "log::set_logger",
    "spin::once::Once<T,R>::try_call_once_slow",
    // Once at boot, because the manual asks for it: the timer's mode before its first deadline. The
    // second is the boot itself, into which the compiler may put the first.
    "kernel::arch::apic::init",
    "kernel::kernel_continue",
];

#[test]
fn nothing_synchronises_cpus() {
    let functions = functions();
    let synchronising = with(&functions, |instruction| {
        // `xchg` with memory locks without being told.
        let exchange = instruction.mnemonic() == Mnemonic::Xchg
            && (0..instruction.op_count()).any(|operand| instruction.op_kind(operand) == OpKind::Memory);
        let fence = matches!(instruction.mnemonic(), Mnemonic::Mfence | Mnemonic::Lfence | Mnemonic::Sfence);
        instruction.has_lock_prefix() || exchange || fence
    });
    let stray: Vec<_> = synchronising.iter().filter(|name| !MAY_SYNCHRONISE.contains(name)).collect();
    assert!(stray.is_empty(), "{stray:#?}");
}

/// x87 and SSE instructions that save, restore or ask for the user's state.
const STATE: [Mnemonic; 7] = [
    Mnemonic::Fxsave64,
    Mnemonic::Fxrstor64,
    Mnemonic::Xsave64,
    Mnemonic::Xrstor64,
    Mnemonic::Stmxcsr,
    Mnemonic::Fnstsw,
    Mnemonic::Fnstcw,
];

#[test]
fn the_users_vector_registers_are_left_alone() {
    let functions = functions();
    let vector = |register: Register| {
        register.is_vector_register() || register.is_mm() || register.is_st() || register.is_k() || register.is_tmm()
    };
    let touching = with(&functions, |instruction| {
        let operands = (0..instruction.op_count()).filter(|&n| instruction.op_kind(n) == OpKind::Register);
        operands.into_iter().any(|n| vector(instruction.op_register(n)))
            || instruction.fpu_stack_increment_info().increment() != 0
    });
    assert!(touching.is_empty(), "{touching:?}");
    let saving = with(&functions, |instruction| STATE.contains(&instruction.mnemonic()));
    assert!(!saving.is_empty(), "the user's registers are saved somewhere");
}
