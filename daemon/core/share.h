/*
 * Shares: weighted fair queueing in measured slot time (virtual time, as in A. Demers, S. Keshav and S.
 * Shenker, SIGCOMM 1989). A share's virtual time advances while its chunks run, by slots × time / weight; who
 * is least advanced is next. The same struct serves an owner among owners and a job among its owner's jobs.
 *
 * In the order a chunk counts from the start with what it is expected to take, or with what it has taken
 * where that is more: so slots that become free at once go to several, and whoever holds one for long does
 * not get the next one as if it were through. What is charged is what was used, whatever was expected.
 *
 * The caller keeps shares in a heap by `key`. A share's present key only grows by the mere passing of time,
 * so a stored key is a lower bound: whoever looks for the least one takes the first of the heap, brings its
 * key up to date, puts it back where it grew, and has found it when it did not. That is O(log n) for each
 * decision, whatever the number of shares whose chunks run. Most keys do not grow, since most chunks end
 * about when they were expected to; one that does is put back a little further than it has got, or those
 * whose chunks are late would be put back again and again between two decisions.
 */
#ifndef PMAP_SHARE_H
#define PMAP_SHARE_H

#include <stdint.h>

struct share {
    double key;      /* as in the heap */
    double vtime;    /* virtual ns, as of since_ns */
    int64_t used_ns; /* slot time that has passed, whatever the weight and without corrections; likewise */
    int64_t since_ns;
    uint32_t running;     /* chunks that hold a slot */
    uint32_t weight;      /* at least 1 */
    int64_t ahead_ns;     /* what these are expected to take still, as of since_ns; never less than 0 */
    int64_t committed_ns; /* expected time of chunks that are queued at workers: no charge, but it counts in
                             the order */
    uint32_t place;       /* in the heap, whose own it is; 0: it is not in one */
    uint32_t number;      /* where two keys are equal, the lower one is first */
};

void share_init(struct share *s, uint32_t weight, uint32_t number);

/* Lets the time pass: charges what runs up to now. */
void share_advance(struct share *s, int64_t now_ns);

/* Slot time that it has used until now: exact for what still runs, too. */
int64_t share_used(const struct share *s, int64_t now_ns);

/* Its place in the order, now. */
double share_key(const struct share *s, int64_t now_ns);

/* The same to be kept in the heap: further by some of what has passed where that is more than was expected,
 * and by no more than SHARE_LEAD_NS. */
#define SHARE_LEAD_NS INT64_C(1000000)
double share_kept_key(const struct share *s, int64_t now_ns);

/* It has work again: that it had none, or less than its share, is no credit. present: what its key must be at
 * least. */
void share_wake(struct share *s, double present, int64_t now_ns);

/* A chunk was queued at a worker, or (negative) left that queue. */
void share_commit(struct share *s, int64_t expected_ns);

/* A chunk that is expected to take so long takes its slot. */
void share_start(struct share *s, int64_t expected_ns, int64_t now_ns);

/*
 * It gives its slot back. unused_ns: expected time less the time since share_start. correction_ns: measured
 * time less that time, because the worker's own measurement is the better one.
 */
void share_stop(struct share *s, int64_t unused_ns, int64_t correction_ns, int64_t now_ns);

/* Both at once: the next chunk, which is expected to take so long, takes over the slot of one that ends. */
void share_pass_on(struct share *s, int64_t unused_ns, int64_t correction_ns, int64_t expected_ns,
                   int64_t now_ns);

#endif
