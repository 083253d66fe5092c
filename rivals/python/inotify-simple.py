"""Python's inotify_simple: a watch on each event file, and one on each directory for births and
removals. Started with the directory and the name of the event file; says the same lines as the
other rivals (see ../src/lib.rs)."""

import os
import sys

from inotify_simple import INotify, flags

ROOT, FILE = sys.argv[1:]
DIRECTORY = flags.CREATE | flags.DELETE | flags.ONLYDIR

inotify = INotify()
by_watch = {}
known = {}
lines = []
is_ready = False


class Cgroup:
    """What is known of one: its inode, its watches, and what its event file contained."""

    def __init__(self, path, inode):
        self.path = path
        self.said = path[len(ROOT):] or "/"
        self.inode = inode
        self.watches = [
            inotify.add_watch(path, DIRECTORY),
            inotify.add_watch(os.path.join(path, FILE), flags.MODIFY),
        ]
        self.content = self.read()
        self.kills = 0

    def read(self):
        with open(os.path.join(self.path, FILE), encoding="ascii") as file:
            return file.read()

    def changed(self):
        try:
            content = self.read()
        except OSError:
            return
        if content == self.content:
            return
        self.content = content
        lines.append(f"changed {self.said} " + " ".join(content.split("\n")))
        for line in content.split("\n"):
            if line.startswith("oom_kill "):
                kills = int(line.split()[1])
                if kills > self.kills:
                    lines.append(f"oom {self.said} {kills - self.kills}")
                self.kills = kills


def enter(path):
    try:
        inode = os.stat(path).st_ino
        if path in known and known[path].inode != inode:
            bury(path)
        if path not in known:
            cgroup = Cgroup(path, inode)
            known[path] = cgroup
            if is_ready:
                lines.append(f"born {cgroup.said}")
            for watch in cgroup.watches:
                by_watch[watch] = cgroup
        with os.scandir(path) as entries:
            directories = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for directory in directories:
        enter(directory)


def bury(path):
    cgroup = known.pop(path, None)
    if cgroup is None:
        return
    lines.append(f"removed {cgroup.said}")
    for watch in cgroup.watches:
        by_watch.pop(watch, None)
        try:
            inotify.rm_watch(watch)
        except OSError:
            pass


def look(path):
    """It may be gone, or have a new bearer."""
    try:
        inode = os.stat(path).st_ino
    except OSError:
        bury(path)
        return
    if path in known and known[path].inode != inode:
        bury(path)
        enter(path)


def flush():
    if lines:
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
        lines.clear()


enter(ROOT)
lines.append("ready")
is_ready = True
while True:
    flush()
    for event in inotify.read():
        if event.mask & flags.Q_OVERFLOW:
            for path in list(known):
                look(path)
            enter(ROOT)
            for cgroup in list(known.values()):
                cgroup.changed()
            continue
        cgroup = by_watch.get(event.wd)
        if cgroup is None:
            continue
        if not event.name:
            if event.mask & flags.MODIFY:
                cgroup.changed()
        elif event.mask & flags.DELETE:
            look(os.path.join(cgroup.path, event.name))
        elif event.mask & flags.CREATE:
            enter(os.path.join(cgroup.path, event.name))
