//! The programs: what is done, and who watches. Each is about a row or a trap of the kernel's
//! behaviour that lies in kernfs or fsnotify.

use fsnotify::{fanotify::MarkFlags, inotify::WatchMask};

/// One thing done. Paths are from the scenario's own cgroup, which is the model's root.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Watches with the one inotify instance.
    Watch(&'static str, &'static str, WatchMask),
    /// Marks with the fanotify group of that name: an inode, or with
    /// [`MarkFlags::FILESYSTEM`] the whole mount.
    Mark(&'static str, &'static str, MarkFlags, u64),
    Mkdir(&'static str),
    Rmdir(&'static str),
    /// Opens a file, until [`Step::Close`].
    Open(&'static str),
    Close,
    /// Holds a directory with `O_PATH`, until [`Step::Unpin`].
    Pin(&'static str),
    Unpin,
    /// Looks a name up in the directory that is held.
    Lookup(&'static str),
    /// Looks a path up, which may lead nowhere.
    Look(&'static str),
    /// Changes `frozen` in the cgroup's `cgroup.events`.
    Freeze(&'static str, bool),
    /// A process comes, from elsewhere in the hierarchy: `populated` changes here and above.
    Enter(&'static str),
    /// And goes back.
    Leave,
    /// The controller for the cgroups in the scenario's own: off, and on again.
    Controller(bool),
    /// The kernel forgets every directory entry that nobody holds.
    Reclaim,
}

use Step::{
    Close, Controller, Enter, Freeze, Leave, Look, Lookup, Mark, Mkdir, Open, Pin, Reclaim, Rmdir,
    Unpin, Watch,
};

/// A file of the controller that [`Step::Controller`] switches.
const CONTROLLED: &str = "g/hugetlb.2MB.events";
/// The parent of all that is reclaimed. Nobody watches it, so that a mark that holds nothing can
/// prove that everything below it is forgotten.
pub(super) const FORGOTTEN: &str = "o";

const FILE: WatchMask = WatchMask::MODIFY.union(WatchMask::DELETE_SELF);
const DIR: WatchMask = WatchMask::CREATE.union(WatchMask::DELETE).union(WatchMask::DELETE_SELF);
const DIR_AND_FILES: WatchMask = DIR.union(WatchMask::MODIFY);

/// F, D and P of the tables: a file, its cgroup, the cgroup above.
const F: Step = Watch("F", "g/cgroup.events", FILE);
const D: Step = Watch("D", "g", DIR);
const P: Step = Watch("P", "", DIR);

pub(super) const PLAIN: &[Step] = &[Mkdir("g"), F, D, P, Rmdir("g")];

pub(super) const WATCHED_HELD: &[Step] =
    &[Mkdir("g"), F, D, P, Open("g/cgroup.events"), Rmdir("g"), Close];

pub(super) const OTHER_HELD: &[Step] =
    &[Mkdir("g"), F, D, P, Open("g/cgroup.procs"), Rmdir("g"), Close];

pub(super) const DIRECTORY_HELD: &[Step] = &[Mkdir("g"), F, D, P, Pin("g"), Rmdir("g"), Unpin];

pub(super) const LOOKED_UP: &[Step] = &[
    Mkdir("g"),
    F,
    D,
    P,
    Pin("g"),
    Open("g/cgroup.events"),
    Rmdir("g"),
    Close,
    Lookup("cgroup.events"),
    Unpin,
];

pub(super) const AGAIN: &[Step] = &[
    Mkdir("g"),
    F,
    P,
    Open("g/cgroup.events"),
    Rmdir("g"),
    Mkdir("g"),
    Watch("new", "g/cgroup.events", FILE),
    Close,
    Rmdir("g"),
];

pub(super) const BIRTHS: &[Step] =
    &[Mkdir("g"), D, Mkdir("g/a"), Mkdir("g/b"), Rmdir("g/a"), Rmdir("g/b")];

pub(super) const FROZEN: &[Step] = &[
    Mkdir("g"),
    F,
    Watch("D", "g", DIR_AND_FILES),
    Freeze("g", true),
    Freeze("g", false),
    Freeze("g", true),
    Rmdir("g"),
];

pub(super) const POPULATED: &[Step] = &[
    Mkdir("g"),
    Mkdir("g/a"),
    Mkdir("g/b"),
    Watch("root", "cgroup.events", FILE),
    F,
    Watch("D", "g", DIR_AND_FILES),
    Watch("a", "g/a/cgroup.events", FILE),
    Watch("b", "g/b/cgroup.events", FILE),
    Enter("g/a"),
    // Those above stay populated.
    Enter("g/b"),
    Leave,
    Rmdir("g/a"),
    Rmdir("g/b"),
    Rmdir("g"),
];

/// Nobody looked `cgroup.events` up.
pub(super) const UNSEEN: &[Step] =
    &[Mkdir("g"), Watch("D", "g", DIR_AND_FILES), Freeze("g", true), Rmdir("g")];

pub(super) const MODIFY_ALONE: &[Step] =
    &[Mkdir("g"), Watch("F", "g/cgroup.events", WatchMask::MODIFY), Rmdir("g")];

pub(super) const DISABLED: &[Step] = &[
    Mkdir("g"),
    Watch("F", CONTROLLED, FILE),
    D,
    P,
    Controller(false),
    Look(CONTROLLED),
    Rmdir("g"),
];

pub(super) const DISABLED_THEN_REMOVED: &[Step] =
    &[Mkdir("g"), Watch("F", CONTROLLED, FILE), D, P, Controller(false), Rmdir("g")];

/// On again, it is another file, of the same name.
pub(super) const ENABLED_AGAIN: &[Step] = &[
    Mkdir("g"),
    Watch("F", CONTROLLED, FILE),
    D,
    Controller(false),
    Controller(true),
    Watch("new", CONTROLLED, FILE),
    Rmdir("g"),
];

const BELOW: [Step; 5] = [
    Mkdir("o"),
    Mkdir("o/p"),
    Mkdir("o/p/g"),
    Watch("F", "o/p/g/cgroup.events", FILE),
    Watch("P", "o/p", DIR),
];

pub(super) const RECLAIMED: &[Step] = &[
    BELOW[0],
    BELOW[1],
    BELOW[2],
    BELOW[3],
    BELOW[4],
    Watch("D", "o/p/g", DIR),
    Reclaim,
    Rmdir("o/p/g"),
];

/// The watch holds the inode: changes go on being told.
pub(super) const RECLAIMED_CHANGES: &[Step] = &[
    BELOW[0],
    BELOW[1],
    BELOW[2],
    BELOW[3],
    BELOW[4],
    Watch("D", "o/p/g", DIR_AND_FILES),
    Reclaim,
    Freeze("o/p/g", true),
    Rmdir("o/p/g"),
];

/// Forgotten after the removal: that is what announces it.
pub(super) const HELD_THEN_RECLAIMED: &[Step] = &[
    BELOW[0],
    BELOW[1],
    BELOW[2],
    BELOW[3],
    BELOW[4],
    Watch("D", "o/p/g", DIR),
    Open("o/p/g/cgroup.events"),
    Rmdir("o/p/g"),
    Close,
    Reclaim,
];

const MODIFY: u64 = 0x2;
const CREATE: u64 = 0x100;
const DELETE: u64 = 0x200;
const DELETE_SELF: u64 = 0x400;
const ON_CHILD: u64 = 0x0800_0000;
const ONDIR: u64 = 0x4000_0000;
const ALL: u64 = MODIFY | CREATE | DELETE | DELETE_SELF | ONDIR;

/// One mark on the whole mount.
const S: Step = Mark("S", "", MarkFlags::FILESYSTEM, ALL);

pub(super) const SUPER_BLOCK: &[Step] = &[
    S,
    Mkdir("g"),
    // Of `cgroup.freeze` alone: nobody has looked at `cgroup.events`.
    Freeze("g", true),
    Look("g/cgroup.freeze"),
    Look("g/cgroup.events"),
    Freeze("g", false),
    Mkdir("g/a"),
    Rmdir("g/a"),
    Rmdir("g"),
];

pub(super) const SUPER_BLOCK_AND_A_HELD_FILE: &[Step] = &[
    S,
    Mkdir("g"),
    Look("g/cgroup.events"),
    Look("g/cgroup.procs"),
    Open("g/cgroup.events"),
    Rmdir("g"),
    Close,
];

pub(super) const INODES: &[Step] = &[
    Mkdir("g"),
    Look("g/cgroup.freeze"),
    Look("g/cgroup.events"),
    Mark("F", "g/cgroup.events", MarkFlags::empty(), MODIFY | DELETE_SELF),
    Mark("D", "g", MarkFlags::empty(), ALL | ON_CHILD),
    // Both in one group: one record.
    Mark("both", "g/cgroup.events", MarkFlags::empty(), MODIFY | DELETE_SELF),
    Mark("both", "g", MarkFlags::empty(), ALL | ON_CHILD),
    Freeze("g", true),
    Mkdir("g/a"),
    Rmdir("g/a"),
    Rmdir("g"),
];

/// A mark that holds nothing goes with what is forgotten; one on the whole mount stays, and hears
/// of what is looked up anew.
pub(super) const MARKS_AND_RECLAIM: &[Step] = &[
    BELOW[0],
    BELOW[1],
    BELOW[2],
    Mark("S", "", MarkFlags::FILESYSTEM, ALL),
    Look("o/p/g/cgroup.events"),
    Mark("E", "o/p/g/cgroup.events", MarkFlags::EVICTABLE, MODIFY | DELETE_SELF),
    Reclaim,
    Freeze("o/p/g", true),
    Look("o/p/g/cgroup.events"),
    Freeze("o/p/g", false),
    Rmdir("o/p/g"),
];
