//! Programs that copy files without read(2), by splice(2) or sendfile(2): they get what is there, as
//! from cgroupfs, or go over to read(2); never nothing without an error.

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
};

use rustix::io::Errno;

use super::everywhere;
use crate::running::skipped;

/// What a program copies to a file; `None` if it is not installed.
fn copied(command: &mut Command, target: &Path) -> Option<String> {
    let Ok(output) = command.output() else {
        skipped(&format!("{:?} is not installed", command.get_program()));
        return None;
    };
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(match fs::read_to_string(target) {
        Ok(text) => text,
        Err(_) => String::from_utf8(output.stdout).unwrap(),
    })
}

#[test]
fn programs() {
    let python = "import shutil, sys; shutil.copyfile(sys.argv[1], sys.argv[2])";
    for words in [
        ["busybox", "cat"].as_slice(),
        &["busybox", "cp"],
        &["/usr/bin/python3", "-c", python],
        // By copy_file_range(2), where it can; holes are looked for.
        &["cp", "--sparse=auto"],
        &["dd", "status=none"],
    ] {
        everywhere(|mut place| {
            let file = place.file();
            let temporary = tempfile::tempdir().unwrap();
            let target = temporary.path().join("copy");
            // Each time it is other text: what was copied before is not shown again.
            for _ in 0..2 {
                let mut command = Command::new(words[0]);
                command.args(&words[1..]);
                match words[0] {
                    "dd" => command.arg(format!("if={}", file.display())),
                    _ => command.arg(&file),
                };
                if words[1..] != ["cat"] && words[0] != "dd" {
                    command.arg(&target);
                }
                let Some(text) = copied(&mut command, &target) else { return };
                assert_eq!(text, fs::read_to_string(&file).unwrap(), "{words:?}");
                place.change();
            }
        });
    }
}

/// A file that is open shows what it says now, also to who uses both ways.
#[test]
fn sendfile_never_says_that_there_is_nothing() {
    everywhere(|mut place| {
        let file = File::open(place.file()).unwrap();
        for _ in 0..3 {
            let target = tempfile::tempfile().unwrap();
            match rustix::fs::sendfile(&target, &file, Some(&mut 0), 1 << 16) {
                // Linux before 6.5 reads for it.
                Ok(copied) => {
                    let mut text = vec![0; copied];
                    rustix::io::pread(&target, &mut text, 0).unwrap();
                    assert_eq!(text, fs::read(place.file()).unwrap());
                }
                Err(errno) => assert!(matches!(errno, Errno::INVAL | Errno::IO), "{errno}"),
            }
            let mut text = [0; 64];
            let read = rustix::io::pread(&file, &mut text, 0).unwrap();
            assert_eq!(text[..read], fs::read(place.file()).unwrap());
            place.change();
        }
    });
}
