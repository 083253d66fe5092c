//! What is told without a privilege: as much as the mount says, and no less.

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use super::table;
use crate::{Environment, Failure};

/// Without `CAP_DAC_READ_SEARCH`, which this process drops.
pub(super) fn without_handles(environment: &Environment) -> Result<(), Failure> {
    let mut sets = capabilities(None)?;
    for set in [&mut sets.effective, &mut sets.permitted, &mut sets.inheritable] {
        set.remove(CapabilitySet::DAC_READ_SEARCH);
    }
    set_capabilities(None, sets)?;
    let all = [
        table::modified,
        table::modified_and_removed,
        table::file_removed,
        table::directory_removed,
        table::subtree_removed,
        table::rmdir,
        table::rmdir_and_closed_at_once,
        table::births,
    ];
    all.iter().try_for_each(|shown| shown(environment))
}
