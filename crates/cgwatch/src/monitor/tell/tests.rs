//! What is emitted of one cgroup, without a hierarchy.

use super::*;
use crate::monitor::untold::Removal;

const MEMORY: FileId = 1;
const PIDS: FileId = 2;

/// A cgroup with `cgroup.events`, `memory.events` and `pids.events`, of which nothing was emitted yet.
struct One {
    books: Books,
    untold: Untold,
    schemas: Schemas,
    ids: [SchemaId; 3],
    key: NodeKey,
}

impl One {
    fn new(existing: bool, values: [u64; 3]) -> Self {
        let mut schemas = Schemas::new(&["memory.events".into(), "pids.events".into()]).unwrap();
        let texts = ["populated 0\n", "high 0\n", "max 0\n"];
        let ids = texts.map(|text| schemas.take(text.as_bytes(), 0, &mut Vec::new()));
        let mut books = Books::default();
        let mut node = Node::new(books.next_instance(), 7, 0, 0);
        node.flags.existing = existing;
        node.files = (0..).zip(ids).zip(values).map(|((f, id), v)| file(f, id, v)).collect();
        let key = books.insert(node);
        let mut untold = Untold::new(100);
        untold.touch(&mut books, key);
        Self { books, untold, schemas, ids, key }
    }

    fn node(&mut self) -> &mut Node {
        self.books.get_mut(self.key).unwrap()
    }

    /// What the reader knows of a file, and what it showed when it went.
    fn knows(&mut self, file: FileId, total: u64, added: bool, lost: Option<u64>) {
        let schema = self.ids[usize::from(file)];
        let unseen = Unseen::default();
        let lost =
            lost.map(|total| Box::new(Lost { schema, total: [total].into(), own: None, unseen }));
        let files = &mut self.untold.told_mut(self.key).files;
        files.push(ToldFile { file, schema, total: [total].into(), own: None, added, lost });
    }

    fn dies(&mut self, unseen: Unseen) {
        self.books.bury(self.key);
        self.untold.push_removal(&self.books, self.key);
        let removal = Removal { learned_from: LearnedFrom::Lookup, unseen };
        self.untold.settle_removal(self.key, removal);
    }

    /// What is emitted, in short.
    fn emit(&mut self) -> Vec<String> {
        let mut out = Vec::new();
        living(&mut self.books, &mut self.untold, &self.schemas, &[7], self.key, &mut out);
        out.iter().map(short).collect()
    }
}

fn file(file: FileId, schema: SchemaId, value: u64) -> File {
    let total = [value].into();
    File { file, id: 0, present: true, replaced: false, schema, wd: None, total, kin: None }
}

fn short(kind: &EventKind) -> String {
    match kind {
        EventKind::Changed { file, old, new, late, .. } => {
            let late: Vec<_> = late.0.iter().map(|(_, amount)| format!(" late {amount}")).collect();
            match (old.0.first(), new.0.first()) {
                (Some((_, old)), Some((_, new))) => format!("{file} {old} {new}{}", late.concat()),
                _ => format!("{file}{}", late.concat()),
            }
        }
        EventKind::FileRemoved { file, .. } => format!("{file} removed"),
        EventKind::FileAdded { files, .. } => format!("{} added", files.0[0].0),
        EventKind::Touched { file, .. } => format!("{file} touched"),
        kind => kind.name().to_owned(),
    }
}

/// What emptied a cgroup is emitted before that it is empty. If that stands in the removal, the removal
/// says both.
#[test]
fn a_removal_that_says_what_was_not_seen_says_the_end_too() {
    let shared = Unseen { unseen_in: Some(9), ..Unseen::default() };
    let counted = Values(vec![("high".into(), 1)]);
    let recovered =
        Unseen { files: vec![("memory.events".into(), Some(counted))], ..Unseen::default() };
    let unknown = Unseen { files: vec![("memory.events".into(), None)], ..Unseen::default() };
    let rest = ["appeared", "memory.events 2 3", "pids.events 4 6"];
    for (unseen, end) in [
        (shared, &[][..]),
        (recovered, &[]),
        (unknown, &["cgroup.events 1 0"]),
        (Unseen::default(), &["cgroup.events 1 0"]),
    ] {
        let mut one = One::new(true, [0, 3, 6]);
        one.knows(CGROUP_EVENTS, 1, false, None);
        one.knows(MEMORY, 2, false, None);
        one.knows(PIDS, 4, false, None);
        one.dies(unseen.clone());
        assert_eq!(one.emit(), [&rest[..], end].concat(), "{unseen:?}");
    }
}

/// What a removal says is only the end: a cgroup that was filled, or of which nothing was read, is not
/// called empty before, and what else changed is emitted.
#[test]
fn what_is_no_end_is_not_left_to_the_removal() {
    let unseen = Unseen { unseen_in: Some(9), ..Unseen::default() };
    let mut one = One::new(true, [1, 3, 0]);
    one.knows(CGROUP_EVENTS, 0, false, None);
    one.knows(MEMORY, 2, false, None);
    one.dies(unseen);
    assert_eq!(one.emit(), ["appeared", "cgroup.events 0 1", "memory.events 2 3"]);
}

/// Of a newborn a file counts from zero, of one that came later from what it showed then; the same if
/// it is gone by now.
#[test]
fn a_lost_file_counts_from_where_the_reader_knows_it() {
    for (existing, added, said) in [
        (false, false, &["appeared", "memory.events 0 5", "memory.events removed"][..]),
        (
            false,
            true,
            &["appeared", "memory.events added", "memory.events 2 5", "memory.events removed"],
        ),
        (true, false, &["appeared", "memory.events 2 5", "memory.events removed"]),
        (
            true,
            true,
            &["appeared", "memory.events added", "memory.events 2 5", "memory.events removed"],
        ),
    ] {
        let mut one = One::new(existing, [0, 0, 0]);
        one.node().files.retain(|file| file.file != MEMORY);
        one.knows(MEMORY, 2, added, Some(5));
        assert_eq!(one.emit(), said, "{existing} {added}");
    }
}

/// What came late of a file that is not there any more is emitted, whatever other file has gone.
#[test]
fn what_came_late_is_emitted_without_the_file() {
    let mut one = One::new(true, [0, 0, 0]);
    one.node().flags.told = true;
    one.node().files.retain(|file| file.file == CGROUP_EVENTS);
    one.knows(MEMORY, 2, false, Some(2));
    let pids = one.ids[usize::from(PIDS)];
    one.untold.told_mut(one.key).late.push((PIDS, pids, vec![3]));
    assert_eq!(one.emit(), ["memory.events removed", "pids.events late 3"]);
}

/// A write is explained by a difference in the same file, not by one in another nor by what others
/// counted there.
#[test]
fn what_was_written_is_emitted_unless_a_difference_says_so() {
    let mut one = One::new(true, [0, 3, 6]);
    one.node().flags.told = true;
    one.knows(MEMORY, 2, false, None);
    let pids = one.ids[usize::from(PIDS)];
    one.untold.told_mut(one.key).late.push((PIDS, pids, vec![1]));
    for touch in [Touch::File(MEMORY), Touch::File(PIDS), Touch::Control, Touch::Type] {
        one.untold.note_touch(&mut one.books, one.key, touch);
    }
    let said = [
        "memory.events 2 3",
        "pids.events late 1",
        "pids.events touched",
        "cgroup.subtree_control touched",
        "cgroup.type touched",
    ];
    assert_eq!(one.emit(), said);
}
