/*
 * Maps `square` over the numbers 0 … N-1 with libpmap, prints each result in order and, on stderr, what it
 * took.
 *
 *     cc squares.c $(pkg-config --cflags --libs pmap) -o squares && ./squares 10
 */
#include <pmap.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Prints results until there are none for now, or waits for the first one. Returns as pmap_take. */
static int print_results(pmap_job *job, int timeout_ms)
{
    pmap_result result;
    int rc;
    while ((rc = pmap_wait_take(job, timeout_ms, &result)) == PMAP_RESULT) {
        if (result.failed)
            fprintf(stderr, "item %llu: %s\n", (unsigned long long)result.index + 1, result.error);
        else
            printf("%.*s\n", (int)result.size, (const char *)result.data);
    }
    return rc;
}

/* Puts all numbers, printing what has come whenever the pool has enough of them, and then prints the rest. */
static int map_squares(pmap_job *job, unsigned long count)
{
    char item[24];
    for (unsigned long i = 0; i < count; i++) {
        int len = snprintf(item, sizeof item, "%lu", i);
        int rc;
        while ((rc = pmap_put(job, item, (size_t)len)) == -EAGAIN) {
            /* Wait a little for room: results that are taken make it. */
            rc = print_results(job, 10);
            if (rc != PMAP_NONE)
                return rc;
        }
        if (rc == -EPIPE)
            break; /* the job has ended before its items: what comes below says why */
        if (rc < 0)
            return rc;
    }
    int rc = pmap_end(job);
    return rc < 0 && rc != -EPIPE ? rc : print_results(job, -1);
}

static void print_report(const pmap_job *job)
{
    struct pmap_report r;
    pmap_get_report(job, &r);
    fprintf(stderr, "%llu items in %.6f s, %.1f ± %.1f ns each, %u slots, first result after %.6f s\n",
            (unsigned long long)r.items, (double)r.wall_ns / 1e9, r.item_mean_ns, r.item_std_ns, r.slots,
            (double)r.first_result_ns / 1e9);
}

int main(int argc, char **argv)
{
    unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 10) : 10;
    pmap *pool;
    pmap_job *job = NULL;
    int rc = pmap_connect(NULL, NULL, &pool);
    if (rc == 0)
        rc = pmap_open(pool, "square", NULL, &job);
    if (rc == 0)
        rc = map_squares(job, count);
    if (rc == PMAP_DONE)
        print_report(job);
    else if (rc == PMAP_FAILED)
        fprintf(stderr, "squares: the job failed: %s\n", pmap_job_error(job, NULL));
    else
        fprintf(stderr, "squares: %s\n", pool && *pmap_error(pool) ? pmap_error(pool) : strerror(-rc));
    pmap_close_job(job);
    pmap_disconnect(pool);
    return rc == PMAP_DONE ? 0 : 1;
}
