/*
 * What a job's times with 1, 2, ... slots say: speed-up, efficiency, the serial fraction of Amdahl's law (G.
 * M. Amdahl, AFIPS 1967) that fits, and how many slots are worth having. Pure.
 */
#ifndef PMAPC_AMDAHL_H
#define PMAPC_AMDAHL_H

#include <stdbool.h>
#include <stddef.h>

/* Slots are worth having as long as each of them does at least this part of what one alone would. */
#define AMDAHL_WORTH 0.7

struct amdahl_point {
    unsigned slots;
    double time_s;     /* of the job, above 0 */
    double speedup;    /* against the first point's time */
    double efficiency; /* speed-up a slot */
    double
        serial; /* the serial part that this point alone speaks of (A. H. Karp and H. P. Flatt, Commun. ACM
                 * 33, 1990); 0 with one slot. One that grows with the slots is their cost, not the job's */
};

struct amdahl {
    struct amdahl_point *points; /* the caller's; ascending, the first with one slot */
    size_t count;
    double serial; /* the fraction that fits; above 1: each slot costs time; below 0: more than the slots can
                      bring */
    bool fits;     /* false: there is one point only, and nothing to fit */
    unsigned recommended;
};

/*
 * Fills in what follows from the times: of the points, and of the whole. The fraction f makes the squares of
 * 1/S - (f + (1-f)/n) least; recommended is the most slots whose efficiency is AMDAHL_WORTH.
 */
void amdahl_fill(struct amdahl *amdahl);

/* The speed-up with n slots that the law has for a serial fraction; one below 0 counts as 0. */
double amdahl_speedup(double serial, double n);

/*
 * Which numbers of slots to try, up to `most`: each up to 8, or where `all` says so; else 1 2 3 4 6 8 12 16
 * 24
 * ... and `most`. out has room for `room` of them; those beyond are left away, but `most` never. Returns how
 * many.
 */
size_t amdahl_choose(unsigned most, bool all, unsigned *out, size_t room);

#endif
