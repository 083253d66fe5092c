//! Whose rules a tree follows, and what can be relied on under them.

/// How removals are announced and in what order changes are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Profile {
    /// Linux up to 7.0 (modelled on 7.0.13): a removed file says nothing, and
    /// its watches leak. Changes of several nodes are told last first.
    Linux70,
    /// Linux 7.1 and later (modelled on 7.3.4: a dentry that dies says so only
    /// if it is its inode's last): a removed file says so when its dentry
    /// dies, which is late if someone holds it, and never if it is gone.
    /// A change that the worker delivers at that moment may come between
    /// `DELETE_SELF` and `IGNORED`, not after: `fsnotify_inoderemove` sends the
    /// one and then destroys the marks, and shares no lock with
    /// `kernfs_notify_workfn`.
    Linux71,
    /// Every removed node says so: a pending modification, then
    /// `DELETE_SELF`, then `IGNORED`, whatever is cached, open or disabled, and
    /// no change after that. Changes are told first pending first, children
    /// before parents; what a parent hears of an `rmdir` is last.
    #[default]
    Announced,
}

impl Profile {
    /// Whether removal zeroes the link count of cached inodes.
    pub(crate) fn clears_links(self) -> bool {
        self != Self::Linux70
    }

    /// Whether a dying dentry announces an inode without links.
    pub(crate) fn announces_at_dentry_death(self) -> bool {
        self == Self::Linux71
    }

    /// Whether the worker announces removals.
    pub(crate) fn announces(self) -> bool {
        self == Self::Announced
    }

    /// Whether deferred events are told apart from local ones.
    pub(crate) fn knows_deferred(self) -> bool {
        self == Self::Announced
    }

    /// Whether the last pending node is told first.
    pub(crate) fn last_first(self) -> bool {
        self != Self::Announced
    }

    /// What a program can rely on.
    #[must_use]
    pub fn capabilities(self) -> Capabilities {
        let answer = |yes| if yes { Answer::Yes } else { Answer::No };
        Capabilities {
            announces_removal: answer(self.clears_links()),
            announces_every_removal: answer(self.announces()),
            keeps_last_modification: answer(self.announces()),
            tells_removals_to_super_block: answer(self.announces()),
            tells_deferred_apart: answer(self.knows_deferred()),
        }
    }
}

/// An answer about something that may not have been tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Answer {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// There is no evidence.
    #[default]
    Unknown,
}

/// "How will the application know that it can rely on the event?" (review of
/// the kernel's series). A tree states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Capabilities {
    /// A removed node tells its watches, if nothing hinders it.
    pub announces_removal: Answer,
    /// And nothing can hinder it.
    pub announces_every_removal: Answer,
    /// A modification that is pending at the removal is told before it.
    pub keeps_last_modification: Answer,
    /// A super block mark hears of every removed node, also of those that
    /// nobody ever looked up.
    pub tells_removals_to_super_block: Answer,
    /// Groups can have deferred events or be without them.
    pub tells_deferred_apart: Answer,
}
