//! Births and deaths: names that came or went are looked up, newborns taken into the books.

use std::collections::VecDeque;

use indexmap::IndexMap;
use rustix::io::Errno;

use super::{
    Monitor,
    books::{Node, NodeKey, Watched},
    is_gone,
    names::{self, Ahead, Found, Records},
    settle::Loss,
};
use crate::{
    LearnedFrom,
    world::{Stat, Wd, World},
};

impl<W: World> Monitor<W> {
    /// Takes in every birth and death there is a hint of.
    pub(crate) fn take_lives(&mut self) {
        loop {
            self.take_deaths();
            self.take_names();
            if self.take_strays() {
                return;
            }
        }
    }

    /// Looks up every name that came or went.
    pub(crate) fn take_names(&mut self) {
        if std::mem::take(&mut self.hints.above) {
            self.check_roots(LearnedFrom::Parent);
        }
        let books = &self.books;
        let all = self.hints.take_names(|key| books.get(key).map_or(0, |node| node.depth));
        for (key, mut names) in all {
            if self.turns.awaits_check(&self.books, key) {
                // If it turns out to be dead, its end tells of them.
                self.hints.put_back(key, names);
                self.check_first(key);
                names = self.hints.take_names_in(key);
            }
            if self.books.living(key).is_none() {
                continue;
            }
            if !self.goes_deeper(key) {
                self.begin_kin(key); // all there is to know of its children
                continue;
            }
            names.retain(|name, records| !self.take_known_death(key, name, *records));
            if names.is_empty() {
                continue;
            }
            match self.open(key) {
                Ok(Some(mut dir)) => {
                    for (name, records) in names {
                        let looked_up = self.world.open_child(&mut dir, &name);
                        self.take_name(key, looked_up, &name, records);
                    }
                    self.world.close(dir);
                }
                Ok(None) => {
                    self.take_names_of_dead(key, names);
                    self.bury_tree(key, LearnedFrom::Lookup);
                }
                Err(_) => {} // noted: a sweep must look
            }
        }
    }

    /// The last record of a name is a death, and the bearer that the books have is dead: then nobody
    /// needs to look up the name. Who bears it by now has a record to come.
    fn take_known_death(&mut self, dir: NodeKey, name: &[u8], records: Records) -> bool {
        if !self.world.goes_by_id() || !records.end_with_death() {
            return false;
        }
        let Some(known) = self.books.child(dir, name) else { return false };
        match self.open(known) {
            Ok(None) => self.take_name(dir, Err(Errno::NOENT), name, records),
            Ok(Some(handle)) => {
                self.world.close(handle);
                return false;
            }
            Err(_) => return false,
        }
        true
    }

    /// Of a directory that is dead, all bearers of all names are dead.
    fn take_names_of_dead(&mut self, dir: NodeKey, names: IndexMap<Box<[u8]>, Records>) {
        if !self.goes_deeper(dir) || self.marked {
            return;
        }
        for (name, records) in names {
            let known = self.books.child(dir, &name);
            let known_ahead = known.and_then(|key| self.books.get(key)).map(|node| node.ahead);
            let ahead = known_ahead.unwrap_or_else(|| self.take_ahead(dir, &name));
            let (unnamed, _) = names::account(ahead, records, Found::Nothing);
            for _ in 0..unnamed {
                self.tell_unnamed(dir, &name);
            }
        }
    }

    fn take_name(
        &mut self,
        dir: NodeKey,
        looked_up: rustix::io::Result<(W::Dir, Stat)>,
        name: &[u8],
        records: Records,
    ) {
        let known = self.books.child(dir, name);
        let known_ahead = known.and_then(|key| self.books.get(key)).map(|node| node.ahead);
        let ahead = known_ahead.unwrap_or_else(|| self.take_ahead(dir, name));
        let learned_from = if self.marked { LearnedFrom::Fanotify } else { LearnedFrom::Parent };
        let found = match &looked_up {
            Err(errno) if is_gone(*errno) => Found::Nothing,
            Err(errno) => {
                // Trouble of our own: a sweep must look.
                self.could_not(dir, *errno);
                return;
            }
            Ok((_, stat)) => {
                let is = known.and_then(|key| self.books.get(key)).is_some_and(|n| n.id == stat.id);
                if is { Found::Known } else { Found::New }
            }
        };
        let told = match known {
            None => ahead != Ahead::NO,
            Some(_) => found != Found::Known,
        };
        if records.begin_with_death() && !told {
            self.note_stranger(dir);
        }
        if ahead.may_hide_one(records) {
            self.books.note_stranger(dir);
        }
        let (unnamed, ahead) = match self.marked {
            true => {
                if found == Found::Nothing && known.is_none() {
                    self.note_vanished(dir);
                }
                (0, Ahead::NO)
            }
            false => names::account(ahead, records, found),
        };
        if found == Found::Known {
            if let Some(node) = known.and_then(|key| self.books.get_mut(key)) {
                node.ahead = ahead;
            }
        } else if let Some(key) = known {
            self.bury_tree(key, learned_from);
            self.take_ahead(dir, name);
        }
        for _ in 0..unnamed {
            self.tell_unnamed(dir, name);
        }
        let Ok((handle, stat)) = looked_up else { return };
        match found {
            Found::New => self.adopt(dir, name, handle, stat, ahead),
            _ => self.world.close(handle),
        }
    }

    /// Opens a child that was listed.
    pub(crate) fn look_up(
        &mut self,
        key: NodeKey,
        dir: &mut W::Dir,
        name: &[u8],
    ) -> Option<(W::Dir, Stat)> {
        match self.world.open_child(dir, name) {
            Ok(found) => return Some(found),
            Err(errno) if is_gone(errno) => self.note_vanished(key),
            Err(errno) => self.could_not(key, errno), // a sweep must look
        }
        None
    }

    /// A child that nobody knew was gone when it was looked up. The record of its death will name it,
    /// but may come late: until then what it counted is called neither the directory's own nor another
    /// child's alone.
    fn note_vanished(&mut self, dir: NodeKey) {
        self.begin_kin(dir);
        if self.marked {
            self.deaths.note_vanished(dir);
        } else {
            self.books.note_stranger(dir);
        }
    }

    /// One died in a directory of which nothing was ever told. If that was just found, it may have been
    /// born before the watch was set, and have counted since.
    fn note_stranger(&mut self, dir: NodeKey) {
        if self.books.get(dir).is_some_and(|node| node.born_ns >= self.before_ns) {
            self.books.note_stranger(dir);
        }
    }

    fn take_ahead(&mut self, dir: NodeKey, name: &[u8]) -> Ahead {
        if self.ahead.is_empty() {
            return Ahead::NO;
        }
        self.ahead.swap_remove(&(dir, Box::from(name))).unwrap_or(Ahead::NO)
    }

    /// One was born here and gone before it could be opened.
    fn tell_unnamed(&mut self, dir: NodeKey, name: &[u8]) {
        if let Some(key) = self.enter_dead(dir, name, 0) {
            self.tell_death(key, LearnedFrom::Parent);
        }
    }

    /// Puts into the books one that was never found alive. Its death is still to be told.
    pub(crate) fn enter_dead(&mut self, dir: NodeKey, name: &[u8], id: u64) -> Option<NodeKey> {
        self.begin_kin(dir);
        self.touched.insert(dir);
        let n = self.books.next_instance();
        let parent = self.books.get(dir)?;
        let mut node = Node::new(n, id, parent.root, self.now_ns);
        node.depth = parent.depth + 1;
        node.parent = Some(dir);
        node.name = name.into();
        node.born_ns = self.now_ns;
        node.flags.dead = true;
        let key = self.books.insert_apart(node);
        self.untold.touch(&mut self.books, key);
        Some(key)
    }

    pub(crate) fn tell_death(&mut self, key: NodeKey, learned_from: LearnedFrom) {
        self.untold.push_removal(&self.books, key);
        self.losses.push(Loss { key, file: None, learned_from });
    }

    /// Takes a newborn, an open directory, and all below it into the books.
    pub(crate) fn adopt(
        &mut self,
        dir: NodeKey,
        name: &[u8],
        handle: W::Dir,
        stat: Stat,
        ahead: Ahead,
    ) {
        if self.has_died_since(dir, stat.id) {
            return self.world.close(handle);
        }
        match self.enter(dir, name, stat, ahead) {
            Some(key) => self.settle_in(key, handle),
            None => self.world.close(handle),
        }
    }

    /// Puts a living child into the books, with nothing yet but its name and id. It existed at the
    /// start if its parent is just being taken in as one that did.
    fn enter(&mut self, dir: NodeKey, name: &[u8], stat: Stat, ahead: Ahead) -> Option<NodeKey> {
        self.begin_kin(dir);
        let earlier = self.take_ahead(dir, name);
        let n = self.books.next_instance();
        let existing = self.taking_baseline;
        let parent = self.books.living(dir)?;
        let mut node = Node::new(n, stat.id, parent.root, self.now_ns);
        node.depth = parent.depth + 1;
        node.parent = Some(dir);
        node.name = name.into();
        node.born_ns = self.now_ns;
        node.flags.existing = existing;
        node.ahead = if self.marked { Ahead::NO } else { earlier.and(ahead) };
        let key = self.books.insert(node);
        self.untold.touch(&mut self.books, key);
        Some(key)
    }

    /// Watches, then reads, then lists a node just put into the books, and so on for all below it.
    pub(crate) fn settle_in(&mut self, key: NodeKey, dir: W::Dir) {
        let mut below = VecDeque::new();
        let children = self.settle_in_one(key, dir);
        if !children.is_empty() {
            below.push_back((key, children));
        }
        while let Some((parent, names)) = below.pop_front() {
            let Ok(Some(mut dir)) = self.open(parent) else { continue };
            self.has_died_since(parent, 0);
            let mut met = false;
            for (name, id) in names {
                if self.books.living(parent).is_none() || self.books.child(parent, &name).is_some()
                {
                    continue;
                }
                let Some((child_dir, stat)) = self.look_up(parent, &mut dir, &name) else {
                    continue;
                };
                // The one that was listed has died, and is told before the one that bears its name.
                if stat.id != id && self.has_died_since(parent, stat.id) {
                    self.world.close(child_dir);
                    continue;
                }
                let Some(child) = self.enter(parent, &name, stat, Ahead::LISTED) else {
                    self.world.close(child_dir);
                    continue;
                };
                met = true;
                let children = self.settle_in_one(child, child_dir);
                if !children.is_empty() {
                    below.push_back((child, children));
                }
            }
            self.world.close(dir);
            if met && self.taking_baseline {
                self.rebase(parent);
            }
        }
    }

    /// One step of [`Self::settle_in`]: gives the names of the children, and their ids.
    fn settle_in_one(&mut self, key: NodeKey, mut dir: W::Dir) -> Vec<(Box<[u8]>, u64)> {
        let deeper = self.goes_deeper(key);
        if deeper || self.books.get(key).is_some_and(|node| node.depth == 0) {
            self.watch_directory(key, &mut dir);
        }
        let listing = self.list(key, &mut dir);
        self.add_listed_files(key, &mut dir, listing.as_ref());
        if self.taking_baseline {
            self.learn_history(key, &mut dir);
        } else if (self.marked || !self.hears_of_births(key)) && self.has_counted(key) {
            self.expect_kin(key, &mut dir);
        }
        if let Some(node) = self.books.get_mut(key) {
            node.flags.settled = true;
        }
        let children = match listing {
            Some(listing) => listing.children,
            None => self.list_children(key, &mut dir),
        };
        self.world.close(dir);
        if deeper {
            return children;
        }
        if !children.is_empty() {
            self.begin_kin(key);
        }
        Vec::new()
    }

    /// Lists the subdirectories, unless the link count says that there are none.
    fn list_children(&mut self, key: NodeKey, dir: &mut W::Dir) -> Vec<(Box<[u8]>, u64)> {
        let mut children = Vec::new();
        match self.world.stat(dir) {
            Ok(stat) if stat.subdirectories.is_some_and(|count| count > 0) => {}
            Ok(_) => return children,
            Err(errno) => {
                self.could_not(key, errno);
                return children;
            }
        }
        let listed = self.world.list(dir, &mut |name, is_dir, id| {
            if is_dir {
                children.push((name.into(), id));
            }
        });
        if let Err(errno) = listed {
            self.could_not(key, errno);
            children.clear();
        }
        children
    }

    pub(crate) fn watch_directory(&mut self, key: NodeKey, dir: &mut W::Dir) {
        if !self.notified || self.marked {
            return;
        }
        match self.world.watch(dir) {
            Ok(wd) => self.note_watch(wd, Watched::Directory(key)),
            Err(errno) => self.could_not(key, errno),
        }
    }

    pub(crate) fn note_watch(&mut self, wd: Wd, on: Watched) {
        self.books.watch(wd, on);
        match on {
            Watched::Directory(key) => {
                if let Some(node) = self.books.get_mut(key) {
                    node.wd = Some(wd);
                }
            }
            Watched::File(key, file) => {
                if let Some(file) = self.books.get_mut(key).and_then(|n| n.present_mut(file)) {
                    file.wd = Some(wd);
                }
            }
            Watched::AboveRoots => {}
        }
    }

    /// A cgroup is gone, and with it all below it. Its removal is told once it is settled.
    pub(crate) fn bury_tree(&mut self, key: NodeKey, learned_from: LearnedFrom) {
        // What was born and died in it stands in records that may not have been read yet.
        let _ = self.drain();
        let had_children = self.books.get(key).is_some_and(|node| node.flags.has_kin);
        for dead in self.books.subtree(key).into_iter().rev() {
            let names = self.hints.take_names_in(dead);
            self.take_names_of_dead(dead, names);
            self.take_deaths_in(dead);
            self.unwatch_node(dead);
            if self.books.living(dead).is_none() {
                continue; // it was found dead before, and its account is closed
            }
            self.close_account(dead);
            let Some(node) = self.books.get_mut(dead) else { continue };
            node.read_ns = self.now_ns;
            let (parent, ahead) = (node.parent, node.ahead);
            if let Some(parent) = parent {
                if ahead != Ahead::NO {
                    let name = node.name.clone();
                    self.ahead.insert((parent, name), ahead);
                }
                self.touched.insert(parent);
            }
            self.books.bury(dead);
            self.rests.swap_remove(&dead);
            self.tell_death(dead, if dead == key { learned_from } else { LearnedFrom::Lookup });
            self.expect_death(dead);
        }
        if had_children {
            let books = &self.books;
            self.ahead.retain(|(dir, _), _| books.living(*dir).is_some());
        }
        self.drop_root(key);
    }

    /// Ends all watches of a node.
    pub(crate) fn unwatch_node(&mut self, key: NodeKey) {
        let Some(node) = self.books.get_mut(key) else { return };
        let files = node.files.iter_mut().filter_map(|file| file.wd.take());
        let wds: Vec<Wd> = node.wd.take().into_iter().chain(files).collect();
        for wd in wds {
            if self.books.unwatch(wd).is_some() {
                self.world.unwatch(wd);
            }
        }
    }
}
