//! One that is alone does not wait behind the crowd in another subtree.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{sync::Arc, time::Duration};

use cgwatch::{
    Depth, EventKind, Options, SimWorld, Strategy, Watcher,
    cgroup_sim::{self, Hierarchy},
};

#[test]
fn one_is_told_before_the_crowd_that_came_before_it() {
    for strategy in [Strategy::Inotify, Strategy::Fanotify] {
        let hierarchy = Arc::new(Hierarchy::new(cgroup_sim::Options::default()));
        for path in ["/crowd", "/crowd/inner", "/quiet"] {
            hierarchy.mkdir(path).unwrap();
        }
        let options = Options::new().strategy(strategy).batch(16);
        let world = SimWorld::new(Arc::clone(&hierarchy));
        let mut watcher = Watcher::simulated(world, options).unwrap();
        watcher.add("/".as_ref(), Depth::All).unwrap();
        while watcher.wait(Some(Duration::from_secs(90))).unwrap().is_some() {}
        for one in 0..200 {
            hierarchy.mkdir(format!("/crowd/inner/{one}")).unwrap();
        }
        watcher.update().unwrap();
        hierarchy.mkdir("/quiet/lone").unwrap();
        watcher.update().unwrap();
        let mut appeared = Vec::new();
        while let Some(event) = watcher.next().unwrap() {
            if let EventKind::Appeared { cgroup, .. } = event.kind {
                appeared.push(cgroup.path.to_string());
            }
        }
        let at = appeared.iter().position(|path| path == "/quiet/lone");
        assert_eq!(appeared.len(), 201, "{strategy:?}");
        assert!(at < Some(3), "{strategy:?}: after {at:?} of the crowd");
    }
}
