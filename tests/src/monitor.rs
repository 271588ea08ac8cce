//! QEMU's monitor, for tests that look at a machine from outside.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    thread::{self, ScopedJoinHandle},
    time::Duration,
};

/// Where a machine's monitor listens: a socket in a directory of its own, for its path must be short.
pub struct MonitorSocket(PathBuf);

impl MonitorSocket {
    /// A socket for one test.
    pub fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("jotun-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        Self(directory)
    }

    /// The options that make QEMU listen there.
    pub fn options(&self) -> [String; 2] {
        ["--qemu=-monitor".into(), format!("--qemu=unix:{},server,nowait", self.path().display())]
    }

    fn path(&self) -> PathBuf {
        self.0.join("monitor")
    }
}

impl Drop for MonitorSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// QEMU's monitor for people.
pub struct Monitor(UnixStream);

impl Monitor {
    /// Connects as soon as QEMU listens. It does while the `run` is there, and xtask ends a run that takes too long.
    pub fn connect<T>(socket: &MonitorSocket, run: &ScopedJoinHandle<'_, T>) -> Self {
        loop {
            if let Ok(stream) = UnixStream::connect(socket.path()) {
                let mut monitor = Self(stream);
                monitor.answer();
                return monitor;
            }
            assert!(!run.is_finished(), "no monitor");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// What comes until the next prompt.
    fn answer(&mut self) -> String {
        let mut all = Vec::new();
        let mut buffer = [0; 1 << 16];
        while !all.ends_with(b"(qemu) ") {
            let length = self.0.read(&mut buffer).expect("the monitor answers");
            assert!(length > 0, "the machine ended: {}", String::from_utf8_lossy(&all));
            all.extend(&buffer[..length]);
        }
        String::from_utf8_lossy(&all).into_owned()
    }

    /// What the monitor says to a command.
    pub fn ask(&mut self, command: &str) -> String {
        writeln!(self.0, "{command}").expect("the monitor listens");
        self.answer()
    }

    /// Ends the machine.
    pub fn quit(mut self) {
        writeln!(self.0, "quit").expect("the monitor listens");
        // QEMU drops what it has not read yet when its client hangs up, so that is for QEMU to do.
        let mut rest = Vec::new();
        let _ = self.0.read_to_end(&mut rest);
    }
}
