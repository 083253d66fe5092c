//! Any bytes as `struct inotify_event` records.

#![no_main]

use libfuzzer_sys::fuzz_target;
use linux_notify::inotify::Events;

fuzz_target!(|bytes: &[u8]| {
    let mut events = Events::parse(bytes);
    let mut decoded = 0;
    for event in events.by_ref() {
        assert!(!event.name.contains(&0));
        decoded += 16 + event.name.len();
    }
    assert!(bytes.ends_with(events.remainder()));
    assert!(decoded + events.remainder().len() <= bytes.len());
    assert!(events.next().is_none());
});
