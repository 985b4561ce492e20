/*
 * Streaming statistics of durations; see stats.h. The histogram has 64 linear buckets for each power of two,
 * so that a bucket is at most 1/64 of the values in it wide; the first 64 buckets hold one value each.
 */
#include "common/stats.h"

#include "common/batch.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

enum { SUB_BUCKETS = 1 << STATS_SUB_BITS };

void stats_init(struct stats *s, int with_percentiles)
{
    *s = (struct stats){.with_percentiles = with_percentiles != 0};
}

void stats_free(struct stats *s)
{
    if (!s)
        return;
    free(s->buckets);
    stats_init(s, s->with_percentiles);
}

static unsigned bucket_of(uint64_t value)
{
    if (value < SUB_BUCKETS)
        return (unsigned)value;
    unsigned shift = 63 - (unsigned)__builtin_clzll(value) - STATS_SUB_BITS;
    return (shift << STATS_SUB_BITS) + (unsigned)(value >> shift);
}

/* The middle of a bucket, so that the error is at most half its width either way. */
static int64_t bucket_value(unsigned bucket)
{
    if (bucket < 2 * SUB_BUCKETS)
        return bucket;
    unsigned shift = (bucket >> STATS_SUB_BITS) - 1;
    uint64_t low = ((uint64_t)(bucket & (SUB_BUCKETS - 1)) + SUB_BUCKETS) << shift;
    return (int64_t)(low + (UINT64_C(1) << shift) / 2);
}

static void lose_percentiles(struct stats *s)
{
    free(s->buckets);
    s->buckets = NULL;
    s->failed = 1;
}

/* True when s keeps percentiles and has where to count them. */
static int have_buckets(struct stats *s)
{
    if (s->buckets)
        return 1;
    if (!s->with_percentiles || s->failed)
        return 0;
    s->buckets = calloc(STATS_BUCKETS, sizeof *s->buckets);
    if (!s->buckets)
        s->failed = 1;
    return !s->failed;
}

void stats_add(struct stats *s, int64_t value)
{
    if (value < 0)
        value = 0;
    if (s->count == 0 || value < s->min)
        s->min = value;
    if (s->count == 0 || value > s->max)
        s->max = value;
    s->count++;
    s->sum += (double)value;
    double delta = (double)value - s->mean;
    s->mean += delta / (double)s->count;
    s->m2 += delta * ((double)value - s->mean);
    if (have_buckets(s))
        s->buckets[bucket_of((uint64_t)value)]++;
}

void stats_merge(struct stats *s, const struct stats *from)
{
    if (from->count == 0)
        return;
    if (have_buckets(s)) {
        if (from->buckets) {
            for (size_t i = 0; i < STATS_BUCKETS; i++)
                s->buckets[i] += from->buckets[i];
        } else {
            lose_percentiles(s);
        }
    }
    if (s->count == 0 || from->min < s->min)
        s->min = from->min;
    if (s->count == 0 || from->max > s->max)
        s->max = from->max;
    double here = (double)s->count, there = (double)from->count, all = here + there;
    double delta = from->mean - s->mean;
    s->mean += delta * (there / all);
    s->m2 += from->m2 + delta * delta * (here / all) * there;
    s->sum += from->sum;
    s->count += from->count;
}

double stats_mean(const struct stats *s)
{
    return s->count ? s->mean : 0;
}

double stats_std(const struct stats *s)
{
    return s->count < 2 ? 0 : sqrt(s->m2 / (double)(s->count - 1));
}

int64_t stats_percentile(const struct stats *s, double percent)
{
    if (s->count == 0 || !s->buckets)
        return 0;
    /* The extremes are known exactly. Written so that a NaN is the minimum, too. */
    if (!(percent > 0))
        return s->min;
    if (percent >= 100)
        return s->max;
    /* A hair less, so that 99.9 % of 1000 is rank 999 although 99.9 is no binary fraction. */
    double rank = ceil(percent * (double)s->count / 100 * (1 - 1e-14));
    uint64_t below = 0;
    unsigned i = 0;
    while (i < STATS_BUCKETS - 1 && (double)(below += s->buckets[i]) < rank)
        i++;
    int64_t value = bucket_value(i);
    if (value < s->min)
        return s->min;
    return value > s->max ? s->max : value;
}

void stats_add_times(struct stats *s, const uint8_t *times, uint32_t count)
{
    if (s->with_percentiles) {
        for (uint32_t i = 0; i < count; i++)
            stats_add(s, (int64_t)load_u64(times + 8 * (size_t)i));
        return;
    }
    if (count == 0)
        return;
    /* Sums of what the values are off a value near their mean, which loses no digits; then as one block. */
    int64_t first = (int64_t)load_u64(times);
    double near = s->count > 0 ? s->mean : (double)first, off = 0, squares = 0;
    struct stats block = {.count = count, .min = first, .max = first};
    for (uint32_t i = 0; i < count; i++) {
        int64_t value = (int64_t)load_u64(times + 8 * (size_t)i);
        double difference = (double)value - near;
        off += difference;
        squares += difference * difference;
        block.min = value < block.min ? value : block.min;
        block.max = value > block.max ? value : block.max;
    }
    block.mean = near + off / count;
    block.m2 = squares - off * off / count;
    if (block.m2 < 0)
        block.m2 = 0;
    block.sum = near * count + off;
    stats_merge(s, &block);
}
