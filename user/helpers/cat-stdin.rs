//! Copies standard input to standard output, and prints on standard error how many bytes it was.
//!
//! Run by: `xtask/src/commands/run.rs`.

use std::io::{self, Read, Write};

fn main() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut buffer = [0; 4096];
    let mut bytes = 0u64;
    loop {
        match input.read(&mut buffer)? {
            0 => break,
            count => {
                output.write_all(&buffer[..count])?;
                output.flush()?;
                bytes += count as u64;
            }
        }
    }
    // The end of the input is final: asking again finds it again.
    assert_eq!(input.read(&mut buffer)?, 0, "after the end");
    eprintln!("ok cat-stdin: {bytes} bytes, then end of file");
    Ok(())
}
