//! What a run adds to the base, and the ISO that boots it all.

pub(crate) mod archive;
pub(crate) mod elf;
pub(crate) mod iso;
pub(crate) mod lookup;

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use abi::channel;
use anyhow::{Context, Result, bail};
use archive::Archive;
use lookup::Program;

use crate::{build::Built, machine::Ahead, notes::note, options};

/// The archives of one image.
pub(crate) struct Modules {
    /// The file system that every image has.
    pub(crate) base: PathBuf,
    /// What this one adds: the program, its arguments and environment at least.
    pub(crate) run: PathBuf,
    /// The console's first input, if the image has it.
    pub(crate) input: Option<PathBuf>,
}

impl Modules {
    /// Finds the program, and writes what the image needs besides the base into `dir`.
    pub(crate) fn prepare(payload: &options::Payload, built: &Built, dir: &Path, terminal: bool) -> Result<Self> {
        let base = payload.base.clone().unwrap_or_else(|| built.base.clone());
        if !base.is_file() {
            bail!("there is no archive {}", base.display());
        }
        let mut archive = Archive::default();
        if let Some(rootfs) = &payload.rootfs {
            archive.tree(rootfs).context("--rootfs")?;
        }
        if let Some(program) = payload.program.first() {
            let named = built.named.iter().map(|named| named.path.as_str());
            let names: Vec<&str> = built.names.iter().map(String::as_str).chain(named).chain(archive.paths()).collect();
            let found = lookup::resolve(program, &names)?;
            let path = found.path().trim_start_matches('/');
            if let Program::Host { file, .. } = &found {
                advise(file);
                archive.program(path, file)?;
            } else if let Some(named) = built.named.iter().find(|named| named.path == path)
                && !archive.has(path)
            {
                archive.program(path, &named.file)?;
            }
            archive.bytes(inside(channel::ARGV_FILE), strings(found.path(), &payload.program));
        }
        archive.bytes(inside(channel::ENV_FILE), environment(&payload.environment, terminal)?);
        let run = dir.join("run.cpio");
        archive.write(&run)?;
        Ok(Self { base, run, input: None })
    }

    /// Takes the input that is there into the image; whether that is all that will ever come.
    pub(crate) fn take_input(&mut self, dir: &Path) -> Result<bool> {
        let ahead = Ahead::read();
        let input = dir.join("input");
        fs::write(&input, &ahead.bytes).with_context(|| format!("cannot write {}", input.display()))?;
        self.input = (!ahead.bytes.is_empty()).then_some(input);
        Ok(ahead.ended)
    }

    /// Refuses what cannot fit: at boot each archive lies in memory beside what is unpacked from it.
    pub(crate) fn fit(&self, mebibytes: u32) -> Result<()> {
        let sizes = [&self.base, &self.run]
            .map(|path| fs::metadata(path).map(|metadata| metadata.len()).with_context(|| path.display().to_string()));
        let bytes: u64 = sizes.into_iter().sum::<Result<u64>>()?;
        let archives = bytes.div_ceil(1 << 20);
        if archives * 2 > u64::from(mebibytes) {
            bail!(
                "the image's files are {archives} MiB, which are in memory twice while they are unpacked; \
                 {mebibytes} MiB is too little: try --memory {}",
                (archives * 2 + 64).next_multiple_of(64)
            );
        }
        Ok(())
    }
}

/// Names what the kernel will not run; the verdict is the kernel's all the same.
fn advise(file: &Path) {
    let interpreter = fs::read(file).ok().and_then(|bytes| elf::interpreter(&bytes));
    if let Some(interpreter) = interpreter {
        note(format_args!(
            "{} is dynamically linked ({interpreter}); Jotun runs static programs: link it with -static",
            file.display()
        ));
    }
}

fn inside(path: &'static str) -> &'static str {
    path.trim_start_matches('/')
}

fn strings(path: &str, program: &[OsString]) -> Vec<u8> {
    let words = program.iter().map(|word| word.as_bytes());
    let all = [path.as_bytes()].into_iter().chain(words);
    all.flat_map(|word| [word, b"\0"].concat()).collect()
}

fn environment(wanted: &[OsString], terminal: bool) -> Result<Vec<u8>> {
    let mut all: Vec<(Vec<u8>, OsString)> = Vec::new();
    // A later value takes the place of an earlier one: of two, each program would take the one that it finds first.
    let mut add = |name: &[u8], value: &OsStr| match all.iter_mut().find(|(known, _)| known == name) {
        Some((_, before)) => value.clone_into(before),
        None => all.push((name.to_owned(), value.to_owned())),
    };
    add(b"PATH", OsStr::new("/bin:/pkg"));
    add(b"HOME", OsStr::new("/home"));
    if terminal {
        add(b"TERM", &std::env::var_os("TERM").unwrap_or_else(|| "vt100".into()));
        // Busybox's shell and bash alike: the working directory, then `#`, because every user is root.
        add(b"PS1", OsStr::new("jotun:\\w\\$ "));
    }
    for variable in wanted {
        let (name, value) = match variable.as_bytes().split_once_at(b'=') {
            Some((name, value)) => (name, OsString::from_vec(value.to_vec())),
            None => {
                let value = std::env::var_os(variable);
                let value = value.with_context(|| format!("--env {}: not set on the host", variable.display()))?;
                (variable.as_bytes(), value)
            }
        };
        if name.is_empty() {
            bail!("--env {}: a name is expected before the `=`", variable.display());
        }
        add(name, &value);
    }
    Ok(all.iter().flat_map(|(name, value)| [name, &b"="[..], value.as_bytes(), b"\0"].concat()).collect())
}

/// `split_once` for bytes, which the standard library does not have yet.
trait SplitOnce {
    fn split_once_at(&self, separator: u8) -> Option<(&[u8], &[u8])>;
}

impl SplitOnce for [u8] {
    fn split_once_at(&self, separator: u8) -> Option<(&[u8], &[u8])> {
        let at = self.iter().position(|&byte| byte == separator)?;
        Some((&self[..at], &self[at + 1..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn arguments_end_with_nul_each() {
        let bytes = strings("/host/prog", &words(&["./prog", "a b", ""]));
        assert_eq!(bytes, b"/host/prog\0./prog\0a b\0\0");
    }

    #[test]
    fn environment_is_what_was_asked_for() {
        assert_eq!(environment(&[], false).unwrap(), b"PATH=/bin:/pkg\0HOME=/home\0");
        let set = environment(&words(&["A=b=c", "EMPTY="]), false).unwrap();
        assert_eq!(set, b"PATH=/bin:/pkg\0HOME=/home\0A=b=c\0EMPTY=\0");
        let replaced = environment(&words(&["PATH=/x", "A=1", "A=2"]), false).unwrap();
        assert_eq!(replaced, b"PATH=/x\0HOME=/home\0A=2\0");
        let error = environment(&words(&["NO_SUCH_VARIABLE_HERE"]), false).unwrap_err();
        assert!(error.to_string().contains("NO_SUCH_VARIABLE_HERE: not set"), "{error}");
        assert!(environment(&words(&["=x"]), false).is_err());
    }
}
