//! What a world says of cgroups, its clocks and this machine.

use std::{fs::File, io::Write as _, time::SystemTime};

use rustix::{
    event::Timespec,
    io::Errno,
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime, timerfd_gettime},
};

use super::{super::timespec, id, is_readable, world};
use crate::{
    testing::{Apart, Own},
    world::{MountOptions, WatchLimit, World},
};

#[test]
fn a_cgroup_is_reached_by_its_id_unless_removals_are_announced() {
    let Some(cgroup) = Own::new("reach") else { return };
    let mut world = world();
    assert!(!world.goes_by_id(), "it knows no hierarchy yet");
    let (base, id) = (world.locate(cgroup.path()).unwrap().base, id(cgroup.path()));
    assert!(world.goes_by_id());
    let mut opened = world.open_id(base, id).unwrap().unwrap();
    assert_eq!(world.stat(&mut opened).unwrap().id, id);
    assert!(world.open_id(base, 0).is_none());
    world.announces = false;
    let reached = world.reach(base, id).unwrap();
    assert_eq!((reached.fd.is_none(), reached.base, reached.id), (true, base, id));
    assert!(world.reach(base, 0).is_none());
    world.announces = true;
    assert!(world.reach(base, id).is_none());
    world.announces = false;
    world.bases[base].handles = None;
    assert!(world.reach(base, id).is_none() && !world.goes_by_id());
}

/// Linux 7.1 was the first to announce removals.
#[test]
fn an_earlier_kernel_announces_no_removal() {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse().ok());
    let version: (u32, u32) = (numbers.next().unwrap(), numbers.next().unwrap());
    assert_eq!(world().announces, version >= (7, 1));
}

#[test]
fn a_listing_has_each_entry_with_its_kind_and_id() {
    let Some(cgroup) = Own::new("listing") else { return };
    // cgroupfs takes names as long as a path may be.
    let children = ["child".to_owned(), "x".repeat(4_000)].map(|name| (cgroup.make(&name), name));
    let mut world = world();
    let place = world.locate(cgroup.path()).unwrap();
    let (mut dir, _) = world.open(place.base, &place.path).unwrap();
    let mut listed = Vec::new();
    world.list(&mut dir, &mut |name, is_dir, id| listed.push((name.to_vec(), is_dir, id))).unwrap();
    for (path, name) in &children {
        assert!(listed.contains(&(name.clone().into_bytes(), true, id(path))));
    }
    let file = (b"cgroup.procs".to_vec(), false, id(&cgroup.path().join("cgroup.procs")));
    assert!(listed.contains(&file));
    assert_eq!(listed.iter().filter(|(_, is_dir, _)| *is_dir).count(), children.len());
}

#[test]
fn the_clocks_are_those_of_the_system() {
    let ns = |clock| {
        let time = clock_gettime(clock);
        time.tv_sec * 1_000_000_000 + time.tv_nsec
    };
    let unix = || {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        i64::try_from(since.as_nanos()).unwrap()
    };
    let mut world = world();
    let before = (ns(ClockId::Boottime), unix(), ns(ClockId::ThreadCPUTime));
    let (now, busy) = (world.now(), i64::try_from(world.busy_ns()).unwrap());
    let after = (ns(ClockId::Boottime), unix(), ns(ClockId::ThreadCPUTime));
    let boot = i64::try_from(now.boot_ns).unwrap();
    assert!((before.0..=after.0).contains(&boot));
    assert!((before.1..=after.1).contains(&now.unix_ns));
    assert!((before.2..=after.2).contains(&busy) && before.2 > 1);
    assert_eq!(timespec(1_500_000_007), Timespec { tv_sec: 1, tv_nsec: 500_000_007 });
}

#[test]
fn waiting_ends_at_the_time_and_not_before() {
    let mut world = world();
    let until = world.now().boot_ns + 20_000_000;
    world.wait(Some(until)).unwrap();
    assert!(world.now().boot_ns >= until);
}

#[test]
fn an_alarm_makes_the_descriptor_readable_once_it_goes_off() {
    let mut world = world();
    let armed = |world: &super::HostWorld| {
        let left = timerfd_gettime(&world.timer).unwrap().it_value;
        (left.tv_sec, left.tv_nsec) != (0, 0)
    };
    world.set_alarm(1).unwrap();
    assert!(is_readable(&world, 60));
    world.set_alarm(i64::MAX as u64).unwrap();
    assert!(armed(&world) && !is_readable(&world, 0));
    world.set_alarm(u64::MAX).unwrap();
    assert!(!armed(&world) && !is_readable(&world, 0), "never");
}

#[test]
fn the_options_of_the_hierarchy_are_those_in_force_and_else_as_last_read() {
    let mut world = world();
    let other = "22 1 0:20 / / rw - ext4 /dev/vda rw,memory_localevents\n";
    let long = format!("23 1 0:21 / /{} rw - tmpfs none rw,pids_localevents\n", "x".repeat(5_000));
    let line = |options| format!("41 31 0:38 / /c rw shared:9 - cgroup2 none rw{options}\n");
    let (memory, pids) = (line(",memory_localevents"), line(",nsdelegate,pids_localevents"));
    for (text, options) in [
        (format!("{memory}{pids}"), (true, false)),
        (format!("{other}{pids}{other}"), (false, true)),
        (format!("{other}{long}{other}{memory}"), (true, false)),
        // No hierarchy for now; and a line that is not whole.
        (format!("{other}{long}\n"), (true, false)),
        (pids.trim_end().to_owned(), (true, false)),
        (String::new(), (true, false)),
        (line(""), (false, false)),
    ] {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        world.mountinfo = file;
        let (memory_localevents, pids_localevents) = options;
        let options = MountOptions { memory_localevents, pids_localevents };
        assert_eq!((world.mount_options(), world.mount_options()), (options, options), "{text}");
    }
}

#[test]
fn the_limit_on_open_files_is_that_of_the_process_or_of_the_system() {
    let mut world = world();
    let limit = |name: &str, value| WatchLimit { name: name.into(), value };
    let own = limit("RLIMIT_NOFILE", getrlimit(Resource::Nofile).current);
    assert_eq!(world.descriptor_limit(Errno::MFILE), own);
    let text = std::fs::read_to_string("/proc/sys/fs/file-max").unwrap();
    let of_all = limit("fs.file-max", text.trim().parse().ok());
    assert_eq!(world.descriptor_limit(Errno::NFILE), of_all);
}

/// The lower of the two limits on watches is in the way; of equal ones the host's is named.
#[test]
fn what_procfs_says_of_limits_and_kills() {
    let script = r#"
        touch "$D/host" "$D/namespace" "$D/vmstat"
        mount --bind "$D/host" /proc/sys/fs/inotify/max_user_watches
        mount --bind "$D/namespace" /proc/sys/user/max_inotify_watches
        mount --bind "$D/vmstat" /proc/vmstat"#;
    let test = "what_procfs_says_of_limits_and_kills";
    let Some(apart) = Apart::new(module_path!(), test, script) else { return };
    let write = |name, text: &str| {
        File::create(apart.directory.join(name)).unwrap().write_all(text.as_bytes()).unwrap();
    };
    let mut world = world();
    const HOSTS: &str = "fs.inotify.max_user_watches";
    const NAMESPACES: &str = "user.max_inotify_watches";
    for (host, namespace, name, value) in [
        ("100\n", "50\n", NAMESPACES, Some(50)),
        ("100\n", "100\n", HOSTS, Some(100)),
        ("100\n", "200\n", HOSTS, Some(100)),
        ("100\n", "", HOSTS, Some(100)),
        ("", "50\n", HOSTS, None),
    ] {
        write("host", host);
        write("namespace", namespace);
        assert_eq!(world.watch_limit(), WatchLimit { name: name.into(), value });
    }
    write("vmstat", "nr_free_pages 5\noom_kill_other 3\noom_kill 7\npgfault 9\n");
    assert_eq!(world.host_oom_kills(), Some(7));
    write("vmstat", "nr_free_pages 5\n");
    assert_eq!(world.host_oom_kills(), None);
}
