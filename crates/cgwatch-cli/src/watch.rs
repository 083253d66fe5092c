//! `cgwatch watch`: from the watcher to standard output, without ever waiting for the reader.
//!
//! One loop waits for three things at once: the watcher, a signal, and room in the output. While
//! there is no room no event is taken; the library goes on reading the kernel's queue and folds
//! what waits (design.md 4.1, item 8). So a stopped pager costs details, never a removal.

mod output;
mod simulated;
mod source;
mod summary;

use std::{
    borrow::Cow,
    io,
    os::{fd::AsFd, unix::net::UnixStream},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use cgwatch::{Depth, Event, EventKind, Filter, Options, Printable, Start, Strategy, Watcher};
use jiff::tz::TimeZone;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use crate::{
    arguments,
    people::{self, Lines},
    signals, streams, target,
};
use output::{Closed, Output};
use simulated::Simulated;
use source::Source;
use summary::Summary;

/// How long the reader may take for the rest after a signal or the end of the time.
const GRACE: Duration = Duration::from_secs(1);

/// Watches until the end of the roots, the time, the count or the user's patience.
pub(crate) fn run(arguments: &arguments::Watch) -> anyhow::Result<ExitCode> {
    let signals = signals::caught()?;
    if let Some(scenario) = &arguments.sim {
        let mut simulated = Simulated::start(scenario, arguments, options(arguments)?)?;
        let (start, what) = (simulated.watching(), simulated.what());
        return print(arguments, &start, Some(what), &mut simulated, &signals);
    }
    let paths = target::all(&arguments.paths)?;
    let mut watcher = Watcher::new(options(arguments)?)?;
    let depth = arguments.depth.map_or(Depth::All, Depth::AtMost);
    for path in paths {
        watcher.add(&path, depth)?;
    }
    let start = watcher.start();
    print(arguments, &start, None, &mut watcher, &signals)
}

/// Prints what happens, until the end; first `what` is watched if it is not the host.
fn print(
    arguments: &arguments::Watch,
    start: &Start,
    what: Option<String>,
    source: &mut dyn Source,
    signals: &UnixStream,
) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    if !arguments.quiet {
        if let Some(what) = what {
            streams::say(what);
        }
        streams::say(introduction(start));
    }
    let mut session = Session {
        format: Format::new(arguments, start),
        output: Output::new(),
        summary: Summary::default(),
        seen: 0,
        count: arguments.count,
        // A time too far away to be told is for ever.
        deadline: arguments.timeout.and_then(|timeout| began.checked_add(timeout)),
    };
    if let Format::Json(start) = &session.format {
        session.output.push(&json_line(start.to_json()));
    }
    let end = session.run(source, signals)?;
    let for_people = matches!(session.format, Format::People(_));
    if for_people && !arguments.quiet && end != End::ReaderGone {
        streams::note(&session.summary.to_string());
    }
    Ok(match end {
        End::Timeout if session.seen == 0 => ExitCode::from(2),
        _ => ExitCode::SUCCESS,
    })
}

fn options(arguments: &arguments::Watch) -> Result<Options, cgwatch::Error> {
    let mut files: Vec<&str> = Options::DEFAULT_FILES.to_vec();
    for file in arguments.files.iter().chain(&arguments.file) {
        if !files.contains(&file.as_str()) {
            files.push(file);
        }
    }
    let mut filter = Filter::new()
        .paths(arguments.path.iter().map(String::as_str))?
        .files(&arguments.file)
        .keys(&arguments.key)
        .kinds(&arguments.event);
    if arguments.no_existing {
        filter = filter.without_existing();
    }
    let strategy = match arguments.strategy {
        arguments::Strategy::Auto => Strategy::Auto,
        arguments::Strategy::Inotify => Strategy::Inotify,
        arguments::Strategy::Fanotify => Strategy::Fanotify,
        arguments::Strategy::Sweep => Strategy::Sweep,
    };
    Ok(Options::new()
        .strategy(strategy)
        .files(files)
        .sweep_interval(arguments.sweep)
        .filter(filter))
}

/// One line about where and how.
fn introduction(start: &Start) -> String {
    let roots: Vec<_> = start
        .roots
        .iter()
        .map(|root| people::printable(root.path.as_os_str().as_encoded_bytes()))
        .collect();
    format!(
        "watching {} by {} ({}); everything is read anew every {} s",
        roots.join(", "),
        start.strategy.name(),
        start.because,
        start.sweep_interval.as_secs_f64(),
    )
}

/// How an event becomes a line.
enum Format {
    Json(Box<Start>),
    People(Lines),
}

impl Format {
    fn new(arguments: &arguments::Watch, start: &Start) -> Self {
        if arguments.json {
            return Self::Json(Box::new(start.clone()));
        }
        let coloured = people::coloured(arguments.color, &io::stdout());
        Self::People(Lines::new(coloured, TimeZone::system(), &start.roots))
    }

    fn line(&self, event: &Event) -> String {
        match self {
            Self::Json(start) => json_line(event.to_json(start)),
            Self::People(lines) => lines.line(event),
        }
    }
}

/// A JSON text as a line that is safe on a terminal, too.
fn json_line(text: String) -> String {
    let escaped = match Printable::json(&text) {
        Cow::Borrowed(_) => None,
        Cow::Owned(escaped) => Some(escaped),
    };
    escaped.unwrap_or(text) + "\n"
}

struct Session {
    format: Format,
    output: Output,
    summary: Summary,
    /// Events told, but not those of what existed already.
    seen: u64,
    /// How many of them to tell.
    count: Option<u64>,
    deadline: Option<Instant>,
}

/// Why it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The watched roots are gone, or enough was told.
    Done,
    Signal,
    Timeout,
    /// Nobody reads any more.
    ReaderGone,
}

/// What [`Session::wait`] found to do.
#[derive(Clone, Copy, Debug)]
struct Ready {
    notified: bool,
    signalled: bool,
    room: bool,
    /// The output's reader is gone.
    hung_up: bool,
}

impl Session {
    /// Prints until the end, also of what was told before an error.
    fn run(&mut self, watcher: &mut dyn Source, signals: &UnixStream) -> anyhow::Result<End> {
        let end = self.print(watcher, signals);
        match end {
            Ok(End::ReaderGone) => return end,
            // Nothing hurries, as long as nobody asks to end.
            Ok(End::Done) => self.finish(None, Some(signals))?,
            Ok(End::Timeout) => self.finish(Some(Instant::now() + GRACE), Some(signals))?,
            Ok(End::Signal) | Err(_) => self.finish(Some(Instant::now() + GRACE), None)?,
        }
        end
    }

    fn print(&mut self, watcher: &mut dyn Source, signals: &UnixStream) -> anyhow::Result<End> {
        loop {
            if self.take(watcher)? {
                return Ok(End::Done);
            }
            if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok(End::Timeout);
            }
            let ready = self.wait(Some(watcher), Some(signals), self.deadline)?;
            if ready.signalled {
                return Ok(End::Signal);
            }
            if ready.hung_up || (ready.room && self.write()? == Err(Closed)) {
                return Ok(End::ReaderGone);
            }
            if ready.notified && self.output.is_full() {
                watcher.take_in()?;
            }
        }
    }

    /// Takes events as long as there is room for them; true if there will be no more.
    fn take(&mut self, watcher: &mut dyn Source) -> anyhow::Result<bool> {
        while !self.output.is_full() {
            let Some(event) = watcher.next_event()? else { return Ok(watcher.is_over()) };
            self.summary.count(&event.kind);
            self.output.push(&self.format.line(&event));
            self.seen += u64::from(is_news(&event.kind));
            if self.count.is_some_and(|count| self.seen >= count) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes the rest: until the reader is gone, `deadline` or a signal.
    fn finish(
        &mut self,
        deadline: Option<Instant>,
        signals: Option<&UnixStream>,
    ) -> anyhow::Result<()> {
        while !self.output.is_empty() {
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                break;
            }
            let ready = self.wait(None, signals, deadline)?;
            let gone = ready.hung_up || (ready.room && self.write()? == Err(Closed));
            if gone || ready.signalled {
                break;
            }
        }
        Ok(())
    }

    fn write(&mut self) -> anyhow::Result<Result<(), Closed>> {
        self.output.write().context("cannot write to standard output")
    }

    /// Waits until there is something to do or `deadline` has come.
    fn wait(
        &self,
        watcher: Option<&dyn Source>,
        signals: Option<&UnixStream>,
        deadline: Option<Instant>,
    ) -> Result<Ready, Errno> {
        let room = if self.output.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        let output = self.output.as_fd();
        // What is not waited for is the output again, with no event asked for.
        let due = watcher.and_then(Source::due);
        let watcher = watcher.and_then(Source::readable);
        let watcher = watcher.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        let signals = signals.map(|signals| PollFd::new(signals, PollFlags::IN));
        let nothing = || PollFd::from_borrowed_fd(output, PollFlags::empty());
        let mut fds = [
            PollFd::from_borrowed_fd(output, room),
            signals.unwrap_or_else(nothing),
            watcher.unwrap_or_else(nothing),
        ];
        let timeout = deadline.into_iter().chain(due).min().map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            Timespec::try_from(left).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let gone = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
        Ok(Ready {
            room: fds[0].revents().contains(PollFlags::OUT),
            hung_up: fds[0].revents().intersects(gone),
            signalled: fds[1].revents().contains(PollFlags::IN),
            notified: fds[2].revents().contains(PollFlags::IN)
                || due.is_some_and(|due| due <= Instant::now()),
        })
    }
}

/// Something happened, beyond what existed already.
fn is_news(kind: &EventKind) -> bool {
    !matches!(
        kind,
        EventKind::Appeared { existing: true, .. }
            | EventKind::Ready { .. }
            | EventKind::Gap { .. }
    )
}
