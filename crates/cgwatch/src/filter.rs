//! What to tell: by path, file, key and kind. Filters cost no watches and save none.

use globset::{Glob, GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};

use crate::{Error, EventKind};

/// Which events are told. Each list that is not empty must match; `ready` and `gap` always are.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    paths: Option<GlobSet>,
    files: Vec<FilePattern>,
    keys: Vec<String>,
    kinds: Vec<String>,
    without_existing: bool,
}

/// A file's name, or a pattern of names.
#[derive(Clone, Debug)]
struct FilePattern {
    name: String,
    pattern: Option<GlobMatcher>,
}

impl FilePattern {
    fn new(name: String) -> Self {
        let pattern = Glob::new(&name).ok().map(|glob| glob.compile_matcher());
        Self { name, pattern }
    }

    fn is(&self, file: &str) -> bool {
        self.name == file || self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(file))
    }
}

impl Filter {
    /// Everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only cgroups whose path from the watched root matches one of the patterns: `*` and `?` do
    /// not match `/`, `**` does.
    ///
    /// # Errors
    /// [`Error::BadGlob`] for a pattern that cannot be understood.
    pub fn paths<'a>(mut self, globs: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        let parse = |glob: &str| -> Result<Glob, globset::Error> {
            GlobBuilder::new(glob).literal_separator(true).build()
        };
        let mut set = GlobSetBuilder::new();
        let mut any = false;
        for glob in globs {
            let bad = |source| Error::BadGlob { glob: glob.into(), source };
            set.add(parse(glob).map_err(bad)?);
            any = true;
        }
        if any {
            let bad = |source| Error::BadGlob { glob: String::new(), source };
            self.paths = Some(set.build().map_err(bad)?);
        }
        Ok(self)
    }

    /// Only `changed`, `file-added` and `file-removed` of these files, by name or by pattern
    /// (`hugetlb.*.events`) as in [`Options::files`](crate::Options::files).
    #[must_use]
    pub fn files<S: Into<String>>(mut self, files: impl IntoIterator<Item = S>) -> Self {
        self.files = files.into_iter().map(|name| FilePattern::new(name.into())).collect();
        self
    }

    /// Only `changed` in which one of these keys differs or is late.
    #[must_use]
    pub fn keys<S: Into<String>>(mut self, keys: impl IntoIterator<Item = S>) -> Self {
        self.keys = keys.into_iter().map(Into::into).collect();
        self
    }

    /// Only these kinds of events, by [`EventKind::name`].
    #[must_use]
    pub fn kinds<S: Into<String>>(mut self, kinds: impl IntoIterator<Item = S>) -> Self {
        self.kinds = kinds.into_iter().map(Into::into).collect();
        self
    }

    /// Not what existed when the watch began.
    #[must_use]
    pub fn without_existing(mut self) -> Self {
        self.without_existing = true;
        self
    }

    /// Whether the event is told.
    #[must_use]
    pub fn admits(&self, kind: &EventKind) -> bool {
        let Some(cgroup) = kind.cgroup().filter(|_| !matches!(kind, EventKind::Gap { .. })) else {
            return true;
        };
        let names = |list: &[String], name: &str| list.is_empty() || list.iter().any(|n| n == name);
        let in_files =
            |name: &str| self.files.is_empty() || self.files.iter().any(|file| file.is(name));
        if !names(&self.kinds, kind.name()) {
            return false;
        }
        if let Some(paths) = &self.paths {
            let path = cgroup.path.as_os_str();
            if !paths.is_match(path) {
                return false;
            }
        }
        match kind {
            EventKind::Appeared { existing: true, .. } => !self.without_existing,
            EventKind::Changed { file, new, late, .. } => {
                let mut keys = new.iter().map(|(k, _)| k).chain(late.iter().map(|(k, _)| k));
                in_files(file) && (self.keys.is_empty() || keys.any(|key| names(&self.keys, key)))
            }
            EventKind::FileRemoved { file, .. } | EventKind::Touched { file, .. } => in_files(file),
            EventKind::FileAdded { files, .. } => files.iter().any(|(name, _)| in_files(name)),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cgroup, CgroupPath, Files, Unseen, Values};

    fn changed(file: &str, key: &str) -> EventKind {
        let path = CgroupPath::new(b"/a/b");
        EventKind::Changed {
            cgroup: Cgroup { n: 1, id: Some(2), root_id: 1, path },
            file: file.into(),
            old: Values(vec![(key.into(), 0)]),
            new: Values(vec![(key.into(), 1)]),
            delta: Values(vec![(key.into(), 1)]),
            own: None,
            late: Values::default(),
        }
    }

    #[test]
    fn files_are_named_or_patterns() {
        let filter = Filter::new().files(["hugetlb.*.events", "memory.events"]);
        assert!(filter.admits(&changed("hugetlb.2MB.events", "max")));
        assert!(filter.admits(&changed("memory.events", "max")));
        assert!(!filter.admits(&changed("memory.swap.events", "max")));
    }

    #[test]
    fn every_list_must_match() {
        let filter = Filter::new().keys(["oom_kill"]).kinds(["changed", "removed"]);
        let filter = filter.paths(["/a/*"]).unwrap();
        assert!(filter.admits(&changed("memory.events", "oom_kill")));
        assert!(!filter.admits(&changed("memory.events", "high")));
        let filter = Filter::new().paths(["/*"]).unwrap();
        assert!(!filter.admits(&changed("memory.events", "high")), "* does not cross a slash");
        let path = CgroupPath::new(b"/x");
        let cgroup = Cgroup { n: 1, id: None, root_id: 1, path };
        let appeared =
            EventKind::Appeared { cgroup: cgroup.clone(), existing: true, files: Files::default() };
        assert!(!Filter::new().without_existing().admits(&appeared));
        let file = "memory.events".into();
        let removed = EventKind::FileRemoved { cgroup, file, unseen: Unseen::default() };
        assert!(!Filter::new().kinds(["removed"]).admits(&removed));
    }

    #[test]
    fn a_bad_pattern_is_named() {
        let error = Filter::new().paths(["/[a"]).unwrap_err();
        assert!(matches!(error, Error::BadGlob { glob, .. } if glob == "/[a"));
    }

    #[test]
    fn files_that_come_go_or_are_touched_are_filtered_by_their_names() {
        let cgroup = || Cgroup { n: 1, id: None, root_id: 1, path: CgroupPath::new(b"/x") };
        let added = |files: &[&str]| EventKind::FileAdded {
            cgroup: cgroup(),
            files: Files(files.iter().map(|file| ((*file).into(), Values::default())).collect()),
        };
        let (memory, pids) = ("memory.events", "pids.events");
        let filter = Filter::new().files([memory]);
        for (file, admitted) in [(memory, true), (pids, false)] {
            let unseen = Unseen::default();
            let gone = EventKind::FileRemoved { cgroup: cgroup(), file: file.into(), unseen };
            let touched = EventKind::Touched { cgroup: cgroup(), file: file.into() };
            for kind in [gone, touched, added(&[file])] {
                assert_eq!(filter.admits(&kind), admitted, "{kind:?}");
                assert!(Filter::new().admits(&kind));
            }
        }
        assert!(filter.admits(&added(&[pids, memory])), "one of them is enough");
    }
}
