//! `/proc/cpuinfo`: the CPUs, as CPUID describes the one that executes it, in Linux's words.
//!
//! It lists only features that programs may use; a feature whose registers the kernel does not save, such as AVX-512,
//! is left out.

use super::Text;
use core::fmt::{self, Write};
use hardware::clock;
use raw_cpuid::{CpuId, CpuIdReaderNative};

type Id = CpuId<CpuIdReaderNative>;

pub(super) fn write(out: &mut Text) -> fmt::Result {
    let id = CpuId::new();
    let cpus = out.memory.cpu_count();
    (0..cpus).try_for_each(|cpu| processor(out, &id, cpu, cpus))
}

/// Writes the lines for one CPU: they are all alike.
fn processor(out: &mut Text, id: &Id, cpu: usize, cpus: usize) -> fmt::Result {
    let hz = clock::tsc_hz();
    let megahertz = (hz / 1_000_000, hz / 1000 % 1000);
    writeln!(out, "processor\t: {cpu}")?;
    if let Some(vendor) = id.get_vendor_info() {
        writeln!(out, "vendor_id\t: {}", vendor.as_str())?;
    }
    if let Some(basic) = id.get_feature_info() {
        writeln!(out, "cpu family\t: {}\nmodel\t\t: {}", basic.family_id(), basic.model_id())?;
    }
    if let Some(brand) = id.get_processor_brand_string() {
        writeln!(out, "model name\t: {}", brand.as_str().trim())?;
    }
    if let Some(basic) = id.get_feature_info() {
        writeln!(out, "stepping\t: {}", basic.stepping_id())?;
    }
    writeln!(out, "cpu MHz\t\t: {}.{:03}", megahertz.0, megahertz.1)?;
    writeln!(out, "physical id\t: 0\nsiblings\t: {cpus}\ncore id\t\t: {cpu}\ncpu cores\t: {cpus}")?;
    write!(out, "fpu\t\t: yes\nfpu_exception\t: yes\nwp\t\t: yes\nflags\t\t:")?;
    flags(out, id)?;
    let line = id.get_feature_info().map_or(0, |basic| u32::from(basic.cflush_cache_line_size()) * 8);
    // Twice the frequency, as Linux reckons it where the cycle counter is the clock.
    let bogomips = (hz / 500_000, hz / 5000 % 100);
    writeln!(out, "\nbogomips\t: {}.{:02}\nclflush size\t: {line}\ncache_alignment\t: {line}", bogomips.0, bogomips.1)?;
    if let Some(sizes) = id.get_processor_capacity_feature_info() {
        let (physical, linear) = (sizes.physical_address_bits(), sizes.linear_address_bits());
        writeln!(out, "address sizes\t: {physical} bits physical, {linear} bits virtual")?;
    }
    out.write_char('\n')
}

/// Writes the names of the features that are there.
fn flags(out: &mut Text, id: &Id) -> fmt::Result {
    let mut list = |flags: &[(bool, &str)]| {
        flags.iter().filter(|(there, _)| *there).try_for_each(|(_, name)| write!(out, " {name}"))
    };
    if let Some(f) = id.get_feature_info() {
        list(&[
            (f.has_fpu(), "fpu"),
            (f.has_tsc(), "tsc"),
            (f.has_cmpxchg8b(), "cx8"),
            (f.has_cmov(), "cmov"),
            (f.has_clflush(), "clflush"),
            (f.has_mmx(), "mmx"),
            (f.has_fxsave_fxstor(), "fxsr"),
            (f.has_sse(), "sse"),
            (f.has_sse2(), "sse2"),
            (f.has_htt(), "ht"),
            (f.has_sse3(), "pni"),
            (f.has_pclmulqdq(), "pclmulqdq"),
            (f.has_ssse3(), "ssse3"),
            (f.has_fma(), "fma"),
            (f.has_cmpxchg16b(), "cx16"),
            (f.has_sse41(), "sse4_1"),
            (f.has_sse42(), "sse4_2"),
            (f.has_x2apic(), "x2apic"),
            (f.has_movbe(), "movbe"),
            (f.has_popcnt(), "popcnt"),
            (f.has_tsc_deadline(), "tsc_deadline_timer"),
            (f.has_aesni(), "aes"),
            (f.has_xsave(), "xsave"),
            (f.has_avx(), "avx"),
            (f.has_f16c(), "f16c"),
            (f.has_rdrand(), "rdrand"),
            (f.has_hypervisor(), "hypervisor"),
        ])?;
    }
    if let Some(f) = id.get_extended_processor_and_feature_identifiers() {
        list(&[
            (f.has_syscall_sysret(), "syscall"),
            (f.has_execute_disable(), "nx"),
            (f.has_1gib_pages(), "pdpe1gb"),
            (f.has_rdtscp(), "rdtscp"),
            (f.has_64bit_mode(), "lm"),
            (f.has_lahf_sahf(), "lahf_lm"),
            (f.has_lzcnt(), "abm"),
            (f.has_sse4a(), "sse4a"),
        ])?;
    }
    if let Some(f) = id.get_advanced_power_mgmt_info() {
        list(&[(f.has_invariant_tsc(), "constant_tsc"), (f.has_invariant_tsc(), "nonstop_tsc")])?;
    }
    if let Some(f) = id.get_extended_feature_info() {
        list(&[
            (f.has_bmi1(), "bmi1"),
            (f.has_avx2(), "avx2"),
            (f.has_smep(), "smep"),
            (f.has_bmi2(), "bmi2"),
            (f.has_rep_movsb_stosb(), "erms"),
            (f.has_rdseed(), "rdseed"),
            (f.has_adx(), "adx"),
            (f.has_smap(), "smap"),
            (f.has_clflushopt(), "clflushopt"),
            (f.has_clwb(), "clwb"),
            (f.has_sha(), "sha_ni"),
            (f.has_umip(), "umip"),
            (f.has_vaes(), "vaes"),
            (f.has_vpclmulqdq(), "vpclmulqdq"),
        ])?;
    }
    Ok(())
}
