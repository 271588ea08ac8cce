//! QEMU's command line, and whether KVM is really there.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
};

use abi::channel::{LOG_PORT, QEMU_EXIT_PORT};
use anyhow::{Result, bail};

use crate::{
    options::{Accel, Kind, Machine},
    packages,
};

/// The program.
pub(crate) const PROGRAM: &str = "qemu-system-x86_64";

/// The CPU unless another is asked for: all that the accelerator can do.
const CPU: &str = "max";

/// The accelerator that counts instructions: a thread of the host plays the one CPU.
const COUNTED: &str = "tcg,thread=single";

/// MiB of memory below which OVMF does not come to the boot loader (it hangs with 32).
const UEFI_MEMORY: u32 = 64;

/// QEMU's arguments for a machine with `cpus` CPUs that boots `iso`. The channels are yet to be added: character
/// devices `console` and `log`.
pub(crate) fn arguments(machine: &Machine, cpus: u8, iso: &Path) -> Result<Vec<OsString>> {
    let exit = format!("isa-debug-exit,iobase={QEMU_EXIT_PORT:#x},iosize=4");
    let log = format!("isa-debugcon,iobase={LOG_PORT:#x},chardev=log");
    let (cpus, memory) = (cpus.to_string(), machine.memory.to_string());
    let accel = if machine.kind() == Kind::Icount { COUNTED } else { accel(machine.accel)? };
    let mut all: Vec<OsString> = [
        ["-machine", "q35"],
        ["-cpu", machine.cpu.as_deref().unwrap_or(CPU)],
        ["-accel", accel],
        ["-smp", &cpus],
        ["-m", &memory],
        ["-display", "none"],
        ["-device", &exit],
        ["-serial", "chardev:console"],
        ["-device", &log],
    ]
    .into_iter()
    .flatten()
    .map(OsString::from)
    .collect();
    all.extend(["-nodefaults", "-no-reboot"].map(OsString::from));
    if machine.kind() == Kind::Icount {
        // A tick is an instruction, and where the machine has nothing to do, time goes on to the next event at once.
        all.extend(["-icount", "shift=0,sleep=off"].map(OsString::from));
        // The date is Bochs', and the CPU's random numbers are the same in every run.
        all.extend(["-rtc", "base=2026-01-01,clock=vm", "-seed", "1"].map(OsString::from));
    }
    if machine.uefi {
        if machine.memory < UEFI_MEMORY {
            bail!("UEFI's firmware needs {UEFI_MEMORY} MiB of memory; --memory says {}", machine.memory);
        }
        let firmware = file_option("if=pflash,format=raw,readonly=on,file=", packages::ovmf()?);
        all.extend(["-drive".into(), firmware]);
    }
    all.extend(["-cdrom".into(), iso.into()]);
    all.extend(machine.further.iter().cloned());
    Ok(all)
}

/// An option that ends with a file's path; QEMU takes a comma in it when it stands there twice.
pub(crate) fn file_option(option: &str, path: &Path) -> OsString {
    let path: Vec<&[u8]> = path.as_os_str().as_bytes().split(|&byte| byte == b',').collect();
    OsString::from_vec([option.as_bytes(), &path.join(&b",,"[..])].concat())
}

fn accel(wanted: Accel) -> Result<&'static str> {
    const TCG: &str = "tcg,thread=multi";
    match (wanted, kvm()) {
        (Accel::Tcg, _) | (Accel::Auto, Err(_)) => Ok(TCG),
        (Accel::Auto | Accel::Kvm, Ok(())) => Ok("kvm"),
        (Accel::Kvm, Err(why)) => bail!("no KVM here: {why}. Leave --accel out, or say --accel tcg"),
    }
}

/// Why KVM cannot be used, if so. An openable /dev/kvm says little: without VMX or SVM behind it a
/// guest crawls or does not run at all.
pub(crate) fn kvm() -> Result<(), String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if !virtualisation(&cpuinfo) {
        return Err("the CPU shows neither the vmx nor the svm flag in /proc/cpuinfo".into());
    }
    let device = OpenOptions::new().read(true).write(true).open("/dev/kvm");
    device.map(drop).map_err(|error| format!("/dev/kvm cannot be opened ({error})"))
}

fn virtualisation(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().filter(|line| line.starts_with("flags")).take(1);
    flags.flat_map(str::split_whitespace).any(|flag| flag == "vmx" || flag == "svm")
}

/// A command as a line that a shell takes.
pub(crate) fn shell_line(program: &str, arguments: &[OsString]) -> String {
    let words = arguments.iter().map(|word| shell_word(&word.to_string_lossy()));
    [program.to_owned()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
}

fn shell_word(word: &str) -> String {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=+,.:/@%".contains(&byte);
    match !word.is_empty() && word.bytes().all(harmless) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_tells_not_its_likeness() {
        assert!(virtualisation("processor\t: 0\nflags\t\t: fpu vmx sse\n"));
        assert!(virtualisation("flags : svm\n"));
        assert!(!virtualisation("flags : fpu svm_lock avmx\nvmx flags\t: ept\n"));
        assert!(!virtualisation(""));
    }

    #[test]
    fn commas_in_paths_are_doubled() {
        assert_eq!(file_option("file=", Path::new("/a,b/c")), "file=/a,,b/c");
    }

    #[test]
    fn the_machine_is_what_was_asked_for() {
        let machine = Machine {
            memory: 64,
            accel: Accel::Tcg,
            cpu: Some("qemu64".into()),
            further: vec!["-S".into()],
            ..Machine::of(Kind::Qemu)
        };
        let line = shell_line(PROGRAM, &arguments(&machine, 64, Path::new("/a b/x.iso")).unwrap());
        assert_eq!(
            line,
            "qemu-system-x86_64 -machine q35 -cpu qemu64 -accel tcg,thread=multi -smp 64 -m 64 -display none \
             -device isa-debug-exit,iobase=0xf4,iosize=4 -serial chardev:console \
             -device isa-debugcon,iobase=0xe9,chardev=log -nodefaults -no-reboot -cdrom '/a b/x.iso' -S"
        );
    }

    #[test]
    fn a_counter_knows_neither_the_hosts_clock_nor_its_random_numbers() {
        let line = arguments(&Machine::of(Kind::Icount), 1, Path::new("x.iso")).unwrap();
        let line = shell_line(PROGRAM, &line);
        for part in ["-icount shift=0,sleep=off", "-rtc base=2026-01-01,clock=vm", "-seed 1"] {
            assert!(line.contains(part), "{line}");
        }
    }
}
