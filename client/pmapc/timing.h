/*
 * Times of a job that is run again and again, as IPython's %timeit has them: how many loops a run has, what
 * the runs say together, and the line that says it. Pure.
 */
#ifndef PMAPC_TIMING_H
#define PMAPC_TIMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TIMING_RUNS = 7, TIMING_LOOPS_MOST = 1000000000, TIMING_ROOM = 48, TIMING_LINE_ROOM = 192 };

/*
 * A run of `loops` loops (1 at first) took took_s. Returns how many loops the next one should have: 10 times
 * as many, or as many as this one, which is the answer, where it took at least 0.2 s or they are 10^9.
 */
uint64_t timing_loops(uint64_t loops, double took_s);

/* Seconds a loop; std is that of these runs, not an estimate from a sample of them. */
struct timing {
    double mean_s, std_s, min_s, max_s;
};

/* From the seconds a loop of `count` runs, at least one. */
struct timing timing_of(const double *loop_s, size_t count);

/*
 * A time in three digits and a unit that suits it, "1.25 ms", and from a minute on in whole units, "1min 5s".
 * utf8: "µs", else "us". Returns out.
 */
const char *timing_text(double seconds, bool utf8, char out[TIMING_ROOM]);

/* "0.41 ms ± 0.02 ms per loop (mean ± std. dev. of 7 runs, 1,000 loops each)". utf8: as above, and for "±",
 * else "+-". Returns out. */
const char *timing_line(const struct timing *timing, size_t runs, uint64_t loops, bool utf8,
                        char out[TIMING_LINE_ROOM]);

/* Is the spread such that most of it is something else's doing: the slowest more than four times the fastest?
 */
bool timing_uneven(const struct timing *timing);

#endif
