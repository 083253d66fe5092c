//! Requests of the kernel, answered from the tree. What cgroupfs refuses is
//! refused with the same errno.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path, time::SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileHandle, Filesystem, FopenFlags, INodeNo, InitFlags, IoctlFlags,
    KernelConfig, LockOwner, OpenAccMode, OpenFlags, PollEvents, PollFlags, PollNotifier,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyIoctl, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
    TimeOrNow, WriteFlags,
};
use kernfs::{Access, Ready};

use crate::{
    caller, facts,
    requests::{Change, Server, errno},
    xattr,
};

/// Kernel: `PAGE_SIZE`, the longest write that kernfs hands on whole.
const WRITE_MAX: usize = 4096;

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
        let opened = self.node(ino).and_then(|node| {
            let user = caller::credentials(request, access, node.permissions());
            node.open_as(access, user).map_err(|_| Errno::ESTALE)
        });
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
        reader: Option<LockOwner>,
        reply: ReplyData,
    ) {
        // Only read(2) and its like say who reads. Without, a page is to be filled for splice(2),
        // sendfile(2) or mmap(2), which would be shared by all and believed to be as long as the
        // file seems. Refused, they leave nothing behind, and their callers turn to read(2).
        if reader.is_none() {
            return reply.error(Errno::EINVAL);
        }
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
        // Kernel: `simple_statfs`, which says `NAME_MAX`, whatever names kernfs lets in.
        reply.statfs(0, 0, 0, 0, 0, 4096, 255, 4096);
    }

    fn setxattr(
        &self,
        request: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        match self.set_xattr(request, ino, name, value, flags) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        xattr::reply(self.xattr(ino, name), size, reply);
    }

    fn listxattr(&self, request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        xattr::reply(self.xattr_names(request, ino), size, reply);
    }

    fn removexattr(&self, request: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        match self.remove_xattr(request, ino, name) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
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

    fn mknod(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        mode: u32,
        _: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        // Kernel: `vfs_create` and `vfs_mknod`, without a method for either.
        let is_file = rustix::fs::FileType::from_raw_mode(mode).is_file();
        reply.error(if is_file { Errno::EACCES } else { Errno::EPERM });
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
