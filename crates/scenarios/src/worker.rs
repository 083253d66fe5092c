//! Processes that do something in a cgroup: this program, executed anew with `--worker`.
//!
//! A worker does its task, says `ready` on its standard output, and stays until its standard input
//! is closed. One that is killed on the way never says so.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::{self, File},
    hint::black_box,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use crate::{Failure, serving, watching};

/// What a worker does before it is ready.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Task<'a> {
    /// Joins a cgroup.
    Idle(&'a Path),
    /// Joins a cgroup and takes so many bytes of memory there.
    Eat(&'a Path, usize),
    /// Joins a cgroup and starts threads there until it is refused so many times.
    Refused(&'a Path, usize),
    /// Joins a cgroup and starts one process there after the other, for as long as it stays.
    Fork(&'a Path),
    /// Holds a file open.
    Hold(&'a Path),
    /// Has its working directory in a cgroup.
    Inside(&'a Path),
    /// Does what it is told with [`Worker::ask`].
    Serve,
}

impl Task<'_> {
    fn arguments(self) -> [OsString; 3] {
        let (name, path, number) = match self {
            Self::Idle(path) => ("idle", path, 0),
            Self::Eat(path, bytes) => ("eat", path, bytes),
            Self::Refused(path, times) => ("refused", path, times),
            Self::Fork(path) => ("fork", path, 0),
            Self::Hold(path) => ("hold", path, 0),
            Self::Inside(path) => ("inside", path, 0),
            Self::Serve => ("serve", Path::new(""), 0),
        };
        [name.into(), path.into(), number.to_string().into()]
    }
}

/// A worker as its driver has it. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts a worker; does not wait for it.
    ///
    /// # Errors
    /// [`Failure::Driver`].
    pub(crate) fn start(task: Task<'_>) -> Result<Self, Failure> {
        let mut command = program();
        command.args(task.arguments());
        Self::spawn(command)
    }

    /// Starts a worker and waits until it is ready.
    ///
    /// # Errors
    /// [`Failure::Driver`], also if it died on the way.
    pub(crate) fn ready(task: Task<'_>) -> Result<Self, Failure> {
        let mut worker = Self::start(task)?;
        worker.await_ready()?;
        Ok(worker)
    }

    /// Starts any command that keeps to the rules of a worker.
    ///
    /// # Errors
    /// [`Failure::Driver`].
    pub(crate) fn spawn(mut command: Command) -> Result<Self, Failure> {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(Failure::driver("start", "a worker"))?;
        let input = child.stdin.take();
        let output = child.stdout.take().map(BufReader::new);
        let output = output.ok_or_else(|| Failure::broken("a worker without an output"))?;
        Ok(Self { child, input, output })
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// [`Failure::Driver`] if it died on the way.
    pub(crate) fn await_ready(&mut self) -> Result<(), Failure> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(Failure::driver("hear", "a worker"))?;
        if line.trim_end() == "ready" {
            return Ok(());
        }
        Err(Failure::broken(format!("driver: a worker died before it was ready: {line:?}")))
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Takes its exit status if it has died: a dead process counts as a task of its cgroup until
    /// then.
    pub(crate) fn reap(&mut self) {
        // What fails here fails again when it is dropped.
        let _ = self.child.try_wait();
    }

    /// Asks one that serves to do something; its answer, or none if it died of it.
    ///
    /// # Errors
    /// [`Failure::Driver`].
    pub(crate) fn ask(&mut self, what: &str) -> Result<Option<String>, Failure> {
        let Some(input) = &mut self.input else { return Ok(None) };
        if writeln!(input, "{what}").is_err() {
            return Ok(None);
        }
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(Failure::driver("hear", "a worker"))?;
        Ok((!line.is_empty()).then(|| line.trim_end().to_owned()))
    }

    /// Lets it end by itself, and waits for that.
    ///
    /// # Errors
    /// [`Failure::Driver`].
    pub(crate) fn end(mut self) -> Result<ExitStatus, Failure> {
        self.input = None;
        self.wait()
    }

    /// Waits until it has died of something else.
    ///
    /// # Errors
    /// [`Failure::Driver`].
    pub(crate) fn wait(&mut self) -> Result<ExitStatus, Failure> {
        self.child.wait().map_err(Failure::driver("wait for", "a worker"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both fail only when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This program as a worker, without its task.
#[must_use]
pub(crate) fn program() -> Command {
    let mut command = Command::new("/proc/self/exe");
    // Its own name, where people and `/proc` look for it.
    command.arg0("cgwatch-worker").arg("--worker");
    command
}

/// The worker's side.
pub(crate) fn work(mut arguments: impl Iterator<Item = OsString>) -> Result<(), Failure> {
    let task = arguments.next().unwrap_or_default();
    let rest: Vec<OsString> = arguments.collect();
    if task == "watch" {
        return watching::work(&rest);
    }
    if task == "serve" {
        return serving::work();
    }
    let [path, number] = rest.as_slice() else {
        return Err(Failure::broken(format!("a worker with {rest:?}")));
    };
    let number = number.to_str().and_then(|number| number.parse().ok()).unwrap_or(0);
    let held = perform(&task, path, number)?;
    ready()?;
    drop(held);
    Ok(())
}

/// Says so, and stays until the driver closes the standard input.
fn ready() -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    output.write_all(b"ready\n").map_err(Failure::driver("write", "standard output"))?;
    output.flush().map_err(Failure::driver("write", "standard output"))?;
    let all = &mut Vec::new();
    std::io::stdin().read_to_end(all).map_err(Failure::driver("read", "standard input"))?;
    Ok(())
}

/// What a worker holds while it stays.
#[derive(Debug, Default)]
struct Held {
    _memory: Vec<u8>,
    _file: Option<File>,
}

fn perform(task: &OsStr, path: &OsStr, number: usize) -> Result<Held, Failure> {
    let path = Path::new(path);
    let mut held = Held::default();
    match task.to_str() {
        Some("idle") => join(path)?,
        Some("eat") => {
            join(path)?;
            // Written, not only promised.
            held._memory = black_box(vec![1; number]);
        }
        Some("refused") => {
            join(path)?;
            let mut refused = 0;
            while refused < number {
                let started = thread::Builder::new()
                    .stack_size(64 << 10)
                    .spawn(|| thread::park_timeout(Duration::MAX));
                refused += usize::from(started.is_err());
            }
        }
        Some("fork") => {
            join(path)?;
            thread::spawn(|| while Command::new("/bin/true").status().is_ok() {});
        }
        Some("hold") => {
            held._file = Some(File::open(path).map_err(Failure::driver("open", path))?);
        }
        Some("inside") => {
            env::set_current_dir(path).map_err(Failure::driver("enter", path))?;
        }
        _ => return Err(Failure::broken(format!("no worker can {}", task.display()))),
    }
    Ok(held)
}

fn join(cgroup: &Path) -> Result<(), Failure> {
    let path = cgroup.join("cgroup.procs");
    fs::write(&path, "0").map_err(Failure::driver("write", path))
}
