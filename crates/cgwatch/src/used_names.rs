//! Names of control files, so that an open directory can note in a word which of them were looked
//! up through it (design.md 4.1, item 10).

/// The names that were ever used.
#[derive(Debug, Default)]
pub(crate) struct UsedNames {
    names: Vec<Box<str>>,
}

/// The last bit stands for all names from there on.
fn bit(at: usize) -> u128 {
    1 << at.min(127)
}

impl UsedNames {
    /// Notes that a name was looked up.
    pub(crate) fn note(&mut self, used: &mut u128, name: &str) {
        let at = self.names.iter().position(|known| **known == *name).unwrap_or_else(|| {
            self.names.push(name.into());
            self.names.len() - 1
        });
        *used |= bit(at);
    }

    /// The names that were noted.
    pub(crate) fn noted(&self, used: u128) -> impl Iterator<Item = &str> {
        let all = self.names.iter().enumerate();
        all.filter(move |(at, _)| used & bit(*at) != 0).map(|(_, name)| &**name)
    }
}
