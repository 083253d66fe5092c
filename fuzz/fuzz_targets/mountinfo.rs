//! Any bytes as `/proc/self/mountinfo`.

#![no_main]

use cgwatch::fuzzing::mountinfo;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let mounts = mountinfo(text);
    assert!(mounts.len() <= text.split(|byte| *byte == b'\n').count());
    for mount in mounts {
        assert!(mount.point.as_os_str().len() <= text.len());
        assert!(mount.root.as_os_str().len() <= text.len());
    }
});
