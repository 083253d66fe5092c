//! Files and directories: content, attributes, rights, poll(2).

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    sync::Arc,
    time::{Duration, SystemTime},
};

use kernfs::{Credentials, Permissions};
use linux_notify::{Error, inotify::Mask, name_to_handle_at, open_by_handle_at};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{
        AtFlags, CWD, OFlags, XattrFlags, getxattr, getxattr_query, listxattr, listxattr_query,
        setxattr,
    },
    io::Errno,
};

use crate::{
    hierarchy::{Hierarchy, Kept, as_user, make_file, until},
    watch::Watch,
};

const NONE: XattrFlags = XattrFlags::empty();

#[test]
fn extended_attributes_are_given_whole_or_by_their_size() {
    let Some(hierarchy) = Hierarchy::mount() else { return };
    let node = make_file(hierarchy.tree.root(), "file");
    node.set_permissions(Permissions { mode: 0o666, uid: 0, gid: 0 });
    let path = hierarchy.at("file");
    setxattr(&path, "trusted.a", b"1", NONE).unwrap();
    setxattr(&path, "user.b", b"two", NONE).unwrap();

    let mut buffer = [0; 64];
    assert_eq!(getxattr_query(&path, "user.b"), Ok(3));
    assert_eq!(getxattr(&path, "user.b", &mut buffer[..3]), Ok(3));
    assert_eq!(buffer[..3], *b"two");
    assert_eq!(getxattr(&path, "user.b", &mut buffer[..2]), Err(Errno::RANGE));
    assert_eq!(getxattr(&path, "user.c", &mut buffer), Err(Errno::NODATA));

    let all = b"trusted.a\0user.b\0";
    assert_eq!(listxattr_query(&path), Ok(all.len()));
    assert_eq!(listxattr(&path, &mut buffer[..all.len()]), Ok(all.len()));
    assert_eq!(buffer[..all.len()], *all);
    assert_eq!(listxattr(&path, &mut buffer[..all.len() - 1]), Err(Errno::RANGE));
    let theirs = as_user(1234, 1234, &[], || {
        let mut buffer = [0; 64];
        let length = listxattr(&path, &mut buffer).unwrap();
        buffer[..length].to_vec()
    });
    assert_eq!(theirs, b"user.b\0");

    let set = |name, flags| setxattr(&path, name, b"new", flags);
    assert_eq!(set("user.b", XattrFlags::CREATE), Err(Errno::EXIST));
    assert_eq!(set("user.c", XattrFlags::REPLACE), Err(Errno::NODATA));
    rustix::fs::removexattr(&path, "user.b").unwrap();
    assert_eq!(getxattr(&path, "user.b", &mut buffer), Err(Errno::NODATA));
}

#[test]
fn a_write_is_a_page_at_most_and_stored_with_the_rights_of_the_opener() {
    let Some(hierarchy) = Hierarchy::mount() else { return };
    let kept = Arc::<Kept>::default();
    let node = hierarchy.tree.root().make_file("file", Arc::clone(&kept) as _).unwrap();
    let path = hierarchy.at("file");
    let stored = || kept.0.lock().unwrap().take();

    let mut file = File::options().read(true).write(true).open(&path).unwrap();
    let credentials = |uid, gid, groups: &[u32], privileged| Credentials {
        uid,
        gid,
        groups: groups.into(),
        privileged,
    };
    let mut content = String::new();
    file.read_to_string(&mut content).unwrap();
    assert_eq!(content, "content\n");
    assert_eq!(file.write(&[b'x'; 4096]).unwrap(), 4096);
    let (length, of) = stored().unwrap();
    assert_eq!((length, of.uid, of.gid, of.privileged), (4096, 0, 0, true));
    let error = file.write(&[b'x'; 4097]).unwrap_err();
    assert_eq!(Errno::from_io_error(&error), Some(Errno::TOOBIG));
    assert_eq!(stored(), None);

    let write = || fs::write(&path, "a").map_err(|error| Errno::from_io_error(&error).unwrap());
    assert_eq!(as_user(1234, 1235, &[1236, 1237], write), Err(Errno::ACCESS));
    node.set_permissions(Permissions { mode: 0o620, uid: 0, gid: 1237 });
    // The kernel asks for the modes again.
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o620)).unwrap();
    assert_eq!(as_user(1234, 1235, &[1236, 1237], write), Ok(()));
    assert_eq!(stored(), Some((1, credentials(1234, 1235, &[1236, 1237], false))));
}

#[test]
fn a_client_owns_what_it_makes_and_all_in_it() {
    let Some(hierarchy) = Hierarchy::mount() else { return };
    let directory = hierarchy.make_dir("directory");
    directory.set_permissions(Permissions { mode: 0o777, uid: 0, gid: 0 });
    let path = hierarchy.at("directory/made");
    as_user(1234, 1235, &[], || fs::create_dir(&path).unwrap());
    let file = path.join("file");
    let owner = |path| fs::metadata(path).map(|facts| (facts.uid(), facts.gid())).unwrap();
    assert_eq!(owner(&path), (1234, 1235));
    assert_eq!(owner(&file), (1234, 1235));
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o644, "as it was made");

    let path = hierarchy.at("directory/roots");
    fs::create_dir(&path).unwrap();
    assert_eq!(owner(&path), (0, 0));
}

#[test]
fn times_stay_as_a_client_sets_them() {
    let Some(hierarchy) = Hierarchy::mount() else { return };
    let node = make_file(hierarchy.tree.root(), "file");
    let path = hierarchy.at("file");
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let before = SystemTime::now() - Duration::from_secs(1);
    assert!(fs::metadata(&path).unwrap().modified().unwrap() >= before);
    let times = fs::FileTimes::new().set_accessed(at(1_000)).set_modified(at(2_000));
    File::open(&path).unwrap().set_times(times).unwrap();
    // As the server says them, not the kernel's cache.
    let asked = || {
        let flags = AtFlags::STATX_FORCE_SYNC;
        let facts = rustix::fs::statx(CWD, &path, flags, rustix::fs::StatxFlags::BASIC_STATS);
        let facts = facts.unwrap();
        (facts.stx_atime.tv_sec, facts.stx_mtime.tv_sec)
    };
    assert_eq!(asked(), (1_000, 2_000));
    let times = fs::FileTimes::new().set_modified(at(3_000));
    File::open(&path).unwrap().set_times(times).unwrap();
    assert_eq!(asked(), (1_000, 3_000));
    // What raises events sets none.
    let mut watch = Watch::new();
    watch.add('f', &path);
    node.notify();
    watch.until(&('f', Mask::MODIFY, String::new()));
    assert_eq!(asked(), (1_000, 3_000));
}

#[test]
fn a_poll_says_what_linux_says_of_a_kernfs_file() {
    let Some(hierarchy) = Hierarchy::mount() else { return };
    let node = make_file(hierarchy.tree.root(), "file");
    let mut file = File::open(hierarchy.at("file")).unwrap();
    file.read_to_string(&mut String::new()).unwrap();
    // Kernel: `DEFAULT_POLLMASK`, and with these two after `kernfs_notify`.
    let always = PollFlags::IN | PollFlags::OUT | PollFlags::RDNORM | PollFlags::WRNORM;
    let changed = PollFlags::ERR | PollFlags::PRI;
    let ready = |file: &File| {
        let mut polled = [PollFd::new(file, always | changed)];
        poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap();
        polled[0].revents()
    };
    assert_eq!(ready(&file), always);
    node.notify();
    assert_eq!(ready(&file), always | changed);
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).unwrap();
    file.read_to_string(&mut String::new()).unwrap();
    assert_eq!(ready(&file), always);
}

/// Of a directory whose name the kernel dropped, which a watch keeps in memory: the kernel asks for
/// the directory above (`fuse_get_parent`), which clients are given, and the server itself is not.
#[test]
fn a_client_opens_a_directory_by_its_handle() {
    let Some(hierarchy) = Hierarchy::mount() else { return };
    let outer = hierarchy.make_dir("outer");
    let inner = outer.make_dir("inner").unwrap();
    let path = hierarchy.at("outer/inner");
    let mut watch = Watch::new();
    watch.add('i', &path);
    let root = File::open(&hierarchy.path).unwrap();
    let name = c"outer/inner";
    let (handle, _) = name_to_handle_at(root.as_fd(), name, AtFlags::empty()).unwrap();
    let known = hierarchy.mount.known();
    assert_eq!(known, 3);
    hierarchy.mount.reclaim(&outer);
    until("the directory above is forgotten", || hierarchy.mount.known() == 2);
    let open = || open_by_handle_at(root.as_fd(), &handle, OFlags::RDONLY | OFlags::DIRECTORY);
    let refused = {
        let _own = hierarchy.mount.own_thread();
        open().map(drop)
    };
    let stale = |error: &Error| error.errno() == Errno::STALE;
    assert!(refused.as_ref().is_err_and(stale), "{refused:?}");
    let opened = open().unwrap();
    assert_eq!(rustix::fs::fstat(&opened).unwrap().st_ino, inner.id());
    let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&opened));
    assert_eq!(fs::read_link(link).unwrap(), path);
}
