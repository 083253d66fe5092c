//! Any bytes as the text of an event file.

#![no_main]

use cgwatch::fuzzing::event_file;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let entries = event_file(text);
    // A key, a separator and a digit at least, but for a bare value and the last line's end.
    assert!(entries.len() <= text.len() / 2 + 1);
    for (key, _) in &entries {
        assert!(!key.contains(['\n', ' ']));
    }
    // What was understood is understood again, the same, if it is written down plainly.
    let plain = |key: &str| !key.contains(['/', '=', '\u{fffd}']) && !key.is_empty();
    let entries: Vec<_> = entries.into_iter().filter(|(key, _)| plain(key)).collect();
    let text: String = entries.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
    assert_eq!(event_file(text.as_bytes()), entries);
});
