/*
 * fork+exit in cgroups: what work in a watched tree costs.
 *
 * Usage, printing the nanoseconds it took:
 *   fork inside COUNT CGROUP       This process enters the cgroup first: nothing changes in it.
 *   fork into COUNT CGROUP...      Each child is born in the next of these, which it makes
 *                                  populated, and empty again by its exit.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static _Noreturn void fail(const char *what) {
    perror(what);
    exit(1);
}

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    bool inside = !strcmp(argv[1], "inside");
    long count = atol(argv[2]);
    char **paths = argv + 3;
    int cgroups = argc - 3;
    int *fds = calloc((size_t)cgroups, sizeof *fds);
    for (int i = 0; i < cgroups; i++) {
        fds[i] = open(paths[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fds[i] < 0) fail(paths[i]);
    }
    if (inside) {
        int procs = openat(fds[0], "cgroup.procs", O_WRONLY | O_CLOEXEC);
        if (procs < 0 || write(procs, "0", 1) != 1) fail("cgroup.procs");
        close(procs);
    }
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (long i = 0; i < count; i++) {
        struct clone_args arguments = {.exit_signal = SIGCHLD};
        if (!inside) {
            arguments.flags = CLONE_INTO_CGROUP;
            arguments.cgroup = (uint64_t)fds[i % cgroups];
        }
        long child = syscall(SYS_clone3, &arguments, sizeof arguments);
        if (child < 0) fail("clone3");
        if (!child) _exit(0);
        waitpid((pid_t)child, NULL, 0);
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    printf("%lld\n", (long long)(to.tv_sec - from.tv_sec) * 1000000000 + (to.tv_nsec - from.tv_nsec));
    return 0;
}
