/*
 * Entitlement: how many of the pool's slots each owner is due, by weight among those who want some. Who wants
 * fewer than that leaves the rest to the others (water-filling: D. Bertsekas and R. Gallager, Data Networks,
 * 6.5.2, with weights). Pure.
 */
#ifndef PMAP_ENTITLE_H
#define PMAP_ENTITLE_H

#include <stddef.h>

struct claim {
    void *who;     /* the caller's own */
    double weight; /* above 0 */
    double most;   /* slots that it could use, its caps considered; at least 0 */
    double due;    /* slots: the answer */
};

/* Sets `due` of each, for so many slots in all. The claims are put into another order. O(count log count). */
void entitle(struct claim *claims, size_t count, double slots);

#endif
