//! A server without some of its capabilities.

use std::fs::{self, File};

use kernfs::Permissions;
use kernfs_fuse::Weakness;
use linux_notify::inotify::Mask;
use rustix::{io::FdFlags, thread::CapabilitySet};

use crate::{
    hierarchy::{CHANGES_LAST, Hierarchy, make_file, until},
    watch::{Watch, got},
};

/// Mounted by `fusermount3`, without file handles, and held back by modes.
fn mount() -> Option<Hierarchy> {
    let lacking =
        CapabilitySet::SYS_ADMIN | CapabilitySet::DAC_READ_SEARCH | CapabilitySet::DAC_OVERRIDE;
    let hierarchy = Hierarchy::mount_without(lacking)?;
    let weaknesses = [Weakness::NoPrivateMount, Weakness::NoHandles, Weakness::NoOverride];
    assert_eq!(hierarchy.mount.weaknesses(), weaknesses);
    Some(hierarchy)
}

#[test]
fn the_way_into_the_mount_is_not_inherited() {
    let Some(hierarchy) = mount() else { return };
    assert!(hierarchy.mount.is_mounted());
    let root = hierarchy.mount.root().unwrap();
    assert_eq!(rustix::io::fcntl_getfd(&*root), Ok(FdFlags::CLOEXEC));
}

#[test]
fn a_clients_rmdir_raises_the_last_change_and_the_removal() {
    let Some(hierarchy) = mount() else { return };
    make_file(&hierarchy.make_dir("directory"), CHANGES_LAST);
    let path = hierarchy.at("directory").join(CHANGES_LAST);
    let mut watch = Watch::new();
    watch.add('e', &path);
    fs::remove_dir(hierarchy.at("directory")).unwrap();
    let all = watch.until(&got('e', Mask::IGNORED, ""));
    let masks = [Mask::MODIFY, Mask::DELETE_SELF, Mask::IGNORED];
    assert_eq!(all, masks.map(|mask| got('e', mask, "")), "nothing of the server's own");
}

#[test]
fn an_open_file_of_a_directory_that_a_client_removed_is_raised_at_its_close() {
    let Some(hierarchy) = mount() else { return };
    let directory = hierarchy.make_dir("directory");
    let file = make_file(&directory, "file");
    // What its mode lets the server open is enough.
    file.set_permissions(Permissions { mode: 0o200, uid: 0, gid: 0 });
    let path = hierarchy.at("directory/file");
    let mut watch = Watch::new();
    watch.add('f', &path);
    let open = File::options().write(true).open(&path).unwrap();
    fs::remove_dir(hierarchy.at("directory")).unwrap();
    drop(open);
    let all = watch.until(&got('f', Mask::IGNORED, ""));
    let masks = [Mask::OPEN, Mask::CLOSE_WRITE, Mask::DELETE_SELF, Mask::IGNORED];
    assert_eq!(all, masks.map(|mask| got('f', mask, "")), "nothing of the server's own");
}

#[test]
fn a_file_that_the_server_removes_is_raised_though_its_name_was_reclaimed() {
    let Some(hierarchy) = mount() else { return };
    let directory = hierarchy.make_dir("directory");
    let file = make_file(&directory, "file");
    let mut watch = Watch::new();
    watch.add('f', &hierarchy.at("directory/file"));
    assert_eq!(hierarchy.mount.known(), 3);
    hierarchy.mount.reclaim(&directory);
    until("the directory is forgotten", || hierarchy.mount.known() == 2);
    file.remove();
    let all = watch.until(&got('f', Mask::IGNORED, ""));
    assert_eq!(all, [Mask::DELETE_SELF, Mask::IGNORED].map(|mask| got('f', mask, "")));
}
