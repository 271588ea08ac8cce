//! The kernel images as they were linked: rights, places, and which instructions are in them.
//!
//! What holds of the source by design is looked up here in the machine code: in the uniprocessor kernel
//! nothing of several CPUs, and no instruction that synchronises them; in no kernel the user's vector
//! registers or `swapgs`; and in all of them the same way to CPU-local variables. Every instruction of
//! `.text` is decoded, function by function.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use object::{
    Object, ObjectSection, ObjectSegment, ObjectSymbol, SectionFlags, SegmentFlags, SymbolKind,
    read::elf::{ElfFile64, ProgramHeader},
};

/// Where the kernel's half of the address space begins.
const HIGH: u64 = 0xffff_8000_0000_0000;

/// Where each CPU finds its own variables.
const CPULOCAL: u64 = 0xffff_ffff_c000_0000;

/// What the linker script allows them.
const CPULOCAL_MOST: u64 = 2 << 20;

const PAGE: u64 = 4096;

/// Where the image lies, above its physical address.
const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;

/// The kernel for one CPU.
const UP: &str = "up";

/// The kernels for several CPUs that have been built.
fn several() -> impl Iterator<Item = String> {
    boot_tests::locks().into_iter().map(|lock| format!("giant-{lock}"))
}

fn all() -> impl Iterator<Item = String> {
    [UP.to_owned()].into_iter().chain(several())
}

/// A function of the kernel's.
struct Function {
    name: String,
    code: Vec<Instruction>,
}

fn bytes(kernel: &str) -> Vec<u8> {
    fs::read(boot_tests::kernel(kernel)).expect("the kernel was built")
}

fn demangled(symbol: &object::read::elf::ElfSymbol64<'_, '_>) -> String {
    format!("{:#}", rustc_demangle::demangle(symbol.name().unwrap_or("?")))
}

/// All of `.text`, cut at its symbols.
fn functions(kernel: &str) -> Vec<Function> {
    let bytes = bytes(kernel);
    let file = ElfFile64::<object::Endianness>::parse(&*bytes).expect("an ELF file");
    let text = file.section_by_name(".text").expect(".text");
    let (start, data) = (text.address(), text.data().expect("its bytes"));
    let end = start + data.len() as u64;
    let code = |symbol: &object::read::elf::ElfSymbol64<'_, '_>| {
        matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Unknown | SymbolKind::Label)
            && (start..end).contains(&symbol.address())
    };
    // Of several names for one place a function's counts, not the linker script's.
    let place = |symbol: &object::read::elf::ElfSymbol64<'_, '_>| (symbol.address(), symbol.kind() != SymbolKind::Text);
    let mut symbols: Vec<_> = file.symbols().filter(code).map(|symbol| (place(&symbol), demangled(&symbol))).collect();
    symbols.sort();
    let mut symbols: Vec<(u64, String)> = symbols.into_iter().map(|((address, _), name)| (address, name)).collect();
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
    for kernel in &all().collect::<Vec<_>>() {
        let functions = functions(kernel);
        let count: usize = functions.iter().map(|function| function.code.len()).sum();
        assert!(count > 50_000, "{kernel}: {count} instructions");
        let bad = with(&functions, |instruction| instruction.code() == Code::INVALID);
        assert!(bad.is_empty(), "{kernel}: not decoded: {bad:?}");
        let called = |part: &str| functions.iter().any(|function| function.name.contains(part));
        for part in ["boundary::enter_system_call", "boundary::enter_trap", "boundary::exit_work", "entry::common"] {
            assert!(called(part), "{kernel}: {part}");
        }
    }
}

#[test]
fn nothing_is_written_and_executed() {
    for kernel in &all().collect::<Vec<_>>() {
        let bytes = bytes(kernel);
        let file = ElfFile64::<object::Endianness>::parse(&*bytes).expect("an ELF file");
        const EXECUTE: u32 = 1;
        const WRITE: u32 = 2;
        let mut kinds = BTreeSet::new();
        for segment in file.segments() {
            let SegmentFlags::Elf { p_flags, .. } = segment.flags() else { panic!("an ELF file") };
            assert_eq!(segment.address() % PAGE, 0, "{kernel}: a segment begins with a page");
            if segment.address() >= HIGH {
                assert_ne!(p_flags.0 & (WRITE | EXECUTE), WRITE | EXECUTE, "{kernel}: {:#x}", segment.address());
                kinds.insert(p_flags.0);
            } else {
                // Where the boot loader jumps to, before paging; not mapped later (see `protection`).
                let place = segment.address();
                assert!(place >= 2 << 20 && segment.size() <= 64 << 10, "{kernel}: {place:#x}");
            }
        }
        assert_eq!(kinds, BTreeSet::from([4, 5, 6]), "{kernel}: constants, code and data");
        for section in file.sections().filter(|section| section.address() >= HIGH) {
            let SectionFlags::Elf { sh_flags, .. } = section.flags() else { panic!("an ELF file") };
            let executable = sh_flags.0 & object::elf::SHF_EXECINSTR.0 != 0;
            assert_eq!(executable, section.name() == Ok(".text"), "{kernel}: {:?}", section.name());
        }
    }
}

#[test]
fn the_cpu_local_section_is_where_every_cpu_has_it() {
    for kernel in &all().collect::<Vec<_>>() {
        let bytes = bytes(kernel);
        let file = ElfFile64::<object::Endianness>::parse(&*bytes).expect("an ELF file");
        let section = |name| file.section_by_name(name).expect("a section of that name");
        let (local, data, bss) = (section(".cpulocal"), section(".data"), section(".bss"));
        assert_eq!(local.address(), CPULOCAL, "{kernel}");
        assert!(local.size() > 0 && local.size() % PAGE == 0, "{kernel}: {} bytes", local.size());
        let endian = file.endian();
        let mut segments = file.elf_program_headers().iter();
        let segment = segments.find(|segment| segment.p_vaddr(endian) == CPULOCAL).expect("a segment of its own");
        assert_eq!((segment.p_filesz(endian), segment.p_memsz(endian)), (local.size(), local.size()), "{kernel}");
        // What it begins with stands in the image directly behind `.data`, and nothing else does.
        let load = segment.p_paddr(endian) + KERNEL_BASE;
        assert_eq!(load, (data.address() + data.size()).next_multiple_of(PAGE), "{kernel}");
        assert_eq!(load + local.size(), bss.address(), "{kernel}");
    }
}

/// Instructions that reach into the CPU-local section.
fn local_accesses(function: &Function) -> impl Iterator<Item = &Instruction> {
    function.code.iter().filter(|instruction| {
        let memory = (0..instruction.op_count()).any(|operand| instruction.op_kind(operand) == OpKind::Memory);
        // For a rip-relative operand this is the address, for any other what is added to registers.
        memory && (CPULOCAL..CPULOCAL + CPULOCAL_MOST).contains(&instruction.memory_displacement64())
    })
}

#[test]
fn cpu_local_variables_are_reached_by_ordinary_addresses() {
    for kernel in &all().collect::<Vec<_>>() {
        let functions = functions(kernel);
        let users: Vec<&Function> =
            functions.iter().filter(|function| local_accesses(function).next().is_some()).collect();
        for part in ["boundary::enter_system_call", "boundary::enter_trap", "entry::system_call"] {
            assert!(users.iter().any(|function| function.name.contains(part)), "{kernel}: {part}");
        }
        for function in users {
            // The variable's address is in the instruction; a register beside it is the index into an array.
            let ordinary = |instruction: &Instruction| instruction.segment_prefix() == Register::None;
            assert!(local_accesses(function).all(ordinary), "{kernel}: {}", function.name);
        }
        let by_segment =
            with(&functions, |instruction| matches!(instruction.segment_prefix(), Register::FS | Register::GS));
        assert!(by_segment.is_empty(), "{kernel}: {by_segment:?}");
    }
}

/// What a kernel's system-call entry does with CPU-local variables: opcode and operands, length in bytes,
/// the register, the variable's name and the byte of it.
fn system_call_entry(kernel: &str) -> Vec<(Code, usize, Register, String, u64)> {
    let bytes = bytes(kernel);
    let file = ElfFile64::<object::Endianness>::parse(&*bytes).expect("an ELF file");
    let variables: BTreeMap<u64, String> = file
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Data && symbol.address() >= CPULOCAL)
        .map(|symbol| (symbol.address(), demangled(&symbol)))
        .collect();
    let functions = functions(kernel);
    let entry = functions.iter().find(|function| function.name == "kernel::boundary::entry::system_call");
    let accesses = local_accesses(entry.expect("the entry of system calls")).map(|instruction| {
        let register = (0..instruction.op_count()).map(|operand| instruction.op_register(operand));
        let register = register.into_iter().find(|register| *register != Register::None);
        let address = instruction.ip_rel_memory_address();
        let (start, variable) = variables.range(..=address).next_back().expect("a variable");
        (instruction.code(), instruction.len(), register.unwrap_or_default(), variable.clone(), address - start)
    });
    accesses.collect()
}

/// The kernel for several CPUs pays no instruction and no byte more for having each variable many times.
#[test]
fn the_system_call_entry_is_the_same_in_every_kernel() {
    let up = system_call_entry(UP);
    let used: BTreeSet<&str> = up.iter().map(|(.., variable, _)| variable.as_str()).collect();
    for variable in ["boundary::entry::USER_STACK", "arch::stack::KERNEL_STACK", "arch::frame::USER_TIME"] {
        assert!(used.contains(&*format!("kernel::{variable}")), "{variable}: {used:?}");
    }
    for kernel in &several().collect::<Vec<_>>() {
        assert_eq!(system_call_entry(kernel), up, "{kernel}");
    }
}

#[test]
fn no_swapgs() {
    for kernel in &all().collect::<Vec<_>>() {
        let functions = functions(kernel);
        let swapping = with(&functions, |instruction| instruction.mnemonic() == Mnemonic::Swapgs);
        assert!(swapping.is_empty(), "{kernel}: {swapping:?}");
    }
}

/// Modules and crates that only a kernel for several CPUs is made of.
const OF_SEVERAL_CPUS: [&str; 8] =
    ["giantlock", "giant", "smp", "ipi", "processors", "shootdown", "startup", "trampoline"];

/// Names of functions and variables that belong to one of [`OF_SEVERAL_CPUS`].
fn of_several_cpus(kernel: &str) -> BTreeSet<String> {
    let bytes = bytes(kernel);
    let file = ElfFile64::<object::Endianness>::parse(&*bytes).expect("an ELF file");
    let belongs = |name: &String| {
        let mut words = name.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.any(|word| OF_SEVERAL_CPUS.contains(&word))
    };
    file.symbols().map(|symbol| demangled(&symbol)).filter(belongs).collect()
}

#[test]
fn the_uniprocessor_kernel_holds_nothing_of_several_cpus() {
    let found = of_several_cpus(UP);
    assert!(found.is_empty(), "{found:#?}");
    for kernel in &several().collect::<Vec<_>>() {
        let found = of_several_cpus(kernel);
        assert!(found.contains("kernel::strategies::giant::LOCK"), "{kernel}: {found:?}");
    }
}

/// Where synchronising instructions may be: on the way of no entry, and of no subsystem.
const MAY_SYNCHRONISE: [&str; 8] = [
    // The log and its records take a lock, since a panic or an NMI may come while they are in use.
    "<hardware::debugcon::Logger as log::Log>::log",
    "hardware::debugcon::record",
    "hardware::debugcon::locked::{{closure}}",
    // Once at boot: the crate `log` takes its logger, `lazy_static` makes a table.
    "log::set_logger",
    "spin::once::Once<T,R>::try_call_once_slow",
    // Once at boot, because the manual asks for it: the timer's mode before its first deadline. The
    // others are the boot itself, into which the compiler may put all of these.
    "hardware::apic::init",
    "kernel::kernel_main",
    "kernel::kernel_continue",
];

#[test]
fn nothing_synchronises_cpus_in_the_uniprocessor_kernel() {
    let functions = functions(UP);
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
    let vector = |register: Register| {
        register.is_vector_register() || register.is_mm() || register.is_st() || register.is_k() || register.is_tmm()
    };
    for kernel in &all().collect::<Vec<_>>() {
        let functions = functions(kernel);
        let touching = with(&functions, |instruction| {
            let operands = (0..instruction.op_count()).filter(|&n| instruction.op_kind(n) == OpKind::Register);
            operands.into_iter().any(|n| vector(instruction.op_register(n)))
                || instruction.fpu_stack_increment_info().increment() != 0
        });
        assert!(touching.is_empty(), "{kernel}: {touching:?}");
        let saving = with(&functions, |instruction| STATE.contains(&instruction.mnemonic()));
        assert!(!saving.is_empty(), "{kernel}: the user's registers are saved somewhere");
    }
}

/// Without the feature `trace` nothing of it is there: no function, no variable, and so no instruction.
#[test]
fn only_a_kernel_that_records_has_anything_of_it() {
    let of_trace = |kernel: &str| -> BTreeSet<String> {
        let bytes = bytes(kernel);
        let file = ElfFile64::<object::Endianness>::parse(&*bytes).expect("an ELF file");
        let names = file.symbols().map(|symbol| demangled(&symbol));
        names.filter(|name| name.contains("arch::trace::")).collect()
    };
    for kernel in &all().collect::<Vec<_>>() {
        let found = of_trace(kernel);
        assert!(found.is_empty(), "{kernel}: {found:?}");
    }
    for kernel in ["up-trace", "giant-ticket-trace"] {
        let found = of_trace(kernel);
        for part in ["::NEXT", "::LIMIT", "::ON", "::full"] {
            assert!(found.iter().any(|name| name.contains(part)), "{kernel}: {part} in {found:?}");
        }
    }
}
