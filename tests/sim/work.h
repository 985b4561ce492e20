/*
 * What a job of the simulation consists of: its items, the function that is mapped over them, and how long
 * each takes, all computed from the job's seed and the index alone. So whoever sees an item or a result can
 * tell whether it is right.
 */
#ifndef SIM_WORK_H
#define SIM_WORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How long items take. */
enum timing {
    TIMING_CONSTANT,
    TIMING_UNIFORM,   /* from 0 to twice the base */
    TIMING_HEAVY,     /* half the items the base, a quarter twice that, and so on */
    TIMING_SLOW_HEAD, /* the first one a thousand times the base */
    TIMING_ZERO,
    TIMINGS
};

struct work {
    uint64_t seed;
    uint64_t items;
    uint32_t item_max, item_large;     /* most bytes of an ordinary item, and of a large one */
    uint32_t result_max, result_large; /* the same of results */
    uint32_t large_every;              /* one in so many is large; 0: none */
    uint32_t fail_every;               /* one in so many fails; 0: none */
    enum timing timing;
    int64_t base_ns;
};

/* Lengths in bytes, and what the function does with the item of this index. */
uint32_t work_item_length(const struct work *work, uint64_t index);
uint32_t work_result_length(const struct work *work, uint64_t index);
bool work_fails(const struct work *work, uint64_t index);
int64_t work_time_ns(const struct work *work, uint64_t index);

/* The bytes of an item or of its result: write `size` of them from `offset` on, or compare them. */
void work_item_bytes(const struct work *work, uint64_t index, size_t offset, uint8_t *to, size_t size);
void work_result_bytes(const struct work *work, uint64_t index, size_t offset, uint8_t *to, size_t size);
bool work_item_right(const struct work *work, uint64_t index, size_t offset, const uint8_t *data,
                     size_t size);
bool work_result_right(const struct work *work, uint64_t index, size_t offset, const uint8_t *data,
                       size_t size);

#endif
