//! The same programs on the crate and on this machine's kernel, on a tmpfs: the
//! streams must be equal, record by record. What may differ is in the ledger of
//! `tmpfs_twin`.

use std::path::Path;

use proptest::prelude::*;
use tmpfs_twin::{Action, Error, fanotify, inotify};

/// A tmpfs on every Linux machine.
const PLACE: &str = "/dev/shm";

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// 3.4 as a whole; a failing program is shrunk and kept.
    #[test]
    fn inotify_on_tmpfs(
        steps in proptest::collection::vec(any::<u64>().prop_map(inotify::Step::of), 1..60),
    ) {
        inotify::agree(Path::new(PLACE), &steps).map_err(|error| error.to_string()).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// 3.5 as a whole, with each way of naming things.
    #[test]
    fn fanotify_on_tmpfs(
        naming in proptest::sample::select(&fanotify::NAMINGS[..]),
        steps in proptest::collection::vec(any::<u64>().prop_map(fanotify::Step::of), 1..50),
    ) {
        match fanotify::agree(Path::new(PLACE), naming, &steps) {
            // This process may make no such group.
            Err(Error::System(rustix::io::Errno::PERM)) => {}
            done => done.map_err(|error| error.to_string()).unwrap(),
        }
    }
}

/// Once found by a random program: a watched directory's own removal.
#[test]
fn a_watched_directory_is_removed() {
    use inotify::Step::{Act, Watch};
    let steps = [Act(Action::Mkdir("a")), Watch("a", 0x400), Act(Action::Rmdir("a"))];
    inotify::agree(Path::new(PLACE), &steps).unwrap();
}
