//! Who listens: a group, its marks and its queue
//! (kernel: `struct fsnotify_group`).
//!
//! A mark leaves in one of three ways, each of which takes it out of the
//! group's table first, so that exactly one of them finishes it:
//! by its key (`inotify_rm_watch`, a fired one-shot), with its object, or with
//! the whole group.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Weak},
};

use crate::{
    Error, Object,
    account::{Account, Charge, Resource},
    channel::Readable,
    fanotify, inotify,
    mark::Mark,
    sync::{Mutex, MutexGuard, lock},
};

/// A group as its marks know it. Groups are served in the order of `id`.
pub(crate) struct Group {
    pub(crate) id: u64,
    pub(crate) dialect: Dialect,
    table: Mutex<Table>,
    account: Arc<Account>,
    _charge: Charge,
}

pub(crate) enum Dialect {
    Inotify(inotify::Backend),
    Fanotify(fanotify::Backend),
}

/// The marks of a group by key. Keys are handed out in a cycle from 1: a freed
/// one comes back only after all others (kernel: `idr_alloc_cyclic`).
pub(crate) struct Table {
    entries: BTreeMap<i32, Entry>,
    next: i32,
}

struct Entry {
    mark: Arc<Mark>,
    pin: Pin,
    _charge: Option<Charge>,
}

/// How a mark refers to its object.
pub(crate) enum Pin {
    Held(Arc<dyn Object>),
    Evictable(Weak<dyn Object>),
}

/// Group ids; a plain counter, which no schedule depends on.
static NEXT_ID: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Group {
    pub(crate) fn new(account: &Arc<Account>, dialect: Dialect) -> Result<Arc<Self>, Error> {
        let charge =
            account.charge(Resource::Group).map_err(|limit| Error::TooManyGroups { limit })?;
        Ok(Arc::new(Self {
            id: NEXT_ID.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
            dialect,
            table: Mutex::new(Table { entries: BTreeMap::new(), next: 1 }),
            account: Arc::clone(account),
            _charge: charge,
        }))
    }

    /// What its reader reads.
    pub(crate) fn queue(&self) -> &dyn Readable {
        match &self.dialect {
            Dialect::Inotify(backend) => &backend.channel,
            Dialect::Fanotify(backend) => &backend.channel,
        }
    }

    /// The table, locked: what is decided about a mark of this group while it
    /// is held stays true.
    pub(crate) fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }

    /// Charges one mark; free for groups without a limit.
    pub(crate) fn charge_mark(&self, unlimited: bool) -> Result<Option<Charge>, Error> {
        if unlimited {
            return Ok(None);
        }
        let charge = self.account.charge(Resource::Mark);
        charge.map(Some).map_err(|limit| Error::TooManyMarks { limit })
    }

    /// Destroys the mark with this key. `false` if there is none.
    #[doc(alias = "fsnotify_destroy_mark")]
    pub(crate) fn destroy(&self, key: i32) -> bool {
        let mut table = self.table();
        let Some(entry) = table.entries.remove(&key) else { return false };
        // Held over this, so that nobody finds the mark on the object and
        // takes it for a living one.
        let object = entry.pin.object();
        if let Some(object) = &object {
            object.connector().remove(&entry.mark);
        }
        drop(table);
        self.finish(&entry.mark);
        true
    }

    /// Drops a mark whose object has ended.
    pub(crate) fn forget(&self, mark: &Arc<Mark>) {
        let entry = {
            let mut table = self.table();
            // A key is not given twice while its mark lives.
            match table.entries.remove(&mark.key) {
                Some(entry) => entry,
                None => return,
            }
        };
        self.finish(&entry.mark);
    }

    fn finish(&self, mark: &Mark) {
        match &self.dialect {
            Dialect::Inotify(backend) => backend.mark_freed(mark),
            Dialect::Fanotify(_) => mark.detach(),
        }
    }

    /// Destroys all marks, telling nobody: the reader is gone.
    pub(crate) fn shut_down(&self) {
        let entries = std::mem::take(&mut self.table().entries);
        for entry in entries.values() {
            if let Some(object) = entry.pin.object() {
                object.connector().remove(&entry.mark);
            }
        }
    }
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The next free key; `None` if all are taken.
    pub(crate) fn free_key(&self) -> Option<i32> {
        let from = |start: i32| {
            let mut key = start;
            for taken in self.entries.range(start..).map(|(taken, _)| *taken) {
                if taken != key {
                    break;
                }
                key = taken.checked_add(1)?;
            }
            Some(key)
        };
        from(self.next).or_else(|| from(1))
    }

    /// Enters a mark under the key it was made with, one from [`Self::free_key`].
    pub(crate) fn enter(&mut self, mark: Arc<Mark>, pin: Pin, charge: Option<Charge>) {
        self.next = mark.key.checked_add(1).unwrap_or(1);
        self.entries.insert(mark.key, Entry { mark, pin, _charge: charge });
    }

    /// The object of some mark, if one is left.
    pub(crate) fn sample(&self) -> Option<Arc<dyn Object>> {
        self.entries.values().find_map(|entry| entry.pin.object())
    }

    /// Turns an evictable mark into one that holds its object.
    pub(crate) fn hold(&mut self, key: i32, object: Arc<dyn Object>) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.pin = Pin::Held(object);
        }
    }

    /// Keys of the marks for whose object `select` says yes. The objects are
    /// given back, to be dropped when no lock is held.
    pub(crate) fn select(
        &self,
        select: impl Fn(&dyn Object) -> bool,
    ) -> (Vec<i32>, Vec<Arc<dyn Object>>) {
        let mut keys = Vec::new();
        let mut objects = Vec::new();
        for (key, entry) in &self.entries {
            let Some(object) = entry.pin.object() else { continue };
            if select(&*object) {
                keys.push(*key);
            }
            objects.push(object);
        }
        (keys, objects)
    }
}

impl Pin {
    pub(crate) fn object(&self) -> Option<Arc<dyn Object>> {
        match self {
            Self::Held(object) => Some(Arc::clone(object)),
            Self::Evictable(object) => object.upgrade(),
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Connector, Limits, ObjectKind, inotify::*};

    struct Thing(Connector);

    impl Object for Thing {
        fn connector(&self) -> &Connector {
            &self.0
        }

        fn kind(&self) -> ObjectKind {
            ObjectKind::File
        }
    }

    /// kernel-semantics 3.4, wd: "freed numbers reused only after INT_MAX".
    #[test]
    fn descriptors_start_anew_after_the_last_number() {
        let inotify = Inotify::new(&Account::new(Limits::default()), InitFlags::NONBLOCK).unwrap();
        let things: Vec<_> = (0..6).map(|_| Arc::new(Thing(Connector::new()))).collect();
        let watch = |at: usize| inotify.add_watch(things[at].clone(), WatchMask::MODIFY).unwrap();
        assert_eq!((watch(0), watch(1), watch(2)), (1, 2, 3));
        inotify.rm_watch(2).unwrap();
        inotify.group.table().next = i32::MAX;
        assert_eq!(watch(3), i32::MAX);
        // 1 and 3 are still taken.
        assert_eq!((watch(4), watch(5)), (2, 4));
    }
}
