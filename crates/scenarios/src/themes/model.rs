//! The same programs on this kernel's cgroup hierarchy and on a kernfs tree with the profile that
//! models it: what each watch and mark is told must be the same.
//!
//! Which profile models the kernel is learned from one plain removal; everything else then has to
//! agree with it.
//!
//! Two scenarios run random programs on a tmpfs instead, where inotify and fanotify alone are at
//! work; what may differ there is in the ledger of `tmpfs_twin`.
//!
//! # Ledger of accepted differences
//! Nothing else may differ.
//!
//! | accepted | reason |
//! |---|---|
//! | the order between watches | Linux tells the files of one rmdir in the order of its dentry cache (kernel-semantics 4.3: not a contract) |
//! | the order between the objects of a fanotify group | the same; and it merges into older records |
//! | equal neighbours count as one | how often a change is told depends on the worker's pace and the 10 ms rate limit |
//! | a directory's MODIFY of one name and of another, in no order | `write(2)` tells of the file that was written when it returns; the worker may tell of `cgroup.events` before that |
//! | handles and descriptors by number | ids are Linux's own; they are compared by what they stand for, as far as either side has looked it up |
//! | pid in fanotify records | the kernel's worker, whichever it is |
//! | records about other cgroups | a mark on the mount hears of the whole machine |
//! | anything, in a run whose cgroups another process opened | it decides what is cached; the program is run anew ([`bystander`]) |

mod bystander;
pub(super) mod linux;
pub(super) mod own;
mod programs;
mod tmpfs;
pub(super) mod told;

use bystander::Bystanders;
use fsnotify::inotify::WatchMask;
use kernfs::Profile;
use linux::Linux;
use own::Own;
use programs::Step;

use crate::{
    Environment, Failure,
    Requirement::{Guest, HugeTlb},
    Scenario,
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("model-plain-removal", |at| agree(at, programs::PLAIN)),
    Scenario::new("model-watched-file-held", |at| agree(at, programs::WATCHED_HELD)),
    Scenario::new("model-other-file-held", |at| agree(at, programs::OTHER_HELD)),
    Scenario::new("model-directory-held", |at| agree(at, programs::DIRECTORY_HELD)),
    Scenario::new("model-looked-up-through-the-directory", |at| agree(at, programs::LOOKED_UP)),
    Scenario::new("model-path-made-again", |at| agree(at, programs::AGAIN)),
    Scenario::new("model-births-in-a-directory", |at| agree(at, programs::BIRTHS)),
    Scenario::new("model-frozen", |at| agree(at, programs::FROZEN)),
    Scenario::new("model-populated", |at| agree(at, programs::POPULATED)),
    Scenario::new("model-changes-nobody-looked-up", |at| agree(at, programs::UNSEEN)),
    Scenario::new("model-modify-alone", |at| agree(at, programs::MODIFY_ALONE)),
    Scenario::new("model-controller-disabled", |at| agree(at, programs::DISABLED))
        .needs(&[HugeTlb]),
    Scenario::new("model-controller-disabled-then-removed", |at| {
        agree(at, programs::DISABLED_THEN_REMOVED)
    })
    .needs(&[HugeTlb]),
    Scenario::new("model-controller-enabled-again", |at| agree(at, programs::ENABLED_AGAIN))
        .needs(&[HugeTlb]),
    Scenario::new("model-super-block-mark", |at| agree(at, programs::SUPER_BLOCK)),
    Scenario::new("model-super-block-mark-and-a-held-file", |at| {
        agree(at, programs::SUPER_BLOCK_AND_A_HELD_FILE)
    }),
    Scenario::new("model-inode-marks", |at| agree(at, programs::INODES)),
    Scenario::new("model-inotify-on-tmpfs", tmpfs::inotify_agrees),
    Scenario::new("model-fanotify-on-tmpfs", tmpfs::fanotify_agrees),
    Scenario::new("model-reclaimed", |at| agree(at, programs::RECLAIMED)).needs(&[Guest]),
    Scenario::new("model-reclaimed-changes", |at| agree(at, programs::RECLAIMED_CHANGES))
        .needs(&[Guest]),
    Scenario::new("model-held-then-reclaimed", |at| agree(at, programs::HELD_THEN_RECLAIMED))
        .needs(&[Guest]),
    Scenario::new("model-marks-and-reclaim", |at| agree(at, programs::MARKS_AND_RECLAIM))
        .needs(&[Guest]),
];

/// The profile that models this kernel, learned from one plain removal.
pub(super) fn profile(environment: &Environment) -> Result<Profile, Failure> {
    learn_profile(environment, &mut Bystanders::new(environment))
}

fn learn_profile(
    environment: &Environment,
    bystanders: &mut Bystanders,
) -> Result<Profile, Failure> {
    let mut probe = Linux::new(environment, programs::PLAIN, bystanders)?;
    for step in programs::PLAIN {
        probe.act(*step)?;
    }
    let announces = probe.told()?.0.keys().any(|(label, _)| *label == "F");
    Ok(if announces { Profile::Linux71 } else { Profile::Linux70 })
}

/// How often a program is run anew because another process opened its cgroups.
const ATTEMPTS: usize = 10;

/// The same is told on both sides. That is a claim about cgroups that nobody else looks at: a run
/// that disagrees refutes it only if nobody did.
fn agree(environment: &Environment, program: &[Step]) -> Result<(), Failure> {
    let mut last = 0;
    for _ in 0..ATTEMPTS {
        let mut bystanders = Bystanders::new(environment);
        let Err(failure) = attempt(environment, program, &mut bystanders) else { return Ok(()) };
        last = bystanders.seen()?.ok_or(failure)?;
    }
    let often = format!("process {last} opens this scenario's cgroups, {ATTEMPTS} times in a row");
    Err(Failure::Skip(often))
}

fn attempt(
    environment: &Environment,
    program: &[Step],
    bystanders: &mut Bystanders,
) -> Result<(), Failure> {
    let profile = learn_profile(environment, bystanders)?;
    let mut own = Own::new(profile, program)?;
    let mut linux = Linux::new(environment, program, bystanders)?;
    // What nobody expects is told before this is.
    let end = [
        Step::Mkdir("end"),
        Step::Watch("end", "end/cgroup.events", WatchMask::MODIFY),
        Step::Freeze("end", true),
    ];
    for step in program.iter().chain(&end) {
        own.act(*step)?;
        linux.act(*step)?;
        linux.wait_for(&own.told, environment.patience())?;
    }
    let told = linux.told()?;
    if *told == own.told {
        return Ok(());
    }
    Err(Failure::broken(format!("{profile:?} tells {:x?}, Linux {:x?}", own.told.0, told.0)))
}
