//! `cargo xtask profile`.

use std::{
    fs::{self, File},
    io::{IsTerminal, LineWriter, Write},
    os::{fd::AsRawFd, unix::fs::FileExt},
    path::{Path, PathBuf},
    sync::mpsc,
    time::Duration,
};

use abi::channel::{LOAD_WORD, TRACE_CPU_WORD, TRACE_REGION_WORD, TRACE_WORD};
use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::fs::{MemfdFlags, memfd_create};
use trace::{Trace, layout::RECORD_BYTES};

use super::{Console, kernel_words, run::ISO};
use crate::{
    build::{self, Flavour},
    image::{Modules, iso},
    machine::{
        self,
        session::{LogSink, Region, Session, StatsSink},
    },
    notes::note,
    options::{self, Kind},
    packages,
    profile::{Profile, STRATEGY},
    project::{self, RunDir},
};

/// Records for each of few CPUs: a million in any run, and no less for each of many than is of use.
const RECORDS: u32 = 1 << 20;
const RECORDS_OF_MANY: u32 = 1 << 18;
const FEW: u8 = 4;

/// What runs when nothing else is asked for: the benchmark of papers/001 section 4.
pub(super) const BENCHMARK: &str = "two-processes";

/// Where the report goes unless told otherwise, in Cargo's target directory.
const DIRECTORY: &str = "profile";

/// The file for which Bochs writes the region, in the directory of the run.
const REGION: &str = "region";

/// How often a long run is said to go on.
const PROGRESS: Duration = Duration::from_secs(10);

/// Show where the time of a program went: user mode, kernel, waiting for the giant lock, idle
///
/// Runs the program on a kernel that records what every CPU does, and makes a report of it: on the terminal,
/// and in a directory as report.html (timeline and tables; open it in a browser), report.json, trace.json
/// (for ui.perfetto.dev and chrome://tracing), flames.svg (a flame graph, made of stacks.folded) and
/// trace.jotun, the records themselves.
///
/// Without a program: the benchmark of two processes. The exit status is the program's, as of `run`; what
/// was recorded is reported also if it failed, was stopped by --timeout or by Ctrl-C.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  cargo xtask profile --smp 2                        two processes that compute and call the kernel
  cargo xtask profile --smp 8 -- ./prog x y          a static Linux binary from the host
  cargo xtask profile --machine bochs --smp 2 -- ./prog      the same, counted in instructions
  cargo xtask profile --smp 4 --trace-cpu 1 -- ./prog        one CPU alone, disturbing the others least
  cargo xtask profile --region -- ./prog             from the program's own call on (docs/profiling.md)
  cargo xtask profile --read target/profile/trace.jotun      the report of an earlier run again")]
pub(crate) struct ProfileCommand {
    #[command(flatten)]
    build: options::Build,

    #[command(flatten)]
    machine: options::Machine,

    /// Stop the machine after this time; the status is then 124
    #[arg(long, value_name = "SECONDS", value_parser = options::seconds)]
    timeout: Option<Duration>,

    /// The directory for the report [default: target/profile]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Room for this number of records of each CPU [default: a million, of more than 4 CPUs 262144]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(16..=1 << 26))]
    records: Option<u32>,

    /// Record on this CPU alone
    #[arg(long, value_name = "CPU")]
    trace_cpu: Option<u8>,

    /// Record only what the program asks for by the call `trace`
    #[arg(long)]
    region: bool,

    /// Run nothing: make the report of this trace
    #[arg(long, value_name = "FILE", conflicts_with_all = ["program", "records", "trace_cpu", "region", "timeout"])]
    read: Option<PathBuf>,

    #[command(flatten)]
    payload: options::Payload,
}

impl ProfileCommand {
    /// Runs and reports; the status of the run.
    pub(crate) fn execute(mut self) -> Result<u8> {
        let out = self.out.clone().unwrap_or_else(|| project::target().join(DIRECTORY));
        if let Some(file) = &self.read {
            let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            let trace = Trace::read(&bytes).with_context(|| format!("cannot read {}", file.display()))?;
            prepare(&out)?;
            report(trace, &out)?;
            return Ok(0);
        }
        let cpus = self.build.cpus();
        if let Some(only) = self.trace_cpu.filter(|only| *only >= cpus) {
            bail!("there is no CPU {only} to record: the machine has {cpus}, from 0 on");
        }
        if self.trace_cpu.is_some() && self.build.variant().strategy.load.is_some() {
            bail!("with this strategy all CPUs are recorded: leave --trace-cpu out");
        }
        // What is wrong is said before anything is installed, built or run.
        prepare(&out)?;
        packages::ensure(self.machine.uses(cpus)?)?;
        if self.payload.program.is_empty() {
            self.payload.program = vec![BENCHMARK.into()];
        }
        let (status, trace) = self.run(cpus, &out)?;
        report(trace, &out)?;
        Ok(status)
    }

    /// Runs the program; the status of the run and what was recorded.
    fn run(&self, cpus: u8, out: &Path) -> Result<(u8, Trace)> {
        let few = if cpus <= FEW { RECORDS } else { RECORDS_OF_MANY };
        let records = self.records.unwrap_or(few);
        let built = build::build(&self.build, Flavour::Traced)?;
        let mut dir = RunDir::new()?;
        let mut machine = self.machine.clone();
        // The rings are no memory that the program would have otherwise.
        machine.memory += (u32::from(cpus) * records).div_ceil((1 << 20) / RECORD_BYTES as u32) + 1;
        let terminal = machine::is_terminal();
        let mut modules = Modules::prepare(&self.payload, &built, dir.path(), terminal)?;
        let input_ended = !terminal && machine.kind().has_input_ahead() && modules.take_input(dir.path())?;
        modules.fit(self.machine.memory)?;
        let iso = dir.path().join(ISO);
        let console = if terminal { Console::Terminal(machine::terminal_size()) } else { Console::Pipe };
        let mut words = kernel_words(&self.build, machine.kind(), console, true, &self.payload);
        // What it loads is to record too.
        words.iter_mut().filter(|word| word.starts_with(LOAD_WORD)).for_each(|word| {
            *word = word.replacen(".ko", build::RECORDING, 1);
        });
        words.push(format!("{TRACE_WORD}{cpus}x{records}"));
        words.extend(self.trace_cpu.map(|only| format!("{TRACE_CPU_WORD}{only}")));
        words.extend(self.region.then(|| TRACE_REGION_WORD.to_owned()));
        iso::make(dir.path(), &iso, &built.kernel, &modules, iso::Style::Run, &words)?;
        if machine.print {
            dir.keep();
        }
        let stats = out.join("stats.json");
        let file = (machine.kind() == Kind::Bochs).then(|| dir.path().join(REGION));
        let region = Region { file, ..Region::default() };
        // QEMU has this file as the machine's memory, and leaves it behind.
        let memory = memfd_create("jotun", MemfdFlags::empty()).map(File::from).context("cannot make memory")?;
        machine.further.extend(memory_arguments(&memory, machine.memory));
        let session = Session {
            player: machine.player(cpus, dir.path(), ISO)?,
            symbols: &built.symbols,
            terminal,
            input_ended,
            timeout: self.timeout,
            log: LogSink::File(LineWriter::new(create(&out.join("kernel.log"))?)),
            stats: StatsSink::File(create(&stats)?),
            print: machine.print,
            region: region.clone(),
        };
        let status = with_progress(|| session.run())?;
        let Some((address, bytes)) = region.place.get() else {
            bail!(
                "the machine ended (status {status}) before anything could be recorded; the kernel's log is in {}",
                out.display()
            );
        };
        let bytes = match &region.file {
            Some(file) => fs::read(file).context("Bochs did not give the recorded memory")?,
            None => {
                let mut region = vec![0; usize::try_from(bytes).context("the region is too large")?];
                memory.read_exact_at(&mut region, address).context("QEMU did not leave the machine's memory")?;
                region
            }
        };
        let mut trace = Trace::read(&bytes).context("what the kernel recorded cannot be read")?;
        trace.about = self.about(cpus, status);
        Ok((status, trace))
    }

    /// The text about the run that stands in the trace.
    fn about(&self, cpus: u8, status: u8) -> String {
        let program: Vec<_> = self.payload.program.iter().map(|word| word.to_string_lossy()).collect();
        let machine = match self.machine.kind() {
            kind if kind.counts_instructions() => format!("{}, where a cycle is an instruction", kind.name()),
            kind => kind.name().to_owned(),
        };
        let mut about = format!("program {}\n", program.join(" ").replace('\n', " "));
        about += &format!("status {status}\nmachine {machine}\ncpus {cpus}\nkernel {}\n", self.build.variant().name());
        about += &format!("{STRATEGY} {}\n", self.build.variant().strategy.name);
        let strict = self.build.affinity == options::Affinity::Strict;
        about += if strict { "affinity strict\n" } else { "" };
        about += &self.trace_cpu.map_or(String::new(), |only| format!("trace_cpu {only}\n"));
        about
    }
}

/// Makes the machine's memory a file that outlives the machine.
fn memory_arguments(memory: &File, mebibytes: u32) -> [std::ffi::OsString; 4] {
    let path = format!("/dev/fd/{}", memory.as_raw_fd());
    let object = format!("memory-backend-file,id=memory,size={mebibytes}M,mem-path={path},share=on");
    ["-object".into(), object.into(), "-machine".into(), "memory-backend=memory".into()]
}

/// Makes the directory, and sees that it can be written to.
fn prepare(out: &Path) -> Result<()> {
    fs::create_dir_all(out).with_context(|| format!("cannot make the directory {}", out.display()))?;
    create(&out.join("kernel.log")).map(drop)
}

fn create(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("cannot write {}", path.display()))
}

/// Says now and then that a long run goes on.
pub(super) fn with_progress<T>(run: impl FnOnce() -> T) -> T {
    let (done, ended) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        let mut seconds = 0;
        while ended.recv_timeout(PROGRESS) == Err(mpsc::RecvTimeoutError::Timeout) {
            seconds += PROGRESS.as_secs();
            note(format_args!("{seconds} s, still running; Ctrl-C stops it and reports"));
        }
    });
    let result = run();
    drop(done);
    result
}

/// Shows the report and writes all of it.
fn report(trace: Trace, out: &Path) -> Result<()> {
    let profile = Profile::new(trace);
    let text = profile.text();
    let mut stdout = std::io::stdout().lock();
    // What the program wrote may not have ended its line.
    let begin = if stdout.is_terminal() { "\n" } else { "" };
    let _ = stdout.write_all(format!("{begin}{text}").as_bytes());
    profile.write(out)?;
    note(format_args!(
        "written to {}: report.html, report.json, flames.svg, stacks.folded, trace.json, trace.jotun",
        out.display()
    ));
    Ok(())
}
