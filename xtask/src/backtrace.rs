//! Addresses of the kernel, told by function and line.

use std::{fmt::Write, path::Path};

use addr2line::{Loader, demangle_auto};
use anyhow::{Result, anyhow};

use crate::{notes, project};

/// Prints the frames of a backtrace, innermost first, to standard error.
///
/// The addresses are return addresses: each is looked up one byte earlier, in the call itself.
pub(crate) fn print(symbols: &Path, addresses: &[u64]) {
    if addresses.is_empty() {
        return;
    }
    let loader = Loader::new(symbols).map_err(|error| error.to_string());
    if let Err(error) = &loader {
        notes::note(format_args!("no symbols from {}: {error}", symbols.display()));
    }
    let mut text = String::new();
    for (number, &address) in addresses.iter().enumerate() {
        let frame = loader.as_ref().ok().map(|loader| frame(loader, address.wrapping_sub(1)));
        let lines = frame.filter(|lines| !lines.is_empty()).unwrap_or_else(|| vec!["(unknown)".into()]);
        for (depth, line) in lines.iter().enumerate() {
            let _ = match depth {
                0 => writeln!(text, "{number:>4}: {address:016x}  {line}"),
                _ => writeln!(text, "      {:16}  {line}", ""),
            };
        }
    }
    eprint!("{text}");
}

/// The innermost function at each of these addresses, inlined or not, leaving out those of Rust's libraries
/// unless there is no other.
pub(crate) fn functions(symbols: &Path, addresses: &[u64]) -> Result<Vec<String>> {
    let loader = Loader::new(symbols).map_err(|error| anyhow!("no symbols from {}: {error}", symbols.display()))?;
    let function = |&address: &u64| {
        let lines = frame(&loader, address);
        let library = |line: &str| {
            ["core::", "alloc::", "compiler_builtins::"]
                .iter()
                .any(|library| line.trim_start_matches('<').starts_with(library))
                || line.contains(" as core::")
        };
        let line = lines.iter().find(|line| !library(line)).or(lines.first());
        line.map_or("(unknown)", |line| line.split("  ").next().unwrap_or_default()).to_owned()
    };
    Ok(addresses.iter().map(function).collect())
}

/// The functions at an address: inlined ones first, then the one they were inlined into.
fn frame(loader: &Loader, address: u64) -> Vec<String> {
    let mut lines = Vec::new();
    if let Ok(mut frames) = loader.find_frames(address) {
        while let Ok(Some(frame)) = frames.next() {
            let name = frame.function.as_ref().and_then(|function| function.demangle().ok());
            let name = name.map_or_else(|| "(unknown)".to_owned(), |name| short(&name));
            let place = frame
                .location
                .and_then(|place| Some(format!("  {}:{}", relative(place.file?), place.line.unwrap_or(0))));
            lines.push(name + &place.unwrap_or_default());
        }
    }
    if lines.is_empty() {
        // No debug information there, as in assembly: the symbol at least.
        let symbol = loader.find_symbol(address);
        lines.extend(symbol.map(|name| short(&demangle_auto(name.into(), None))));
    }
    lines
}

/// A function's name without the hash that Rust puts behind it.
fn short(name: &str) -> String {
    match name.rsplit_once("::h") {
        Some((path, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => path.to_owned(),
        _ => name.to_owned(),
    }
}

/// A source path from the root of the checkout on, or from the standard library's. What was built before the checkout
/// was moved names the old root, so it is the longest end of the path that names a file of the checkout.
fn relative(path: &str) -> &str {
    let ends = path.match_indices('/').map(|(at, _)| &path[at + 1..]);
    let inside = ends.into_iter().find(|end| project::root().join(end).is_file());
    inside.or_else(|| path.find("/library/").map(|at| &path[at + 1..])).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_dropped() {
        assert_eq!(short("kernel::main::h0123456789abcdef"), "kernel::main");
        assert_eq!(short("kernel::hello"), "kernel::hello");
    }

    #[test]
    fn paths_begin_in_the_checkout() {
        let path = project::root().join("kernel/src/main.rs");
        assert_eq!(relative(path.to_str().unwrap()), "kernel/src/main.rs");
        assert_eq!(relative("/the/old/place/kernel/src/main.rs"), "kernel/src/main.rs");
        assert_eq!(relative("/rustc/abc/library/core/src/x.rs"), "library/core/src/x.rs");
        assert_eq!(relative("/elsewhere/x.rs"), "/elsewhere/x.rs");
    }

    #[test]
    fn a_function_of_ours_is_found_with_its_line() {
        let me = std::env::current_exe().unwrap();
        let loader = Loader::new(&me).unwrap();
        // Position-independent: what the loader added is the difference to the symbol's own address.
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let base = u64::from_str_radix(maps.split('-').next().unwrap(), 16).unwrap();
        let lines = frame(&loader, short as fn(&str) -> String as usize as u64 - base);
        assert!(lines[0].starts_with("xtask::backtrace::short"), "{lines:?}");
        assert!(lines[0].contains("xtask/src/backtrace.rs:"), "{lines:?}");
    }
}
