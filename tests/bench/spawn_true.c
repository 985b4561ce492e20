/*
 * `true` once an item by two threads of bare posix_spawn and waitpid: what starting a process costs on this
 * machine, the yardstick for commands. As a map of commands does, it gives each its number as an argument;
 * nothing is captured, limited or timed. Prints one line of JSON.
 */
#include "common/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { THREADS = 2, MAX_COUNT = 10 * 1000 * 1000 };

struct work {
    const char *program;
    int64_t count;
    _Atomic int64_t next; /* the item that is taken next */
};

/* Runs the program for one item. Returns 0 if it exited with 0, else -1 having told. */
static int run_item(const char *program, int64_t item)
{
    char number[24];
    snprintf(number, sizeof number, "%" PRId64, item);
    char name[] = "true";
    char *argv[] = {name, number, NULL};
    pid_t pid = 0;
    int status = 0;
    int error = posix_spawn(&pid, program, NULL, NULL, argv, environ);
    if (error == 0) {
        pid_t got;
        while ((got = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
            ;
        error = got < 0 ? errno : 0;
    }
    if (error == 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return 0;
    }
    fprintf(stderr, "spawn_true: %s: %s\n", program, error ? strerror(error) : "failed");
    return -1;
}

/* A thread: takes items until there are none. Returns NULL, or "" on error. */
static void *run_items(void *arg)
{
    struct work *work = arg;
    int64_t item;
    while ((item = atomic_fetch_add(&work->next, 1)) < work->count) {
        if (run_item(work->program, item) < 0) {
            return "";
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    char *end = NULL;
    errno = 0;
    long long count = argc == 2 ? strtoll(argv[1], &end, 10) : 0;
    if (argc != 2 || errno || *end || count < 1 || count > MAX_COUNT) {
        fputs("usage: spawn_true ITEMS\n", stderr);
        return 2;
    }
    struct work work = {.program = access("/usr/bin/true", X_OK) == 0 ? "/usr/bin/true" : "/bin/true",
                        .count = count};
    pthread_t threads[THREADS];
    int rc = 0;
    int started = 0;
    int64_t start = now_ns();
    while (started < THREADS && rc == 0) {
        rc = pthread_create(&threads[started], NULL, run_items, &work);
        started += rc == 0;
    }
    if (rc != 0) {
        fprintf(stderr, "spawn_true: pthread_create: %s\n", strerror(rc));
    }
    for (int i = 0; i < started; i++) {
        void *answer = "";
        if (pthread_join(threads[i], &answer) != 0 || answer) {
            rc = -1;
        }
    }
    double seconds = (double)(now_ns() - start) / 1e9;
    if (rc != 0) {
        return 1;
    }
    printf("{\"mode\": \"spawn_true\", \"items\": %lld, \"threads\": %d, \"per_s\": %.1f}\n", count, THREADS,
           (double)count / seconds);
    return fflush(stdout) != 0;
}
