//! The monitor: keeps the books of a hierarchy over a [`World`], by hints that are always checked.
//!
//! One pass ([`Monitor::update`]) goes: drain the notifications; names that came or went are looked
//! up (`arrivals`); event files that woke are read (`reading`); what died is settled with its
//! parent (`settle`); what a timer is due for is done (`sweep`). Everything learned is in the books
//! (`books`); what the reader does not know yet is in `untold`, and `tell` makes events of it.
//!
//! What is more than a batch takes turns between subtrees (`turns`, `fair`), with a drain before each
//! batch, and may wait for the next pass.
//!
//! Invariants:
//! * Wake-ups are hints, only counters count; identity is the directory's id, never its path.
//! * Watch, then read, then list: nothing falls between.
//! * A cgroup's death is believed only after its name was looked up.
//! * Children die before their parents, in the books too.

mod arrivals;
mod attribute;
mod books;
mod cancelled;
mod deaths;
mod fair;
mod files;
mod hints;
mod kin;
mod names;
mod reading;
mod reconcile;
mod roots;
mod schema;
mod settle;
mod sweep;
mod tell;
mod trouble;
mod turns;
mod unproved;
mod untold;
mod way;

use std::{collections::VecDeque, path::Path};

use hashbrown::DefaultHashBuilder;
use indexmap::{IndexMap, IndexSet};

use self::{
    books::{Books, NodeKey},
    deaths::Deaths,
    hints::Hints,
    names::Ahead,
    reading::Woken,
    roots::WatchedRoot,
    schema::Schemas,
    settle::{Loss, Rest},
    sweep::Sweep,
    trouble::Trouble,
    turns::Turns,
    unproved::Unproved,
    untold::{Entry, Untold},
};
use crate::{
    Error, Event, EventKind, Files, GapReason, Options, Snapshot, Strategy, Usage,
    world::{MountOptions, World},
};

pub(crate) use crate::world::is_gone;

/// Sets and maps in the order of insertion, by keys that nobody outside chooses: the fast hash will
/// do. What is found by names from outside keeps the keyed one.
type Set<K> = IndexSet<K, DefaultHashBuilder>;
type Map<K, V> = IndexMap<K, V, DefaultHashBuilder>;

/// The engine behind a [`Watcher`](crate::Watcher).
#[derive(Debug)]
pub(crate) struct Monitor<W: World> {
    pub(crate) world: W,
    options: Options,
    /// Notifications are used; else everything is swept.
    notified: bool,
    /// A mark on the superblock tells of births and deaths; else a watch on each directory.
    marked: bool,
    deaths: Deaths,
    schemas: Schemas,
    books: Books,
    roots: Vec<WatchedRoot>,
    /// The ids of the roots by their numbers, also of those removed.
    root_ids: Vec<u64>,
    hints: Hints,
    turns: Turns,
    /// What is known to be lost and not settled yet.
    losses: Vec<Loss>,
    /// Records were lost, so that some may have lived and died that nobody will ever tell of.
    births_missed: bool,
    /// Names of dead bearers whose records are still to come.
    ahead: IndexMap<(NodeKey, Box<[u8]>), Ahead>,
    /// What was called a cgroup's own and may be a child's.
    unproved: Unproved,
    /// Parents whose sums were touched in this pass.
    touched: Set<NodeKey>,
    /// Parents with an unaccounted rest and when it is due to be called late.
    rests: Map<NodeKey, Rest>,
    mount: MountOptions,
    /// They changed, and the books were not opened anew since.
    mount_switched: bool,
    host_kills: Option<u64>,
    told_kills: u64,
    /// How much of a processor's time the last look at unaccounted rests took.
    audit_ns: u64,
    sweep: Sweep,
    /// What the world's alarm is set to.
    alarm_ns: u64,
    untold: Untold,
    /// Events made of the untold, not yet taken.
    ready: VecDeque<(EventKind, u64)>,
    /// Empty, but for its room.
    telling: Vec<EventKind>,
    seq: u64,
    now_ns: u64,
    /// When the last pass began.
    before_ns: u64,
    unix_offset_ns: i64,
    watch_limit_told: bool,
    trouble: Trouble,
    /// A gap was emitted, and no `ready` yet that ends it.
    in_gap: bool,
    /// What is found now existed at the start.
    taking_baseline: bool,
    text: Vec<u8>,
    values: Vec<u64>,
    values_before: Vec<u64>,
    path: Vec<u8>,
    woken: Woken,
}

impl<W: World> Monitor<W> {
    pub(crate) fn new(world: W, options: Options, strategy: Strategy) -> Result<Self, Error> {
        let schemas = Schemas::new(&options.files)?;
        let mut this = Self {
            world,
            notified: strategy != Strategy::Sweep,
            marked: false,
            deaths: Deaths::default(),
            schemas,
            books: Books::default(),
            roots: Vec::new(),
            root_ids: Vec::new(),
            hints: Hints::default(),
            turns: Turns::default(),
            losses: Vec::new(),
            births_missed: false,
            ahead: IndexMap::new(),
            unproved: Unproved::default(),
            rests: Map::default(),
            mount: MountOptions::default(),
            mount_switched: false,
            host_kills: None,
            told_kills: 0,
            audit_ns: 0,
            sweep: Sweep::default(),
            alarm_ns: u64::MAX,
            untold: Untold::new(options.batch),
            ready: VecDeque::new(),
            telling: Vec::new(),
            seq: 0,
            now_ns: 0,
            before_ns: 0,
            unix_offset_ns: 0,
            watch_limit_told: false,
            trouble: Trouble::default(),
            in_gap: false,
            taking_baseline: false,
            touched: Set::default(),
            text: Vec::with_capacity(4096),
            values: Vec::new(),
            values_before: Vec::new(),
            path: Vec::new(),
            woken: Woken::default(),
            options,
        };
        if strategy == Strategy::Fanotify {
            this.use_mark();
        }
        this.mount = this.world.mount_options();
        this.host_kills = this.world.host_oom_kills();
        this.look_at_clock();
        Ok(this)
    }

    /// The world's mark on the superblock tells of births and deaths. Before anything is watched.
    pub(crate) fn use_mark(&mut self) {
        self.marked = true;
        self.books.index_ids();
    }

    fn look_at_clock(&mut self) {
        let now = self.world.now();
        self.now_ns = now.boot_ns;
        self.unix_offset_ns = now.unix_ns.wrapping_sub_unsigned(now.boot_ns);
    }

    /// Takes in everything that is known now.
    pub(crate) fn update(&mut self) -> Result<(), Error> {
        self.before_ns = self.now_ns;
        self.look_at_clock();
        self.turns.begin(self.options.batch);
        self.drain()?;
        self.take_in()?;
        self.unproved.age();
        self.turn_timers()?;
        self.untold.pay_ready(&self.books);
        let limit = self.options.untold_pairs;
        self.untold.bound(&mut self.books, &self.schemas, limit);
        Ok(())
    }

    /// Hands what is queued over to the hints.
    fn drain(&mut self) -> Result<(), Error> {
        if !self.notified {
            return Ok(());
        }
        let (books, hints) = (&mut self.books, &mut self.hints);
        let drained = self.world.drain(&mut |notification| hints.take(books, notification));
        drained.map_err(|source| Error::System { action: "read the notifications", source })
    }

    /// Works off the hints and settles what was lost, until nothing is left of either. What has to
    /// wait for its turn is read in batches, with a drain before each.
    fn take_in(&mut self) -> Result<(), Error> {
        loop {
            while !self.hints.is_empty() || !self.losses.is_empty() || self.mount_switched {
                if std::mem::take(&mut self.hints.overflow) {
                    self.reconcile(GapReason::QueueOverflow);
                }
                self.take_lives();
                self.take_suspects();
                self.take_controls();
                self.take_wakes();
                self.settle();
                if self.mount_switched && self.losses.is_empty() {
                    self.rebase_all();
                }
            }
            if !self.turns.has_turn() {
                break;
            }
            self.take_turn();
            self.drain()?;
        }
        self.end_reconcile();
        self.births_missed = self.untold.is_gap_open();
        self.watch_rests();
        Ok(())
    }

    /// The next event, if there is one.
    pub(crate) fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((kind, boot_ns)) = self.ready.pop_front() {
                if self.options.filter.admits(&kind) {
                    self.seq += 1;
                    let unix_ns = self.unix_offset_ns.wrapping_add_unsigned(boot_ns);
                    let time = crate::Time { boot_ns, unix_ns };
                    return Some(Event { seq: self.seq, time, kind });
                }
            }
            self.tell_one()?;
        }
    }

    /// Makes events of the first entry of what is untold.
    fn tell_one(&mut self) -> Option<()> {
        let entry = self.untold.pop()?;
        let mut out = std::mem::take(&mut self.telling);
        let mut read_ns = self.now_ns;
        let (books, untold) = (&mut self.books, &mut self.untold);
        match entry {
            Entry::Living(key) => {
                read_ns = books.get(key).map_or(read_ns, |node| node.read_ns);
                tell::living(books, untold, &self.schemas, &self.root_ids, key, &mut out);
            }
            Entry::Removal(key) => {
                read_ns = books.get(key).map_or(read_ns, |node| node.read_ns);
                tell::removal(books, untold, &self.schemas, &self.root_ids, key, &mut out);
            }
            Entry::Gap(reason) => {
                let cancelled = untold.take_cancelled();
                let (cancelled_pairs, cancelled) = (cancelled.pairs, cancelled.sums);
                out.push(EventKind::Gap { reason, cancelled_pairs, cancelled });
                self.in_gap = true;
            }
            Entry::Inaccessible(key, errno) => {
                if let Some(node) = books.get(key) {
                    let cgroup = tell::cgroup(books, key, node, &self.root_ids);
                    let reason = GapReason::Inaccessible { cgroup, errno };
                    let cancelled = Files::default();
                    out.push(EventKind::Gap { reason, cancelled_pairs: 0, cancelled });
                    self.in_gap = true;
                }
            }
            // What it was to end may have gone with its cgroup.
            Entry::Ready { after_gap } if after_gap && !self.in_gap => {}
            Entry::Ready { after_gap } => {
                self.in_gap = false;
                out.push(EventKind::Ready { cgroups: books.alive() as u64, after_gap });
            }
        }
        self.ready.extend(out.drain(..).map(|kind| (kind, read_ns)));
        self.telling = out;
        Some(())
    }

    /// There is something to be told.
    pub(crate) fn has_untold(&self) -> bool {
        !self.ready.is_empty() || !self.untold.is_empty()
    }

    /// No watched root is left and everything has been told.
    pub(crate) fn has_ended(&self) -> bool {
        !self.root_ids.is_empty() && self.roots.is_empty() && !self.has_untold()
    }

    /// The world's alarm will go off when there is something to do that no notification tells.
    pub(crate) fn is_alarm_set(&self) -> bool {
        self.alarm_ns != u64::MAX
    }

    /// How long ago, in nanoseconds, the world was last looked at.
    pub(crate) fn age_ns(&mut self) -> u64 {
        self.world.now().boot_ns.saturating_sub(self.now_ns)
    }

    pub(crate) fn snapshot(&self) -> Vec<Snapshot> {
        let living = self.books.iter().filter(|(_, node)| !node.flags.dead);
        let mut all: Vec<_> = living
            .map(|(key, node)| Snapshot {
                cgroup: tell::cgroup(&self.books, key, node, &self.root_ids),
                files: tell::files(node, &self.schemas),
                watched: self.notified && !node.flags.unwatched,
            })
            .collect();
        all.sort_by(|a, b| {
            (a.cgroup.root_id, &a.cgroup.path).cmp(&(b.cgroup.root_id, &b.cgroup.path))
        });
        all
    }

    pub(crate) fn usage(&self) -> Usage {
        Usage {
            cgroups: self.books.alive(),
            watches: self.books.watches(),
            unwatched: if self.notified { self.books.unwatched() } else { self.books.alive() },
            pending: self.untold.len(),
        }
    }

    /// The watched roots with their ids.
    pub(crate) fn roots(&self) -> impl Iterator<Item = (&Path, u64)> {
        self.roots.iter().map(|root| {
            let id = self.root_ids.get(root.number as usize).copied().unwrap_or(0);
            (root.file_path.as_path(), id)
        })
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }
}
