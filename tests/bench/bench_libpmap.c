/*
 * The benchmarks' figures over libpmap, on a connection that is open: a map of 1000 numbers, one item's round
 * trip (by a pool thread, or in a process of the user's), and the rate of small items in chunks of one. Every
 * result is compared with what it must be. Prints one line of JSON.
 * `single` is `one` for who shares the pool with others: `square`, with the longest of the round trips.
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

enum { NUMBERS = 1000, ITEM = 16, STUCK_MS = 30000, MAX_COUNT = 1000 * 1000 * 1000 };

struct text {
    char bytes[24];
    size_t len;
};

/* A job's items and what must come out, given by their index. */
struct work {
    const char *function;
    struct pmap_job_options options;
    uint64_t items;
    void (*item)(uint64_t index, struct text *text);
    void (*expected)(uint64_t index, struct text *text);
    struct text
        *kept; /* where results are kept, to be compared when the clock stands; NULL: compared at once */
};

/* Decimal digits by hand: printf's share of a map of 1000 numbers would be a third of it. */
static void write_number(uint64_t number, struct text *text)
{
    char digits[20];
    size_t n = 0;
    do {
        digits[n++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    text->len = n;
    for (size_t i = 0; i < n; i++) {
        text->bytes[i] = digits[n - 1 - i];
    }
}

static void square_of(uint64_t index, struct text *text)
{
    write_number(index * index, text);
}

static void sixteen_bytes(uint64_t index, struct text *text)
{
    uint64_t halves[2] = {index, ~index};
    memcpy(text->bytes, halves, sizeof halves);
    text->len = ITEM;
}

static bool is_right(const struct work *work, uint64_t index, const void *data, size_t size)
{
    struct text text;
    work->expected(index, &text);
    if (size == text.len && memcmp(data, text.bytes, size) == 0)
        return true;
    fprintf(stderr, "bench_libpmap: item %" PRIu64 ": wrong result\n", index);
    return false;
}

/* Takes one result as a caller would: keeps it, or looks at it. */
static bool take_result(const struct work *work, uint64_t index, const pmap_result *result)
{
    if (result->index != index || result->failed || result->more || result->size > sizeof work->kept->bytes) {
        fprintf(stderr, "bench_libpmap: item %" PRIu64 ": not the result that comes next\n", index);
        return false;
    }
    if (work->kept == NULL)
        return is_right(work, index, result->data, result->size);
    memcpy(work->kept[index].bytes, result->data, result->size);
    work->kept[index].len = result->size;
    return true;
}

static bool kept_are_right(const struct work *work)
{
    for (uint64_t i = 0; work->kept != NULL && i < work->items; i++) {
        if (!is_right(work, i, work->kept[i].bytes, work->kept[i].len))
            return false;
    }
    return true;
}

/* One job from open to done, putting whenever there is room. Returns 0 or a negative errno, which has been
 * told. */
static int run_job(pmap *pool, const struct work *work)
{
    pmap_job *job = NULL;
    int rc = pmap_open(pool, work->function, &work->options, &job);
    if (rc < 0) {
        fprintf(stderr, "bench_libpmap: open: %s\n", pmap_error(pool));
        return rc;
    }
    uint64_t sent = 0;
    uint64_t taken = 0;
    bool ended = false;
    bool done = false;
    while (rc >= 0 && !done) {
        struct text text;
        while (rc >= 0 && sent < work->items) {
            work->item(sent, &text);
            rc = pmap_put(job, text.bytes, text.len);
            sent += rc >= 0;
        }
        rc = rc == -EAGAIN ? 0 : rc;
        if (rc >= 0 && sent == work->items && !ended) {
            rc = pmap_end(job);
            ended = true;
        }
        /* Waits for the first, then takes what is at hand. */
        for (int wait_ms = STUCK_MS; rc >= 0 && !done; wait_ms = 0) {
            pmap_result result;
            rc = pmap_wait_take(job, wait_ms, &result);
            if (rc == PMAP_RESULT) {
                rc = take_result(work, taken, &result) ? rc : -EBADMSG;
                taken++;
            } else if (rc == PMAP_DONE) {
                done = true;
            } else if (rc == PMAP_NONE && wait_ms == 0) {
                break;
            } else if (rc >= 0) {
                fprintf(stderr, "bench_libpmap: %s\n",
                        rc == PMAP_NONE ? "no result for 30 s" : pmap_job_error(job, NULL));
                rc = -EIO;
            } else {
                fprintf(stderr, "bench_libpmap: take: %s\n", pmap_error(pool));
            }
        }
    }
    if (rc >= 0 && taken != work->items) {
        fprintf(stderr, "bench_libpmap: done after %" PRIu64 " of %" PRIu64 " items\n", taken, work->items);
        rc = -EBADMSG;
    }
    pmap_close_job(job);
    return rc < 0 ? rc : 0;
}

static int compare_ns(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Runs the job over and over; the first tenth (and at least ten) is not counted. */
static int time_rounds(pmap *pool, const char *name, const struct work *work, uint64_t count)
{
    uint64_t warm_up = count / 10 > 10 ? count / 10 : 10;
    int64_t *times = calloc(count, sizeof *times);
    int rc = times ? 0 : -ENOMEM;
    for (uint64_t i = 0; rc == 0 && i < warm_up + count; i++) {
        int64_t start = now_ns();
        rc = run_job(pool, work);
        if (i >= warm_up) {
            times[i - warm_up] = now_ns() - start;
        }
        if (rc == 0 && !kept_are_right(work)) {
            rc = -EBADMSG;
        }
    }
    if (rc == 0) {
        qsort(times, count, sizeof *times, compare_ns);
        int64_t median_ns = times[count / 2];
        int64_t p99_ns = times[count * 99 / 100];
        printf("{\"mode\": \"%s\", \"rounds\": %" PRIu64
               ", \"median_us\": %.2f, \"p99_us\": %.2f, \"max_us\": %.2f}\n",
               name, count, (double)median_ns / 1e3, (double)p99_ns / 1e3, (double)times[count - 1] / 1e3);
    }
    free(times);
    return rc;
}

static int run_map1000(pmap *pool, uint64_t count)
{
    static struct text kept[NUMBERS];
    struct work work = {
        .function = "square", .items = NUMBERS, .item = write_number, .expected = square_of, .kept = kept};
    return time_rounds(pool, "map1000", &work, count);
}

static int run_one(pmap *pool, uint64_t count)
{
    struct work work = {.function = "echo", .items = 1, .item = sixteen_bytes, .expected = sixteen_bytes};
    return time_rounds(pool, "one", &work, count);
}

static int run_single(pmap *pool, uint64_t count)
{
    struct work work = {.function = "square", .items = 1, .item = write_number, .expected = square_of};
    return time_rounds(pool, "single", &work, count);
}

static int run_isolate(pmap *pool, uint64_t count)
{
    struct work work = {.function = "echo",
                        .options = {.isolate = 1},
                        .items = 1,
                        .item = sixteen_bytes,
                        .expected = sixteen_bytes};
    return time_rounds(pool, "isolate", &work, count);
}

static int run_rate(pmap *pool, uint64_t count)
{
    struct work work = {.function = "echo",
                        .options = {.chunksize = 1},
                        .items = count,
                        .item = sixteen_bytes,
                        .expected = sixteen_bytes};
    int64_t start = now_ns();
    int rc = run_job(pool, &work);
    if (rc == 0) {
        double seconds = (double)(now_ns() - start) / 1e9;
        printf("{\"mode\": \"rate\", \"items\": %" PRIu64 ", \"per_s\": %.0f}\n", count,
               (double)count / seconds);
    }
    return rc;
}

static const struct {
    const char *name;
    int (*run)(pmap *pool, uint64_t count);
    uint64_t count; /* rounds, or items */
} modes[] = {{"map1000", run_map1000, 1000},
             {"one", run_one, 20000},
             {"single", run_single, 2000},
             {"isolate", run_isolate, 10000},
             {"rate", run_rate, 1000000}};

enum { MODES = sizeof modes / sizeof modes[0] };

int main(int argc, char **argv)
{
    size_t mode = 0;
    while (argc > 2 && mode < MODES && strcmp(argv[1], modes[mode].name) != 0) {
        mode++;
    }
    char *end = NULL;
    errno = 0;
    long long count = argc == 4 ? strtoll(argv[3], &end, 10) : 0;
    if (argc < 3 || argc > 4 || mode == MODES || errno || (end && (*end || count < 1 || count > MAX_COUNT))) {
        fputs("usage: bench_libpmap map1000|one|single|isolate|rate ENDPOINT [COUNT]\n", stderr);
        return 2;
    }
    pmap *pool = NULL;
    int rc = pmap_connect(argv[2], NULL, &pool);
    if (rc < 0) {
        fprintf(stderr, "bench_libpmap: %s: %s\n", argv[2], pool ? pmap_error(pool) : strerror(-rc));
    } else {
        rc = modes[mode].run(pool, count ? (uint64_t)count : modes[mode].count);
    }
    pmap_disconnect(pool);
    return rc < 0 || fflush(stdout) != 0;
}
