//! Requests of the kernel, answered from the tree. What cgroupfs refuses is
//! refused with the same errno.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path, sync::Arc, time::SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, Filesystem, FopenFlags, INodeNo, InitFlags,
    IoctlFlags, KernelConfig, LockOwner, OpenAccMode, OpenFlags, PollEvents, PollFlags,
    PollNotifier, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyOpen, ReplyPoll, ReplyStatfs,
    ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use kernfs::{Access, Node, Permissions, Ready};

use crate::{caller, facts, shared::Shared};

/// Kernel: `NAME_MAX`; FUSE would allow more.
const NAME_MAX: usize = 255;
/// Kernel: `PAGE_SIZE`, the longest write that kernfs hands on whole.
const WRITE_MAX: usize = 4096;

/// Requests that are asked for with an older or a newer ABI are not known here.
pub(crate) struct Server(Arc<Shared>);

impl Server {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    fn is_own(&self, request: &Request) -> bool {
        self.0.own.contains(request.pid())
    }

    /// A node that the kernel knows. It asks for no other, unless it decodes a
    /// client's file handle.
    fn node(&self, id: INodeNo) -> Result<Arc<Node>, Errno> {
        self.0.known.get(id.0).ok_or(Errno::ESTALE)
    }

    fn facts(&self, node: &Node) -> FileAttr {
        facts::of(node, self.0.known.times(node.id()))
    }

    /// The node of a name, counted as looked up.
    fn look_up(&self, request: &Request, parent: INodeNo, name: &[u8]) -> Result<Arc<Node>, Errno> {
        let directory = self.node(parent)?;
        let own = self.is_own(request);
        let found = match name {
            // For the decoding of file handles.
            b"." => Some(Arc::clone(&directory)),
            b".." => Some(directory.parent().unwrap_or_else(|| Arc::clone(&directory))),
            _ if name.len() > NAME_MAX => return Err(Errno::ENAMETOOLONG),
            _ if own => {
                let revealed = self.0.known.revealed(request.pid(), parent.0, name);
                revealed.or_else(|| active(&directory, name))
            }
            _ => active(&directory, name),
        };
        let node = found.ok_or(Errno::ENOENT)?;
        self.0.known.add(&node);
        if node.is_removed() && !own && !matches!(name, b"." | b"..") {
            self.0.known.forget(node.id(), 1);
            return Err(Errno::ENOENT);
        }
        Ok(node)
    }

    fn may_change(&self, request: &Request) -> Result<(), Errno> {
        if self.0.read_only && !self.is_own(request) { Err(Errno::EROFS) } else { Ok(()) }
    }

    fn make_directory(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &[u8],
        mode: u32,
    ) -> Result<Arc<Node>, Errno> {
        self.may_change(request)?;
        let parent = self.node(parent)?;
        let calls = self.0.system_calls.as_ref().ok_or(Errno::EPERM)?;
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        if !parent.is_active() {
            return Err(Errno::ENODEV);
        }
        caller::during(request, || calls.mkdir(&parent, name)).map_err(errno)?;
        // Another may have removed it again.
        let node = parent.child(name).ok_or(Errno::ENOENT)?;
        if !self.is_own(request) {
            let (uid, gid) = (request.uid(), request.gid());
            // Kernel: `cgroup_mkdir`, which gives all of it to the maker.
            for file in node.all_children().iter().filter(|_| (uid, gid) != (0, 0)) {
                let permissions = Permissions { uid, gid, ..file.permissions() };
                file.set_permissions(permissions);
            }
            // The low twelve bits.
            node.set_permissions(Permissions { mode: (mode & 0o7777) as u16, uid, gid });
        }
        self.0.known.add(&node);
        Ok(node)
    }

    /// The directory that `rmdir` removed, whose reply is due when the
    /// removals thread says so; `None` if there is nothing to wait for.
    fn remove_directory(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &[u8],
    ) -> Result<Option<Arc<Node>>, Errno> {
        self.may_change(request)?;
        let parent = self.node(parent)?;
        let node = active(&parent, name).ok_or(Errno::ENOENT)?;
        if !node.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        let calls = self.0.system_calls.as_ref().ok_or(Errno::EPERM)?;
        if !self.0.queues.begin_removal(&node) {
            return Err(Errno::EBUSY);
        }
        if let Err(error) = caller::during(request, || calls.rmdir(&node)) {
            self.0.queues.cancel_removal(&node, &self.0.known);
            return Err(errno(error));
        }
        if node.is_removed() {
            return Ok(Some(node));
        }
        self.0.queues.cancel_removal(&node, &self.0.known);
        Ok(None)
    }

    fn set_facts(&self, request: &Request, node: &Node, change: &Change) -> Result<(), Errno> {
        if self.is_own(request) {
            return Ok(());
        }
        self.may_change(request)?;
        let Change { mode, uid, gid, accessed, modified } = *change;
        if mode.is_some() || uid.is_some() || gid.is_some() {
            let old = node.permissions();
            node.set_permissions(Permissions {
                // The low twelve bits.
                mode: mode.map_or(old.mode, |mode| (mode & 0o7777) as u16),
                uid: uid.unwrap_or(old.uid),
                gid: gid.unwrap_or(old.gid),
            });
        }
        self.0.known.set_times(node.id(), |times| {
            times.accessed = accessed.map_or(times.accessed, time);
            times.modified = modified.map_or(times.modified, time);
            times.changed = SystemTime::now();
        });
        Ok(())
    }

    fn reply_entry(&self, found: Result<Arc<Node>, Errno>, reply: ReplyEntry) {
        match found {
            Ok(node) => {
                let validity = facts::validity(&node);
                reply.entry(&validity, &self.facts(&node), facts::GENERATION);
            }
            Err(error) => reply.error(error),
        }
    }

    /// Hands out the entries of a directory from an offset on, until `add`
    /// says that there is no room. Offsets count the entries, `.` and `..`
    /// first.
    fn list(
        &self,
        id: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut add: impl FnMut(&Arc<Node>, u64, &[u8]) -> bool,
    ) -> Result<(), Errno> {
        let directory = self.node(id)?;
        let listing = self.0.handles.directory(handle.0).ok_or(Errno::EBADF)?;
        // As an empty directory, as kernfs does.
        if directory.is_removed() {
            return Ok(());
        }
        let above = directory.parent().unwrap_or_else(|| Arc::clone(&directory));
        for (node, at, name) in [(&directory, 1, b".".as_slice()), (&above, 2, b"..")] {
            if offset < at && add(node, at, name) {
                return Ok(());
            }
        }
        let first = usize::try_from(offset.saturating_sub(2)).unwrap_or(usize::MAX);
        listing.read(&directory, first, |nodes| {
            for (at, node) in nodes.iter().enumerate() {
                let next = (first + at) as u64 + 3;
                if node.is_active() && add(node, next, &node.name()) {
                    break;
                }
            }
        });
        Ok(())
    }
}

/// What a client sets.
struct Change {
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    accessed: Option<TimeOrNow>,
    modified: Option<TimeOrNow>,
}

fn active(directory: &Node, name: &[u8]) -> Option<Arc<Node>> {
    directory.child(name).filter(|node| node.is_active())
}

fn time(time: TimeOrNow) -> SystemTime {
    match time {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    }
}

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_i32(error.raw_os_error())
}

impl Filesystem for Server {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        for wanted in [
            InitFlags::FUSE_EXPORT_SUPPORT,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS | InitFlags::FUSE_READDIRPLUS_AUTO,
        ] {
            // A kernel without one does without it.
            let _ = config.add_capabilities(wanted);
        }
        // A write is at most a page; more is refused, and need not be carried.
        let _ = config.set_max_write(1 << 17);
        // A close is told in the background: if few of those are let through at a time, clients
        // that open and close without a pause leave more and more files open here.
        let _ = config.set_max_background(u16::MAX);
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.reply_entry(self.look_up(request, parent, name.as_bytes()), reply);
    }

    fn forget(&self, _: &Request, ino: INodeNo, nlookup: u64) {
        self.0.known.forget(ino.0, nlookup);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.node(ino) {
            Ok(node) => reply.attr(&facts::validity(&node), &self.facts(&node)),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        // Ignored by kernfs, so that opening with `O_TRUNC` works.
        _size: Option<u64>,
        accessed: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let change = Change { mode, uid, gid, accessed, modified };
        let set =
            self.node(ino).and_then(|node| self.set_facts(request, &node, &change).map(|()| node));
        match set {
            Ok(node) => reply.attr(&facts::validity(&node), &self.facts(&node)),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let made = self.make_directory(request, parent, name.as_bytes(), mode & !umask);
        self.reply_entry(made, reply);
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        match self.remove_directory(request, parent, name.as_bytes()) {
            Ok(Some(directory)) => self.0.queues.complete_removal(&directory, reply),
            Ok(None) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if flags.acc_mode() != OpenAccMode::O_RDONLY
            && let Err(error) = self.may_change(request)
        {
            return reply.error(error);
        }
        let access = match flags.acc_mode() {
            OpenAccMode::O_RDONLY => Access::READ,
            OpenAccMode::O_WRONLY => Access::WRITE,
            OpenAccMode::O_RDWR => Access::READ | Access::WRITE,
        };
        // A name that the kernel had cached: it is to look it up once more.
        let opened = self.node(ino).and_then(|node| node.open(access).map_err(|_| Errno::ESTALE));
        match opened {
            Ok(file) => {
                let flags = FopenFlags::FOPEN_DIRECT_IO
                    | FopenFlags::FOPEN_NOFLUSH
                    | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES;
                reply.opened(FileHandle(self.0.handles.add_file(file)), flags);
            }
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        request: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some(file) = self.0.handles.file(handle.0) else { return reply.error(Errno::EBADF) };
        let (offset, size) =
            (usize::try_from(offset).unwrap_or(usize::MAX), size.try_into().unwrap_or(usize::MAX));
        let mut reply = Some(reply);
        let read = caller::during(request, || {
            file.read_with(offset, size, |content| {
                if let Some(reply) = reply.take() {
                    reply.data(content);
                }
            })
        });
        if let (Err(error), Some(reply)) = (read, reply) {
            reply.error(errno(error));
        }
    }

    fn write(
        &self,
        request: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let Some(file) = self.0.handles.file(handle.0) else { return reply.error(Errno::EBADF) };
        if data.len() > WRITE_MAX {
            return reply.error(Errno::E2BIG);
        }
        match caller::during(request, || file.write(data)) {
            // At most a page.
            Ok(()) => reply.written(data.len() as u32),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        if let Some(file) = self.0.handles.remove_file(handle.0) {
            self.0.sleepers.remove(file.node().id(), handle.0);
        }
        reply.ok();
    }

    fn poll(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        notifier: PollNotifier,
        _: PollEvents,
        flags: PollFlags,
        reply: ReplyPoll,
    ) {
        let Some(file) = self.0.handles.file(handle.0) else { return reply.error(Errno::EBADF) };
        if flags.contains(PollFlags::FUSE_POLL_SCHEDULE_NOTIFY) {
            self.0.sleepers.add(ino.0, handle.0, notifier);
        }
        let mut events = PollEvents::POLLIN
            | PollEvents::POLLOUT
            | PollEvents::POLLRDNORM
            | PollEvents::POLLWRNORM;
        if file.poll().contains(Ready::PRI) {
            events |= PollEvents::POLLERR | PollEvents::POLLPRI;
        }
        reply.poll(events);
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.node(ino) {
            Ok(_) => {
                let handle = FileHandle(self.0.handles.add_directory());
                reply.opened(handle, FopenFlags::empty());
            }
            Err(error) => reply.error(error),
        }
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = self.list(ino, handle, offset, |node, next, name| {
            reply.add(INodeNo(node.id()), next, facts::kind(node), OsStr::from_bytes(name))
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn readdirplus(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let listed = self.list(ino, handle, offset, |node, next, name| {
            // Looked up with it, but for these two.
            let counts = !matches!(name, b"." | b"..");
            if counts {
                self.0.known.add(node);
            }
            let (validity, facts) = (facts::validity(node), self.facts(node));
            let name = OsStr::from_bytes(name);
            let ino = INodeNo(node.id());
            let full = reply.add(ino, next, name, &validity, &facts, facts::GENERATION);
            if full && counts {
                self.0.known.forget(node.id(), 1);
            }
            full
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn releasedir(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.0.handles.remove_directory(handle.0);
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        // Kernel: `simple_statfs`.
        reply.statfs(0, 0, 0, 0, 0, 4096, NAME_MAX as u32, 4096);
    }

    fn create(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        reply.error(Errno::EACCES);
    }

    fn mknod(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, _: u32, reply: ReplyEntry) {
        reply.error(Errno::EPERM);
    }

    fn unlink(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EPERM);
    }

    fn symlink(&self, _: &Request, _: INodeNo, _: &OsStr, _: &Path, reply: ReplyEntry) {
        reply.error(Errno::EPERM);
    }

    fn link(&self, _: &Request, _: INodeNo, _: INodeNo, _: &OsStr, reply: ReplyEntry) {
        reply.error(Errno::EPERM);
    }

    fn rename(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: INodeNo,
        _: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EPERM);
    }

    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }

    // Not known, and never asked for again: the kernel does what is right.

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }
}
