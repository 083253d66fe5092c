//! The lines of `cgwatch watch --json` (design.md 4.4): one object per line, without the newline.
//!
//! Fields and events are only ever added. The order of the fields is fixed, for people.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::{
    Cgroup, CgroupPath, Confidence, Event, EventKind, Files, GapReason, Start, Strategy, Time,
    Unseen, Values,
};

/// The version of the stream's form (`v`); grows only if a field changes its meaning.
const VERSION: u32 = 1;

impl Start {
    /// The line a stream begins with.
    #[must_use]
    pub fn to_json(&self) -> String {
        line(&StartLine(self))
    }
}

impl Event {
    /// The event's line. `start` tells whether there are several roots: then each event says by
    /// `root_id` below which of them it happened.
    #[must_use]
    pub fn to_json(&self, start: &Start) -> String {
        line(&EventLine { event: self, several_roots: start.roots.len() > 1 })
    }
}

fn line(value: &impl Serialize) -> String {
    // Every key is a string and nothing here fails of itself, so neither does serde_json.
    serde_json::to_string(value).unwrap_or_default()
}

struct StartLine<'a>(&'a Start);

impl Serialize for StartLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let start = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("event", "start")?;
        map.serialize_entry("v", &VERSION)?;
        if start.simulated {
            map.serialize_entry("simulated", &true)?;
        }
        map.serialize_entry("stream", &start.stream)?;
        map.serialize_entry("boot_id", &start.boot_id)?;
        if let [root] = start.roots.as_slice() {
            root_fields(&mut map, root)?;
        } else {
            map.serialize_entry("roots", &Roots(&start.roots))?;
        }
        map.serialize_entry("clock", "boottime")?;
        map.serialize_entry("strategy", start.strategy.name())?;
        map.serialize_entry("because", &start.because)?;
        map.serialize_entry("files", &start.files)?;
        map.serialize_entry("guarantees", &Guarantees(start))?;
        map.end()
    }
}

struct Roots<'a>(&'a [crate::Root]);

impl Serialize for Roots<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(OneRoot))
    }
}

struct OneRoot<'a>(&'a crate::Root);

impl Serialize for OneRoot<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        root_fields(&mut map, self.0)?;
        map.end()
    }
}

fn root_fields<M: SerializeMap>(map: &mut M, root: &crate::Root) -> Result<(), M::Error> {
    text_fields(map, ["root", "root_hex"], root.path.as_os_str().as_encoded_bytes())?;
    map.serialize_entry("root_id", &root.id)
}

/// What a reader may rely on with this strategy (design.md 4.1).
struct Guarantees<'a>(&'a Start);

impl Serialize for Guarantees<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (births, changes) = match self.0.strategy {
            Strategy::Sweep => ("alive-at-a-sweep", "each-sweep"),
            Strategy::Fanotify => ("all", "each-notification"),
            _ => ("in-a-watched-directory", "each-notification"),
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("removed", "exactly-once")?;
        map.serialize_entry("births", births)?;
        map.serialize_entry("changes", changes)?;
        let nanoseconds = u64::try_from(self.0.sweep_interval.as_nanos()).unwrap_or(u64::MAX);
        map.serialize_entry("sweep_ns", &nanoseconds)?;
        if self.0.unwatched > 0 {
            map.serialize_entry("unwatched", &self.0.unwatched)?;
        }
        map.end()
    }
}

struct EventLine<'a> {
    event: &'a Event,
    several_roots: bool,
}

impl Serialize for EventLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Event { seq, time, kind } = self.event;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("seq", seq)?;
        map.serialize_entry("time", &rfc3339(*time))?;
        map.serialize_entry("boot_ns", &time.boot_ns)?;
        map.serialize_entry("event", kind.name())?;
        if let Some(cgroup) = kind.cgroup() {
            cgroup_fields(&mut map, cgroup, self.several_roots)?;
        }
        kind_fields(&mut map, kind)?;
        map.end()
    }
}

/// UTC with microseconds. A year that RFC 3339 cannot write cannot be set on Linux either.
fn rfc3339(time: Time) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(time.unix_ns))
        .map(|timestamp| format!("{timestamp:.6}"))
        .unwrap_or_default()
}

fn cgroup_fields<M: SerializeMap>(
    map: &mut M,
    cgroup: &Cgroup,
    several_roots: bool,
) -> Result<(), M::Error> {
    map.serialize_entry("n", &cgroup.n)?;
    text_fields(map, ["cgroup", "cgroup_hex"], &cgroup.path.shortened())?;
    let length = cgroup.path.as_bytes().len();
    if length > CgroupPath::FULL {
        map.serialize_entry("cgroup_length", &length)?;
    }
    map.serialize_entry("id", &cgroup.id)?;
    if several_roots {
        map.serialize_entry("root_id", &cgroup.root_id)?;
    }
    Ok(())
}

/// Bytes as text; if they are not UTF-8 the text is lossy and the second field has them in hex.
fn text_fields<M: SerializeMap>(
    map: &mut M,
    [name, hex_name]: [&'static str; 2],
    bytes: &[u8],
) -> Result<(), M::Error> {
    map.serialize_entry(name, &String::from_utf8_lossy(bytes))?;
    if std::str::from_utf8(bytes).is_err() {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        map.serialize_entry(hex_name, &hex)?;
    }
    Ok(())
}

fn kind_fields<M: SerializeMap>(map: &mut M, kind: &EventKind) -> Result<(), M::Error> {
    match kind {
        EventKind::Appeared { cgroup: _, existing, files } => {
            map.serialize_entry("existing", existing)?;
            map.serialize_entry("files", files)
        }
        EventKind::Ready { cgroups, after_gap } => {
            map.serialize_entry("cgroups", cgroups)?;
            map.serialize_entry("after_gap", after_gap)
        }
        EventKind::Changed { cgroup: _, file, old, new, delta, own, late } => {
            map.serialize_entry("file", &**file)?;
            map.serialize_entry("old", old)?;
            map.serialize_entry("new", new)?;
            map.serialize_entry("delta", delta)?;
            if let Some(own) = own {
                map.serialize_entry("own", own)?;
            }
            map.serialize_entry("late", late)
        }
        EventKind::FileRemoved { cgroup: _, file, unseen } => {
            map.serialize_entry("file", &**file)?;
            unseen_fields(map, unseen, [&**file])
        }
        EventKind::FileAdded { cgroup: _, files } => map.serialize_entry("files", files),
        EventKind::Touched { cgroup: _, file } => map.serialize_entry("file", &**file),
        EventKind::Removed { cgroup: _, lived_ns, files, unseen, learned_from } => {
            map.serialize_entry("lived_ns", lived_ns)?;
            map.serialize_entry("files", files)?;
            unseen_fields(map, unseen, files.iter().map(|(name, _)| name))?;
            map.serialize_entry("learned_from", learned_from.name())
        }
        EventKind::Gap { reason, cancelled_pairs, cancelled } => {
            map.serialize_entry("reason", reason.name())?;
            match reason {
                GapReason::WatchLimit { limit, value }
                | GapReason::DescriptorLimit { limit, value } => {
                    map.serialize_entry("limit", limit)?;
                    map.serialize_entry("value", value)?;
                }
                GapReason::Inaccessible { errno, .. } => {
                    map.serialize_entry("errno", &errno.raw_os_error())?;
                }
                _ => {}
            }
            map.serialize_entry("cancelled_pairs", cancelled_pairs)?;
            if !cancelled.is_empty() {
                map.serialize_entry("cancelled", cancelled)?;
            }
            Ok(())
        }
    }
}

/// `unseen` is null if it cannot be known of any of the files; of single files, theirs is.
fn unseen_fields<'a, M: SerializeMap>(
    map: &mut M,
    unseen: &Unseen,
    files: impl IntoIterator<Item = &'a str>,
) -> Result<(), M::Error> {
    let unknown = |name: &str| unseen.files.iter().any(|(n, v)| &**n == name && v.is_none());
    // `cgroup.events` holds states, not counters: nothing of it can be unseen.
    let nothing_known = unseen.files.iter().any(|(_, values)| values.is_none())
        && unseen.files.iter().all(|(_, values)| values.is_none())
        && files.into_iter().all(|name| name == "cgroup.events" || unknown(name));
    if nothing_known {
        map.serialize_entry("unseen", &())?;
    } else {
        map.serialize_entry("unseen", &UnseenFiles(unseen))?;
    }
    if let Some(confidence) = unseen.confidence {
        let name = match confidence {
            Confidence::Bounded => "bounded",
            Confidence::Shared => "shared",
        };
        map.serialize_entry("unseen_confidence", name)?;
    }
    if !unseen.shared_with.is_empty() {
        map.serialize_entry("shared_with", &unseen.shared_with)?;
        map.serialize_entry("shared_count", &unseen.shared_count)?;
    }
    if let Some(n) = unseen.unseen_in {
        map.serialize_entry("unseen_in", &n)?;
    }
    if let Some(count) = unseen.host_oom_kill_at_most {
        map.serialize_entry("host_oom_kill_at_most", &count)?;
    }
    Ok(())
}

struct UnseenFiles<'a>(&'a Unseen);

impl Serialize for UnseenFiles<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.files.iter().map(|(name, values)| (&**name, values)))
    }
}

impl<T: Copy + Serialize> Serialize for Values<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<T: Copy + Serialize> Serialize for Files<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

#[cfg(test)]
#[path = "json/tests.rs"]
mod tests;
