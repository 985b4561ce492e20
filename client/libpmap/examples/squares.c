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

static void print_result(const pmap_result *result)
{
    if (result->failed)
        fprintf(stderr, "item %llu: %s\n", (unsigned long long)result->index + 1, result->error);
    else
        printf("%.*s\n", (int)result->size, (const char *)result->data);
}

/* Waits for a result, and prints it and what else is there. Returns what came instead of a further result. */
static int print_some(pmap_job *job)
{
    pmap_result result;
    int rc = pmap_wait_take(job, -1, &result);
    while (rc == PMAP_RESULT) {
        print_result(&result);
        rc = pmap_take(job, &result);
    }
    return rc;
}

/* Puts all numbers, printing what has come whenever the pool has enough of them, and then prints the rest. */
static int map_squares(pmap_job *job, unsigned long count)
{
    char item[24];
    int rc = 0;
    for (unsigned long i = 0; i < count && rc == 0; i++) {
        int len = snprintf(item, sizeof item, "%lu", i);
        while ((rc = pmap_put(job, item, (size_t)len)) == -EAGAIN)
            if ((rc = print_some(job)) != PMAP_NONE)
                return rc;
    }
    /* -EPIPE: the job has ended before its items, and what comes next says why. */
    if (rc == 0)
        rc = pmap_end(job);
    if (rc < 0 && rc != -EPIPE)
        return rc;
    do {
        rc = print_some(job);
    } while (rc == PMAP_NONE);
    return rc;
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
