//! One guest under QEMU: started, listened to, ended in any case.
//!
//! The kernel's console is the first serial port and goes to a file; results come over the second,
//! which is QEMU's standard output.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::archive::Kernel;
use super::protocol::{Report, Verdict};
use crate::process;

/// A panic ends the guest, as `-no-reboot` has it. The console stays below the level at which each
/// kill for memory is told: hundreds of them are on purpose, and an emulated port is slow.
const COMMAND_LINE: &str = "console=ttyS0 loglevel=3 panic=-1 mitigations=off \
                            sysctl.vm.oom_dump_tasks=0";
/// Emulating it was measured at two thirds of the CPU time of `max`, over 200 kills for memory.
const CPU: &str = "qemu64";
const SWAP_MIB: u64 = 256;

/// A guest that can be run.
pub(crate) struct Machine<'a> {
    pub(crate) kernel: Kernel,
    pub(crate) initramfs: PathBuf,
    pub(crate) accelerator: &'a str,
    pub(crate) memory_mib: u32,
    /// What the guest is to do: the arguments of its first process.
    pub(crate) arguments: &'a str,
    pub(crate) limit: Duration,
    pub(crate) show_console: bool,
}

impl Machine<'_> {
    /// Runs the guest to its end, or to the limit; again if its kernel crashed.
    ///
    /// # Errors
    /// QEMU could not be started. What goes wrong inside the guest is in the report.
    pub(crate) fn run(&self) -> Result<Report> {
        /// The emulator's own crash comes in up to every third run, where controllers are switched, and
        /// on a busy machine came five times in a row.
        const TRIES: usize = 10;
        let _alone = lock()?;
        let console = self.kernel.folder.join("console.log");
        let mut crashes = Vec::new();
        loop {
            let mut report = self.run_once(&console)?;
            let crashed = !report.crashes.is_empty();
            crashes.append(&mut report.crashes);
            if !crashed || crashes.len() == TRIES {
                report.crashes = crashes;
                return Ok(report);
            }
            println!("{}: the kernel crashed: once more", self.kernel.series);
        }
    }

    fn run_once(&self, console: &Path) -> Result<Report> {
        File::create(console)?;
        let swap = self.swap_disk()?;
        println!("{}: booting", self.kernel.series);
        let start = Instant::now();
        let mut guest = self.command(console, &swap).spawn().context("qemu-system-x86_64")?;
        let follower = self.show_console.then(|| follow(console, &guest)).transpose()?;
        // Just asked for, so it is there.
        let results = guest.stdout.take().context("no pipe to the guest")?;
        let mut report = self.listen(&lines(results));
        report.took = start.elapsed();
        // In most cases it is gone already.
        let _ = guest.kill();
        guest.wait()?;
        if let Some(mut follower) = follower {
            follower.wait()?;
        }
        if !report.is_good() {
            report.explain(&String::from_utf8_lossy(&fs::read(console)?));
            if !self.show_console {
                process::print_end(console)?;
            }
        }
        Ok(report)
    }

    /// A fresh swap disk, which every guest has, and uses where a scenario is about swap.
    fn swap_disk(&self) -> Result<PathBuf> {
        let path = self.kernel.folder.join("swap");
        File::create(&path)?.set_len(SWAP_MIB << 20)?;
        process::read(Command::new("/usr/sbin/mkswap").arg(&path))?;
        Ok(path)
    }

    fn command(&self, console: &Path, swap: &Path) -> Command {
        let accelerator = match self.accelerator {
            "tcg" => "tcg,thread=multi",
            other => other,
        };
        // A guest must not outlive us, however we end.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
            .args(["-accel", accelerator, "-cpu", CPU, "-smp", "2"])
            .args(["-m", &self.memory_mib.to_string()])
            .arg("-chardev")
            .arg(format!("file,id=console,path={}", console.display()))
            .args(["-serial", "chardev:console", "-serial", "stdio"])
            // The one kind of disk whose driver is built into every series.
            .arg("-drive")
            .arg(format!("file={},format=raw,if=none,id=swap,cache=unsafe", swap.display()))
            .args(["-device", "nvme,drive=swap,serial=swap"])
            .arg("-kernel")
            .arg(&self.kernel.image)
            .arg("-initrd")
            .arg(&self.initramfs)
            .arg("-append")
            .arg(format!("{COMMAND_LINE} -- {}", self.arguments))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command
    }

    fn listen(&self, lines: &Receiver<String>) -> Report {
        let deadline = Instant::now() + self.limit;
        let mut report = Report::default();
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(outcome) = report.hear(&line) {
                        let (word, reason) = match &outcome.verdict {
                            Verdict::Pass => ("pass", String::new()),
                            Verdict::Fail(reason) => ("FAIL", format!(": {reason}")),
                            Verdict::Skip(reason) => ("skip", format!(": {reason}")),
                        };
                        let took = outcome.took.as_secs_f64();
                        let series = self.kernel.series;
                        println!("{series}: {word} {} ({took:.1} s){reason}", outcome.scenario);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    report.close(None);
                    return report;
                }
                Err(RecvTimeoutError::Timeout) => {
                    report.close(Some(format!("no end within {} s", self.limit.as_secs())));
                    return report;
                }
            }
        }
    }
}

/// One guest at a time on a machine: two at once starve each other beyond their limits.
fn lock() -> Result<File> {
    let path = std::env::temp_dir().join("cgwatch-guest.lock");
    let file = File::options().create(true).append(true).open(&path);
    let file = file.with_context(|| path.display().to_string())?;
    if file.try_lock().is_err() {
        println!("waiting until another guest on this machine has ended");
        file.lock()?;
    }
    Ok(file)
}

/// The lines of the guest as they come.
fn lines(results: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut results = BufReader::new(results);
        let mut line = Vec::new();
        // A serial port may bring any byte.
        while results.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                break;
            }
            line.clear();
        }
    });
    receiver
}

/// Shows the console from now on, until the guest is gone.
fn follow(console: &Path, guest: &Child) -> Result<Child> {
    let mut tail = Command::new("tail");
    tail.args(["--follow", "--lines=+1", "--sleep-interval=0.2"]).arg(console);
    tail.arg(format!("--pid={}", guest.id())).stdin(Stdio::null());
    tail.spawn().context("tail")
}
