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

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(names: &UsedNames, used: u128) -> Vec<&str> {
        names.noted(used).collect()
    }

    #[test]
    fn each_word_has_the_names_that_were_noted_in_it() {
        let mut names = UsedNames::default();
        let mut words = [0; 3];
        for (word, name) in [(0, "a"), (1, "b"), (1, "c"), (0, "c"), (1, "b")] {
            names.note(&mut words[word], name);
        }
        let [first, second, none] = words.map(|word| noted(&names, word));
        assert_eq!((&first[..], &second[..]), (&["a", "c"][..], &["b", "c"][..]));
        assert!(none.is_empty());
    }

    /// A name is rather looked up in vain than forgotten.
    #[test]
    fn the_last_bit_stands_for_all_names_from_there_on() {
        let mut names = UsedNames::default();
        let all: Vec<_> = (0..130).map(|n| n.to_string()).collect();
        for name in &all {
            names.note(&mut 0, name);
        }
        for at in 0..130 {
            let mut used = 0;
            names.note(&mut used, &all[at]);
            let expected = if at < 127 { &all[at..=at] } else { &all[127..] };
            assert_eq!(noted(&names, used), expected);
        }
    }
}
