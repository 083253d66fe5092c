//! The lines of the event stream (design.md 4.4), read back.

use std::sync::Arc;

use cgwatch::{
    Cgroup, CgroupPath, Confidence, Event, EventKind, FileName, Files, GapReason, LearnedFrom,
    Time, Unseen, Values,
};
use serde_json::{Map, Value};

type Parsed<T> = Result<T, String>;

/// Reads a line; `None` is the first. Fields it does not know are passed over.
pub(crate) fn parse(line: &str) -> Parsed<Option<Event>> {
    let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let object = Object(value.as_object().ok_or("not an object")?);
    let name = object.text("event")?;
    if name == "start" {
        return Ok(None);
    }
    let kind = match name {
        "appeared" => EventKind::Appeared {
            cgroup: object.cgroup()?,
            existing: object.flag("existing")?,
            files: object.files("files")?,
        },
        "ready" => EventKind::Ready {
            cgroups: object.number("cgroups")?,
            after_gap: object.flag("after_gap")?,
        },
        "changed" => EventKind::Changed {
            cgroup: object.cgroup()?,
            file: object.text("file")?.into(),
            old: values(object.get("old")?, Value::as_u64)?,
            new: values(object.get("new")?, Value::as_u64)?,
            delta: values(object.get("delta")?, |v| v.as_i64().map(i128::from))?,
            own: match object.0.get("own") {
                Some(own) => Some(values(own, |v| v.as_i64().map(i128::from))?),
                None => None,
            },
            late: values(object.get("late")?, Value::as_u64)?,
        },
        "file-removed" => EventKind::FileRemoved {
            cgroup: object.cgroup()?,
            file: object.text("file")?.into(),
            unseen: object.unseen([object.text("file")?])?,
        },
        "file-added" => {
            EventKind::FileAdded { cgroup: object.cgroup()?, files: object.files("files")? }
        }
        "removed" => {
            let files = object.files("files")?;
            EventKind::Removed {
                cgroup: object.cgroup()?,
                lived_ns: object.get("lived_ns")?.as_u64(),
                unseen: object.unseen(files.iter().map(|(name, _)| name))?,
                files,
                learned_from: learned_from(object.text("learned_from")?)?,
            }
        }
        "gap" => EventKind::Gap {
            reason: object.gap_reason()?,
            cancelled_pairs: object.number("cancelled_pairs")?,
            cancelled: match object.0.get("cancelled") {
                Some(_) => object.files("cancelled")?,
                None => Files::default(),
            },
        },
        other => return Err(format!("no event is called {other}")),
    };
    let time = Time { boot_ns: object.number("boot_ns")?, unix_ns: 0 };
    object.text("time")?;
    Ok(Some(Event { seq: object.number("seq")?, time, kind }))
}

struct Object<'v>(&'v Map<String, Value>);

impl<'v> Object<'v> {
    fn get(&self, key: &str) -> Parsed<&'v Value> {
        self.0.get(key).ok_or_else(|| format!("no {key}"))
    }

    fn text(&self, key: &str) -> Parsed<&'v str> {
        self.get(key)?.as_str().ok_or_else(|| format!("{key} is no string"))
    }

    fn number(&self, key: &str) -> Parsed<u64> {
        self.get(key)?.as_u64().ok_or_else(|| format!("{key} is no number"))
    }

    fn flag(&self, key: &str) -> Parsed<bool> {
        self.get(key)?.as_bool().ok_or_else(|| format!("{key} is neither true nor false"))
    }

    fn cgroup(&self) -> Parsed<Cgroup> {
        let path = match self.0.get("cgroup_hex").and_then(Value::as_str) {
            Some(hex) => unhex(hex).ok_or("cgroup_hex is not hex")?,
            None => self.text("cgroup")?.as_bytes().to_vec(),
        };
        Ok(Cgroup {
            n: self.number("n")?,
            id: self.get("id")?.as_u64(),
            root_id: self.0.get("root_id").and_then(Value::as_u64).unwrap_or(0),
            path: CgroupPath::new(&path),
        })
    }

    fn files(&self, key: &str) -> Parsed<Files<u64>> {
        let files = self.get(key)?.as_object().ok_or_else(|| format!("{key} is no object"))?;
        let files = files
            .iter()
            .map(|(name, all)| Ok((FileName::from(name.as_str()), values(all, Value::as_u64)?)));
        Ok(Files(files.collect::<Parsed<_>>()?))
    }

    /// `null` is not known, of any of the files.
    fn unseen<'f>(&self, names: impl IntoIterator<Item = &'f str>) -> Parsed<Unseen> {
        let files = match self.get("unseen")? {
            Value::Null => names.into_iter().map(|name| (name.into(), None)).collect(),
            Value::Object(files) => {
                let known = |(name, all): (&String, &Value)| {
                    let all = (!all.is_null()).then(|| values(all, Value::as_u64)).transpose()?;
                    Ok((FileName::from(name.as_str()), all))
                };
                files.iter().map(known).collect::<Parsed<_>>()?
            }
            _ => return Err("unseen is neither null nor an object".into()),
        };
        let shared_with = self.0.get("shared_with").and_then(Value::as_array);
        Ok(Unseen {
            files,
            confidence: match self.0.get("unseen_confidence").and_then(Value::as_str) {
                None => None,
                Some("bounded") => Some(Confidence::Bounded),
                Some("shared") => Some(Confidence::Shared),
                Some(other) => return Err(format!("the confidence is {other}")),
            },
            shared_with: shared_with.into_iter().flatten().filter_map(Value::as_u64).collect(),
            shared_count: self.0.get("shared_count").and_then(Value::as_u64).unwrap_or(0),
            unseen_in: self.0.get("unseen_in").and_then(Value::as_u64),
            host_oom_kill_at_most: self.0.get("host_oom_kill_at_most").and_then(Value::as_u64),
        })
    }

    fn gap_reason(&self) -> Parsed<GapReason> {
        Ok(match self.text("reason")? {
            "queue-overflow" => GapReason::QueueOverflow,
            "reader" => GapReason::Reader,
            "mount-changed" => GapReason::MountChanged,
            "watch-limit" => GapReason::WatchLimit {
                limit: self.text("limit")?.into(),
                value: self.get("value")?.as_u64(),
            },
            "descriptor-limit" => GapReason::DescriptorLimit {
                limit: self.text("limit")?.into(),
                value: self.get("value")?.as_u64(),
            },
            "permission" | "covered" | "error" => {
                let errno = i32::try_from(self.number("errno")?).map_err(|e| e.to_string())?;
                let errno = rustix::io::Errno::from_raw_os_error(errno);
                GapReason::Inaccessible { cgroup: self.cgroup()?, errno }
            }
            other => return Err(format!("no gap has the reason {other}")),
        })
    }
}

fn values<T>(value: &Value, number: impl Fn(&Value) -> Option<T>) -> Parsed<Values<T>> {
    let object = value.as_object().ok_or("values are no object")?;
    let values = object.iter().map(|(key, value)| {
        let value = number(value).ok_or_else(|| format!("{key} is {value}"))?;
        Ok((Arc::from(key.as_str()), value))
    });
    Ok(Values(values.collect::<Parsed<_>>()?))
}

fn learned_from(name: &str) -> Parsed<LearnedFrom> {
    use LearnedFrom::{Fanotify, Itself, Lookup, Parent, Reconcile, Sweep};
    let all = [Parent, Itself, Fanotify, Lookup, Sweep, Reconcile];
    let found = all.into_iter().find(|from| from.name() == name);
    found.ok_or_else(|| format!("nothing is learned from {name}"))
}

fn unhex(hex: &str) -> Option<Vec<u8>> {
    let bytes = hex.as_bytes().chunks(2);
    bytes.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
