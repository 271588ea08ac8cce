//! Bochs' configuration: the machine that counts instructions and does the same in every run.
//!
//! Its clock moves by the instructions that are executed, never by the host's, and nothing it knows of
//! the day comes from the host either. So all that a run does depends on the image and the input alone;
//! when input comes, see [`super::debugger`].

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};

use crate::options::{Accel, Machine};

/// The program.
pub(crate) const PROGRAM: &str = "bochs";

/// The CPU unless another is asked for: the newest model of Debian's Bochs with all that programs use.
pub(crate) const CPU: &str = "corei7_skylake_x";

/// Instructions in a second of the machine's time.
const INSTRUCTIONS_PER_SECOND: u32 = 100_000_000;

/// The second at which the machine is switched on: 1 January 2026, UTC.
const SWITCHED_ON: u32 = 1_767_225_600;

/// MiB that the firmware can place below its hole of device addresses.
const MEMORY: std::ops::RangeInclusive<u32> = 32..=2048;

/// CPUs that it can have: Debian's Bochs has 64 timers, a CPU takes three of them, and the devices of the
/// configuration below the rest.
pub(crate) const CPUS: std::ops::RangeInclusive<u8> = 1..=16;

/// The file names in [`Plan::dir`], which the configuration can name without any quoting.
const CONFIGURATION: &str = "bochsrc";
const COMMANDS: &str = "bochs.commands";
/// What the debugger is told that is to let the machine run.
pub(crate) const GO: &str = "c\n";

const LOG: &str = "bochs.log";

/// What is to be started.
pub(crate) struct Plan {
    machine: Machine,
    pub(super) cpus: u8,
    /// The directory of the run.
    pub(super) dir: PathBuf,
    /// The name of what it boots, in that directory.
    iso: &'static str,
}

impl Plan {
    /// A machine with this number of CPUs that boots the file `iso` of the run's directory.
    pub(crate) fn new(machine: &Machine, cpus: u8, dir: PathBuf, iso: &'static str) -> Self {
        Self { machine: machine.clone(), cpus, dir, iso }
    }

    /// Writes what Bochs reads, into the directory of the run: where the console's bytes go, and what the debugger
    /// does, which starts stopped.
    pub(crate) fn write(&self, console: &str, commands: &str) -> Result<()> {
        for (name, text) in [(CONFIGURATION, self.configuration(console)), (COMMANDS, commands.to_owned())] {
            let path = self.dir.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// The command that starts it, when all is written.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(["-q", "-f", CONFIGURATION, "-rc", COMMANDS]);
        // Bochs reads its clock's start as local time, and its screen wants a terminal's name.
        command.current_dir(&self.dir).env("TZ", "UTC").env("TERM", "xterm");
        command
    }

    /// The configuration.
    fn configuration(&self, console: &str) -> String {
        let Machine { memory, cpu, .. } = &self.machine;
        let cpu = cpu.as_deref().unwrap_or(CPU);
        let Self { iso, cpus, .. } = self;
        format!(
            "\
# The CPUs; a triple fault ends the machine.
cpu: model={cpu}, count={cpus}, ips={INSTRUCTIONS_PER_SECOND}, reset_on_triple_fault=0
memory: guest={memory}, host={memory}
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0-master: type=cdrom, path={iso}, status=inserted
boot: cdrom
# Jotun has no use for the HPET, and further CPUs have for its timers.
pci: enabled=1, chipset=i440fx, advopts=nohpet
# The screen, on a pseudo-terminal that Bochs opens and no one looks at.
display_library: term
vga: extension=vbe, update_freq=1, realtime=0
# No sound: its thread fails on a host that cannot play any.
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
# The channels.
com1: enabled=1, {console}
port_e9_hack: enabled=1
magic_break: enabled=1
# Time by instructions, and the same day every time.
clock: sync=none, rtc_sync=0, time0={SWITCHED_ON}
log: {LOG}
panic: action=fatal
error: action=report
info: action=ignore
debug: action=ignore
"
        )
    }
}

/// Refuses what only QEMU can do.
pub(crate) fn check(machine: &Machine, cpus: u8) -> Result<()> {
    if !CPUS.contains(&cpus) {
        bail!("Bochs takes {} to {} CPUs; --smp says {cpus}", CPUS.start(), CPUS.end());
    }
    if machine.uefi {
        bail!("--uefi needs QEMU: Bochs boots by BIOS alone");
    }
    if machine.accel != Accel::Auto {
        bail!("--accel is QEMU's: Bochs executes all instructions itself");
    }
    if !machine.further.is_empty() {
        bail!("--qemu adds to QEMU's arguments, and --machine bochs starts none");
    }
    if !MEMORY.contains(&machine.memory) {
        let (least, most) = MEMORY.into_inner();
        bail!("Bochs takes {least} to {most} MiB of memory; --memory says {}", machine.memory);
    }
    Ok(())
}

/// Why Bochs ended, from all that it said on standard error.
pub(super) fn reason(words: &str) -> String {
    // Progress, and the frame of its last message.
    let progress = |line: &str| line.starts_with(|c: char| c.is_ascii_digit()) || line.starts_with("Bochs connected");
    let frame = |line: &str| line.starts_with("=====") || line.starts_with("Bochs is exiting");
    let lines = words.lines().filter(|line| !line.is_empty() && !progress(line) && !frame(line));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Kind;

    fn machine() -> Machine {
        Machine { memory: 64, ..Machine::of(Kind::Bochs) }
    }

    #[test]
    fn the_machine_is_what_was_asked_for() {
        let plan = Plan::new(&Machine { cpu: Some("ryzen".into()), ..machine() }, 16, "/a, b".into(), "x.iso");
        let text = plan.configuration("mode=null");
        for part in
            ["cpu: model=ryzen, count=16,", "guest=64, host=64\n", "path=x.iso,", "com1: enabled=1, mode=null\n"]
        {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn the_reason_of_its_end_is_found() {
        let words = "00000000000i[PLUGIN] loaded plugin libbx_term_gui.so\n\n\
                     Bochs connected to screen \"/dev/pts/0\"\n\
                     ========================================================================\n\
                     Bochs is exiting with the following message:\n\
                     [CPU0  ] exception(): 3rd (14) exception with no resolution\n\
                     ========================================================================\n";
        assert_eq!(reason(words), "[CPU0  ] exception(): 3rd (14) exception with no resolution");
        assert_eq!(reason(""), "");
    }

    #[test]
    fn what_it_cannot_do_is_refused() {
        assert!(check(&machine(), 1).is_ok() && check(&machine(), 16).is_ok());
        assert_eq!(check(&machine(), 17).unwrap_err().to_string(), "Bochs takes 1 to 16 CPUs; --smp says 17");
        let refused = |machine| check(&machine, 1).unwrap_err().to_string();
        assert!(refused(Machine { uefi: true, ..machine() }).contains("--uefi"));
        assert!(refused(Machine { accel: Accel::Tcg, ..machine() }).contains("--accel"));
        assert!(refused(Machine { further: vec!["-S".into()], ..machine() }).contains("--qemu"));
        assert!(refused(Machine { memory: 4096, ..machine() }).contains("32 to 2048"));
    }
}
