/*
 * A client that stays: one connection, and a job on it for each line of stdin, which is a number of items,
 * for `square`. For soak.py.
 *
 *     lodger ENDPOINT
 *
 * Writes a line for each job whose results all were right: its number of items. Ends with stdin; exit status
 * 0 if nothing was wrong.
 */
#include "client/libpmap/pmap.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STUCK_MS = 60000, LOOK_MS = 1000 };

static int complain(const char *what, const char *why)
{
    fprintf(stderr, "lodger: %s: %s\n", what, why);
    return -1;
}

/* As many items as there is room for; 1 more is waited for where there is none. */
static int put(pmap_job *job, uint64_t *sent, uint64_t count)
{
    int rc = 0;
    while (rc == 0 && *sent < count) {
        char text[24];
        int len = snprintf(text, sizeof text, "%" PRIu64, *sent);
        rc = pmap_put(job, text, (size_t)len);
        *sent += rc == 0;
    }
    return rc == -EAGAIN ? 0 : rc;
}

static bool is_square(const pmap_result *result, uint64_t index)
{
    char text[48];
    int len = snprintf(text, sizeof text, "%" PRIu64, index * index);
    return result->index == index && !result->failed && !result->more && result->size == (size_t)len &&
           memcmp(result->data, text, result->size) == 0;
}

/* Takes what is there, waiting for the first. Returns PMAP_DONE, PMAP_NONE, or -1 after a complaint. */
static int take(pmap_job *job, uint64_t *taken)
{
    pmap_result result;
    int rc = pmap_wait_take(job, STUCK_MS, &result);
    if (rc == PMAP_NONE)
        return complain("a job", "no result for a minute");
    for (; rc == PMAP_RESULT; rc = pmap_take(job, &result)) {
        if (!is_square(&result, (*taken)++))
            return complain("a result", result.failed ? result.error : "not the one that comes next");
    }
    if (rc != PMAP_DONE && rc != PMAP_NONE)
        return complain("a job", rc < 0 ? strerror(-rc) : pmap_job_error(job, NULL));
    return rc;
}

static int run_job(pmap *pool, uint64_t count)
{
    pmap_job *job = NULL;
    uint64_t sent = 0, taken = 0;
    bool ended = false;
    int rc = pmap_open(pool, "square", NULL, &job);
    if (rc < 0)
        return complain("square", pmap_error(pool));
    for (rc = PMAP_NONE; rc == PMAP_NONE;) {
        int put_rc = put(job, &sent, count);
        if (put_rc == 0 && sent == count && !ended) {
            put_rc = pmap_end(job);
            ended = true;
        }
        rc = put_rc < 0 ? complain("an item", pmap_error(pool)) : take(job, &taken);
    }
    pmap_close_job(job);
    if (rc == PMAP_DONE && taken != count)
        return complain("a job", "results are missing");
    return rc < 0 ? -1 : 0;
}

/* Sees to the connection until stdin has something. */
static int wait_for_line(pmap *pool)
{
    struct pollfd items[] = {{.fd = 0, .events = POLLIN}, {.fd = pmap_fd(pool), .events = POLLIN}};
    while (items[0].revents == 0) {
        if (pmap_step(pool) < 0)
            return complain("the connection", pmap_error(pool));
        if (poll(items, 2, LOOK_MS) < 0 && errno != EINTR)
            return complain("poll", strerror(errno));
    }
    return 0;
}

static int serve(pmap *pool)
{
    char line[32];
    setvbuf(stdin, NULL, _IONBF, 0); /* what poll does not see nobody waits for */
    for (;;) {
        if (wait_for_line(pool) < 0)
            return -1;
        if (!fgets(line, sizeof line, stdin))
            return 0;
        uint64_t count = strtoull(line, NULL, 10);
        if (run_job(pool, count) < 0)
            return -1;
        printf("%" PRIu64 "\n", count);
        if (fflush(stdout) != 0)
            return complain("stdout", strerror(errno));
    }
}

int main(int argc, char **argv)
{
    pmap *pool = NULL;
    if (argc != 2) {
        fputs("usage: lodger ENDPOINT\n", stderr);
        return 2;
    }
    int rc = pmap_connect(argv[1], NULL, &pool);
    if (rc < 0)
        rc = complain(argv[1], pool != NULL ? pmap_error(pool) : strerror(-rc));
    else
        rc = serve(pool);
    pmap_disconnect(pool);
    return rc < 0;
}
