//! Which files are read, and which keys they have.
//!
//! A file's keys are the same in nearly every cgroup, so the books keep bare numbers beside the
//! number of a schema. Schemas only grow: a key that is no longer in the text keeps its last value.

use std::sync::Arc;

use crate::{Error, FileName, parse};

/// Number of a [`FileSpec`].
pub(crate) type FileId = u16;
/// Number of a [`Schema`].
pub(crate) type SchemaId = u32;

/// `cgroup.events` is always the first file.
pub(crate) const CGROUP_EVENTS: FileId = 0;

/// One kind of control file.
#[derive(Debug)]
pub(crate) struct FileSpec {
    pub(crate) name: FileName,
    /// The kernel announces its changes (kernel-semantics.md 2.7), so a watch is worth having.
    pub(crate) notifies: bool,
    /// The name of its `.local` twin, if a kernel may have one.
    pub(crate) twin: Option<String>,
    /// A twin was read: this kernel has it.
    pub(crate) twin_seen: bool,
    /// It was seen that this kernel has no such twin.
    pub(crate) twin_absent: bool,
    /// Some cgroup has it.
    pub(crate) seen: bool,
    /// Its keys are states, not counters.
    pub(crate) states: bool,
}

impl FileSpec {
    fn new(name: &str) -> Self {
        let events = name.ends_with(".events");
        let local = name.ends_with(".events.local");
        let states = name == "cgroup.events";
        let twin = events && !states && name != "memory.swap.events";
        Self {
            name: name.into(),
            notifies: events || local || name == "cpuset.cpus.partition",
            twin: twin.then(|| format!("{name}.local")),
            twin_seen: false,
            twin_absent: false,
            seen: false,
            states,
        }
    }

    /// Its values only ever grow.
    pub(crate) fn counts(&self) -> bool {
        !self.states && (self.name.ends_with(".events") || self.name.ends_with(".events.local"))
    }
}

/// The keys of a file, in its order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Schema {
    pub(crate) keys: Vec<Arc<str>>,
}

/// The files asked for, and every schema seen.
#[derive(Debug)]
pub(crate) struct Schemas {
    specs: Vec<FileSpec>,
    patterns: Vec<globset::GlobMatcher>,
    schemas: Vec<Schema>,
}

impl Schemas {
    pub(crate) fn new(files: &[String]) -> Result<Self, Error> {
        let mut this = Self {
            specs: vec![FileSpec::new("cgroup.events")],
            patterns: Vec::new(),
            schemas: vec![Schema { keys: Vec::new() }],
        };
        for name in files {
            if name.is_empty()
                || name.len() > 255
                || name.contains(['/', '\0', '\n'])
                || name.starts_with("..")
            {
                return Err(Error::BadFileName { name: name.clone() });
            }
            if name.contains(['*', '?', '[']) {
                let bad = |source| Error::BadGlob { glob: name.clone(), source };
                this.patterns.push(globset::Glob::new(name).map_err(bad)?.compile_matcher());
            } else {
                this.named(name);
            }
        }
        Ok(this)
    }

    /// The file of this name; made known if it was not.
    pub(crate) fn named(&mut self, name: &str) -> FileId {
        let at = self.specs.iter().position(|spec| &*spec.name == name).unwrap_or_else(|| {
            self.specs.push(FileSpec::new(name));
            self.specs.len() - 1
        });
        FileId::try_from(at).unwrap_or(FileId::MAX)
    }

    /// Some files are asked for by pattern: only a listing tells which there are.
    pub(crate) fn has_patterns(&self) -> bool {
        !self.patterns.is_empty()
    }

    /// The listed file, if it is asked for by name or pattern.
    pub(crate) fn meet(&mut self, name: &[u8]) -> Option<FileId> {
        let name = std::str::from_utf8(name).ok()?;
        if let Some(at) = self.specs.iter().position(|spec| &*spec.name == name) {
            return FileId::try_from(at).ok();
        }
        let local_of_pattern = name.ends_with(".local");
        let room = self.specs.len() < 256;
        let asked =
            room && !local_of_pattern && self.patterns.iter().any(|pattern| pattern.is_match(name));
        asked.then(|| self.named(name))
    }

    pub(crate) fn spec(&self, file: FileId) -> &FileSpec {
        &self.specs[usize::from(file)]
    }

    pub(crate) fn spec_mut(&mut self, file: FileId) -> &mut FileSpec {
        &mut self.specs[usize::from(file)]
    }

    /// Every file known, `cgroup.events` first.
    pub(crate) fn files(&self) -> std::ops::Range<FileId> {
        0..FileId::try_from(self.specs.len()).unwrap_or(FileId::MAX)
    }

    pub(crate) fn keys(&self, schema: SchemaId) -> &[Arc<str>] {
        &self.schemas[schema as usize].keys
    }

    /// Takes the values out of a file's text. `values` holds the numbers of `schema` before and of
    /// the schema returned after.
    pub(crate) fn take(
        &mut self,
        text: &[u8],
        schema: SchemaId,
        values: &mut Vec<u64>,
    ) -> SchemaId {
        let keys = &self.schemas[schema as usize].keys;
        values.resize(keys.len(), 0);
        let mut at = 0;
        let mut strange = false;
        parse::entries(text, |key, value| {
            if !strange && keys.get(at).is_some_and(|known| key.is(known)) {
                values[at] = value;
                at += 1;
            } else {
                strange = true;
            }
        });
        if strange { self.take_strange(text, schema, values) } else { schema }
    }

    /// The slow way, for keys that are new or in another order.
    fn take_strange(&mut self, text: &[u8], schema: SchemaId, values: &mut Vec<u64>) -> SchemaId {
        let mut keys = self.schemas[schema as usize].keys.clone();
        parse::entries(text, |key, value| {
            let spelt = key.spelt();
            match keys.iter().position(|known| **known == *spelt) {
                Some(at) => values[at] = value,
                None => {
                    keys.push(spelt.into());
                    values.push(value);
                }
            }
        });
        let known = self.schemas.iter().position(|known| known.keys == keys);
        let at = known.unwrap_or_else(|| {
            self.schemas.push(Schema { keys });
            self.schemas.len() - 1
        });
        SchemaId::try_from(at).unwrap_or(0)
    }

    /// What values of one schema show for a key of another: nothing yet, if they have no such key.
    pub(crate) fn value(&self, from: SchemaId, values: &[u64], schema: SchemaId, at: usize) -> u64 {
        let position = self.position(schema, at, from);
        position.and_then(|at| values.get(at)).copied().unwrap_or(0)
    }

    /// Where a key of one schema stands in another.
    pub(crate) fn position(&self, from: SchemaId, at: usize, to: SchemaId) -> Option<usize> {
        if from == to {
            return Some(at);
        }
        let key = &self.keys(from)[at];
        self.keys(to).iter().position(|other| other == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schemas(files: &[&str]) -> Schemas {
        let files: Vec<_> = files.iter().map(|file| (*file).to_owned()).collect();
        Schemas::new(&files).unwrap()
    }

    fn take(schemas: &mut Schemas, text: &str, from: SchemaId) -> (SchemaId, Vec<u64>) {
        let mut values = Vec::new();
        let schema = schemas.take(text.as_bytes(), from, &mut values);
        (schema, values)
    }

    /// A file has one number, whether it is asked for by name or met.
    #[test]
    fn a_file_has_one_number() {
        let mut named = schemas(&["memory.events", "pids.events", "memory.events"]);
        assert!(!named.has_patterns());
        assert_eq!(named.files(), 0..3);
        assert_eq!(
            ["cgroup.events", "memory.events", "pids.events"].map(|n| named.named(n)),
            [0, 1, 2]
        );
        assert_eq!(named.named("other"), 3);
        assert_eq!(&*named.spec(3).name, "other");
        assert_eq!(named.meet(b"pids.events"), Some(2));
        assert_eq!(named.meet(b"memory.swap.events"), None);
    }

    /// What is met has to match; a `.local` twin is no file of its own unless it is asked for by name.
    #[test]
    fn a_pattern_does_not_ask_for_twins() {
        let mut any = schemas(&["*.events*", "pids.events.local"]);
        assert!(any.has_patterns());
        assert_eq!(any.meet(b"memory.events"), Some(2));
        assert_eq!(any.meet(b"memory.events.local"), None);
        assert_eq!(any.meet(b"pids.events.local"), Some(1));
        assert_eq!(any.meet(b"memory.max"), None);
        assert_eq!(any.meet(b"memory.events"), Some(2));
    }

    /// However many files a kernel or a mount has, so many are read at most.
    #[test]
    fn a_pattern_does_not_ask_for_more_files_than_there_is_room_for() {
        let mut any = schemas(&["*"]);
        let met: Vec<_> = (1..300).filter_map(|n| any.meet(format!("{n}").as_bytes())).collect();
        assert_eq!(met, (1..256).collect::<Vec<_>>());
        assert_eq!(any.files(), 0..256);
        assert_eq!(any.meet(b"255"), Some(255));
    }

    /// Keys are found by what they are, wherever they stand.
    #[test]
    fn values_are_found_by_their_keys() {
        let mut all = schemas(&[]);
        let (one, values) = take(&mut all, "low 1\nhigh 2\nmax 3\n", 0);
        assert_eq!(values, [1, 2, 3]);
        let (other, values) = take(&mut all, "max 4\nhigh 5\noom 6\n", 0);
        assert_eq!(values, [4, 5, 6]);
        assert_ne!(one, other);
        let positions = |from, to| [0, 1, 2].map(|at| all.position(from, at, to));
        assert_eq!(positions(one, other), [None, Some(1), Some(0)]);
        assert_eq!(positions(other, one), [Some(2), Some(1), None]);
        assert_eq!(positions(one, one), [Some(0), Some(1), Some(2)]);
        let shown = [0, 1, 2].map(|at| all.value(other, &[4, 5, 6], one, at));
        assert_eq!(shown, [0, 5, 4]);
    }
}
