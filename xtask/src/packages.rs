//! The Debian packages that xtask leans on: which are here, and how the missing ones get here.
//!
//! A thing counts as present when the file that is needed exists, wherever it came from; on another
//! distribution the packages bear other names and the user installs them.

use std::{
    env, fs,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::notes::note;

/// One package and the sign that it is there.
pub(crate) struct Package {
    /// Debian's name.
    pub(crate) name: &'static str,
    /// What it is needed for.
    pub(crate) purpose: &'static str,
    sign: Sign,
    uses: &'static [Use],
}

/// What a command is going to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Use {
    /// Make an ISO for BIOS and boot it.
    Boot,
    /// Make an ISO that UEFI boots as well.
    Efi,
    /// Boot it by UEFI.
    Ovmf,
    /// Run the boot tests.
    Test,
    /// Look into the kernel with gdb.
    Debug,
    /// Make an ISO for BIOS and boot it under Bochs.
    Bochs,
}

enum Sign {
    Tool(&'static str),
    File(&'static [&'static str]),
    StaticTool(&'static str),
}

/// The shell and the tools of the image.
const BUSYBOX: &str = "busybox-static";

/// OVMF's code, read-only flash of the UEFI machine; the first that exists is taken.
const OVMF: &[&str] = &["/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_CODE_4M.fd"];

/// The screen that needs no display, among Bochs' plugins.
const BOCHS_TERM: &[&str] = &["/usr/lib/x86_64-linux-gnu/bochs/plugins/libbx_term_gui.so"];

/// What Bochs needs, boot tests included.
const FOR_BOCHS: &[Use] = &[Use::Bochs, Use::Test];

/// All of them, in the order in which `doctor` tells of them.
pub(crate) const PACKAGES: &[Package] = &[
    Package {
        name: "qemu-system-x86",
        purpose: "the machine",
        sign: Sign::Tool("qemu-system-x86_64"),
        uses: &[Use::Boot],
    },
    Package {
        name: "grub-common",
        purpose: "making the image",
        sign: Sign::Tool("grub-mkrescue"),
        uses: &[Use::Boot, Use::Bochs],
    },
    Package {
        name: "grub-pc-bin",
        purpose: "booting by BIOS",
        sign: Sign::File(&["/usr/lib/grub/i386-pc/multiboot2.mod"]),
        uses: &[Use::Boot, Use::Bochs],
    },
    Package {
        name: "xorriso",
        purpose: "making the image",
        sign: Sign::Tool("xorriso"),
        uses: &[Use::Boot, Use::Bochs],
    },
    Package {
        name: "grub-efi-amd64-bin",
        purpose: "booting by UEFI",
        sign: Sign::File(&["/usr/lib/grub/x86_64-efi/multiboot2.mod"]),
        uses: &[Use::Efi],
    },
    Package { name: "mtools", purpose: "making the image for UEFI", sign: Sign::Tool("mformat"), uses: &[Use::Efi] },
    Package { name: "ovmf", purpose: "the machine's UEFI firmware", sign: Sign::File(OVMF), uses: &[Use::Ovmf] },
    Package {
        name: BUSYBOX,
        purpose: "the image's shell and tools",
        sign: Sign::StaticTool("busybox"),
        uses: &[Use::Boot, Use::Bochs],
    },
    Package {
        name: "bash-static",
        purpose: "boot tests: another shell",
        sign: Sign::StaticTool("bash-static"),
        uses: &[Use::Test],
    },
    Package {
        name: "musl-tools",
        purpose: "boot tests: C programs on musl",
        sign: Sign::Tool("musl-gcc"),
        uses: &[Use::Test],
    },
    Package { name: "gdb", purpose: "cargo xtask debug", sign: Sign::Tool("gdb"), uses: &[Use::Debug] },
    Package { name: "bochs", purpose: "--machine bochs", sign: Sign::Tool("bochs"), uses: FOR_BOCHS },
    Package {
        name: "bochsbios",
        purpose: "--machine bochs: its firmware",
        sign: Sign::File(&["/usr/share/bochs/BIOS-bochs-latest"]),
        uses: FOR_BOCHS,
    },
    Package {
        name: "vgabios",
        purpose: "--machine bochs: its screen's firmware",
        sign: Sign::File(&["/usr/share/bochs/VGABIOS-lgpl-latest"]),
        uses: FOR_BOCHS,
    },
    Package {
        name: "bochs-term",
        purpose: "--machine bochs: a screen without a display",
        sign: Sign::File(BOCHS_TERM),
        uses: FOR_BOCHS,
    },
];

impl Package {
    /// Where it was found.
    pub(crate) fn found(&self) -> Option<PathBuf> {
        match self.sign {
            Sign::Tool(name) => tool(name),
            Sign::File(paths) => paths.iter().map(PathBuf::from).find(|path| path.exists()),
            Sign::StaticTool(name) => tool(name).filter(|path| is_static(path)),
        }
    }

    /// Whether most can do without: it is for a machine that has to be asked for.
    pub(crate) fn optional(&self) -> bool {
        self.uses == FOR_BOCHS
    }

    fn needed_for(&self, uses: &[Use]) -> bool {
        self.uses.iter().any(|need| uses.contains(need))
    }
}

/// Finds a tool as the shell does, and where administrators' tools lie.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

fn is_static(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| crate::image::elf::interpreter(&bytes).is_none())
}

/// The statically linked busybox that goes into the image.
pub(crate) fn busybox() -> Result<PathBuf> {
    let found = PACKAGES.iter().find(|package| package.name == BUSYBOX).and_then(Package::found);
    found.context("there is no statically linked busybox: cargo xtask doctor")
}

/// The OVMF file to boot by.
pub(crate) fn ovmf() -> Result<&'static Path> {
    let found = OVMF.iter().map(Path::new).find(|path| path.exists());
    found.context("OVMF is not where Debian's package `ovmf` puts it: cargo xtask doctor")
}

/// Sees to it that all that `uses` need is there: installs what is missing if it may, else says how.
pub(crate) fn ensure(uses: &[Use]) -> Result<()> {
    let missing = |uses: &[Use]| -> Vec<&str> {
        let needed = PACKAGES.iter().filter(|package| package.needed_for(uses));
        needed.filter(|package| package.found().is_none()).map(|package| package.name).collect()
    };
    if missing(uses).is_empty() {
        return Ok(());
    }
    // One round of installing is enough: with the first thing missing, bring all that boots want.
    let boots: &[Use] = if uses.contains(&Use::Boot) { &[Use::Efi, Use::Ovmf] } else { &[] };
    let all = missing(&[boots, uses].concat());
    install(&all)?;
    match missing(uses).as_slice() {
        [] => Ok(()),
        still => bail!("still missing after installing, or not where PATH leads: {}", still.join(" ")),
    }
}

/// The command that installs these packages, for a human to copy.
pub(crate) fn command(names: &[&str], sudo: bool) -> String {
    let (sudo, names) = (if sudo { "sudo " } else { "" }, names.join(" "));
    format!("{sudo}apt-get update && {sudo}apt-get install -y --no-install-recommends {names}")
}

fn install(names: &[&str]) -> Result<()> {
    let root = rustix::process::geteuid().is_root();
    let command = command(names, !root);
    if tool("apt-get").is_none() {
        bail!(
            "missing here: {} (so Debian calls them; this system has no apt-get). Install what \
             corresponds to them and try again; `cargo xtask doctor` shows what is looked for",
            names.join(" ")
        );
    }
    let may = root || may_ask() && tool("sudo").is_some();
    if !may {
        bail!("missing Debian packages: {}. Install them with\n\n    {command}\n", names.join(" "));
    }
    note(format_args!("missing Debian packages: {}", names.join(" ")));
    if !root && !agreed(&command)? {
        bail!("nothing was installed. When you want to:\n\n    {command}\n");
    }
    note(format_args!("installing: {command}"));
    let apt = |arguments: &[&str]| -> Result<()> {
        let mut apt = Command::new(if root { "apt-get" } else { "sudo" });
        if !root {
            apt.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        }
        apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        // Standard output belongs to the program that will run.
        apt.stdout(Stdio::from(std::io::stderr()));
        if root {
            apt.stdin(Stdio::null());
        }
        let status = apt.status().context("cannot start apt-get")?;
        if !status.success() {
            bail!("apt-get {} failed ({status}); by hand:\n\n    {command}\n", arguments[0]);
        }
        Ok(())
    };
    apt(&["update"])?;
    apt(&[&["install", "-y", "--no-install-recommends"], names].concat())
}

fn may_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

fn agreed(command: &str) -> Result<bool> {
    eprint!("Install them now?  {command}  [Y/n] ");
    std::io::stderr().flush().ok();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    // An empty line is yes; no line at all (end of file) is not.
    Ok(matches!(answer.to_lowercase().as_str(), "\n" | "y\n" | "yes\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn install_command_can_be_copied() {
        assert_eq!(
            command(&["ovmf", "mtools"], true),
            "sudo apt-get update && sudo apt-get install -y --no-install-recommends ovmf mtools"
        );
    }

    #[test]
    fn the_container_file_installs_them_all() {
        let text = fs::read_to_string(crate::project::root().join("Containerfile")).expect("the Containerfile");
        let words: Vec<&str> = text.split_whitespace().collect();
        for package in PACKAGES {
            assert!(words.contains(&package.name), "Containerfile lacks {}", package.name);
        }
        let toolchain = fs::read_to_string(crate::project::root().join("rust-toolchain.toml")).expect("the toolchain");
        let channel = toolchain.split('"').nth(1).expect("a channel");
        assert!(text.contains(&format!("FROM rust:{channel}-")), "Containerfile has another toolchain than {channel}");
    }

    #[test]
    fn each_use_needs_something() {
        for need in [Use::Boot, Use::Efi, Use::Ovmf, Use::Test, Use::Debug, Use::Bochs] {
            assert!(PACKAGES.iter().any(|package| package.needed_for(&[need])), "{need:?}");
        }
    }

    #[test]
    fn only_the_machine_that_is_asked_for_is_needed() {
        let of = |need: Use| PACKAGES.iter().filter(move |package| package.needed_for(&[need]));
        assert!(of(Use::Boot).all(|package| !package.optional()));
        assert!(of(Use::Bochs).all(|package| package.name != "qemu-system-x86"));
        assert_eq!(of(Use::Bochs).filter(|package| package.optional()).count(), 4);
    }

    #[test]
    fn tools_are_found_by_the_path() {
        assert!(tool("sh").is_some());
        assert!(tool("no-such-tool-anywhere").is_none());
    }
}
