/*
 * Times of a job that is run again and again; see timing.h.
 */
#include "client/pmapc/timing.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define RUN_LEAST_S 0.2 /* a run that takes so long has loops enough */
#define UNEVEN      4.0
#define UNEVEN_S    1e-6 /* below it the clock's own grain is the spread */

uint64_t timing_loops(uint64_t loops, double took_s)
{
    return took_s >= RUN_LEAST_S || loops >= TIMING_LOOPS_MOST ? loops : loops * 10;
}

struct timing timing_of(const double *loop_s, size_t count)
{
    struct timing timing = {.min_s = loop_s[0], .max_s = loop_s[0]};
    double sum = 0, squares = 0;
    for (size_t i = 0; i < count; i++) {
        sum += loop_s[i];
        timing.min_s = fmin(timing.min_s, loop_s[i]);
        timing.max_s = fmax(timing.max_s, loop_s[i]);
    }
    timing.mean_s = sum / (double)count;
    for (size_t i = 0; i < count; i++)
        squares += (loop_s[i] - timing.mean_s) * (loop_s[i] - timing.mean_s);
    timing.std_s = sqrt(squares / (double)count);
    return timing;
}

/* From a minute on: "1d 2h", "1min 5s", as far as there is a whole second left. */
static void long_text(double seconds, char out[TIMING_ROOM])
{
    static const struct {
        const char *unit;
        double length_s;
    } parts[] = {{"d", 86400}, {"h", 3600}, {"min", 60}, {"s", 1}};
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof parts / sizeof parts[0] && seconds >= 1 && at < TIMING_ROOM; i++) {
        double whole = floor(seconds / parts[i].length_s);
        if (whole < 1)
            continue;
        seconds -= whole * parts[i].length_s;
        int n = snprintf(out + at, TIMING_ROOM - at, "%s%.0f%s", at > 0 ? " " : "", whole, parts[i].unit);
        at += n > 0 ? (size_t)n : 0;
    }
}

const char *timing_text(double seconds, bool utf8, char out[TIMING_ROOM])
{
    static const struct {
        double scale;
        const char *unit, *ascii;
    } units[] = {{1, "s", "s"}, {1e3, "ms", "ms"}, {1e6, "µs", "us"}, {1e9, "ns", "ns"}};
    enum { FINEST = sizeof units / sizeof units[0] - 1 };
    if (seconds >= 60) {
        long_text(seconds, out);
        return out;
    }
    /* What three digits would round up to a thousand is one of the next unit: IPython has "1e+03 ms" there.
     */
    size_t i = 0;
    while (i < FINEST && seconds * units[i].scale < 0.9995)
        i++;
    snprintf(out, TIMING_ROOM, "%.3g %s", seconds * units[i].scale, utf8 ? units[i].unit : units[i].ascii);
    return out;
}

/* A number with a comma before each three digits. */
static void grouped(uint64_t number, char *out, size_t room)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRIu64, number);
    size_t at = 0;
    for (int i = 0; i < len && at + 2 < room; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
}

const char *timing_line(const struct timing *timing, size_t runs, uint64_t loops, bool utf8,
                        char out[TIMING_LINE_ROOM])
{
    char mean[TIMING_ROOM], std[TIMING_ROOM], count[32];
    const char *pm = utf8 ? "±" : "+-";
    grouped(loops, count, sizeof count);
    snprintf(out, TIMING_LINE_ROOM, "%s %s %s per loop (mean %s std. dev. of %zu run%s, %s loop%s each)",
             timing_text(timing->mean_s, utf8, mean), pm, timing_text(timing->std_s, utf8, std), pm, runs,
             runs == 1 ? "" : "s", count, loops == 1 ? "" : "s");
    return out;
}

bool timing_uneven(const struct timing *timing)
{
    return timing->max_s > UNEVEN * timing->min_s && timing->max_s > UNEVEN_S && timing->min_s > 0;
}
