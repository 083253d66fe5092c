//! The keys of a scenario, before they are looked at.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

/// The whole text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Text {
    pub(super) title: String,
    pub(super) lasts: Spanned<String>,
    pub(super) controllers: Option<Spanned<Vec<String>>>,
    pub(super) swap: Option<Spanned<Size>>,
    #[serde(default)]
    pub(super) memory_localevents: bool,
    #[serde(default)]
    pub(super) pids_localevents: bool,
    #[serde(default)]
    pub(super) cgroup: Vec<Spanned<Cgroup>>,
    #[serde(default)]
    pub(super) step: Vec<Spanned<Step>>,
    #[serde(default)]
    pub(super) repeat: Vec<Spanned<Repeat>>,
}

/// A size with its unit, or bytes.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a size is a text such as \"64K\", or a number of bytes")]
pub(super) enum Size {
    Text(String),
    Bytes(u64),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cgroup {
    pub(super) path: String,
    #[serde(default)]
    pub(super) controllers: Vec<String>,
    #[serde(default)]
    pub(super) set: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Repeat {
    pub(super) from: Option<String>,
    pub(super) every: String,
    pub(super) times: u64,
    pub(super) step: Vec<Spanned<Step>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    pub(super) at: Option<String>,
    pub(super) after: Option<String>,
    pub(super) delay: Option<String>,
    pub(super) id: Option<String>,
    pub(super) expect: Option<String>,

    pub(super) make: Option<String>,
    pub(super) remove: Option<String>,
    pub(super) write: Option<String>,
    pub(super) start: Option<String>,
    pub(super) fork: Option<String>,
    pub(super) exit: Option<String>,
    pub(super) allocate: Option<Size>,
    pub(super) free: Option<Size>,
    pub(super) cache: Option<Size>,
    pub(super) kernel: Option<Size>,
    pub(super) count: Option<String>,
    pub(super) reclaim: Option<bool>,

    pub(super) to: Option<String>,
    #[serde(rename = "in")]
    pub(super) cgroup: Option<String>,
    pub(super) from: Option<String>,
    pub(super) by: Option<String>,
    pub(super) times: Option<u64>,
    pub(super) takes: Option<Size>,
    pub(super) leaks: Option<Size>,
    pub(super) every: Option<String>,
    pub(super) lives: Option<String>,
    pub(super) restart: Option<String>,
}

impl Step {
    /// The key of each thing it does.
    pub(super) fn deeds(&self) -> Vec<&'static str> {
        let all = [
            ("make", self.make.is_some()),
            ("remove", self.remove.is_some()),
            ("write", self.write.is_some()),
            ("start", self.start.is_some()),
            ("fork", self.fork.is_some()),
            ("exit", self.exit.is_some()),
            ("allocate", self.allocate.is_some()),
            ("free", self.free.is_some()),
            ("cache", self.cache.is_some()),
            ("kernel", self.kernel.is_some()),
            ("count", self.count.is_some()),
            ("reclaim", self.reclaim.is_some()),
        ];
        all.into_iter().filter(|(_, there)| *there).map(|(key, _)| key).collect()
    }

    /// The keys that say more about it.
    pub(super) fn details(&self) -> Vec<&'static str> {
        let all = [
            ("to", self.to.is_some()),
            ("in", self.cgroup.is_some()),
            ("from", self.from.is_some()),
            ("by", self.by.is_some()),
            ("times", self.times.is_some()),
            ("takes", self.takes.is_some()),
            ("leaks", self.leaks.is_some()),
            ("every", self.every.is_some()),
            ("lives", self.lives.is_some()),
            ("restart", self.restart.is_some()),
        ];
        all.into_iter().filter(|(_, there)| *there).map(|(key, _)| key).collect()
    }
}
