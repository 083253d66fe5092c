//! A simulated hierarchy with a directory whose children count, and a watcher of it.

#![allow(dead_code, reason = "not each test needs all of it")]

use std::{sync::Arc, time::Duration};

use cgwatch::{
    Depth, Event, Options, SimWorld, Watcher,
    cgroup_sim::{self, Hierarchy},
};

/// Has a directory at this path from the root, whose children have these controllers.
pub(crate) fn hierarchy(
    options: cgroup_sim::Options,
    directory: &str,
    controllers: &str,
) -> Arc<Hierarchy> {
    let hierarchy = Hierarchy::new(options);
    hierarchy.write("/cgroup.subtree_control", controllers).unwrap();
    hierarchy.mkdir(directory).unwrap();
    hierarchy.write(format!("{directory}/cgroup.subtree_control"), controllers).unwrap();
    Arc::new(hierarchy)
}

/// Watches this directory and all below it. Nothing is taken yet.
pub(crate) fn watcher(world: SimWorld, options: Options, directory: &str) -> Watcher<SimWorld> {
    let mut watcher = Watcher::simulated(world, options).unwrap();
    watcher.add(directory.as_ref(), Depth::All).unwrap();
    watcher
}

/// What is emitted until nothing has been for so long.
pub(crate) fn listen(watcher: &mut Watcher<SimWorld>, patience: Duration) -> Vec<Event> {
    std::iter::from_fn(|| watcher.wait(Some(patience)).unwrap()).collect()
}

/// What is emitted without waiting for anything.
pub(crate) fn take(watcher: &mut Watcher<SimWorld>) -> Vec<Event> {
    std::iter::from_fn(|| watcher.next().unwrap()).collect()
}
