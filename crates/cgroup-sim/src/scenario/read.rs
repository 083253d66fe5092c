//! From text to scenario: what is wrong is said with its line.

use std::collections::{BTreeMap, BTreeSet};

use rustix::io::Errno;
use toml::Spanned;

use super::{
    Action, Existing, Habits, Round, Scenario, ScenarioError, Step,
    grammar::{Cgroup, Repeat, Size, Step as Raw, Text},
    quantity,
};
use crate::{Controllers, Event, MountOptions, Use};

/// A longer text is no scenario.
const LONGEST: usize = 1 << 20;

/// Rounds that would keep a machine busy for a day are a slip.
const MOST_ROUNDS: u64 = 1_000_000;

type Result<T> = std::result::Result<T, ScenarioError>;

/// Lines by place in the text.
struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    fn of(text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self { starts: breaks.map(|(at, _)| at + 1).collect() }
    }

    fn at(&self, place: usize) -> usize {
        1 + self.starts.partition_point(|start| *start <= place)
    }

    fn of_span<T>(&self, spanned: &Spanned<T>) -> usize {
        self.at(spanned.span().start)
    }
}

pub(super) fn scenario(text: &str) -> Result<Scenario> {
    if text.len() > LONGEST {
        let what = format!("a scenario of {} bytes; it may have {LONGEST}", text.len());
        return Err(ScenarioError::new(1, what));
    }
    let lines = Lines::of(text);
    let raw: Text = toml::from_str(text).map_err(|error| {
        let line = lines.at(error.span().map_or(0, |span| span.start));
        ScenarioError::new(line, error.message())
    })?;
    let lasts_line = lines.of_span(&raw.lasts);
    let lasts = time(raw.lasts.get_ref(), lasts_line)?;
    let given = match &raw.controllers {
        Some(names) => controllers(names.get_ref(), lines.of_span(names))?,
        None => Controllers::MEMORY | Controllers::PIDS,
    };
    let swap = match &raw.swap {
        Some(swap) => size(swap.get_ref(), lines.of_span(swap))?,
        None => 0,
    };
    let cgroups = raw.cgroup.iter().map(|cgroup| existing(cgroup, &lines));
    let cgroups = cgroups.collect::<Result<_>>()?;
    let names = names(&raw, &lines)?;
    let whens = whens(&raw.step, &lines)?;
    let steps = raw.step.iter().zip(whens).map(|(raw, at)| {
        let line = lines.of_span(raw);
        in_time(at, lasts, line)?;
        step(raw.get_ref(), line, at, &names)
    });
    let steps = steps.collect::<Result<_>>()?;
    let rounds = raw.repeat.iter().map(|raw| round(raw, lasts, &lines, &names));
    Ok(Scenario {
        title: raw.title,
        lasts,
        controllers: given,
        swap,
        mount: MountOptions {
            memory_localevents: raw.memory_localevents,
            pids_localevents: raw.pids_localevents,
        },
        cgroups,
        steps,
        rounds: rounds.collect::<Result<_>>()?,
    })
}

fn time(text: &str, line: usize) -> Result<u64> {
    let wrong = || ScenarioError::new(line, format!("{text:?} is no time such as \"10ms\""));
    quantity::time(text).ok_or_else(wrong)
}

fn size(size: &Size, line: usize) -> Result<u64> {
    match size {
        Size::Bytes(bytes) => Ok(*bytes),
        Size::Text(text) => quantity::size(text).ok_or_else(|| {
            ScenarioError::new(line, format!("{text:?} is no size such as \"64K\""))
        }),
    }
}

fn controllers(names: &[String], line: usize) -> Result<Controllers> {
    names.iter().try_fold(Controllers::empty(), |all, name| match Controllers::named(name) {
        Some(one) => Ok(all | one),
        None => {
            let known = Controllers::all();
            Err(ScenarioError::new(line, format!("no controller {name:?}; there are {known}")))
        }
    })
}

fn path(path: &str, line: usize) -> Result<String> {
    let rest = path.strip_prefix('/');
    let plain = rest.is_some_and(|rest| {
        rest.is_empty() || rest.split('/').all(|name| !matches!(name, "" | "." | ".."))
    });
    if plain && !path.contains(['\n', '\0']) {
        return Ok(path.into());
    }
    Err(ScenarioError::new(line, format!("{path:?} is no path from the root such as \"/a/b\"")))
}

fn existing(raw: &Spanned<Cgroup>, lines: &Lines) -> Result<Existing> {
    let line = lines.of_span(raw);
    let raw = raw.get_ref();
    Ok(Existing {
        line,
        path: path(&raw.path, line)?,
        controllers: controllers(&raw.controllers, line)?,
        set: raw.set.clone().into_iter().collect(),
    })
}

/// The names of all processes that are ever started.
fn names(raw: &Text, lines: &Lines) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let rounds = raw.repeat.iter().flat_map(|round| &round.get_ref().step);
    for step in raw.step.iter().chain(rounds) {
        let raw = step.get_ref();
        for name in raw.start.iter().chain(&raw.fork) {
            if name.is_empty() {
                return Err(ScenarioError::new(lines.of_span(step), "a process without a name"));
            }
            names.insert(name.clone());
        }
    }
    Ok(names)
}

/// When each step happens: those that wait for others wait for no one who waits for them.
fn whens(steps: &[Spanned<Raw>], lines: &Lines) -> Result<Vec<u64>> {
    let mut ids = BTreeMap::new();
    for (n, step) in steps.iter().enumerate() {
        if let Some(id) = &step.get_ref().id
            && ids.insert(id.as_str(), n).is_some()
        {
            let what = format!("a second step with the id {id:?}");
            return Err(ScenarioError::new(lines.of_span(step), what));
        }
    }
    let mut whens: Vec<Option<u64>> = vec![None; steps.len()];
    for start in 0..steps.len() {
        // Up to one whose time is known, then back.
        let mut chain = vec![start];
        let mut seen = BTreeSet::from([start]);
        while let Some(&at) = chain.last()
            && whens[at].is_none()
        {
            let line = lines.of_span(&steps[at]);
            let raw = steps[at].get_ref();
            let delay = raw.delay.as_deref().map_or(Ok(0), |delay| time(delay, line))?;
            match (&raw.at, &raw.after) {
                (Some(_), Some(_)) => {
                    return Err(ScenarioError::new(line, "both `at` and `after`"));
                }
                (_, None) if raw.delay.is_some() => {
                    return Err(ScenarioError::new(line, "`delay` belongs to `after`"));
                }
                (None, None) => return Err(ScenarioError::new(line, "neither `at` nor `after`")),
                (Some(at_time), None) => whens[at] = Some(time(at_time, line)?),
                (None, Some(other)) => {
                    let unknown = || ScenarioError::new(line, format!("no step {other:?}"));
                    let before = *ids.get(other.as_str()).ok_or_else(unknown)?;
                    match whens[before] {
                        Some(time) => whens[at] = Some(time.saturating_add(delay)),
                        None if !seen.insert(before) => {
                            let what = format!("after {other:?}, which comes after this");
                            return Err(ScenarioError::new(line, what));
                        }
                        None => {
                            chain.push(before);
                            continue;
                        }
                    }
                }
            }
            chain.pop();
        }
    }
    Ok(whens.into_iter().flatten().collect())
}

fn in_time(at: u64, lasts: u64, line: usize) -> Result<()> {
    if at > lasts {
        return Err(ScenarioError::new(line, "happens after the scenario's end"));
    }
    Ok(())
}

fn round(
    raw: &Spanned<Repeat>,
    lasts: u64,
    lines: &Lines,
    names: &BTreeSet<String>,
) -> Result<Round> {
    let line = lines.of_span(raw);
    let raw = raw.get_ref();
    let from = raw.from.as_deref().map_or(Ok(0), |from| time(from, line))?;
    let every = time(&raw.every, line)?;
    if raw.times == 0 || raw.times > MOST_ROUNDS {
        let what = format!("{} rounds; from 1 to {MOST_ROUNDS} can be", raw.times);
        return Err(ScenarioError::new(line, what));
    }
    let last = every.saturating_mul(raw.times - 1).saturating_add(from);
    let steps = raw.step.iter().map(|raw| {
        let line = lines.of_span(raw);
        let raw = raw.get_ref();
        if raw.after.is_some() || raw.id.is_some() || raw.delay.is_some() {
            return Err(ScenarioError::new(line, "a step of a round has no `after` and no `id`"));
        }
        let at = raw.at.as_deref().map_or(Ok(0), |at| time(at, line))?;
        in_time(last.saturating_add(at), lasts, line)?;
        step(raw, line, at, names)
    });
    Ok(Round { from, every, times: raw.times, steps: steps.collect::<Result<_>>()? })
}

fn step(raw: &Raw, line: usize, at: u64, names: &BTreeSet<String>) -> Result<Step> {
    let deeds = raw.deeds();
    let [deed] = deeds.as_slice() else {
        let what = match deeds.as_slice() {
            [] => "a step that does nothing".to_owned(),
            [first, second, ..] => format!("both `{first}` and `{second}` in one step"),
            [_] => return Err(ScenarioError::new(line, "a step that does nothing")),
        };
        return Err(ScenarioError::new(line, what));
    };
    let (needed, possible): (&[&str], &[&str]) = match *deed {
        "write" => (&["to"], &[]),
        "start" => (&["in"], &["takes", "leaks", "every", "lives", "restart"]),
        "fork" => (&["from"], &[]),
        "allocate" | "free" => (&["by"], &[]),
        "cache" | "kernel" => (&["in"], &[]),
        "count" => (&["in"], &["times"]),
        _ => (&[], &[]),
    };
    let details = raw.details();
    if let Some(missing) = needed.iter().find(|key| !details.contains(key)) {
        return Err(ScenarioError::new(line, format!("`{deed}` without `{missing}`")));
    }
    let odd = details.iter().find(|key| !needed.contains(key) && !possible.contains(key));
    if let Some(odd) = odd {
        return Err(ScenarioError::new(line, format!("`{odd}` does not go with `{deed}`")));
    }
    let expect = raw.expect.as_deref().map(|name| {
        errno(name).ok_or_else(|| ScenarioError::new(line, format!("no errno {name:?} here")))
    });
    let what = action(raw, line, names)?.into();
    Ok(Step { line, at, what, expect: expect.transpose()? })
}

/// Its keys were checked: one deed, with what it needs.
fn action(raw: &Raw, line: usize, names: &BTreeSet<String>) -> Result<Action> {
    let known = |name: &Option<String>| {
        let name = name.clone().unwrap_or_default();
        if names.contains(&name) {
            return Ok(name);
        }
        Err(ScenarioError::new(line, format!("no step starts a process {name:?}")))
    };
    let place = |at: &Option<String>| path(at.as_deref().unwrap_or_default(), line);
    Ok(if let Some(at) = &raw.make {
        Action::Make(path(at, line)?)
    } else if let Some(at) = &raw.remove {
        Action::Remove(path(at, line)?)
    } else if let Some(text) = &raw.write {
        Action::Write { text: text.clone(), to: place(&raw.to)? }
    } else if let Some(name) = &raw.start {
        let habits = habits(raw, line)?;
        Action::Start { name: name.clone(), cgroup: place(&raw.cgroup)?, habits }
    } else if let Some(name) = &raw.fork {
        Action::Fork { name: name.clone(), from: known(&raw.from)? }
    } else if raw.exit.is_some() {
        Action::Exit(known(&raw.exit)?)
    } else if let Some(bytes) = &raw.allocate {
        Action::Allocate { bytes: size(bytes, line)?, by: known(&raw.by)? }
    } else if let Some(bytes) = &raw.free {
        Action::Free { bytes: size(bytes, line)?, by: known(&raw.by)? }
    } else if let Some(bytes) = &raw.cache {
        Action::Use { kind: Use::Cache, bytes: size(bytes, line)?, cgroup: place(&raw.cgroup)? }
    } else if let Some(bytes) = &raw.kernel {
        Action::Use { kind: Use::Kernel, bytes: size(bytes, line)?, cgroup: place(&raw.cgroup)? }
    } else if let Some(name) = &raw.count {
        let event = event(name).ok_or_else(|| {
            ScenarioError::new(
                line,
                format!("{name:?} is no counter such as \"memory.events high\""),
            )
        })?;
        Action::Count { event, times: raw.times.unwrap_or(1), cgroup: place(&raw.cgroup)? }
    } else if raw.reclaim == Some(true) {
        Action::Reclaim
    } else {
        return Err(ScenarioError::new(line, "`reclaim` is `true` or not there"));
    })
}

fn habits(raw: &Raw, line: usize) -> Result<Habits> {
    let time = |text: &Option<String>| text.as_deref().map(|text| time(text, line)).transpose();
    let leaks = match (&raw.leaks, time(&raw.every)?) {
        (None, None) => None,
        (Some(_), Some(0)) => return Err(ScenarioError::new(line, "`every` is no time at all")),
        (Some(leaks), Some(every)) => Some((size(leaks, line)?, every)),
        _ => return Err(ScenarioError::new(line, "`leaks` and `every` go together")),
    };
    let (lives, restart) = (time(&raw.lives)?, time(&raw.restart)?);
    if restart == Some(0) {
        return Err(ScenarioError::new(line, "`restart` is no time at all"));
    }
    let takes = raw.takes.as_ref().map_or(Ok(0), |takes| size(takes, line))?;
    Ok(Habits { takes, leaks, lives, restart })
}

fn event(name: &str) -> Option<Event> {
    let (file, key) = name.split_once(' ')?;
    Event::ALL.into_iter().find(|event| event.file() == file && event.key() == key)
}

/// The errnos that cgroups give.
fn errno(name: &str) -> Option<Errno> {
    Some(match name {
        "EAGAIN" => Errno::AGAIN,
        "EBUSY" => Errno::BUSY,
        "EEXIST" => Errno::EXIST,
        "EINTR" => Errno::INTR,
        "EINVAL" => Errno::INVAL,
        "EISDIR" => Errno::ISDIR,
        "ENAMETOOLONG" => Errno::NAMETOOLONG,
        "ENODEV" => Errno::NODEV,
        "ENOENT" => Errno::NOENT,
        "ENOMEM" => Errno::NOMEM,
        "ENOTDIR" => Errno::NOTDIR,
        "EOPNOTSUPP" => Errno::OPNOTSUPP,
        "EPERM" => Errno::PERM,
        "ERANGE" => Errno::RANGE,
        "ESRCH" => Errno::SRCH,
        _ => return None,
    })
}
