//! Any bytes as fanotify records.

#![no_main]

use libfuzzer_sys::fuzz_target;
use linux_notify::fanotify::{Events, Info};

fuzz_target!(|bytes: &[u8]| {
    let mut events = Events::parse(bytes);
    let mut decoded = 0;
    for event in events.by_ref() {
        decoded += 24;
        for info in event.infos() {
            decoded += 4;
            if let Info::Handle { handle, name, .. } = info {
                assert!(!name.contains(&0));
                assert!(handle.kernfs_id().is_none() || handle.bytes().len() == 8);
                decoded += 16 + handle.bytes().len() + name.len();
            }
        }
    }
    assert!(bytes.ends_with(events.remainder()));
    assert!(decoded + events.remainder().len() <= bytes.len());
    assert!(events.next().is_none());
});
