/*
 * Processes that live in cgroups until they are killed: born there, they never move.
 *
 * Each line on standard input, the path of a cgroup, makes one, answered by a line with its number.
 * It sleeps; at each SIGUSR1 it takes 9 MiB of memory. All end with this one, which ends with its
 * input.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const size_t MEAL = 9 << 20;

static _Noreturn void fail(const char *what) {
    perror(what);
    exit(1);
}

static void nothing(int signal) { (void)signal; }

/* SIGUSR1 is blocked but for the time asleep, so none is missed. */
static _Noreturn void live(const sigset_t *asleep) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGUSR1, nothing);
    for (;;) {
        sigsuspend(asleep);
        char *memory = mmap(NULL, MEAL, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) _exit(1);
        for (size_t i = 0; i < MEAL; i += 4096) memory[i] = 1;
    }
}

int main(void) {
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    sigset_t asleep, busy;
    /* The dead are reaped by the kernel. */
    signal(SIGCHLD, SIG_IGN);
    sigemptyset(&busy);
    sigaddset(&busy, SIGUSR1);
    sigprocmask(SIG_BLOCK, &busy, &asleep);
    while ((length = getline(&line, &size, stdin)) > 0) {
        line[length - 1] = 0;
        int cgroup = open(line, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (cgroup < 0) fail(line);
        struct clone_args arguments = {
            .flags = CLONE_INTO_CGROUP,
            .exit_signal = SIGCHLD,
            .cgroup = (uint64_t)cgroup,
        };
        long child = syscall(SYS_clone3, &arguments, sizeof arguments);
        if (child < 0) fail("clone3");
        if (!child) live(&asleep);
        close(cgroup);
        printf("%ld\n", child);
        fflush(stdout);
    }
    return 0;
}
