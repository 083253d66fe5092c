//! The model: slow, small and obviously right. It keeps flat lists and looks
//! everything up anew.

use std::collections::BTreeMap;

use kernfs::Profile;

pub(super) struct Node {
    pub(super) name: &'static str,
    pub(super) dir: usize,
    pub(super) is_dir: bool,
    pub(super) live: bool,
    hidden: bool,
    modified: bool,
    removed: bool,
    pub(super) held_back: bool,
}

pub(super) struct Dentry {
    pub(super) node: usize,
    name: &'static str,
    parent: Option<usize>,
    hashed: bool,
    holders: usize,
    pub(super) dead: bool,
}

/// An inotify watch.
pub(super) struct Watch {
    pub(super) group: usize,
    pub(super) wd: i32,
    pub(super) node: usize,
}

/// Who is told: a watch, or the mark on the whole mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    Watch(usize, i32),
    Mount,
}

/// Node 0 and dentry 0 are the root's.
pub(super) struct Model {
    profile: Profile,
    pub(super) nodes: Vec<Node>,
    pub(super) dentries: Vec<Dentry>,
    pub(super) watches: Vec<Watch>,
    last_wd: [i32; 2],
    /// Whether the mount has a mark.
    pub(super) marked: bool,
    /// Nodes with something to tell, in the order it came up.
    pending: Vec<usize>,
    /// What was told since it was last taken.
    told: BTreeMap<Who, Vec<String>>,
    /// The last record of each group's queue.
    tails: BTreeMap<usize, (i32, String)>,
}

impl Model {
    pub(super) fn new(profile: Profile) -> Self {
        let root =
            Dentry { node: 0, name: "", parent: None, hashed: true, holders: 1, dead: false };
        let mut model = Self {
            profile,
            nodes: Vec::new(),
            dentries: vec![root],
            watches: Vec::new(),
            last_wd: [0; 2],
            marked: false,
            pending: Vec::new(),
            told: BTreeMap::new(),
            tails: BTreeMap::new(),
        };
        model.add("", 0, true);
        model
    }

    pub(super) fn add(&mut self, name: &'static str, dir: usize, is_dir: bool) -> usize {
        let (live, hidden, modified, removed, held_back) = (true, false, false, false, false);
        self.nodes.push(Node { name, dir, is_dir, live, hidden, modified, removed, held_back });
        self.nodes.len() - 1
    }

    /// The node of a name, hidden or not.
    pub(super) fn node(&self, dir: usize, name: &str) -> Option<usize> {
        (1..self.nodes.len()).find(|node| {
            let node = &self.nodes[*node];
            node.live && node.dir == dir && node.name == name
        })
    }

    fn is_active(&self, node: usize) -> bool {
        self.nodes[node].live && !self.nodes[node].hidden
    }

    pub(super) fn is_cached(&self, node: usize) -> bool {
        self.watches.iter().any(|watch| watch.node == node)
            || self.dentries.iter().any(|dentry| !dentry.dead && dentry.node == node)
    }

    fn tell(&mut self, node: usize, event: &str) {
        for watch in self.watches.iter().filter(|watch| watch.node == node) {
            let told = self.told.entry(Who::Watch(watch.group, watch.wd)).or_default();
            // Equal neighbours in the queue, which all watches of a group share, merge.
            let record = (watch.wd, event.to_owned());
            if self.tails.get(&watch.group) != Some(&record) || event == "IGNORED" {
                told.push(event.to_owned());
                self.tails.insert(watch.group, record);
            }
        }
    }

    /// The queues are read empty.
    pub(super) fn take_told(&mut self) -> BTreeMap<Who, Vec<String>> {
        self.tails.clear();
        std::mem::take(&mut self.told)
    }

    fn tell_mount(&mut self, event: String) {
        if !self.marked {
            return;
        }
        let told = self.told.entry(Who::Mount).or_default();
        // What says the same of the same merges with it, also past others.
        if !told.contains(&event) {
            told.push(event);
        }
    }

    /// The object's end, and that of its watches.
    fn end(&mut self, node: usize) {
        self.tell(node, "DELETE_SELF");
        let is_dir = self.nodes[node].is_dir;
        self.tell_mount(if is_dir {
            format!("DELETE_SELF|ISDIR {node}/.")
        } else {
            format!("DELETE_SELF {node}")
        });
        self.tell(node, "IGNORED");
        self.watches.retain(|watch| watch.node != node);
    }

    fn is_used(&self, dentry: usize) -> bool {
        let below = |other: &Dentry| !other.dead && other.parent == Some(dentry);
        self.dentries[dentry].holders > 0 || self.dentries.iter().any(below)
    }

    fn kill(&mut self, dentry: usize) {
        self.dentries[dentry].dead = true;
        let node = self.dentries[dentry].node;
        let others = self.dentries.iter().any(|other| !other.dead && other.node == node);
        if self.profile == Profile::Linux71 && !self.nodes[node].live && !others {
            self.end(node);
        }
    }

    /// Kills unused dentries of which `which` says so, youngest first, until
    /// there are none.
    pub(super) fn kill_unused(&mut self, which: impl Fn(&Self, usize) -> bool) {
        let unused = |model: &Self, dentry: usize| {
            !model.dentries[dentry].dead && !model.is_used(dentry) && which(model, dentry)
        };
        while let Some(dentry) = (0..self.dentries.len()).rev().find(|dentry| unused(self, *dentry))
        {
            self.kill(dentry);
        }
    }

    fn kill_unhashed(&mut self) {
        self.kill_unused(|model, dentry| !model.dentries[dentry].hashed);
    }

    pub(super) fn unhash(&mut self, dentry: usize) {
        self.kill_unused(|model, other| model.dentries[other].parent == Some(dentry));
        self.dentries[dentry].hashed = false;
        self.kill_unhashed();
    }

    pub(super) fn lookup(&mut self, names: &[&'static str]) -> Option<usize> {
        let mut at = 0;
        for name in names {
            let cached = (1..self.dentries.len()).find(|other| {
                let other = &self.dentries[*other];
                !other.dead && other.hashed && other.parent == Some(at) && other.name == *name
            });
            if let Some(dentry) = cached {
                let node = self.dentries[dentry].node;
                // It is believed only while it still means the same.
                if self.is_active(node) && self.nodes[node].name == *name {
                    at = dentry;
                    continue;
                }
                self.unhash(dentry);
            }
            let dir = self.dentries[at].node;
            let node = self.node(dir, name).filter(|node| self.is_active(*node))?;
            let (parent, hashed, holders, dead) = (Some(at), true, 0, false);
            self.dentries.push(Dentry { node, name, parent, hashed, holders, dead });
            at = self.dentries.len() - 1;
        }
        Some(at)
    }

    pub(super) fn hold(&mut self, dentry: usize) {
        self.dentries[dentry].holders += 1;
    }

    pub(super) fn release(&mut self, dentry: usize) {
        self.dentries[dentry].holders -= 1;
        self.kill_unhashed();
    }

    /// A directory is made by system call.
    pub(super) fn born(&mut self, name: &str) {
        self.tell(0, &format!("CREATE|ISDIR {name}"));
        self.tell_mount(format!("CREATE|ISDIR 0/{name}"));
    }

    /// A directory was removed by system call: its own end, and that of its
    /// files, is told before the parent hears of it.
    pub(super) fn gone(&mut self, node: usize) {
        if self.profile == Profile::Announced {
            self.drain();
        }
        let name = self.nodes[node].name;
        self.tell(0, &format!("DELETE|ISDIR {name}"));
        self.tell_mount(format!("DELETE|ISDIR 0/{name} {node}"));
    }

    pub(super) fn hide(&mut self, node: usize, hidden: bool) {
        self.nodes[node].hidden = hidden;
    }

    pub(super) fn rename(&mut self, node: usize, name: &'static str) {
        self.nodes[node].name = name;
    }

    fn list(&mut self, node: usize) {
        if !self.pending.contains(&node) {
            self.pending.push(node);
        }
    }

    pub(super) fn notify(&mut self, node: usize) {
        self.nodes[node].modified = true;
        self.nodes[node].held_back = false;
        self.list(node);
    }

    pub(super) fn hold_back(&mut self, node: usize) {
        // What is pending already will tell of it.
        let told_anyway = self.nodes[node].modified;
        self.nodes[node].held_back |= !told_anyway;
    }

    pub(super) fn remove(&mut self, node: usize) {
        self.nodes[node].live = false;
        if self.profile == Profile::Announced {
            if std::mem::take(&mut self.nodes[node].held_back) {
                self.nodes[node].modified = true;
            }
            self.nodes[node].removed = true;
            self.list(node);
        }
    }

    pub(super) fn drain(&mut self) {
        let always = self.profile == Profile::Announced;
        if !always {
            self.pending.reverse();
        }
        for node in std::mem::take(&mut self.pending) {
            let Node { name, dir, .. } = self.nodes[node];
            let modified = std::mem::take(&mut self.nodes[node].modified);
            if modified && (always || self.is_cached(node)) {
                self.tell(dir, &format!("MODIFY {name}"));
                self.tell(node, "MODIFY");
                let named = always || self.is_cached(dir);
                self.tell_mount(if named {
                    format!("MODIFY {dir}/{name} {node}")
                } else {
                    format!("MODIFY {node}")
                });
            }
            if std::mem::take(&mut self.nodes[node].removed) {
                self.end(node);
            }
        }
    }

    pub(super) fn watch(&mut self, group: usize, dentry: usize) -> i32 {
        let node = self.dentries[dentry].node;
        let known = self.watches.iter().find(|watch| (watch.group, watch.node) == (group, node));
        if let Some(watch) = known {
            return watch.wd;
        }
        self.last_wd[group] += 1;
        let wd = self.last_wd[group];
        self.watches.push(Watch { group, wd, node });
        wd
    }

    /// Whether there was such a watch.
    pub(super) fn unwatch(&mut self, group: usize, wd: i32) -> bool {
        let before = self.watches.len();
        self.watches.retain(|watch| (watch.group, watch.wd) != (group, wd));
        let known = self.watches.len() < before;
        if known {
            self.told.entry(Who::Watch(group, wd)).or_default().push("IGNORED".to_owned());
        }
        known
    }

    /// The group ends with its reader, and another begins.
    pub(super) fn replace_group(&mut self, group: usize) {
        self.watches.retain(|watch| watch.group != group);
        self.last_wd[group] = 0;
        self.tails.remove(&group);
        self.told.retain(|who, _| !matches!(who, Who::Watch(other, _) if *other == group));
    }
}
