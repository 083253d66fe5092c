//! The rate limit of notifications.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
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

#[test]
fn what_is_due_together_is_notified_in_the_order_in_which_it_was_held_back() {
    let told = |order: [&str; 2]| {
        let all = with_memory(Profile::Linux71);
        all.mkdir("b").unwrap();
        let watcher = Watcher::of(&all, &["a/memory.events", "b/memory.events"]);
        for path in ["a", "b"] {
            count(&all, path, Event::MemoryHigh, 1);
        }
        watcher.told(&all);
        for path in order {
            count(&all, path, Event::MemoryHigh, 1);
        }
        all.advance(20 * MS);
        watcher.told(&all)
    };
    // kernfs tells the latest of its list first (kernel: `kernfs_notify_list`).
    assert_eq!(told(["a", "b"]), [2, 1]);
    assert_eq!(told(["b", "a"]), [1, 2]);
}

/// Kernel: `cgroup_rm_file` takes the file from what would notify it: of a cgroup that dies, of a
/// controller that is disabled or hidden, and of an rmdir(2) that is half done.
#[test]
fn a_file_that_is_gone_is_held_back_for_nobody() {
    let removed = |remove: &dyn Fn(&Hierarchy, u64)| {
        let all = Hierarchy::new(Options { remember: true, ..Options::default() });
        all.write("cgroup.subtree_control", "+memory +io").unwrap();
        let a = all.mkdir("a").unwrap();
        remove(&all, a);
        for _ in 0..3 {
            // Where it is counted depends on what became of the state.
            if all.count(a, Event::MemoryHigh, 1).is_err() {
                all.count_former(a, Event::MemoryHigh, 1).unwrap();
            }
        }
        assert_eq!(all.next_timer(), None);
    };
    removed(&|all, _| all.rmdir("a").unwrap());
    removed(&|all, _| all.write("cgroup.subtree_control", "-memory").unwrap());
    removed(&|all, _| all.write("cgroup.subtree_control", "-memory -io").unwrap());
    removed(&|all, a| {
        all.begin_rmdir("a").unwrap();
        while all.show(a, "memory.events").is_ok() && all.step_rmdir() {
            if all.read("a/memory.swap.events").is_err() {
                break;
            }
        }
        assert_eq!(all.find("a"), Some(a), "half done");
    });
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

/// Of the times at which something is due, the clock is given each new earliest, and none twice.
#[test]
fn a_clock_is_told_when_something_is_due_earlier_than_it_knows() {
    let hand = Arc::new(Hand::default());
    let clock = Some(Arc::clone(&hand) as _);
    let all = Hierarchy::new(Options { clock, ..Options::default() });
    all.write("cgroup.subtree_control", "+memory").unwrap();
    all.mkdir("a").unwrap();
    all.mkdir("b").unwrap();
    let at = |ms: u64| hand.now.store(ms * 1_000_000, Ordering::Relaxed);
    count(&all, "b", Event::MemoryHigh, 1);
    at(5);
    count(&all, "a", Event::MemoryHigh, 1);
    at(7);
    count(&all, "a", Event::MemoryHigh, 1);
    count(&all, "a", Event::MemoryHigh, 1);
    assert_eq!(*hand.due.lock().unwrap(), [15_000_000]);
    at(8);
    count(&all, "b", Event::MemoryHigh, 1);
    count(&all, "a", Event::MemoryHigh, 1);
    assert_eq!(*hand.due.lock().unwrap(), [15_000_000, 10_000_000]);
}

/// Lets another thread work while it is told that something is due.
struct Meanwhile {
    told: SyncSender<()>,
    go_on: Mutex<Receiver<()>>,
}

impl Clock for Meanwhile {
    fn now(&self) -> u64 {
        0
    }

    fn due(&self, _: u64) {
        self.told.send(()).unwrap();
        // Bounded, in case the other thread failed.
        let _ = self.go_on.lock().unwrap().recv_timeout(Duration::from_secs(10));
    }
}

#[test]
fn while_a_clock_is_told_another_thread_may_enable_controllers() {
    let ((told, is_told), (done, go_on)) = (sync_channel(1), sync_channel(1));
    let clock = Meanwhile { told, go_on: Mutex::new(go_on) };
    let all = Hierarchy::new(Options { clock: Some(Arc::new(clock)), ..Options::default() });
    all.write("cgroup.subtree_control", "+memory").unwrap();
    all.mkdir("a").unwrap();
    let enabled = std::thread::scope(|scope| {
        let all = &all;
        let other = scope.spawn(move || {
            is_told.recv().unwrap();
            let enabled = all.write("cgroup.subtree_control", "+pids");
            done.send(()).unwrap();
            enabled
        });
        count(all, "a", Event::MemoryHigh, 1);
        count(all, "a", Event::MemoryHigh, 1);
        other.join().unwrap()
    });
    assert_eq!(enabled, Ok(()));
}
