//! What a mirror says that it misses, in a user namespace whose limits on inotify are its own.
//!
//! The test runs itself once more in the namespace, once for each limit.

#![allow(clippy::unwrap_used, reason = "tests")]

mod top;

use std::{
    env, fs,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};

use cgroup_mirror::Mirror;

use self::top::Top;

const LIMIT: &str = "CGROUP_MIRROR_TEST_LIMIT";
const TOP: &str = "CGROUP_MIRROR_TEST_TOP";

#[test]
fn what_it_misses_is_said() {
    if let (Ok(limit), Some(top)) = (env::var(LIMIT), env::var_os(TOP)) {
        return inside(&limit, Path::new(&top));
    }
    let Some(top) = Top::new("limits") else { return };
    top.make("there");
    let unshare = |limit: &str| {
        let test = env::current_exe().unwrap();
        let mut run = Command::new("unshare");
        run.args(["--user", "--map-root-user"]).arg(test);
        run.args(["--exact", "what_it_misses_is_said", "--nocapture"]);
        run.env(LIMIT, limit).env(TOP, &top.path).status().unwrap().success()
    };
    for limit in ["none", "instances", "watches", "watches, later"] {
        assert!(unshare(limit), "limit: {limit}");
    }
}

fn inside(limit: &str, top: &Path) {
    let set = |limit: &str, most: usize| {
        fs::write(format!("/proc/sys/user/max_inotify_{limit}"), most.to_string()).unwrap();
    };
    match limit {
        "none" => assert_eq!(Mirror::new(top).unwrap().incomplete(), None),
        "instances" => {
            set("instances", 0);
            let missed = Mirror::new(top).unwrap().incomplete().unwrap();
            assert!(missed.contains("inotify") && missed.ends_with(" s only"), "{missed}");
        }
        "watches" => {
            set("watches", 0);
            let missed = Mirror::new(top).unwrap().incomplete().unwrap();
            let start = "2 cgroups could not be watched";
            assert!(missed.starts_with(start) && missed.contains(": raise "), "{missed}");
        }
        _ => {
            let mut mirror = Mirror::new(top).unwrap();
            let warned = Arc::new(Mutex::new(Vec::new()));
            let to = Arc::clone(&warned);
            mirror.set_warn(move |sentence| to.lock().unwrap().push(sentence.to_owned()));
            set("watches", mirror.usage().watches);
            fs::create_dir(top.join("late")).unwrap();
            mirror.update().unwrap();
            fs::remove_dir(top.join("late")).unwrap();
            let warned = warned.lock().unwrap();
            assert!(warned.len() == 1 && warned[0].starts_with("no more watches"), "{warned:?}");
        }
    }
}
