//! The rate limit of notifications.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cgroup_sim::{Clock, Event, Hierarchy, Options, Profile};

use crate::{Watcher, count};

fn with_memory(profile: Profile) -> Hierarchy {
    let all = Hierarchy::new(Options { profile, ..Options::default() });
    all.write("cgroup.subtree_control", "+memory").unwrap();
    all.mkdir("a").unwrap();
    all
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn the_first_change_is_told_at_once_and_those_of_10_ms_together_after() {
    let all = with_memory(Profile::Linux71);
    let watcher = Watcher::of(&all, &["a/memory.events"]);
    count(&all, "a", Event::MemoryHigh, 1);
    assert_eq!(watcher.told(&all), [1]);
    for _ in 0..100 {
        count(&all, "a", Event::MemoryHigh, 1);
    }
    assert_eq!(watcher.told(&all), []);
    all.advance(10 * MS);
    assert_eq!(watcher.told(&all), [], "the window includes its last tick");
    assert_eq!(all.next_timer(), Some(11_000_000));
    all.advance(MS);
    assert_eq!(watcher.told(&all), [1]);
    assert_eq!(all.next_timer(), None);
    count(&all, "a", Event::MemoryHigh, 1);
    assert_eq!(watcher.told(&all), [], "the late one opened a window of its own");
    all.advance(20 * MS);
    assert_eq!(watcher.told(&all), [1]);
}

/// kernel-semantics 0.6: on Linux the last word is lost with the timer; here it is not.
#[test]
fn what_is_held_back_at_the_removal_is_lost_on_linux_and_told_by_announced() {
    // Then IGNORED, from 7.1 on; DELETE_SELF was not asked for.
    let profiles = [(Profile::Linux70, 0), (Profile::Linux71, 1), (Profile::Announced, 2)];
    for (profile, told) in profiles {
        let all = with_memory(profile);
        let watcher = Watcher::of(&all, &["a/memory.events"]);
        count(&all, "a", Event::MemoryHigh, 1);
        watcher.told(&all);
        count(&all, "a", Event::MemoryHigh, 1);
        all.rmdir("a").unwrap();
        all.advance(50 * MS);
        assert_eq!(watcher.told(&all).len(), told, "{profile:?}");
    }
}

/// Time as a test likes it, and when it was asked to come back.
#[derive(Default)]
struct Hand {
    now: AtomicU64,
    due: Mutex<Vec<u64>>,
}

impl Clock for Hand {
    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    fn due(&self, time: u64) {
        self.due.lock().unwrap().push(time);
    }
}

#[test]
fn with_a_clock_changes_happen_when_they_happen_and_it_says_when_to_come_back() {
    let hand = Arc::new(Hand::default());
    let clock = Some(Arc::clone(&hand) as _);
    let all = Hierarchy::new(Options { clock, ..Options::default() });
    all.write("cgroup.subtree_control", "+memory").unwrap();
    all.mkdir("a").unwrap();
    let watcher = Watcher::of(&all, &["a/memory.events"]);
    let at = |ms: u64| hand.now.store(ms * 1_000_000, Ordering::Relaxed);
    at(5);
    count(&all, "a", Event::MemoryHigh, 1);
    // Nobody advanced it: by its own time this is within the window, and a third change is later.
    at(7);
    count(&all, "a", Event::MemoryHigh, 2);
    assert_eq!(watcher.told(&all), [1]);
    assert_eq!(*hand.due.lock().unwrap(), [15_000_000], "once");
    at(100);
    count(&all, "a", Event::MemoryHigh, 1);
    assert_eq!(watcher.told(&all), [1], "what was held back, and what came after the window");
    all.advance_to(200_000_000);
    assert_eq!(all.next_timer(), None);
}
