/*
 * What `cargo xtask bench mount` holds kernfs-fuse against: libfuse's own low-level example,
 * hello_ll.c, with the layout that is measured, and with the options that kernfs-fuse gives the
 * kernel: content that is read anew each time, names and attributes that are believed for a day, no
 * request at a close but the last.
 *
 * As little as a server can do: an inode number says by arithmetic what it is, and all content is
 * one constant.
 *
 * Usage: libfuse DIRECTORIES THREADS MOUNTPOINT, where it shows cgroup.events and, for each
 * directory, many/NUMBER/cgroup.events. It ends at SIGTERM.
 */
#define FUSE_USE_VERSION 312

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOT = FUSE_ROOT_ID, EVENTS, MANY, FIRST };

static const char content[] = "populated 0\nfrozen 0\n";
static const char file_name[] = "cgroup.events";
static const double day = 24 * 60 * 60;
static fuse_ino_t directories;

/* A directory and the file in it follow one another. */
static fuse_ino_t directory(fuse_ino_t number) { return FIRST + 2 * number; }

static int is_file(fuse_ino_t ino) { return ino == EVENTS || (ino >= FIRST && (ino - FIRST) % 2); }

static struct stat attributes(fuse_ino_t ino) {
    struct stat stat = { .st_ino = ino };

    stat.st_mode = is_file(ino) ? S_IFREG | 0444 : S_IFDIR | 0755;
    stat.st_nlink = is_file(ino) ? 1 : ino == MANY ? 2 + directories : 2;
    return stat;
}

static void getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    struct stat stat = attributes(ino);

    (void)fi;
    fuse_reply_attr(req, &stat, day);
}

static fuse_ino_t find(fuse_ino_t parent, const char *name) {
    if (parent == MANY) {
        char *end;
        fuse_ino_t number = strtoul(name, &end, 10);

        return *end == 0 && number < directories ? directory(number) : 0;
    }
    if (parent == ROOT && strcmp(name, "many") == 0)
        return MANY;
    if (strcmp(name, file_name) == 0)
        return parent == ROOT ? EVENTS : parent + 1;
    return 0;
}

static void lookup(fuse_req_t req, fuse_ino_t parent, const char *name) {
    fuse_ino_t ino = find(parent, name);
    struct fuse_entry_param entry = { .ino = ino, .attr_timeout = day, .entry_timeout = day };

    if (ino == 0) {
        fuse_reply_err(req, ENOENT);
        return;
    }
    entry.attr = attributes(ino);
    fuse_reply_entry(req, &entry);
}

/* The entries of MANY; the others are looked up only. */
static void readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi) {
    char *buffer = malloc(size);
    size_t filled = 0;

    (void)fi;
    if (buffer == NULL) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    for (; ino == MANY && off < 2 + (off_t)directories; off++) {
        char name[32] = ".";
        struct stat stat = { .st_ino = MANY, .st_mode = S_IFDIR };

        if (off == 1)
            strcpy(name, "..");
        if (off >= 2) {
            snprintf(name, sizeof(name), "%ld", (long)off - 2);
            stat.st_ino = directory(off - 2);
        }
        size_t more = fuse_add_direntry(req, buffer + filled, size - filled, name, &stat, off + 1);
        if (more > size - filled)
            break;
        filled += more;
    }
    fuse_reply_buf(req, buffer, filled);
    free(buffer);
}

static void open_file(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    if (!is_file(ino)) {
        fuse_reply_err(req, EISDIR);
    } else if ((fi->flags & O_ACCMODE) != O_RDONLY) {
        fuse_reply_err(req, EACCES);
    } else {
        fi->direct_io = 1;
        fi->noflush = 1;
        fuse_reply_open(req, fi);
    }
}

static void read_file(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                      struct fuse_file_info *fi) {
    size_t length = sizeof(content) - 1, from = off < (off_t)length ? (size_t)off : length;

    (void)ino;
    (void)fi;
    fuse_reply_buf(req, content + from, length - from < size ? length - from : size);
}

static const struct fuse_lowlevel_ops operations = {
    .lookup = lookup,
    .getattr = getattr,
    .readdir = readdir,
    .open = open_file,
    .read = read_file,
};

int main(int argc, char *argv[]) {
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    struct fuse_loop_config *config = fuse_loop_cfg_create();
    struct fuse_session *session;
    int failed = 1;

    if (argc != 4 || config == NULL)
        return 2;
    directories = strtoul(argv[1], NULL, 10);
    unsigned int threads = strtoul(argv[2], NULL, 10);
    fuse_opt_add_arg(&args, argv[0]);
    fuse_opt_add_arg(&args, "-odefault_permissions,nosuid,nodev,noexec");
    session = fuse_session_new(&args, &operations, sizeof(operations), NULL);
    if (session == NULL || fuse_set_signal_handlers(session) != 0)
        return 1;
    if (fuse_session_mount(session, argv[3]) == 0) {
        fuse_loop_cfg_set_clone_fd(config, 1);
        fuse_loop_cfg_set_max_threads(config, threads);
        fuse_loop_cfg_set_idle_threads(config, threads);
        failed = threads == 1 ? fuse_session_loop(session)
                      : fuse_session_loop_mt(session, config);
        /* A signal that ended it is no failure. */
        failed = failed < 0;
        fuse_session_unmount(session);
    }
    fuse_remove_signal_handlers(session);
    fuse_session_destroy(session);
    fuse_loop_cfg_destroy(config);
    fuse_opt_free_args(&args);
    return failed;
}
