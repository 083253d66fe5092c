//! Finding who is concerned (kernel: fs/notify/fsnotify.c).

use crate::{Event, Mask, Object, fanotify, group::Dialect, inotify, mark::Mark, object::MarkList};

/// The marks of one group that an event met, by what they are on.
#[derive(Clone, Copy, Default)]
pub(crate) struct Met<'a> {
    pub(crate) super_block: Option<&'a Mark>,
    pub(crate) inode: Option<&'a Mark>,
    pub(crate) parent: Option<&'a Mark>,
}

impl<'a> Met<'a> {
    /// The marks, each with whether it is the directory's on an event of a child.
    pub(crate) fn marks(self) -> impl Iterator<Item = (&'a Mark, bool)> {
        [(self.super_block, false), (self.inode, false), (self.parent, true)]
            .into_iter()
            .filter_map(|(mark, as_parent)| Some((mark?, as_parent)))
    }
}

/// Tells every group that asked. Never blocks for a reader and never fails: a
/// queue that is full says so itself. If nobody watches, it costs one load for
/// each object of the event. No lock of the caller's may be one that a
/// readiness hook takes.
#[doc(alias = "fsnotify")]
#[inline]
pub fn notify(event: &Event<'_>) {
    let (inode, parent) = if event.mask.contains(Mask::EVENT_ON_CHILD) {
        (event.inode, event.dir)
    } else {
        // A dirent event asks the directory's own marks.
        (event.inode.or(event.dir), None)
    };
    let interest = interest(inode) | interest(event.super_block) | interest(parent);
    if event.mask.has_event_of(interest) {
        dispatch(event, inode, parent);
    }
}

fn interest(object: Option<&dyn Object>) -> Mask {
    object.map_or(Mask::empty(), |object| object.connector().interest())
}

fn dispatch(event: &Event<'_>, inode: Option<&dyn Object>, parent: Option<&dyn Object>) {
    let list = |object: Option<&dyn Object>| object.and_then(|object| object.connector().list());
    let lists = [list(event.super_block), list(inode), list(parent)];
    let mut rest = lists.each_ref().map(marks_of);
    while let Some(group) =
        rest.iter().filter_map(|marks| marks.first()).map(|mark| &mark.group).min_by_key(|g| g.id)
    {
        let mut take = |from: usize| -> Option<&Mark> {
            let marks = rest[from];
            let (first, others) =
                marks.split_first().filter(|(mark, _)| mark.group.id == group.id)?;
            rest[from] = others;
            Some(first)
        };
        let met = Met {
            super_block: take(0),
            inode: take(1),
            parent: take(2).filter(|mark| mark.watches_children()),
        };
        tell_group(event, &group.dialect, met);
    }
}

fn marks_of(list: &Option<MarkList>) -> &[std::sync::Arc<Mark>] {
    list.as_deref().unwrap_or_default()
}

/// Kernel: `send_to_group`.
fn tell_group(event: &Event<'_>, dialect: &Dialect, met: Met<'_>) {
    let is_dir = event.mask.contains(Mask::ISDIR);
    // Before they are asked: a modification itself is never ignored, unless
    // the ignore mask survives it.
    if event.mask.contains(Mask::MODIFY) {
        for (mark, _) in met.marks() {
            mark.forget_ignored();
        }
    }
    let mut wanted = Mask::empty();
    let mut suppressed = Mask::empty();
    for (mark, as_parent) in met.marks() {
        wanted |= mark.mask();
        suppressed |= mark.suppresses(is_dir, as_parent);
    }
    if !event.mask.has_event_of(wanted - suppressed) {
        return;
    }
    match dialect {
        Dialect::Inotify(backend) => inotify::handle(backend, event, met),
        Dialect::Fanotify(backend) => fanotify::handle(backend, event, met),
    }
}
