/*
 * The monitor's protocol without the monitor: the system calls that watching cgroups takes, and
 * next to nothing between them. What cgwatch costs is measured against this.
 *
 * The protocol is that of a privileged watcher: what is known is opened by its id, which is its
 * file handle, so that no name is looked up (`HostWorld` tells why). A control file is opened only
 * while a descriptor of its directory is, which is looked at afterwards.
 *   birth:  open by the path from the mount's root, fstat, watch the directory; list it; watch and
 *           read each event file; fstat, close.
 *   change: open the directory and the file by id; read; fstat, close. Numbers that differ make a
 *           change.
 *   death:  open by the path, to see that it is gone; end its watches.
 *
 * Usage: loop MOUNT CGROUP, the second relative to the first. What is asked and answered on stdin
 * and stdout: see subject.rs.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FILES = 3, VALUES = 8, BUCKETS = 1 << 17, DIRECTORY = FILES, PARTS = FILES + 1 };
static const char *const file_names[FILES] = {"cgroup.events", "memory.events", "pids.events"};

struct cgroup {
    struct cgroup *next_in_bucket;
    struct cgroup *parent;
    uint64_t id;
    int watches[PARTS]; /* of the files, then of the directory; 0: none */
    uint64_t files[FILES]; /* their ids */
    uint64_t values[FILES][VALUES];
    uint32_t name; /* where the name starts in the path */
    char path[];   /* from the mount's root */
};

/* What a watch is of. */
struct target {
    struct cgroup *cgroup;
    int part;
};

static int root, handles, inotify;
static struct target *targets; /* by watch descriptor */
static size_t target_room;
static struct cgroup *buckets[BUCKETS];

static struct {
    uint64_t changed, appeared, removed;
} counts, wanted;

/* When removals were seen, by the number in the name, if asked for. */
static struct removal {
    uint32_t number;
    uint64_t at;
} *removals;
static size_t removal_count, removal_room;
static bool note_removals;

static _Noreturn void fail(const char *what) {
    perror(what);
    exit(1);
}

static void *room(void *old, size_t bytes) {
    void *new = realloc(old, bytes);
    if (!new) fail("realloc");
    return new;
}

static uint64_t now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* ---- the books ---- */

static struct cgroup **bucket(const struct cgroup *parent, const char *name) {
    uint64_t hash = parent ? parent->id : 0;
    for (; *name; name++) hash = (hash ^ (unsigned char)*name) * 0x100000001b3;
    return &buckets[(hash ^ hash >> 32) % BUCKETS];
}

static struct cgroup *child(const struct cgroup *parent, const char *name) {
    struct cgroup *it = *bucket(parent, name);
    while (it && (it->parent != parent || strcmp(it->path + it->name, name))) it = it->next_in_bucket;
    return it;
}

static void watch(struct cgroup *cgroup, int part, int fd, uint32_t mask) {
    char through[32];
    snprintf(through, sizeof through, "/proc/self/fd/%d", fd);
    int wd = inotify_add_watch(inotify, through, mask);
    if (wd < 0 && errno == ENOENT) return; /* it is being removed */
    if (wd < 0) fail("inotify_add_watch");
    if ((size_t)wd >= target_room) {
        size_t larger = target_room ? target_room * 2 : 1024;
        targets = room(targets, larger * sizeof *targets);
        memset(targets + target_room, 0, (larger - target_room) * sizeof *targets);
        target_room = larger;
    }
    targets[wd] = (struct target){cgroup, part};
    cgroup->watches[part] = wd;
}

/* ---- reading ---- */

/* The numbers of a file, in its order; whether any differs from the last time. */
static bool differs(struct cgroup *cgroup, int file, const char *text) {
    bool any = false;
    int index = 0;
    for (const char *at = text; *at && index < VALUES; index++) {
        while (*at && *at != ' ') at++;
        while (*at == ' ') at++;
        uint64_t value = 0;
        for (; *at >= '0' && *at <= '9'; at++) value = value * 10 + (uint64_t)(*at - '0');
        while (*at && *at != '\n') at++;
        if (*at) at++;
        if (cgroup->values[file][index] != value) {
            cgroup->values[file][index] = value;
            any = true;
        }
    }
    return any;
}

/* What has this id, in the file system that `handles` is in. */
static int open_id(uint64_t id, int flags) {
    struct {
        struct file_handle head;
        uint64_t id;
    } handle = {.head = {.handle_bytes = sizeof id, .handle_type = 0xfe}, .id = id};
    return open_by_handle_at(handles, &handle.head, flags | O_CLOEXEC);
}

static bool read_file(struct cgroup *cgroup, int file, bool *changed) {
    char text[4096];
    int fd = open_id(cgroup->files[file], O_RDONLY | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0) return false;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length < 0) return false;
    text[length] = 0;
    *changed = differs(cgroup, file, text);
    return true;
}

/* Opens the directory and asks who it is. */
static int open_directory(const char *path, uint64_t *id) {
    struct stat status;
    int fd = openat(root, path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return -1;
    fstat(fd, &status);
    *id = status.st_ino;
    return fd;
}

/* Looks again; what our own openings held back of a removal is let go by looking the name up. */
static void close_directory(int fd, int file, bool whole) {
    struct stat status;
    if (fstat(fd, &status) || !status.st_nlink || !whole)
        fstatat(fd, file_names[file], &status, AT_SYMLINK_NOFOLLOW);
    close(fd);
}

static void change(struct cgroup *cgroup, int file) {
    bool changed = false;
    int fd = open_id(cgroup->id, O_PATH | O_DIRECTORY | O_NOFOLLOW);
    if (fd < 0) return;
    bool whole = read_file(cgroup, file, &changed);
    close_directory(fd, file, whole);
    if (changed) counts.changed++;
}

/* ---- births and deaths ---- */

static void birth(struct cgroup *parent, const char *name);

/* The ids of the event files in it, and the names of the directories, each with its NUL. */
static char *list(int directory, uint64_t *files, size_t *length) {
    char entries[32768], *names = NULL;
    ssize_t got;
    int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return NULL;
    while ((got = getdents64(fd, entries, sizeof entries)) > 0) {
        for (ssize_t at = 0; at < got;) {
            struct dirent64 *entry = (struct dirent64 *)(entries + at);
            at += entry->d_reclen;
            if (entry->d_type != DT_DIR) {
                for (int file = 0; file < FILES; file++)
                    if (!strcmp(entry->d_name, file_names[file])) files[file] = entry->d_ino;
                continue;
            }
            if (entry->d_name[0] == '.') continue;
            size_t more = strlen(entry->d_name) + 1;
            names = room(names, *length + more);
            memcpy(names + *length, entry->d_name, more);
            *length += more;
        }
    }
    close(fd);
    return names;
}

static struct cgroup *enter(struct cgroup *parent, const char *path, size_t name, uint64_t id) {
    size_t length = strlen(path) + 1;
    struct cgroup *cgroup = room(NULL, sizeof *cgroup + length);
    memset(cgroup, 0, sizeof *cgroup);
    memcpy(cgroup->path, path, length);
    cgroup->parent = parent;
    cgroup->id = id;
    cgroup->name = (uint32_t)name;
    struct cgroup **first = bucket(parent, cgroup->path + name);
    cgroup->next_in_bucket = *first;
    *first = cgroup;
    return cgroup;
}

static void appear(struct cgroup *parent, const char *path, size_t name) {
    uint64_t id;
    int fd = open_directory(path, &id);
    if (fd < 0) return;
    struct cgroup *cgroup = enter(parent, path, name, id);
    counts.appeared++;

    watch(cgroup, DIRECTORY, fd, IN_CREATE | IN_DELETE | IN_CLOSE_WRITE | IN_ONLYDIR);
    size_t length = 0;
    char *names = list(fd, cgroup->files, &length);
    bool whole = true, changed;
    for (int file = 0; file < FILES; file++) {
        if (!cgroup->files[file]) continue;
        int inode = open_id(cgroup->files[file], O_PATH | O_NOFOLLOW);
        if (inode < 0) continue;
        watch(cgroup, file, inode, IN_MODIFY | IN_DELETE_SELF);
        close(inode);
        whole &= read_file(cgroup, file, &changed);
    }
    close_directory(fd, 0, whole);

    for (size_t at = 0; at < length; at += strlen(names + at) + 1) birth(cgroup, names + at);
    free(names);
}

static void birth(struct cgroup *parent, const char *name) {
    char path[4096];
    if (child(parent, name)) return;
    snprintf(path, sizeof path, "%s/%s", parent->path, name);
    appear(parent, path, strlen(parent->path) + 1);
}

static void death(struct cgroup *parent, const char *name) {
    struct cgroup *cgroup = child(parent, name);
    if (!cgroup) return;
    uint64_t id;
    int fd = open_directory(cgroup->path, &id);
    if (fd >= 0) {
        close(fd);
        if (id == cgroup->id) return;
    }
    counts.removed++;
    for (int part = 0; part < PARTS; part++) {
        if (!cgroup->watches[part]) continue;
        inotify_rm_watch(inotify, cgroup->watches[part]);
        targets[cgroup->watches[part]].cgroup = NULL;
    }
    if (note_removals) {
        if (removal_count == removal_room) {
            removal_room = removal_room ? removal_room * 2 : 1024;
            removals = room(removals, removal_room * sizeof *removals);
        }
        uint32_t number = (uint32_t)strtoul(name + strcspn(name, "0123456789"), NULL, 10);
        removals[removal_count++] = (struct removal){number, now(CLOCK_MONOTONIC)};
    }
    struct cgroup **link = bucket(parent, name);
    while (*link != cgroup) link = &(*link)->next_in_bucket;
    *link = cgroup->next_in_bucket;
    free(cgroup);
}

/* ---- notifications ---- */

static bool drain(void) {
    _Alignas(struct inotify_event) char buffer[65536];
    bool any = false;
    ssize_t got;
    while ((got = read(inotify, buffer, sizeof buffer)) > 0) {
        any = true;
        for (char *at = buffer; at < buffer + got;) {
            struct inotify_event *event = (struct inotify_event *)at;
            at += sizeof *event + event->len;
            if (event->mask & IN_Q_OVERFLOW) {
                fprintf(stderr, "the queue was full\n");
                exit(1);
            }
            if ((size_t)event->wd >= target_room) continue;
            struct target target = targets[event->wd];
            if (!target.cgroup) continue;
            if (target.part != DIRECTORY) {
                if (event->mask & IN_MODIFY) change(target.cgroup, target.part);
            } else if (event->mask & IN_ISDIR) {
                if (event->mask & IN_CREATE) birth(target.cgroup, event->name);
                if (event->mask & IN_DELETE) death(target.cgroup, event->name);
            }
        }
    }
    return any;
}

/* ---- questions and answers ---- */

static bool done(void) {
    return counts.changed >= wanted.changed && counts.appeared >= wanted.appeared &&
           counts.removed >= wanted.removed;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    uint64_t began = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    root = open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
    handles = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0 || handles < 0) fail(argv[1]);
    inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (inotify < 0) fail("inotify_init1");
    appear(NULL, argv[2], 0);
    drain();
    printf("ready %llu %llu %llu\n", (unsigned long long)(now(CLOCK_PROCESS_CPUTIME_ID) - cpu),
           (unsigned long long)(now(CLOCK_MONOTONIC) - began), (unsigned long long)counts.appeared);
    fflush(stdout);

    bool measuring = false;
    uint64_t deadline = 0;
    for (;;) {
        struct pollfd ready[] = {{inotify, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
        if (measuring) poll(ready, 1, 1000);
        else poll(ready, 2, -1);
        if (ready[0].revents) drain();
        if (measuring && (done() || now(CLOCK_MONOTONIC) > deadline)) {
            measuring = false;
            uint64_t spent = now(CLOCK_PROCESS_CPUTIME_ID) - cpu, when = now(CLOCK_MONOTONIC);
            for (size_t i = 0; i < removal_count; i++)
                printf("removed %u %llu\n", removals[i].number, (unsigned long long)removals[i].at);
            printf("done %llu %llu %llu %llu %llu\n", (unsigned long long)spent,
                   (unsigned long long)when, (unsigned long long)counts.changed,
                   (unsigned long long)counts.appeared, (unsigned long long)counts.removed);
            fflush(stdout);
        }
        if (ready[1].revents) {
            char line[128];
            ssize_t length = read(STDIN_FILENO, line, sizeof line - 1);
            if (length <= 0) return 0;
            line[length] = 0;
            unsigned long long changed, appeared, removed, note;
            if (sscanf(line, "begin %llu %llu %llu %llu", &changed, &appeared, &removed, &note) != 4)
                return 2;
            drain();
            wanted.changed = changed, wanted.appeared = appeared, wanted.removed = removed;
            memset(&counts, 0, sizeof counts);
            removal_count = 0;
            note_removals = note;
            measuring = true;
            cpu = now(CLOCK_PROCESS_CPUTIME_ID);
            deadline = now(CLOCK_MONOTONIC) + 20000000000;
            printf("begun\n");
            fflush(stdout);
        }
    }
}
