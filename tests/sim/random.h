/*
 * Randomness of a history: splitmix64, seeded once; everything random comes from it, so a seed is a history.
 * Also the mixing function of which contents, lengths and run times are made, independent of the order of
 * events.
 */
#ifndef SIM_RANDOM_H
#define SIM_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct random {
    uint64_t state;
};

/* A well-mixed 64-bit value of another (the finaliser of splitmix64). */
static inline uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static inline uint64_t mix2(uint64_t a, uint64_t b)
{
    return mix(mix(a) ^ b);
}

static inline uint64_t random_next(struct random *r)
{
    r->state += UINT64_C(0x9e3779b97f4a7c15);
    return mix(r->state);
}

/* A number in [0, n); n at least 1. */
static inline uint64_t random_below(struct random *r, uint64_t n)
{
    return random_next(r) % n;
}

/* A number in [low, high]. */
static inline uint64_t random_between(struct random *r, uint64_t low, uint64_t high)
{
    return low + random_below(r, high - low + 1);
}

/* True in `percent` of 100 cases. */
static inline bool random_chance(struct random *r, unsigned percent)
{
    return random_below(r, 100) < percent;
}

/* A number in [low, high] whose order of magnitude is uniform; low at least 1. */
static inline uint64_t random_scale(struct random *r, uint64_t low, uint64_t high)
{
    uint64_t top = low;
    unsigned doublings = 0;
    while (top < high / 2) {
        top *= 2;
        doublings++;
    }
    uint64_t from = low << random_below(r, doublings + 1);
    uint64_t to = from * 2 < high ? from * 2 : high;
    return random_between(r, from, to);
}

#endif
