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
    /// Looks at the marks, each with whether it is the directory's on an event
    /// of a child.
    #[inline]
    pub(crate) fn each(self, mut look: impl FnMut(&'a Mark, bool)) {
        if let Some(mark) = self.super_block {
            look(mark, false);
        }
        if let Some(mark) = self.inode {
            look(mark, false);
        }
        if let Some(mark) = self.parent {
            look(mark, true);
        }
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
    if concerns(event, inode) || concerns(event, event.super_block) || concerns(event, parent) {
        dispatch(event, inode, parent);
    }
}

/// Whether a mark on the object has to do with the event: an object of which
/// none has need not be looked at further, as ignore masks are part of the
/// union.
#[inline]
fn concerns(event: &Event<'_>, object: Option<&dyn Object>) -> bool {
    object.is_some_and(|object| event.mask.has_event_of(object.connector().interest()))
}

#[inline(never)]
fn dispatch(event: &Event<'_>, inode: Option<&dyn Object>, parent: Option<&dyn Object>) {
    let list = |object: Option<&dyn Object>| {
        object.filter(|_| concerns(event, object)).and_then(|object| object.connector().list())
    };
    let lists = [list(event.super_block), list(inode), list(parent)];
    if let [None, Some(marks), None] = &lists {
        // The usual case: no group has more than one mark that it meets.
        for mark in &**marks {
            tell_group(event, Met { inode: Some(mark), ..Met::default() }, mark);
        }
    } else {
        tell_groups(event, &lists);
    }
}

/// Walks all lists at once; each is sorted by group (kernel:
/// `fsnotify_iter_select_report_types`).
fn tell_groups(event: &Event<'_>, lists: &[Option<MarkList>; 3]) {
    let mut rest = lists.each_ref().map(marks_of);
    while let Some(next) =
        rest.iter().filter_map(|marks| marks.first()).min_by_key(|mark| mark.group.id)
    {
        let mut take = |from: usize| -> Option<&Mark> {
            let marks = rest[from];
            let (first, others) =
                marks.split_first().filter(|(mark, _)| mark.group.id == next.group.id)?;
            rest[from] = others;
            Some(first)
        };
        let met = Met {
            super_block: take(0),
            inode: take(1),
            parent: take(2).filter(|mark| mark.watches_children()),
        };
        tell_group(event, met, next);
    }
}

fn marks_of(list: &Option<MarkList>) -> &[std::sync::Arc<Mark>] {
    list.as_deref().unwrap_or_default()
}

/// Tells the group of `mark`, which met all of `met` (kernel: `send_to_group`). Whether any of them
/// asked for it, the dialect knows.
fn tell_group(event: &Event<'_>, met: Met<'_>, mark: &Mark) {
    // Before they are asked: a modification itself is never ignored, unless
    // the ignore mask survives it.
    if event.mask.contains(Mask::MODIFY) {
        met.each(|mark, _| mark.forget_ignored());
    }
    match &mark.group.dialect {
        Dialect::Inotify(backend) => inotify::handle(backend, event, met),
        Dialect::Fanotify(backend) => fanotify::handle(backend, event, met),
    }
}
