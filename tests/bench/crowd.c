/*
 * A crowd of one user's: many connections with many jobs, which always have work and never end. For fair.py.
 *
 *     crowd ENDPOINT FUNCTION ITEM CONNECTIONS JOBS ITEMS
 *
 * Opens CONNECTIONS with JOBS on each, and keeps ITEMS equal items of each job unanswered. Writes a line of
 * JSON when all of them are with the daemon for the first time, and goes on until its stdin ends; exit status
 * 0 if it had every result that it took, in order and without an error.
 */
#include "client/libpmap/pmap.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { LOOK_MS = 200, CONNECTIONS_MAX = 10000, JOBS_MAX = 100000, ITEMS_MAX = 100000000 };

struct flood {
    pmap_job *job;
    uint64_t put, taken;
    bool full; /* as many items as it is to keep were unanswered once */
};

struct crowd {
    const char *function, *item;
    size_t item_size;
    unsigned connections, jobs; /* jobs: on each connection */
    uint64_t items;
    pmap **pools;
    struct flood *floods;  /* jobs × connections, those of a connection together */
    struct pollfd *polled; /* the connections', and stdin */
    unsigned full;
};

static int complain(const char *what, const char *why)
{
    fprintf(stderr, "crowd: %s: %s\n", what, why);
    return -1;
}

/* Each connection has some descriptors of ZeroMQ's. */
static void raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int start(struct crowd *crowd, const char *endpoint)
{
    for (unsigned i = 0; i < crowd->connections; i++) {
        int rc = pmap_connect(endpoint, NULL, &crowd->pools[i]);
        if (rc < 0)
            return complain(endpoint, crowd->pools[i] != NULL ? pmap_error(crowd->pools[i]) : strerror(-rc));
        crowd->polled[i] = (struct pollfd){.fd = pmap_fd(crowd->pools[i]), .events = POLLIN};
    }
    crowd->polled[crowd->connections] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    for (unsigned i = 0; i < crowd->connections * crowd->jobs; i++) {
        pmap *pool = crowd->pools[i / crowd->jobs];
        if (pmap_open(pool, crowd->function, NULL, &crowd->floods[i].job) < 0)
            return complain(crowd->function, pmap_error(pool));
    }
    return 0;
}

static int take(struct flood *flood)
{
    pmap_result result;
    int rc;
    while ((rc = pmap_take(flood->job, &result)) == PMAP_RESULT) {
        if (result.index != flood->taken++ || result.failed)
            return complain("a result", result.failed ? result.error : "not the one that comes next");
    }
    if (rc != PMAP_NONE)
        return complain("a job", rc < 0 ? strerror(-rc) : pmap_job_error(flood->job, NULL));
    return 0;
}

static int fill(struct crowd *crowd, struct flood *flood)
{
    int rc = 0;
    uint64_t before = flood->put;
    while (rc == 0 && flood->put - flood->taken < crowd->items) {
        rc = pmap_put(flood->job, crowd->item, crowd->item_size);
        flood->put += rc == 0;
    }
    if (rc == 0 && flood->put > before)
        rc = pmap_flush(flood->job);
    if (rc < 0 && rc != -EAGAIN)
        return complain("an item", strerror(-rc));
    if (!flood->full && flood->put - flood->taken == crowd->items) {
        flood->full = true;
        crowd->full++;
    }
    return 0;
}

/* Takes and puts what can be on one connection, until there is nothing left to do. */
static int serve(struct crowd *crowd, unsigned connection)
{
    pmap *pool = crowd->pools[connection];
    if (pmap_step(pool) < 0)
        return complain("the connection", pmap_error(pool));
    struct flood *flood = &crowd->floods[(size_t)connection * crowd->jobs];
    for (unsigned i = 0; i < crowd->jobs; i++, flood++) {
        if (take(flood) < 0 || fill(crowd, flood) < 0 || take(flood) < 0)
            return -1;
    }
    return 0;
}

/* Until stdin ends. */
static int run(struct crowd *crowd)
{
    bool ready = false;
    struct pollfd *in = &crowd->polled[crowd->connections];
    for (;;) {
        int count = poll(crowd->polled, crowd->connections + 1, ready ? LOOK_MS : 1);
        if (count < 0 && errno != EINTR)
            return complain("poll", strerror(errno));
        char byte;
        if (count > 0 && in->revents != 0 && read(STDIN_FILENO, &byte, 1) <= 0)
            return 0;
        for (unsigned i = 0; i < crowd->connections; i++) {
            bool due = count == 0 || crowd->polled[i].revents != 0 || !ready;
            if (due && serve(crowd, i) < 0)
                return -1;
        }
        if (!ready && crowd->full == crowd->connections * crowd->jobs) {
            ready = true;
            printf("{\"connections\": %u, \"jobs\": %u, \"items\": %" PRIu64 "}\n", crowd->connections,
                   crowd->connections * crowd->jobs, crowd->items * crowd->connections * crowd->jobs);
            fflush(stdout);
        }
    }
}

static bool read_number(const char *text, uint64_t most, uint64_t *value)
{
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *value >= 1 && *value <= most;
}

int main(int argc, char **argv)
{
    uint64_t connections = 0, jobs = 0, items = 0;
    if (argc != 7 || !read_number(argv[4], CONNECTIONS_MAX, &connections) ||
        !read_number(argv[5], JOBS_MAX, &jobs) || !read_number(argv[6], ITEMS_MAX, &items)) {
        fputs("usage: crowd ENDPOINT FUNCTION ITEM CONNECTIONS JOBS ITEMS\n", stderr);
        return 2;
    }
    struct crowd crowd = {.function = argv[2],
                          .item = argv[3],
                          .item_size = strlen(argv[3]),
                          .connections = (unsigned)connections,
                          .jobs = (unsigned)jobs,
                          .items = items,
                          .pools = calloc(connections, sizeof(pmap *)),
                          .floods = calloc(connections * jobs, sizeof(struct flood)),
                          .polled = calloc(connections + 1, sizeof(struct pollfd))};
    bool memory = crowd.pools != NULL && crowd.floods != NULL && crowd.polled != NULL;
    raise_limit();
    int rc = memory ? start(&crowd, argv[1]) : complain("memory", strerror(ENOMEM));
    if (rc == 0)
        rc = run(&crowd);
    for (unsigned i = 0; crowd.pools != NULL && i < crowd.connections; i++)
        pmap_disconnect(crowd.pools[i]);
    free(crowd.polled);
    free(crowd.floods);
    free(crowd.pools);
    return rc < 0;
}
