//! Shell scripts, in busybox's shell and in bash: byte for byte what they print on the host.
//!
//! The scripts are those of `tests/scripts`, run one after the other in one machine. On the host they find
//! busybox's tools by their names, as they do in Jotun. What they write to standard error is left out: shells
//! put process numbers there.

use std::{fs, os::unix::fs::symlink, path::PathBuf, process::Command};

use boot_tests::{Jotun, Scratch, busybox, numbers, root};

/// What runs the scripts of the working directory, each with `$RUN`.
const ALL: &str = "for script in *.sh; do echo \"== $script\"; $RUN $script 2>/dev/null; echo \"== $?\"; done";

/// A shell as it is called in Jotun, and the host's file.
struct Shell {
    words: &'static str,
    file: PathBuf,
}

/// The scripts and what they need, as they are in the machine: a file system for it, and a place on the host.
struct Place(Scratch);

impl Place {
    fn new(shell: &Shell) -> Self {
        let scratch = Scratch::new("scripts");
        let scripts = root().join("tests/scripts");
        for script in fs::read_dir(scripts).expect("the scripts") {
            let path = script.expect("a script").path();
            let name = path.file_name().unwrap().to_str().unwrap();
            scratch.file(&format!("root/scripts/{name}"), fs::read(&path).expect("a script"));
        }
        let program = shell.words.split(' ').next().unwrap();
        if program != "busybox" {
            let bin = scratch.path().join("root/bin");
            fs::create_dir_all(&bin).expect("a directory");
            fs::copy(&shell.file, bin.join(program)).expect("a copy");
        }
        Self(scratch)
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("root")
    }

    /// What comes out on the host.
    fn on_host(&self, shell: &Shell) -> String {
        let (bin, temporary) = (self.0.path().join("host-bin"), self.0.path().join("tmp"));
        [&bin, &temporary].into_iter().for_each(|dir| fs::create_dir(dir).expect("a directory"));
        let list = Command::new(busybox()).arg("--list").output().expect("busybox runs on the host").stdout;
        for tool in String::from_utf8(list).expect("names").lines().filter(|tool| *tool != "busybox") {
            symlink(busybox(), bin.join(tool)).expect("a link");
        }
        symlink(busybox(), bin.join("busybox")).expect("a link");
        symlink(&shell.file, bin.join("bash")).expect("a link");
        let mut command = Command::new(busybox());
        command.args(["sh", "-c", ALL]).env_clear().current_dir(self.root().join("scripts"));
        command.env("PATH", bin).env("HOME", "/home").env("T", temporary).env("RUN", shell.words);
        String::from_utf8(command.output().expect("it runs on the host").stdout).expect("text")
    }
}

#[track_caller]
fn same_on(cpus: u8, shell: &Shell) {
    numbers(&[cpus]).into_iter().for_each(|cpus| same(Jotun::new().smp(cpus), shell));
}

#[track_caller]
fn same(jotun: Jotun, shell: &Shell) {
    let place = Place::new(shell);
    let host = place.on_host(shell);
    // Scripts that did not run would be the same on both sides, too.
    assert!(host.lines().count() > 200 && !host.contains("== 127"), "{host}");
    let jotun = jotun.rootfs(&place.root()).env("T", "/tmp").env("RUN", shell.words).timeout(300.0);
    let outcome = jotun.args(["sh", "-c", &format!("cd /scripts; {ALL}")]).run();
    let text = outcome.text();
    let differs = host.lines().zip(text.lines()).position(|(host, here)| host != here);
    if let Some(at) = differs.or((text != host).then(|| text.lines().count().min(host.lines().count()))) {
        let around = |text: &str| text.lines().skip(at.saturating_sub(5)).take(8).collect::<Vec<_>>().join("\n");
        panic!("{}: on the host\n{}\nhere\n{}\n{outcome}", shell.words, around(&host), around(&text));
    }
    outcome.expect(0).expect_all_back();
}

fn ash() -> Shell {
    Shell { words: "busybox sh", file: busybox().into() }
}

fn bash() -> Shell {
    Shell { words: "bash", file: "/bin/bash-static".into() }
}

#[test]
fn busyboxs_shell_on_one_cpu() {
    same(Jotun::new(), &ash());
}

#[test]
fn busyboxs_shell_on_several_cpus() {
    same_on(4, &ash());
}

#[test]
fn bash_on_one_cpu() {
    same(Jotun::new(), &bash());
}

#[test]
fn bash_on_several_cpus() {
    same_on(2, &bash());
}
