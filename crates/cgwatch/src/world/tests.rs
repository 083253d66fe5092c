use rustix::fs::inotify::ReadFlags;

use super::*;

const WD: Wd = Wd(7);

fn of_inotify(mask: ReadFlags) -> Option<Notification<'static>> {
    Notification::of_inotify(WD.0, mask.bits(), b"name")
}

/// Of files only that they were written is of interest, and of directories nothing but births and deaths.
#[test]
fn what_an_inotify_record_says() {
    let directory = ReadFlags::ISDIR;
    let cases = [
        (ReadFlags::QUEUE_OVERFLOW, Some(Notification::Overflow)),
        (ReadFlags::IGNORED, Some(Notification::Ignored(WD))),
        (ReadFlags::DELETE_SELF, Some(Notification::Gone(WD))),
        (ReadFlags::UNMOUNT, Some(Notification::Gone(WD))),
        (ReadFlags::MODIFY, Some(Notification::Modified(WD))),
        (ReadFlags::CREATE | directory, Some(Notification::Created(WD, b"name"))),
        (ReadFlags::DELETE | directory, Some(Notification::Deleted(WD, b"name"))),
        (ReadFlags::CLOSE_WRITE, Some(Notification::Written(WD, b"name"))),
        (ReadFlags::CREATE, None),
        (ReadFlags::DELETE, None),
        (ReadFlags::OPEN | directory, None),
        (ReadFlags::ATTRIB, None),
    ];
    for (mask, expected) in cases {
        assert_eq!(of_inotify(mask), expected, "{mask:?}");
    }
}

/// A record may say several things at once; of a death without an id, only that there is to look.
#[test]
fn what_a_fanotify_record_says() {
    let said = |mask: ReadFlags, entry, target| {
        let mut all = Vec::new();
        let mut each = |notification: Notification<'_>| all.push(format!("{notification:?}"));
        Notification::of_fanotify(mask.bits(), entry, target, &mut each);
        all
    };
    let directory = ReadFlags::ISDIR;
    let entry = Some((3, &b"name"[..]));
    let born = Notification::CreatedIn(3, b"name");
    let dead = Notification::DeletedIn { parent: 3, name: b"name", id: 5 };
    let written = Notification::WrittenIn(3, b"name");
    let both = ReadFlags::CREATE | ReadFlags::DELETE | directory;
    let cases: [(_, _, _, &[Notification<'_>]); 11] = [
        (ReadFlags::QUEUE_OVERFLOW, None, None, &[Notification::Overflow]),
        (ReadFlags::CREATE | directory, entry, Some(5), &[born]),
        (ReadFlags::DELETE | directory, entry, Some(5), &[dead]),
        (ReadFlags::DELETE | directory, entry, None, &[born]),
        (ReadFlags::CLOSE_WRITE, entry, Some(5), &[written]),
        (both, entry, Some(5), &[dead, born]),
        (ReadFlags::CREATE, entry, Some(5), &[]),
        (ReadFlags::DELETE, entry, Some(5), &[]),
        (directory, entry, Some(5), &[]),
        (both, None, Some(5), &[]),
        (ReadFlags::ACCESS, entry, Some(5), &[]),
    ];
    for (mask, entry, target, expected) in cases {
        let expected: Vec<_> = expected.iter().map(|one| format!("{one:?}")).collect();
        assert_eq!(said(mask, entry, target), expected, "{mask:?}");
    }
}

#[test]
fn what_says_that_a_thing_is_gone() {
    for errno in [Errno::NOENT, Errno::NODEV, Errno::NOTDIR, Errno::STALE] {
        assert!(is_gone(errno), "{errno}");
    }
    for errno in [Errno::ACCESS, Errno::PERM, Errno::IO, Errno::MFILE, Errno::NOSPC, Errno::XDEV] {
        assert!(!is_gone(errno), "{errno}");
    }
}

#[test]
fn a_name_is_long_if_it_has_more_than_255_bytes() {
    let [longest, long] = [255, 256].map(|length| "n".repeat(length));
    for path in ["", "n", "a/b", &longest, &format!("{longest}/{longest}")] {
        assert!(!has_long_name(path.as_bytes()), "{path}");
    }
    for path in [&long, &format!("a/{long}/b"), &format!("{long}/b"), &format!("a/{long}n")] {
        assert!(has_long_name(path.as_bytes()), "{path}");
    }
}
