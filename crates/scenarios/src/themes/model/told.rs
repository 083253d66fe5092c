//! What was told, in a form that both sides share.

use std::collections::BTreeMap;

use fsnotify::Mask;

/// Who was told, and of what: records of one of these come in an order of their own.
pub(super) type About = (&'static str, String);

/// Per watch, and for fanotify per object, what was told: event bits and name, equal neighbours
/// once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told(pub(super) BTreeMap<About, Vec<(u32, String)>>);

impl Told {
    /// A record of inotify's. A MODIFY with a name stands under that name, apart from the others.
    pub(super) fn add(&mut self, label: &'static str, mask: u32, name: &[u8]) {
        let name = String::from_utf8_lossy(name).into_owned();
        let apart = if mask == Mask::MODIFY.bits() { name.clone() } else { String::new() };
        self.push((label, apart), (mask, name));
    }

    /// A record of fanotify's, about what its handles and names stand for.
    pub(super) fn add_record(&mut self, label: &'static str, mask: u32, about: String) {
        self.push((label, about), (mask, String::new()));
    }

    fn push(&mut self, about: About, event: (u32, String)) {
        let all = self.0.entry(about).or_default();
        if all.last() != Some(&event) {
            all.push(event);
        }
    }

    /// Whether everyone was told at least as much as in `expected`.
    pub(super) fn has_as_much_as(&self, expected: &Self) -> bool {
        let enough = |(about, events): (&About, &Vec<(u32, String)>)| {
            self.0.get(about).is_some_and(|told| told.len() >= events.len())
        };
        expected.0.iter().all(enough)
    }
}

/// Names for ids, which differ on the two sides.
#[derive(Debug, Default)]
pub(in crate::themes) struct Names(BTreeMap<u64, String>);

/// A handle in a record: what it stands for there, whose it is, the name.
pub(in crate::themes) struct Part<'a> {
    pub(in crate::themes) role: &'static str,
    pub(in crate::themes) id: u64,
    pub(in crate::themes) name: &'a [u8],
}

impl Names {
    /// What the path leads to now. A later bearer of a path is told from earlier ones.
    pub(in crate::themes) fn learn(&mut self, id: u64, path: &str) {
        if self.0.contains_key(&id) {
            return;
        }
        let path = format!("/{path}");
        let before = self.0.values().filter(|name| name.trim_end_matches('\'') == path).count();
        self.0.insert(id, path + &"'".repeat(before));
    }

    /// The handles of a record in words; `None` if it is about nothing known, such as another
    /// program's cgroups.
    pub(in crate::themes) fn describe<'a>(
        &self,
        parts: impl IntoIterator<Item = Part<'a>>,
    ) -> Option<String> {
        let mut known = false;
        let mut words = Vec::new();
        for Part { role, id, name } in parts {
            let whose = self.0.get(&id);
            known |= whose.is_some();
            let whose = whose.map_or("?", String::as_str);
            words.push(format!("{role} {whose} {}", String::from_utf8_lossy(name)));
        }
        (known || words.is_empty()).then(|| words.join(", "))
    }
}
