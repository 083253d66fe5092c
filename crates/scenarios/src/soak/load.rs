//! What happens to the tree of a soak: births and deaths, tasks that come, move and go, counters that
//! are raised, cgroups that are frozen, controllers that come and go; each choice from a seed.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;

use crate::{Cgroup, Failure, Task, Tree, Worker, huge_pages::refuse};

/// So many cgroups live at most.
const MOST: usize = 48;
/// Levels below the root.
const DEEPEST: usize = 4;
/// So many tasks live at most.
const TASKS: usize = 6;
/// Few, so that paths are born again and again.
const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

/// The load, and what lives of it.
#[derive(Debug)]
pub(crate) struct Load<'t> {
    tree: &'t Tree,
    pub(crate) rng: Rng,
    /// By path from the root, which is the empty one.
    nodes: BTreeMap<String, Node>,
    /// Where they are, and they.
    tasks: Vec<(String, Worker)>,
    /// Where births and deaths are made, if not in the first mount.
    through: Option<PathBuf>,
    begin: Instant,
    deeds: Vec<String>,
    born: usize,
    died: usize,
}

#[derive(Debug)]
struct Node {
    cgroup: Cgroup,
    /// Its children count; then no task may be in it.
    offers: bool,
    frozen: bool,
    /// There are tasks in it, or were.
    inhabited: bool,
}

impl Node {
    fn new(cgroup: Cgroup) -> Self {
        Self { cgroup, offers: false, frozen: false, inhabited: false }
    }
}

impl<'t> Load<'t> {
    /// None yet.
    #[must_use]
    pub(crate) fn new(tree: &'t Tree) -> Self {
        let root = Node { offers: true, ..Node::new(tree.root().clone()) };
        Self {
            tree,
            rng: Rng::with_seed(0),
            nodes: [(String::new(), root)].into(),
            tasks: Vec::new(),
            through: None,
            begin: Instant::now(),
            deeds: Vec::new(),
            born: 0,
            died: 0,
        }
    }

    /// Begins a new account of what it does.
    pub(crate) fn forget(&mut self) {
        (self.born, self.died) = (0, 0);
        self.deeds.clear();
        self.begin = Instant::now();
    }

    /// How many were born, died and live.
    #[must_use]
    pub(crate) fn count(&self) -> (usize, usize, usize) {
        (self.born, self.died, self.nodes.len())
    }

    /// What it did, in order.
    #[must_use]
    pub(crate) fn deeds(&self) -> &[String] {
        &self.deeds
    }

    /// Writes down what is done.
    pub(crate) fn deed(&mut self, what: impl fmt::Display) {
        self.deeds.push(format!("{:12} us {what}", self.begin.elapsed().as_micros()));
    }

    /// The directory of the tree.
    #[must_use]
    pub(crate) fn root(&self) -> &Path {
        self.tree.path()
    }

    /// The tree itself, for what happens beside the load.
    #[must_use]
    pub(crate) fn tree(&self) -> &'t Tree {
        self.tree
    }

    /// Counts in what was born and died beside the load.
    pub(crate) fn count_in(&mut self, lives: usize) {
        self.born += lives;
        self.died += lives;
    }

    /// The directory of any of the living.
    pub(crate) fn any(&mut self) -> PathBuf {
        let path = self.draw(|_, _| true).unwrap_or_default();
        self.nodes[&path].cgroup.directory.clone()
    }

    /// Births and deaths are made in another mount from now on, or in the first again.
    pub(crate) fn through(&mut self, root: Option<&Path>) {
        self.through = root.map(Path::to_owned);
    }

    /// One thing or another. In between there is time to keep up, now and then.
    pub(crate) fn act(&mut self) -> Result<(), Failure> {
        if self.rng.u32(0..10) == 0 {
            thread::sleep(Duration::from_micros(self.rng.u64(0..10_000)));
        }
        match self.rng.u32(0..100) {
            0..30 if self.nodes.len() < MOST => self.bear(),
            0..48 => self.die(),
            48..62 => self.raise(),
            62..72 => self.branch(),
            72..77 => self.freeze(),
            77..82 => self.toggle(),
            82..86 => self.start_task(),
            86..92 => self.move_task(),
            92..98 => self.end_task(),
            _ => self.quick_lives(),
        }
    }

    /// So many births and deaths, as fast as possible, each at a path of its own; some count.
    pub(crate) fn storm(&mut self, lives: usize) -> Result<(), Failure> {
        for life in 0..lives {
            let cgroup = self.make(&format!("storm-{life}"))?;
            if life % 500 == 7 && self.nodes[""].offers && !self.is_frozen("") {
                refuse(self.tree, &cgroup, 2)?;
            }
            self.remove(&cgroup)?;
        }
        Ok(())
    }

    /// A task that starts processes, one after the other, for as long as it lives.
    pub(crate) fn fork(&mut self) -> Result<(), Failure> {
        if let Some(path) = self.draw(|load, path| load.takes_tasks(path)) {
            self.settle_in(path, |directory| Task::Fork(directory))?;
        }
        Ok(())
    }

    /// Nothing changes by itself any more: no task is left.
    pub(crate) fn calm(&mut self) -> Result<(), Failure> {
        self.tasks.clear();
        let inhabited = self.nodes.values().filter(|node| node.inhabited);
        inhabited.into_iter().try_for_each(|node| node.cgroup.write("cgroup.kill", "1"))
    }

    fn bear(&mut self) -> Result<(), Failure> {
        let name = NAMES[self.rng.usize(0..NAMES.len())];
        let wants_to_offer = self.rng.bool();
        let Some(parent) = self.draw(|_, path| depth(path) < DEEPEST) else { return Ok(()) };
        let path = join(&parent, name);
        if self.nodes.contains_key(&path) {
            return Ok(());
        }
        self.deed(format_args!("make {path}"));
        let mut node = Node::new(self.make(&path)?);
        if wants_to_offer && self.nodes[&parent].offers {
            node.cgroup.write("cgroup.subtree_control", "+hugetlb")?;
            node.offers = true;
        }
        self.nodes.insert(path, node);
        Ok(())
    }

    fn die(&mut self) -> Result<(), Failure> {
        match self.draw(|load, path| load.is_leaf(path)) {
            Some(path) => self.bury(&path),
            None => Ok(()),
        }
    }

    /// Removes a cgroup and what is below it, with all tasks.
    fn bury(&mut self, path: &str) -> Result<(), Failure> {
        if path.is_empty() {
            return Ok(());
        }
        let below = format!("{path}/");
        let below: Vec<String> =
            self.nodes.keys().filter(|other| other.starts_with(&below)).cloned().collect();
        for path in below.iter().map(String::as_str).rev().chain([path]) {
            let Some(node) = self.nodes.remove(path) else { continue };
            self.deed(format_args!("remove {path}"));
            if node.inhabited {
                node.cgroup.write("cgroup.kill", "1")?;
            }
            self.tasks.retain(|(place, _)| place != path);
            self.remove(&node.cgroup)?;
        }
        Ok(())
    }

    fn raise(&mut self) -> Result<(), Failure> {
        let times = self.rng.u64(1..5);
        let counts = |load: &Self, path: &str| load.counts(path) && load.takes_tasks(path);
        if let Some(path) = self.draw(counts) {
            self.deed(format_args!("count {times} at {path}"));
            refuse(self.tree, &self.nodes[&path].cgroup, times)?;
        }
        Ok(())
    }

    /// A whole branch is born, counts at its leaf, and is removed at once.
    fn branch(&mut self) -> Result<(), Failure> {
        let (name, times) = (NAMES[self.rng.usize(0..NAMES.len())], self.rng.u64(1..4));
        let under = |load: &Self, path: &str| {
            load.nodes[path].offers && !load.is_frozen(path) && depth(path) < 2
        };
        let Some(parent) = self.draw(under) else { return Ok(()) };
        let top = join(&parent, name);
        if self.nodes.contains_key(&top) {
            return Ok(());
        }
        self.deed(format_args!("branch {top}, count {times}"));
        let mut made = Vec::new();
        for path in [top.clone(), format!("{top}/middle")] {
            let cgroup = self.make(&path)?;
            cgroup.write("cgroup.subtree_control", "+hugetlb")?;
            made.push(cgroup);
        }
        let leaf = self.make(&format!("{top}/middle/leaf"))?;
        refuse(self.tree, &leaf, times)?;
        made.push(leaf);
        made.iter().rev().try_for_each(|cgroup| self.remove(cgroup))
    }

    fn freeze(&mut self) -> Result<(), Failure> {
        let Some(path) = self.draw(|_, path| !path.is_empty()) else { return Ok(()) };
        let Some(node) = self.nodes.get_mut(&path) else { return Ok(()) };
        node.frozen = !node.frozen;
        let value = if node.frozen { "1" } else { "0" };
        node.cgroup.write("cgroup.freeze", value)?;
        self.deed(format_args!("freeze {value} {path}"));
        Ok(())
    }

    /// The files of its children come or go.
    fn toggle(&mut self) -> Result<(), Failure> {
        let free = |load: &Self, path: &str| {
            let offers = |child: &str| load.nodes[child].offers;
            let inhabited = load.nodes[path].inhabited;
            load.counts(path) && !inhabited && !load.children(path).any(offers)
        };
        let Some(path) = self.draw(free) else { return Ok(()) };
        let Some(node) = self.nodes.get_mut(&path) else { return Ok(()) };
        node.offers = !node.offers;
        let value = if node.offers { "+hugetlb" } else { "-hugetlb" };
        node.cgroup.write("cgroup.subtree_control", value)?;
        self.deed(format_args!("{value} {path}"));
        Ok(())
    }

    fn start_task(&mut self) -> Result<(), Failure> {
        match self.draw(|load, path| load.takes_tasks(path)) {
            Some(path) if self.tasks.len() < TASKS => {
                self.settle_in(path, |directory| Task::Idle(directory))
            }
            _ => Ok(()),
        }
    }

    fn settle_in(
        &mut self,
        path: String,
        task: impl FnOnce(&Path) -> Task<'_>,
    ) -> Result<(), Failure> {
        let Some(node) = self.nodes.get_mut(&path) else { return Ok(()) };
        node.inhabited = true;
        let worker = Worker::ready(task(&node.cgroup.directory))?;
        self.deed(format_args!("task {} in {path}", worker.pid()));
        self.tasks.push((path, worker));
        Ok(())
    }

    fn move_task(&mut self) -> Result<(), Failure> {
        let chosen = self.rng.usize(0..TASKS);
        let to = self.draw(|load, path| load.takes_tasks(path));
        let (Some(path), Some((place, worker))) = (to, self.tasks.get_mut(chosen)) else {
            return Ok(());
        };
        let Some(node) = self.nodes.get_mut(&path) else { return Ok(()) };
        node.inhabited = true;
        node.cgroup.write("cgroup.procs", &worker.pid().to_string())?;
        place.clone_from(&path);
        let pid = worker.pid();
        self.deed(format_args!("task {pid} to {path}"));
        Ok(())
    }

    /// A task exits or is killed; its cgroup may go at once.
    fn end_task(&mut self) -> Result<(), Failure> {
        let (chosen, gently, at_once) =
            (self.rng.usize(0..TASKS), self.rng.bool(), self.rng.bool());
        if chosen >= self.tasks.len() {
            return Ok(());
        }
        let (path, worker) = self.tasks.swap_remove(chosen);
        self.deed(format_args!("end of task {} in {path}", worker.pid()));
        if gently && !self.is_frozen(&path) {
            worker.end()?;
        } else {
            drop(worker);
        }
        if at_once && self.is_leaf(&path) { self.bury(&path) } else { Ok(()) }
    }

    /// Many short lives at one path.
    fn quick_lives(&mut self) -> Result<(), Failure> {
        let (lives, counting) = (self.rng.usize(10..150), self.rng.usize(2..9));
        let Some(parent) = self.draw(|_, path| depth(path) < DEEPEST) else { return Ok(()) };
        let path = join(&parent, "quick");
        self.deed(format_args!("{lives} lives at {path}, every {counting}th counts"));
        let counts = self.nodes[&parent].offers && !self.is_frozen(&parent);
        for life in 0..lives {
            let cgroup = self.make(&path)?;
            if counts && life % counting == 0 {
                refuse(self.tree, &cgroup, 1)?;
            }
            self.remove(&cgroup)?;
        }
        Ok(())
    }

    /// Any of the living that fits.
    fn draw(&mut self, fits: impl Fn(&Self, &str) -> bool) -> Option<String> {
        let fitting: Vec<&String> = self.nodes.keys().filter(|path| fits(self, path)).collect();
        let count = fitting.len();
        let chosen = fitting.into_iter().cloned().collect::<Vec<_>>();
        // Drawn in any case, so that the next choices are the same.
        let place = self.rng.usize(0..MOST * 1000);
        chosen.into_iter().nth(place % count.max(1))
    }

    fn make(&mut self, path: &str) -> Result<Cgroup, Failure> {
        self.born += 1;
        match &self.through {
            Some(root) => self.tree.make_through(root, path),
            None => self.tree.make(path),
        }
    }

    fn remove(&mut self, cgroup: &Cgroup) -> Result<(), Failure> {
        self.died += 1;
        match &self.through {
            Some(root) => self.tree.remove_through(root, cgroup),
            None => self.tree.remove(cgroup),
        }
    }

    fn children<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a str> {
        let children = self.nodes.keys().map(String::as_str);
        children.filter(move |other| !other.is_empty() && parent(other) == path)
    }

    fn is_leaf(&self, path: &str) -> bool {
        !path.is_empty() && self.children(path).next().is_none()
    }

    /// It has the file of the counter.
    fn counts(&self, path: &str) -> bool {
        path.is_empty() || self.nodes[parent(path)].offers
    }

    /// Tasks may enter it, and run in it.
    fn takes_tasks(&self, path: &str) -> bool {
        !path.is_empty() && !self.nodes[path].offers && !self.is_frozen(path)
    }

    /// It or one above it is frozen.
    fn is_frozen(&self, path: &str) -> bool {
        let mut path = path;
        while !path.is_empty() {
            if self.nodes.get(path).is_some_and(|node| node.frozen) {
                return true;
            }
            path = parent(path);
        }
        false
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.into() } else { format!("{parent}/{name}") }
}

fn depth(path: &str) -> usize {
    if path.is_empty() { 0 } else { 1 + path.matches('/').count() }
}
