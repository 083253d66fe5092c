//! The text of an event file: `key value` lines, `device key=value …` lines, or one bare value.
//!
//! Faithful to what can be a counter, silent about the rest: `max` and numbers above `u64` read as
//! `u64::MAX`; a line without a number is passed over; a last line that was cut short loses only
//! itself. Never panics.

/// A key in the text. In a nested file it belongs to a device and is spelt `device/key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key<'a> {
    device: Option<&'a [u8]>,
    name: &'a [u8],
}

impl Key<'_> {
    /// Whether this is how the key is spelt.
    pub(crate) fn is(&self, spelt: &str) -> bool {
        let spelt = spelt.as_bytes();
        match self.device {
            None => spelt == self.name,
            Some(device) => {
                spelt.len() == device.len() + 1 + self.name.len()
                    && spelt.starts_with(device)
                    && spelt[device.len()] == b'/'
                    && spelt.ends_with(self.name)
            }
        }
    }

    /// How the key is spelt; invalid UTF-8 becomes U+FFFD.
    pub(crate) fn spelt(&self) -> String {
        let name = String::from_utf8_lossy(self.name);
        match self.device {
            None => name.into_owned(),
            Some(device) => format!("{}/{name}", String::from_utf8_lossy(device)),
        }
    }
}

/// Calls `each` with every key and its value, in order.
pub(crate) fn entries<'a>(text: &'a [u8], mut each: impl FnMut(Key<'a>, u64)) {
    for line in text.split(|&byte| byte == b'\n') {
        let mut words = line.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
        let Some(first) = words.next() else { continue };
        let Some(second) = words.next() else {
            if let Some(value) = number(first) {
                each(Key { device: None, name: b"value" }, value);
            } else if let Some((name, value)) = pair(first) {
                each(Key { device: None, name }, value);
            }
            continue;
        };
        if let Some(value) = number(second) {
            each(Key { device: None, name: first }, value);
            continue;
        }
        for word in std::iter::once(second).chain(words) {
            if let Some((name, value)) = pair(word) {
                each(Key { device: Some(first), name }, value);
            }
        }
    }
}

fn pair(word: &[u8]) -> Option<(&[u8], u64)> {
    let at = word.iter().position(|&byte| byte == b'=')?;
    Some((&word[..at], number(&word[at + 1..])?))
}

fn number(word: &[u8]) -> Option<u64> {
    if word == b"max" {
        return Some(u64::MAX);
    }
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0u64, |value, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(value.saturating_mul(10).saturating_add(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<(String, u64)> {
        let mut all = Vec::new();
        entries(text, |key, value| {
            assert!(key.is(&key.spelt()) || key.spelt().contains('\u{fffd}'));
            all.push((key.spelt(), value));
        });
        all
    }

    #[test]
    fn flat_nested_and_bare() {
        assert_eq!(read(b"low 0\nhigh 12\n"), [("low".into(), 0), ("high".into(), 12)]);
        assert_eq!(
            read(b"mlx4_0 hca_handle.max=2 hca_object.max=max\n"),
            [("mlx4_0/hca_handle.max".into(), 2), ("mlx4_0/hca_object.max".into(), u64::MAX)]
        );
        assert_eq!(read(b"4096\n"), [("value".into(), 4096)]);
    }

    #[test]
    fn what_is_no_number_is_passed_over() {
        assert_eq!(read(b"a x\nb -1\nc 1\n\n   \nd"), [("c".into(), 1)]);
        assert_eq!(read(b"domain threaded\n"), []);
        assert_eq!(read(b""), []);
    }

    #[test]
    fn values_above_u64_saturate() {
        assert_eq!(read(b"high 99999999999999999999999\n"), [("high".into(), u64::MAX)]);
    }

    #[test]
    fn a_cut_line_loses_only_itself() {
        assert_eq!(read(b"low 1\nhigh"), [("low".into(), 1)]);
    }

    #[test]
    fn invalid_utf8_is_lossy() {
        assert_eq!(read(b"k\xff 3\n"), [("k\u{fffd}".into(), 3)]);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text: Vec<u8>) {
            read(&text);
        }

        #[test]
        fn flat_files_come_back(lines: Vec<(u8, u64)>) {
            let text: String = lines.iter().map(|(k, v)| format!("k{k} {v}\n")).collect();
            let expected: Vec<_> = lines.iter().map(|(k, v)| (format!("k{k}"), *v)).collect();
            assert_eq!(read(text.as_bytes()), expected);
        }
    }

    /// A key is known again only by all of its bytes.
    #[test]
    fn how_a_key_is_not_spelt() {
        let flat = Key { device: None, name: b"max" };
        let nested = Key { device: Some(b"dev"), name: b"max" };
        assert!(flat.is("max") && nested.is("dev/max"));
        for spelt in ["", "ma", "maxi", "mix", "dev/max"] {
            assert!(!flat.is(spelt), "{spelt}");
        }
        let others = ["", "max", "dev", "dev/", "dev.max", "xev/max", "dev/mix", "dev/ma"];
        for spelt in others.into_iter().chain(["dev/maxi", "dev/max/max", "devmax", "ev/max"]) {
            assert!(!nested.is(spelt), "{spelt}");
        }
    }
}
