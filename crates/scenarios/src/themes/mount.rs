//! What programs that know nothing of this project get from a mounted tree,
//! through this machine's FUSE. The driver makes the changes itself and says
//! what each watch must get.

mod calls;
mod deep;
mod hierarchy;
mod kernels_way;
mod table;
mod watch;
mod weaker;

use hierarchy::{FILES, Hierarchy};
use watch::{Got, Watch, got};

use crate::{Requirement::Fuse, Scenario};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("mount-modified", table::modified).needs(&[Fuse]),
    Scenario::new("mount-modified-and-removed", table::modified_and_removed).needs(&[Fuse]),
    Scenario::new("mount-file-removed", table::file_removed).needs(&[Fuse]),
    Scenario::new("mount-directory-removed", table::directory_removed).needs(&[Fuse]),
    Scenario::new("mount-subtree-removed", table::subtree_removed).needs(&[Fuse]),
    Scenario::new("mount-rmdir", table::rmdir).needs(&[Fuse]),
    Scenario::new("mount-rmdir-after-change", table::rmdir_after_change).needs(&[Fuse]),
    Scenario::new("mount-rmdir-and-closed-at-once", table::rmdir_and_closed_at_once).needs(&[Fuse]),
    Scenario::new("mount-births", table::births).needs(&[Fuse]),
    Scenario::new("mount-two-reads-of-16-bytes", kernels_way::two_reads).needs(&[Fuse]),
    Scenario::new("mount-calls-as-cgroupfs", calls::as_cgroupfs).needs(&[Fuse]),
    Scenario::new("mount-deeper-than-a-path", deep::deeper_than_a_path).needs(&[Fuse]),
    Scenario::new("mount-poll", kernels_way::poll).needs(&[Fuse]),
    Scenario::new("mount-without-handles", weaker::without_handles).needs(&[Fuse]).seconds(120),
];
