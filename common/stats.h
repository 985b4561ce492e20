/*
 * Streaming statistics of durations: count, mean, sample standard deviation, minimum, maximum and
 * percentiles, in constant memory. Mean and variance by Welford's method (B. P. Welford, Technometrics 4,
 * 1962); percentiles from a histogram with buckets of constant relative width, so that a percentile is exact
 * to 1/64 of its value (1.6 %). Values are in ns by convention; any int64 from 0 up will do. Not thread-safe:
 * one owner at a time.
 */
#ifndef PMAP_STATS_H
#define PMAP_STATS_H

#include <stdint.h>

enum { STATS_SUB_BITS = 6, STATS_BUCKETS = (64 - STATS_SUB_BITS) << STATS_SUB_BITS };

struct stats {
    uint64_t count;
    int64_t min, max; /* of the values added; meaningless while count is 0 */
    double mean, m2;  /* Welford's running mean and sum of squared differences */
    double sum;
    uint64_t *buckets; /* STATS_BUCKETS counts, allocated with the first value; NULL: none yet, or not kept */
    int with_percentiles; /* as given to stats_init */
    int failed;           /* memory was short: percentiles are not available, the rest is */
};

/* Makes s empty. with_percentiles: also keep the histogram (about 29 KiB, allocated at the first value). */
void stats_init(struct stats *s, int with_percentiles);

/* Frees what s holds and makes it empty; NULL is accepted. */
void stats_free(struct stats *s);

/* Adds one value; a negative one counts as 0. Does not fail: when memory is short, only the percentiles are
 * lost. */
void stats_add(struct stats *s, int64_t value);

/*
 * Adds `count` values from an array of little-endian u64 of any alignment, none over INT64_MAX (a batch's
 * times): as stats_add for each, but for rounding, and several times as fast where s keeps no percentiles.
 */
void stats_add_times(struct stats *s, const uint8_t *times, uint32_t count);

/*
 * Adds all that `from` holds (Chan's parallel formula). Where s keeps percentiles and `from` has none to
 * give (it does not keep them, or lost them), s has none from then on.
 */
void stats_merge(struct stats *s, const struct stats *from);

/* The mean; 0 for an empty s. */
double stats_mean(const struct stats *s);

/* The sample's standard deviation (n - 1 below the line); 0 for fewer than two values. */
double stats_std(const struct stats *s);

/*
 * The value below which `percent` (0 to 100) of the values lie, within 1/64 of it and never outside [min,
 * max]. By nearest rank: the one at position ceil(percent / 100 * count) of the sorted values; 0 is the
 * minimum, 100 the maximum. 0 for an empty s or one without percentiles.
 */
int64_t stats_percentile(const struct stats *s, double percent);

#endif
