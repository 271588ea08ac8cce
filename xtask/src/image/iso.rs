//! The bootable ISO: GRUB, the kernel and the archives.
//!
//! `grub-mkrescue` makes it hybrid: it boots by BIOS and, where GRUB's EFI part is installed, by UEFI,
//! from a disc or written onto a disk.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use abi::channel::{BASE_MODULE, INPUT_MODULE, RUN_MODULE};
use anyhow::{Context, Result, bail};

use super::Modules;
use crate::packages;

/// What GRUB does besides loading.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// In a run: no menu, words on the serial line only, and if something fails, the machine ends.
    Run,
    /// On its own: a menu that boots after three seconds.
    Disc,
}

/// Makes the ISO in `dir`, which also takes the tree that it is made from.
pub(crate) fn make(
    dir: &Path,
    iso: &Path,
    kernel: &Path,
    modules: &Modules,
    style: Style,
    words: &[String],
) -> Result<()> {
    let tree = dir.join("iso");
    let boot = tree.join("boot");
    fs::create_dir_all(boot.join("grub")).with_context(|| format!("cannot make {}", boot.display()))?;
    place(kernel, &boot.join("kernel"))?;
    place(&modules.base, &boot.join("base.cpio"))?;
    place(&modules.run, &boot.join("run.cpio"))?;
    if let Some(input) = &modules.input {
        place(input, &boot.join("input"))?;
    }
    let script = script(style, words, modules.input.is_some());
    fs::write(boot.join("grub/grub.cfg"), script).context("cannot write grub.cfg")?;
    rescue(&tree, iso)
}

/// Makes the ISO of another system: a Linux kernel with its command line, and the archive of its first files.
pub(crate) fn make_linux(dir: &Path, iso: &Path, kernel: &Path, files: &Path, words: &str) -> Result<()> {
    let tree = dir.join("iso");
    let boot = tree.join("boot");
    fs::create_dir_all(boot.join("grub")).with_context(|| format!("cannot make {}", boot.display()))?;
    place(kernel, &boot.join("kernel"))?;
    place(files, &boot.join("init.cpio"))?;
    let words: Vec<_> = words.split_whitespace().map(quoted).collect();
    let script = format!("linux /boot/kernel {}\ninitrd /boot/init.cpio\nboot\n", words.join(" "));
    fs::write(boot.join("grub/grub.cfg"), script).context("cannot write grub.cfg")?;
    rescue(&tree, iso)
}

/// Makes the ISO of a tree.
fn rescue(tree: &Path, iso: &Path) -> Result<()> {
    let mkrescue = packages::tool("grub-mkrescue").context("there is no grub-mkrescue: cargo xtask doctor")?;
    let mut command = Command::new(mkrescue);
    command.args(["--fonts=", "--themes=", "--locales=", "-o"]).arg(iso).arg(tree);
    let output = command.stdin(Stdio::null()).output().context("cannot start grub-mkrescue")?;
    if !output.status.success() || !iso.is_file() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("grub-mkrescue could not make the image ({}):\n{words}", output.status);
    }
    Ok(())
}

/// Puts a file into the tree: by a link if that can be, it may be large.
fn place(file: &Path, to: &Path) -> Result<()> {
    let linked = fs::hard_link(file, to).or_else(|_| fs::copy(file, to).map(drop));
    linked.with_context(|| format!("cannot put {} into the image", file.display()))
}

fn script(style: Style, words: &[String], input: bool) -> String {
    let words: String = words.iter().map(|word| format!(" {}", quoted(word))).collect();
    let mut loading = vec![
        format!("multiboot2 /boot/kernel{words}"),
        format!("module2 /boot/base.cpio {BASE_MODULE}"),
        format!("module2 /boot/run.cpio {RUN_MODULE}"),
    ];
    loading.extend(input.then(|| format!("module2 /boot/input {INPUT_MODULE}")));
    // GRUB's shell has no `&&`.
    let tests: String = loading.iter().map(|command| format!("if {command}; then ")).collect();
    let load = format!("{tests}boot; {}", "fi; ".repeat(loading.len()));
    match style {
        Style::Run => format!("serial --unit=0 --speed=115200\nterminal_output serial\n{load}\nhalt\n"),
        Style::Disc => format!("set timeout=3\nmenuentry Jotun {{\n{load}\n}}\n"),
    }
}

/// A word as GRUB's script takes it literally.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_command_line_stay_words() {
        let words = ["console=pipe".to_owned(), "x='$y;".to_owned()];
        let script = script(Style::Run, &words, false);
        assert!(
            script.contains(
                r"if multiboot2 /boot/kernel 'console=pipe' 'x='\''$y;'; then if module2 /boot/base.cpio base; then if module2 /boot/run.cpio run; then boot; fi; fi; fi;"
            ),
            "{script}"
        );
    }

    #[test]
    fn input_is_loaded_where_there_is_some() {
        assert!(script(Style::Run, &[], true).contains("then if module2 /boot/input input; then boot;"));
        assert!(!script(Style::Run, &[], false).contains("input"));
    }

    #[test]
    fn a_disc_has_a_menu_and_a_run_has_none() {
        assert!(script(Style::Disc, &[], false).contains("menuentry"));
        assert!(!script(Style::Run, &[], false).contains("menuentry"));
    }
}
