//! From the monitor's events to changes of the tree.
//!
//! Invariants:
//! * A directory of the tree is in `lives` from its birth to its death, under the number the
//!   watcher gave that instance; only the mirror's root outlives its cgroup.
//! * What a file has to tell is noted before the file is removed: the tree then tells the
//!   modification first.

use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use cgwatch::{Cgroup, EventKind, Files as Values, GapReason, Unseen};
use kernfs::{Node, Permissions};
use rustix::io::Errno;

use crate::{
    Front,
    content::{Files, Host, path},
    front::{NextStep, Step},
    looks::Looks,
};

/// Which files there are is looked at anew so often: not every way in which files come and go is
/// announced.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// But it takes at most this part of the time,
const SHARE: u32 = 100;
/// and not longer than this in one go, so that no event waits for it.
const SLICE: Duration = Duration::from_millis(2);

const CGROUP_EVENTS: &str = "cgroup.events";

pub(crate) struct Feed {
    host: Arc<Host>,
    root: Arc<Node>,
    next_step: Arc<NextStep>,
    pub(crate) front: Option<Box<dyn Front>>,
    lives: HashMap<u64, Life>,
    /// Notifications were lost: any event file may have changed.
    missed: bool,
    looks: Looks,
    /// Whose files are still to be looked at this time.
    to_look_at: Vec<u64>,
    began_to_look: Instant,
    look_again_at: Instant,
}

/// A cgroup that is shown.
struct Life {
    node: Arc<Node>,
    attribute: Arc<Files>,
    /// As its watchers were last told.
    populated: bool,
    /// It was populated at some time: only then can it have counted anything.
    inhabited: bool,
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("cgroups", &self.lives.len()).finish_non_exhaustive()
    }
}

impl Feed {
    pub(crate) fn new(host: Arc<Host>, root: Arc<Node>, next_step: Arc<NextStep>) -> Self {
        let now = Instant::now();
        Self {
            host,
            root,
            next_step,
            front: None,
            lives: HashMap::new(),
            missed: false,
            looks: Looks::default(),
            to_look_at: Vec::new(),
            began_to_look: now,
            look_again_at: now + LOOK_AGAIN,
        }
    }

    pub(crate) fn cgroups(&self) -> usize {
        self.lives.len()
    }

    pub(crate) fn take(&mut self, event: &EventKind) {
        match event {
            EventKind::Appeared { cgroup, existing, files } => self.birth(cgroup, *existing, files),
            EventKind::Changed { cgroup, file, new, own, .. } => {
                let Some(life) = self.lives.get_mut(&cgroup.n) else { return };
                if let Some(populated) = new.get("populated").filter(|_| &**file == CGROUP_EVENTS) {
                    life.populated = populated == 1;
                    life.inhabited |= life.populated;
                }
                if !new.is_empty() {
                    life.notify(file);
                }
                if own.as_ref().is_some_and(|own| !own.is_empty()) {
                    life.notify(&format!("{file}.local"));
                }
            }
            EventKind::Touched { cgroup, file } => self.touched(cgroup, file),
            EventKind::FileRemoved { cgroup, file, unseen } => {
                if let Some(life) = self.lives.get(&cgroup.n) {
                    life.notify_unseen(unseen);
                    if unseen.unseen_in.is_some() {
                        life.notify(file);
                    }
                    life.look(&self.host, false);
                }
            }
            EventKind::FileAdded { cgroup, .. } => {
                if let Some(life) = self.lives.get(&cgroup.n) {
                    life.look(&self.host, false);
                }
            }
            EventKind::Removed { cgroup, unseen, .. } => self.death(cgroup, unseen),
            // Several gaps may be told as one, by the reason of the first.
            // Of one that this process may not look at there is nothing to be told.
            EventKind::Gap { reason, .. } => {
                let of_one = matches!(reason, GapReason::Reader | GapReason::Inaccessible { .. });
                self.missed |= !of_one;
            }
            EventKind::Ready { .. } if self.missed => {
                self.missed = false;
                self.lives.values().for_each(Life::notify_all);
                self.to_look_at.clear();
                self.look_again_at = Instant::now();
            }
            _ => {}
        }
    }

    /// The files of a cgroup's children may have come or gone.
    fn look_below(&mut self, n: u64, now: Instant) {
        let Some(parent) = self.lives.get(&n).map(|life| Arc::clone(&life.node)) else { return };
        let is_child = |(_, life): &(&u64, &Life)| {
            life.node.parent().is_some_and(|above| Arc::ptr_eq(&above, &parent))
        };
        let children: Vec<u64> = self.lives.iter().filter(is_child).map(|(n, _)| *n).collect();
        self.looks.add(n, &children, now);
        self.look_at_some(now);
    }

    /// Looks at some of those whose files may have come or gone.
    fn look_at_some(&mut self, began: Instant) {
        while let Some(n) = self.looks.pop() {
            if let Some(life) = self.lives.get(&n) {
                life.look(&self.host, false);
            }
            if began.elapsed() >= SLICE {
                break;
            }
        }
    }

    /// Looks which files there are, if it is time to: at some of the cgroups, then at others.
    pub(crate) fn look_again(&mut self) {
        let began = Instant::now();
        for n in self.looks.rested(began) {
            self.look_below(n, began);
        }
        self.look_at_some(began);
        if began < self.look_again_at {
            return;
        }
        if self.to_look_at.is_empty() {
            self.to_look_at.extend(self.lives.keys());
            self.began_to_look = began;
        }
        while let Some(n) = self.to_look_at.pop() {
            if let Some(life) = self.lives.get(&n) {
                life.look(&self.host, false);
            }
            if began.elapsed() >= SLICE {
                break;
            }
        }
        self.look_again_at = Instant::now() + began.elapsed() * SHARE;
        if self.to_look_at.is_empty() {
            self.look_again_at = self.look_again_at.max(self.began_to_look + LOOK_AGAIN);
        }
    }

    /// How long until it is time to look again.
    pub(crate) fn pause(&self) -> Duration {
        let now = Instant::now();
        let due = self.looks.due(now).map_or(self.look_again_at, |due| due.min(self.look_again_at));
        due.saturating_duration_since(now)
    }

    fn touched(&mut self, cgroup: &Cgroup, file: &str) {
        let Some(life) = self.lives.get_mut(&cgroup.n) else { return };
        match file {
            "cgroup.type" => life.look(&self.host, false),
            "cgroup.subtree_control" => {
                let now = Instant::now();
                if self.looks.written(cgroup.n, now) {
                    self.look_below(cgroup.n, now);
                }
            }
            _ => {
                life.inhabited |= file == CGROUP_EVENTS;
                life.notify(file);
            }
        }
    }

    fn birth(&mut self, cgroup: &Cgroup, existing: bool, files: &Values<u64>) {
        let Some(id) = cgroup.id else { return };
        let path = cgroup.path.as_bytes();
        let directory = self.host.reader.look((path, id), None);
        let (uid, gid) = match directory {
            Ok(now) if !existing => (now.uid, now.gid),
            _ => (0, 0),
        };
        let attribute = Arc::new(Files { host: Arc::clone(&self.host), cgroup: id, uid, gid });
        let populated = files.get(CGROUP_EVENTS).and_then(|values| values.get("populated"));
        let populated = populated == Some(1);
        let permissions = directory.map_or(Permissions::of_new(true), |now| Permissions {
            mode: now.mode,
            uid: now.uid,
            gid: now.gid,
        });
        let Some((parent, name)) = self.place(path) else {
            // The mirror's root, or one whose parent is not shown.
            if path == b"/" {
                let life = Life::new(Arc::clone(&self.root), attribute, populated);
                life.look(&self.host, existing);
                life.node.set_permissions(permissions);
                self.lives.insert(cgroup.n, life);
            }
            return;
        };
        // An earlier bearer of the name of which nothing more will be told.
        if let Some(stale) = parent.child(name) {
            stale.remove();
        }
        let make = {
            let (parent, name, attribute) =
                (Arc::clone(&parent), Box::from(name), Arc::clone(&attribute));
            let host = Arc::clone(&self.host);
            move || make(&host, &parent, &name, attribute, permissions, existing)
        };
        self.next_step.set(Step::Birth(Box::new(make), Arc::clone(&parent), name.into()));
        if let Some(front) = &self.front {
            // Whether or not it succeeds, what is left to do is done below.
            let _ = front.make_dir(&path[1..]);
        }
        if let Some(Step::Birth(make, ..)) = self.next_step.take() {
            // It fails only on a name that no directory can have.
            let _ = make();
        }
        if let Some(node) = parent.child(name) {
            self.lives.insert(cgroup.n, Life::new(node, attribute, populated));
        }
    }

    /// The parent in the tree and the last name of a path; `None` of the root, and if the parent is
    /// not shown.
    fn place<'a>(&self, path: &'a [u8]) -> Option<(Arc<Node>, &'a [u8])> {
        let (above, name) = path.split_at(path.iter().rposition(|byte| *byte == b'/')?);
        let name = name.get(1..).filter(|name| !name.is_empty())?;
        let mut parent = Arc::clone(&self.root);
        for name in above.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            parent = parent.child(name)?;
        }
        Some((parent, name))
    }

    fn death(&mut self, cgroup: &Cgroup, unseen: &Unseen) {
        let Some(life) = self.lives.remove(&cgroup.n) else { return };
        life.notify_unseen(unseen);
        self.tell_sharers(&life, unseen);
        // With an amount the removal tells that it became empty, too.
        let amount = unseen.files.iter().any(|(_, amount)| amount.is_some());
        if life.populated || amount || unseen.unseen_in.is_some() {
            life.notify(CGROUP_EVENTS);
        }
        if Arc::ptr_eq(&life.node, &self.root) {
            self.root.all_children().iter().for_each(Node::remove);
            return;
        }
        self.next_step.set(Step::Death(Arc::clone(&life.node)));
        if let Some(front) = &self.front {
            let _ = front.remove_dir(&path(&life.node)[1..]);
        }
        self.next_step.take();
        // Unless that did it.
        life.node.remove();
    }
}

impl Feed {
    /// An amount that several may have counted stands in the removal of one of them. Whose it was
    /// nobody knows, so all are told, also those whose removal is still to come.
    fn tell_sharers(&self, life: &Life, unseen: &Unseen) {
        if unseen.unseen_in.is_some() {
            life.notify_all();
        }
        let named = unseen.shared_with.iter().filter_map(|n| self.lives.get(n));
        named.for_each(Life::notify_all);
        if unseen.shared_count > unseen.shared_with.len() as u64 {
            let above = life.node.parent().map(|parent| parent.id());
            let beside = |life: &&Life| life.node.parent().map(|parent| parent.id()) == above;
            self.lives.values().filter(beside).for_each(Life::notify_all);
        }
    }
}

/// Makes a directory with all its files, and shows it.
fn make(
    host: &Arc<Host>,
    parent: &Arc<Node>,
    name: &[u8],
    attribute: Arc<Files>,
    permissions: Permissions,
    existing: bool,
) -> Result<(), Errno> {
    let made = parent.make_dir_with_id(name, attribute.cgroup);
    let node = made.map_err(|error| error.errno())?;
    node.set_permissions(permissions);
    let life = Life::new(node, attribute, false);
    life.look(host, existing);
    life.node.activate();
    Ok(())
}

impl Life {
    fn new(node: Arc<Node>, attribute: Arc<Files>, populated: bool) -> Self {
        Self { node, attribute, populated, inhabited: populated }
    }

    fn notify(&self, file: &str) {
        if let Some(file) = self.node.child(file) {
            file.notify();
        }
    }

    /// What was counted, and is known from the parent alone, was never announced. Not known whether
    /// is as good as yes.
    fn notify_unseen(&self, unseen: &Unseen) {
        for (file, amount) in &unseen.files {
            if amount.as_ref().map_or(self.inhabited, |amount| !amount.is_empty()) {
                self.notify(file);
            }
        }
    }

    fn notify_all(&self) {
        for file in self.node.all_children() {
            let name = file.name();
            if name.ends_with(b".events") || name.ends_with(b".events.local") {
                file.notify();
            }
        }
    }

    /// Adds files that came and removes those that went. With `each`, each is asked for its
    /// permissions; else they are the usual ones.
    fn look(&self, host: &Host, each: bool) {
        let cgroup = path(&self.node);
        let mut known: HashMap<Arc<[u8]>, Arc<Node>> = self
            .node
            .all_children()
            .into_iter()
            .filter(|node| !node.is_dir())
            .map(|node| (node.name(), node))
            .collect();
        let mut new = Vec::new();
        let listed = host.reader.list(&cgroup, self.attribute.cgroup, |name, id, is_dir| {
            if is_dir {
                return;
            }
            match known.get(name).is_some_and(|node| node.id() == id) {
                true => drop(known.remove(name)),
                false => new.push((Box::<[u8]>::from(name), id)),
            }
        });
        if listed.is_err() {
            // It is being removed, which is told in due time.
            return;
        }
        known.values().for_each(Node::remove);
        for (name, id) in new {
            self.add(host, &cgroup, &name, id, each);
        }
    }

    fn add(&self, host: &Host, cgroup: &[u8], name: &[u8], id: u64, look: bool) {
        let usual = host.usual_mode(name);
        let seen = if look || usual.is_none() {
            host.reader.look((cgroup, self.attribute.cgroup), Some((name, id))).ok()
        } else {
            None
        };
        if let Some(seen) = seen.filter(|_| usual.is_none()) {
            host.learn_mode(name, seen.mode);
        }
        let attribute = Arc::clone(&self.attribute);
        // Fails if the directory was removed meanwhile.
        let Ok(file) = self.node.make_file_with_id(name, id, attribute) else { return };
        if let Some(seen) = seen {
            let shown = Permissions { mode: seen.mode, uid: seen.uid, gid: seen.gid };
            if file.permissions() != shown {
                file.set_permissions(shown);
            }
        }
        if self.node.is_active() {
            file.activate();
        }
    }
}

#[cfg(test)]
mod tests;
