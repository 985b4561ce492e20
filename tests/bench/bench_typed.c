/*
 * The cubes of many i64: by a typed function of a module through libpmap, on a connection that is open, raw
 * items of 8192 values, all results copied to where the caller wants them; or, as the yardstick, by a loop in
 * this process, from the same array to the same array. Both arrays are in memory before the clock starts, and
 * every value is compared when it stands. Prints one line of JSON; of the pool also its slots' busy time, so
 * that one can tell the module's part from the way there and back.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/libpmap/pmap.h"

#include "common/clock.h"

enum {
    ITEM_VALUES = 8192,
    STUCK_MS = 30000,
    DEFAULT_COUNT = 10 * 1000 * 1000,
    MAX_COUNT = 1000 * 1000 * 1000
};
enum { LARGEST = 2000000 }; /* its cube fits an i64 */

struct work {
    int64_t *in, *out;
    size_t count;  /* values */
    size_t taken;  /* bytes of out that are there */
    size_t sent;   /* values */
    uint64_t item; /* whose result comes next */
};

/* Not inlined: the loop is to be compiled as a function of a library would be. */
__attribute__((noinline)) static void cube_all(const int64_t *restrict in, int64_t *restrict out,
                                               size_t count)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = in[i] * in[i] * in[i];
    }
}

static int work_init(struct work *work, size_t count)
{
    *work = (struct work){.count = count};
    work->in = malloc(count * sizeof *work->in);
    work->out = malloc(count * sizeof *work->out);
    if (!work->in || !work->out) {
        fputs("bench_typed: out of memory\n", stderr);
        return -ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        work->in[i] = (int64_t)(i % (2 * LARGEST + 1)) - LARGEST;
        work->out[i] = -1;
    }
    return 0;
}

static void work_free(struct work *work)
{
    free(work->in);
    free(work->out);
}

static int check(const struct work *work)
{
    for (size_t i = 0; i < work->count; i++) {
        int64_t x = work->in[i];
        if (work->out[i] != x * x * x) {
            fprintf(stderr, "bench_typed: value %zu: wrong result\n", i);
            return -EBADMSG;
        }
    }
    return 0;
}

/* ---- Through a pool ---- */

/* Puts items while there is room for them, and then the end. Returns 0 or a negative errno. */
static int put_items(pmap_job *job, struct work *work)
{
    while (work->sent < work->count) {
        size_t values = work->count - work->sent < ITEM_VALUES ? work->count - work->sent : ITEM_VALUES;
        int rc = pmap_put(job, work->in + work->sent, values * sizeof *work->in);
        if (rc < 0) {
            return rc == -EAGAIN ? 0 : rc;
        }
        work->sent += values;
        if (work->sent == work->count) {
            return pmap_end(job);
        }
    }
    return 0;
}

/* Copies one result, or a piece of one, to its place. Returns 0 or -EBADMSG, having told. */
static int take_result(struct work *work, const pmap_result *result)
{
    size_t end = (work->item + 1) * ITEM_VALUES;
    size_t end_bytes = (end < work->count ? end : work->count) * sizeof *work->out;
    if (result->index != work->item || result->failed || result->size > end_bytes - work->taken ||
        (!result->more && work->taken + result->size != end_bytes)) {
        fprintf(stderr, "bench_typed: item %" PRIu64 ": %s\n", work->item,
                result->failed ? result->error : "not the result that comes next");
        return -EBADMSG;
    }
    memcpy((char *)work->out + work->taken, result->data, result->size);
    work->taken += result->size;
    work->item += !result->more;
    return 0;
}

/* Waits for a result, then takes what is at hand. Returns 1 when the job is done, 0, or a negative errno,
 * having told. */
static int take_results(pmap *pool, pmap_job *job, struct work *work)
{
    for (int wait_ms = STUCK_MS;; wait_ms = 0) {
        pmap_result result;
        int rc = pmap_wait_take(job, wait_ms, &result);
        if (rc == PMAP_RESULT) {
            if (take_result(work, &result) < 0) {
                return -EBADMSG;
            }
        } else if (rc == PMAP_NONE && wait_ms == 0) {
            return 0;
        } else if (rc == PMAP_DONE) {
            return 1;
        } else {
            fprintf(stderr, "bench_typed: %s\n",
                    rc < 0              ? pmap_error(pool)
                    : rc == PMAP_FAILED ? pmap_job_error(job, NULL)
                                        : "no result for 30 s");
            return rc < 0 ? rc : -EIO;
        }
    }
}

static void print_pool(const struct work *work, const pmap_job *job, double seconds)
{
    struct pmap_report report;
    pmap_get_report(job, &report);
    printf("{\"mode\": \"pool\", \"values\": %zu, \"values_an_item\": %d, \"slots\": %u, \"chunks\": %" PRIu64
           ", \"wall_s\": %.6f, \"per_s\": %.0f, \"mb_per_s_each_way\": %.1f, \"first_result_s\": %.6f, "
           "\"run_s\": %.6f, \"cpu_s\": %.6f}\n",
           work->count, ITEM_VALUES, report.slots, report.chunks, seconds, (double)work->count / seconds,
           (double)work->count * sizeof *work->in / seconds / 1e6, (double)report.first_result_ns / 1e9,
           (double)report.run_ns / 1e9, (double)report.cpu_ns / 1e9);
}

/* Returns 0 or a negative errno, having told. */
static int run_job(pmap *pool, const char *module, struct work *work)
{
    const char *argv[] = {module, NULL};
    struct pmap_call call = {.kind = PMAP_MODULE, .name = "cube", .argv = argv, .type = "i64", .raw = 1};
    pmap_job *job = NULL;
    int64_t start = now_ns();
    int rc = pmap_open_call(pool, &call, NULL, &job);
    if (rc < 0) {
        fprintf(stderr, "bench_typed: open: %s\n", pmap_error(pool));
        return rc;
    }
    while (rc == 0) {
        /* -EPIPE: the job has ended before its items, and what is taken next says why. */
        rc = put_items(job, work);
        rc = rc == 0 || rc == -EPIPE ? take_results(pool, job, work) : rc;
    }
    double seconds = (double)(now_ns() - start) / 1e9;
    if (rc > 0 && work->taken != work->count * sizeof *work->out) {
        fprintf(stderr, "bench_typed: done after %" PRIu64 " items\n", work->item);
        rc = -EBADMSG;
    }
    rc = rc > 0 ? check(work) : rc;
    if (rc == 0) {
        print_pool(work, job, seconds);
    }
    pmap_close_job(job);
    return rc;
}

static int run_pool(const char *endpoint, const char *module, struct work *work)
{
    pmap *pool = NULL;
    int rc = pmap_connect(endpoint, NULL, &pool);
    if (rc < 0) {
        fprintf(stderr, "bench_typed: %s: %s\n", endpoint, pool ? pmap_error(pool) : strerror(-rc));
    } else {
        rc = run_job(pool, module, work);
    }
    pmap_disconnect(pool);
    return rc;
}

/* ---- In this process ---- */

static int run_plain(struct work *work)
{
    int64_t start = now_ns();
    cube_all(work->in, work->out, work->count);
    double seconds = (double)(now_ns() - start) / 1e9;
    int rc = check(work);
    if (rc == 0) {
        printf("{\"mode\": \"plain\", \"values\": %zu, \"wall_s\": %.6f, \"per_s\": %.0f}\n", work->count,
               seconds, (double)work->count / seconds);
    }
    return rc;
}

int main(int argc, char **argv)
{
    bool pool = argc > 1 && strcmp(argv[1], "pool") == 0;
    bool plain = argc > 1 && strcmp(argv[1], "plain") == 0;
    int arguments = pool ? 4 : 2;
    char *end = NULL;
    errno = 0;
    long long count = argc == arguments + 1 ? strtoll(argv[arguments], &end, 10) : DEFAULT_COUNT;
    if ((!pool && !plain) || argc < arguments || argc > arguments + 1 || errno || (end && *end) ||
        count < 1 || count > MAX_COUNT) {
        fputs("usage: bench_typed pool ENDPOINT MODULE [VALUES]\n       bench_typed plain [VALUES]\n",
              stderr);
        return 2;
    }
    struct work work;
    int rc = work_init(&work, (size_t)count);
    if (rc == 0) {
        rc = pool ? run_pool(argv[2], argv[3], &work) : run_plain(&work);
    }
    work_free(&work);
    return rc < 0 || fflush(stdout) != 0;
}
