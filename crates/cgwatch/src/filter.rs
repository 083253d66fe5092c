//! What to tell: by path, file, key and kind. Filters cost no watches and save none.

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::{Error, EventKind};

/// Which events are told. Each list that is not empty must match; `ready` and `gap` always are.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    paths: Option<GlobSet>,
    files: Vec<String>,
    keys: Vec<String>,
    kinds: Vec<String>,
    without_existing: bool,
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

    /// Only `changed`, `file-added` and `file-removed` of these files.
    #[must_use]
    pub fn files<S: Into<String>>(mut self, files: impl IntoIterator<Item = S>) -> Self {
        self.files = files.into_iter().map(Into::into).collect();
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
        let Some(cgroup) = kind.cgroup() else { return true };
        let names = |list: &[String], name: &str| list.is_empty() || list.iter().any(|n| n == name);
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
                names(&self.files, file)
                    && (self.keys.is_empty() || keys.any(|key| names(&self.keys, key)))
            }
            EventKind::FileRemoved { file, .. } => names(&self.files, file),
            EventKind::FileAdded { files, .. } => {
                files.iter().any(|(name, _)| names(&self.files, name))
            }
            _ => true,
        }
    }
}
