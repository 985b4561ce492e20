/*
 * The kernel's clocks, as ns in an int64_t. Thread-safe.
 */
#ifndef PMAP_CLOCK_H
#define PMAP_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* The one that all deadlines and times in a process are of: CLOCK_MONOTONIC. */
static inline int64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

#endif
