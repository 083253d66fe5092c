use std::{fs, os::unix::fs::MetadataExt as _};

use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::CapabilitySet,
};

use super::*;
use crate::{
    Strategy,
    testing::{Apart, Own, without},
    world::World,
};

fn mount(root: &str, point: &str) -> Mount {
    let options = Vec::new();
    let hierarchy_options = Vec::new();
    Mount { point: point.into(), root: root.into(), options, hierarchy_options }
}

fn id(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

fn world() -> HostWorld {
    HostWorld::new(Strategy::Sweep).unwrap()
}

#[test]
fn what_shows_more_comes_first() {
    let mut roots = ["/a/b", "/", "/../..", "/../x", "/a"].map(Path::new);
    roots.sort_by_key(|root| width(root));
    assert_eq!(roots, ["/../..", "/../x", "/", "/a", "/a/b"].map(Path::new));
}

#[test]
fn the_innermost_mount_says_where_a_path_lies_and_of_several_that_on_top() {
    let mounts = [mount("/", "/c"), mount("/x", "/c/p"), mount("/y", "/c/p"), mount("/z", "/d")];
    let found = positions(&mounts, Path::new("/c/p/q"));
    assert_eq!(found, ["/y/q", "/x/q", "/p/q"].map(PathBuf::from));
}

#[test]
fn what_has_run_out_says_nothing_of_a_path() {
    for (errno, exhausted) in [
        (Errno::MFILE, true),
        (Errno::NFILE, true),
        (Errno::NOMEM, true),
        (Errno::NOENT, false),
        (Errno::XDEV, false),
    ] {
        assert_eq!(is_exhausted(errno), exhausted, "{errno}");
    }
}

#[test]
fn paths_below_one_mount_have_one_base() {
    let Some(cgroup) = Own::new("base") else { return };
    let paths = ["a", "b"].map(|name| cgroup.make(name));
    let mut world = world();
    let [a, b, again] = [&paths[0], &paths[1], &paths[0]].map(|path| world.locate(path).unwrap());
    assert_eq!((a.base, &a), (b.base, &again));
    assert_eq!((&a.resolved, a.whole, world.bases.len()), (&paths[0], false, 1));
    for (place, path) in [(&a, &paths[0]), (&b, &paths[1])] {
        let end = [cgroup.path().file_name(), path.file_name()].map(|n| n.unwrap().as_bytes());
        assert!(place.path.ends_with(&end.join(&b'/')), "{place:?}");
        assert_eq!(world.open(place.base, &place.path).unwrap().1.id, id(path));
    }
}

#[test]
fn what_is_no_cgroup_is_said() {
    let Some(cgroup) = Own::new("no-cgroup") else { return };
    let of = |path: &Path| world().locate(path).unwrap_err();
    let file = cgroup.path().join("cgroup.procs");
    assert!(matches!(of(&cgroup.path().join("nothing")), Error::NotFound { .. }));
    assert!(matches!(of(&file.join("below")), Error::NotFound { .. }));
    assert!(matches!(of(&file), Error::NotACgroup { .. }));
    assert!(matches!(of(Path::new("/proc")), Error::NotACgroup { .. }));
}

#[test]
fn a_base_shows_what_lies_below_it() {
    let Some(cgroup) = Own::new("shows") else { return };
    let [a, b] = ["a", "b"].map(|name| cgroup.make(name));
    let base = Base::at(&a).unwrap();
    fs::create_dir(a.join("child")).unwrap();
    let child = (id(&a.join("child")), base.device);
    assert_eq!(base.shows(b"child", child), Ok(true));
    assert_eq!(base.shows(b"child", (child.0, child.1 + 1)), Ok(false));
    assert_eq!(base.shows(b"child", (id(&a), base.device)), Ok(false));
    assert_eq!(base.shows(b"nothing", child), Ok(false));
    if base.handles.is_some() {
        assert_eq!(base.way_to(child.0), Some(b"child".to_vec()));
        assert_eq!(base.way_to(id(&b)), None, "it lies elsewhere");
    }
}

/// open_by_handle_at(2) asks for CAP_DAC_READ_SEARCH, or for being privileged over the file system.
#[test]
fn who_may_not_open_by_ids_goes_by_names() {
    let Some(cgroup) = Own::new("by-names") else { return };
    let lacking = CapabilitySet::DAC_READ_SEARCH | CapabilitySet::SYS_ADMIN;
    let (by_id, path) = without(lacking, || {
        let mut world = world();
        let place = world.locate(cgroup.path()).unwrap();
        (world.goes_by_id(), place.path)
    });
    assert!(!by_id && path.ends_with(cgroup.path().file_name().unwrap().as_bytes()));
}

/// However few files may be open: the errno, or all that is known with as many as it takes.
#[test]
fn no_place_is_guessed_without_descriptors() {
    let test = "no_place_is_guessed_without_descriptors";
    let Some(apart) = Apart::new(module_path!(), test, "") else { return };
    let path = apart.cgroup.join("a");
    let expected = world().locate(&path).unwrap();
    let base = Base::at(&apart.cgroup).unwrap();
    let what = (id(&path), base.device);
    let usual = getrlimit(Resource::Nofile);
    let at_most = |limit| {
        setrlimit(Resource::Nofile, Rlimit { current: Some(limit), ..usual }).unwrap();
    };
    let mut outcomes = [0; 2];
    for limit in 0..64 {
        at_most(limit);
        let shown = base.shows(b"a", what);
        let located = HostWorld::new(Strategy::Sweep)
            .and_then(|mut world| Ok((world.locate(&path)?, world.goes_by_id())));
        at_most(usual.current.unwrap_or(1_024));
        assert!(matches!(shown, Ok(true) | Err(Errno::MFILE)), "{limit}: {shown:?}");
        match located {
            Ok(located) => assert_eq!(located, (expected.clone(), true), "{limit}"),
            Err(Error::System { source, .. } | Error::Path { source, .. }) => {
                assert_eq!(source, Errno::MFILE, "{limit}");
            }
            Err(error) => panic!("{limit}: {error}"),
        }
        outcomes[usize::from(shown.is_ok())] += 1;
    }
    assert!(outcomes.iter().all(|&count| count > 0), "{outcomes:?}");
}

/// What is mounted may be removed, and then has a path for as long as the mount is there.
#[test]
fn a_removed_cgroup_that_is_mounted_is_not_found() {
    let script = r#"mount --bind "$T/b/sub" "$D"; rmdir "$T/b/sub""#;
    let test = "a_removed_cgroup_that_is_mounted_is_not_found";
    let Some(apart) = Apart::new(module_path!(), test, script) else { return };
    let error = world().locate(&apart.directory).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
}

#[test]
fn without_any_hierarchy_that_is_said() {
    let script = r#"for i in $(awk '/ - cgroup2 / {print $5}' /proc/self/mountinfo)
        do umount -l "$i"; done"#;
    let test = "without_any_hierarchy_that_is_said";
    let Some(_apart) = Apart::new(module_path!(), test, script) else { return };
    let error = world().locate(Path::new("/proc")).unwrap_err();
    assert!(matches!(error, Error::NoCgroup2), "{error:?}");
}

/// Seen from a cgroup namespace the host's mount has its root above: only by an id a way through it is
/// found, which counts unless a mount covers it.
#[test]
fn a_way_by_id_leads_there_or_is_not_taken() {
    let script = r#"echo $$ > "$T/b/cgroup.procs"
        exec unshare --cgroup --mount sh -c '
            mount -t cgroup2 none "$CGWATCH_TEST_DIRECTORY" && exec "$@"' sh "$@""#;
    let test = "a_way_by_id_leads_there_or_is_not_taken";
    let Some(apart) = Apart::new(module_path!(), test, script) else { return };
    let sub = apart.cgroup.join("b/sub");
    let mut world = world();
    let [inside, outside] =
        [&apart.directory.join("sub"), &sub].map(|path| world.locate(path).unwrap());
    assert_eq!((inside.base, &inside.path), (outside.base, &outside.path), "they overlap");
    assert!(inside.path.ends_with(b"/b/sub"));
    let tmpfs =
        std::process::Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&sub).status();
    assert!(tmpfs.unwrap().success());
    let covered = world.locate(&apart.directory.join("sub")).unwrap();
    assert_eq!(covered.path, b"sub");
    let (_, found) = world.open(covered.base, &covered.path).unwrap();
    assert_eq!(found.id, id(&apart.directory.join("sub")));
}
