//! Bytes from outside as text that is safe on a terminal: nothing in it steers or hides, and
//! different bytes look different.
//!
//! Which characters are printable the standard library knows (`char::escape_debug`): all but those
//! of the categories Cc, Cf, Cs, Co, Cn, Zl, Zp, and Zs except the space itself. Beside these some
//! letters and marks are blank; they stand here by name.

use std::{borrow::Cow, fmt};

/// So many combining marks may follow a character; more would draw over other lines.
const MARKS: u8 = 4;

/// Shows bytes from outside: what steers a terminal, hides, is blank, or is not UTF-8 as `\xNN`, a
/// byte each. A backslash is `\x5c` where it would read as such an escape, else itself; so what is
/// shown can be read back in one way only.
///
/// ```
/// use cgwatch::Printable;
///
/// assert_eq!(Printable::new(b"dev-disk\\x2dby").to_string(), "dev-disk\\x2dby");
/// assert_eq!(Printable::new("exe\u{202e}gpj".as_bytes()).to_string(), "exe\\xe2\\x80\\xaegpj");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a> {
    bytes: &'a [u8],
    is_message: bool,
}

impl<'a> Printable<'a> {
    /// A name, a path, a key.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, is_message: false }
    }

    /// A whole message: line ends stay, and so do all backslashes, since what is in it may have
    /// been shown by [`Printable::new`].
    #[must_use]
    pub fn message(text: &'a str) -> Self {
        Self { bytes: text.as_bytes(), is_message: true }
    }

    /// The same JSON text, with `\uNNNN` for each character that a terminal would not show.
    #[must_use]
    pub fn json(text: &'a str) -> Cow<'a, str> {
        let is_plain = |byte: u8| matches!(byte, b' '..=b'~' | b'\n');
        if text.bytes().all(is_plain) {
            return text.into();
        }
        let mut escaped = String::with_capacity(text.len() + 16);
        for c in text.chars() {
            if c == '\n' || Kind::of(c) == Kind::Shown {
                escaped.push(c);
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    escaped.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
        escaped.into()
    }
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // How many more marks may follow: none at the start, they would change what stands before.
        let mut marks = 0;
        for chunk in self.bytes.utf8_chunks() {
            let valid = chunk.valid();
            for (at, c) in valid.char_indices() {
                let is_shown = match Kind::of(c) {
                    _ if c == '\n' && self.is_message => true,
                    Kind::Shown if c == '\\' && !self.is_message => {
                        !reads_as_an_escape(&valid.as_bytes()[at + 1..])
                    }
                    Kind::Shown => true,
                    Kind::Mark => marks > 0,
                    Kind::Hidden => false,
                };
                if is_shown {
                    marks = match Kind::of(c) {
                        Kind::Mark => marks - 1,
                        _ if c.is_ascii() && !c.is_ascii_alphanumeric() => 0,
                        _ => MARKS,
                    };
                    fmt::Write::write_char(f, c)?;
                } else {
                    marks = 0;
                    escape(f, c.encode_utf8(&mut [0; 4]).as_bytes())?;
                }
            }
            if !chunk.invalid().is_empty() {
                marks = 0;
                escape(f, chunk.invalid())?;
            }
        }
        Ok(())
    }
}

fn escape(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
}

/// Whether what follows a backslash makes it one of our escapes. systemd's, such as `\x2d`, are of
/// bytes that are never escaped here.
fn reads_as_an_escape(after: &[u8]) -> bool {
    let [b'x', high, low, ..] = *after else { return false };
    let digit = |byte| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (Some(high), Some(low)) = (digit(high), digit(low)) else { return false };
    matches!(high << 4 | low, 0..b' ' | b'\\' | 0x7f..)
}

/// How a terminal treats a character.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Shown,
    /// Drawn onto the one before it.
    Mark,
    /// It steers, or nothing is seen of it.
    Hidden,
}

impl Kind {
    fn of(c: char) -> Self {
        if c.is_ascii() {
            return if c.is_ascii_control() { Self::Hidden } else { Self::Shown };
        }
        if is_blank(c) {
            Self::Hidden
        } else if c.escape_debug().len() == 1 {
            Self::Shown
        // After another, marks are not escaped.
        } else if String::from_iter(['a', c]).escape_debug().count() == 2 {
            Self::Mark
        } else {
            Self::Hidden
        }
    }
}

/// What is blank though its category is that of letters, marks or symbols: the characters with the
/// property `Default_Ignorable_Code_Point` that are not of category Cf or Cn, and the empty Braille
/// pattern.
fn is_blank(c: char) -> bool {
    matches!(c, '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}'
        | '\u{e0100}'..='\u{e01ef}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        Printable::new(text.as_bytes()).to_string()
    }

    #[test]
    fn what_steers_or_hides_is_escaped() {
        let steering = [
            "\u{1b}",
            "\u{7f}",
            "\u{9b}",
            "\n",
            "\u{ad}",
            "\u{200b}",
            "\u{200f}",
            "\u{202e}",
            "\u{2066}",
            "\u{feff}",
            "\u{2028}",
            "\u{2029}",
            "\u{a0}",
            "\u{3000}",
            "\u{e000}",
            "\u{378}",
            "\u{e0041}",
            "\u{fe0f}",
            "\u{3164}",
            "\u{115f}",
            "\u{34f}",
            "\u{2800}",
            "\u{e0100}",
            "\u{10ffff}",
        ];
        for c in steering {
            let expected: String = c.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
            assert_eq!(shown(&format!("a{c}b")), format!("a{expected}b"));
            let json = Printable::json(c).into_owned();
            assert!(json.is_ascii() || c == "\n", "{json:?}");
        }
        assert_eq!(Printable::new(b"a\xff\xc3").to_string(), r"a\xff\xc3");
    }

    #[test]
    fn what_people_write_stays() {
        for text in
            ["a b-c_d.e@f:g\"'", "umlaut-ä", "日本語", "עברית", "e\u{301}", "\u{1f600}", "\\n"]
        {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn marks_stay_on_characters_of_their_own_name() {
        assert_eq!(shown("\u{301}a"), r"\xcc\x81a");
        assert_eq!(shown("/\u{301}a"), r"/\xcc\x81a");
        assert_eq!(shown("\u{200b}\u{301}"), r"\xe2\x80\x8b\xcc\x81");
        assert_eq!(Printable::new(b"\xff\xcc\x81").to_string(), r"\xff\xcc\x81");
        assert_eq!(shown(&format!("a{}", "\u{301}".repeat(5))).matches(r"\xcc\x81").count(), 1);
    }

    #[test]
    fn backslashes() {
        for text in [r"a\b", r"dev-disk\x2dby\x2duuid.slice", r"\xE2", r"\x2", r"\", r"\x7e"] {
            assert_eq!(shown(text), text);
        }
        assert_eq!(shown(r"\xe2\x80\xae"), r"\x5cxe2\x5cx80\x5cxae");
        assert_eq!(shown(r"\x5c"), r"\x5cx5c");
        assert_eq!(shown(r"\x1b"), r"\x5cx1b");
    }

    #[test]
    fn a_message_keeps_its_lines_and_what_was_escaped_in_it() {
        let message = Printable::message("one \\xe2\ntwo \u{1b}[2J").to_string();
        assert_eq!(message, "one \\xe2\ntwo \\x1b[2J");
    }

    /// Reads back what was shown.
    fn read(text: &str) -> Vec<u8> {
        let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
        while let [first, after @ ..] = rest {
            let escaped = *first == b'\\' && reads_as_an_escape(after);
            let digits = || std::str::from_utf8(&after[1..3]).unwrap();
            bytes.push(if escaped { u8::from_str_radix(digits(), 16).unwrap() } else { *first });
            rest = if escaped { &after[3..] } else { after };
        }
        bytes
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back_and_shows_nothing_hidden(
            parts in prop::collection::vec(
                prop_oneof![
                    any::<char>().prop_map(|c| c.to_string().into_bytes()),
                    any::<u8>().prop_map(|byte| vec![byte]),
                    r"\\x[0-9a-f]{2}".prop_map(String::into_bytes),
                    "[\\\\x0-9a-f\u{300}-\u{304}/]".prop_map(String::into_bytes),
                ],
                0..20,
            )
        ) {
            let bytes = parts.concat();
            let text = Printable::new(&bytes).to_string();
            prop_assert!(text.chars().all(|c| Kind::of(c) != Kind::Hidden), "{text:?}");
            prop_assert_eq!(read(&text), bytes);
        }

        #[test]
        fn json_means_the_same(text in any::<String>()) {
            let escaped = Printable::json(&text);
            prop_assert!(escaped.chars().all(|c| c == '\n' || Kind::of(c) == Kind::Shown));
        }
    }

    #[test]
    fn json_keeps_what_is_shown_and_escapes_the_rest() {
        for text in ["", "{\"a b\":\"\\\\\"}\n{}", "{\"é語\":1}\n"] {
            assert_eq!(Printable::json(text), text);
        }
        let escaped = Printable::json("{\"é\u{202e}\":\"\u{e0041}\"}\n");
        assert_eq!(escaped, "{\"é\\u202e\":\"\\udb40\\udc41\"}\n");
    }
}
