/*
 * pmapc scale: how much faster a job is with 1, 2, ... slots. Measures; scaling.c says what has come out.
 */
#include "client/pmapc/scaling.h"

#include "client/pmapc/interrupt.h"
#include "client/pmapc/measure.h"
#include "client/pmapc/neighbours.h"
#include "client/pmapc/options.h"
#include "client/pmapc/pmapc.h"
#include "client/pmapc/tell.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RUN_LEAST_S 0.1 /* what a run with one slot is to take */

enum { RUNS = 5, SLOTS_MOST = 65535 };
enum { OPT_MAX = OPT_MEASURE_OWN, OPT_ALL, OPT_SVG };

static const char help[] = "Usage: pmapc scale [OPTION...] FUNCTION [::: ITEM...]\n"
                           "       pmapc scale [OPTION...] --python EXPR|-- COMMAND [ARG...] [::: ITEM...]\n"
                           "Runs the same job with 1, 2, ... slots: a table of time, speed-up, efficiency,\n"
                           "serial part; the serial fraction of Amdahl's law that fits; and a plot. Runs\n"
                           "with different slots take turns; of each the shortest, least disturbed, counts.\n"
                           "\n"
                           "      --max N     up to N slots (default: all that you may use)\n"
                           "      --all       each number of slots (default: if more than 8 then only\n"
                           "                  1 2 3 4 6 8 12 16 24 ... and the last)\n"
                           "      --runs N    runs with each (default: 5)\n"
                           "      --loops N   jobs in a run (default: what takes 0.1 s with one slot)\n"
                           "      --svg FILE  a picture of it\n"
                           "      --json      the figures as an object, times in seconds\n"
                           "      --help      show this\n"
                           "\n"
                           "Other options are those of 'pmapc timeit', without -j.\n"
                           "\n"
                           "  seq 0 49999 | pmapc scale cube --svg cube.svg\n"
                           "  pmapc scale --python 'sum(range(int(x)))' ::: 1000000 2000000 3000000\n";

static const struct option longs[] = {MEASURE_LONGS,
                                      {"max", required_argument, NULL, OPT_MAX},
                                      {"all", no_argument, NULL, OPT_ALL},
                                      {"svg", required_argument, NULL, OPT_SVG},
                                      {NULL, 0, NULL, 0}};

struct scale {
    struct measure measure;
    const char *svg; /* NULL: none */
    unsigned max;    /* 0: not given */
    bool all;
    struct amdahl_point *points;
    size_t count;
    double *runs_s; /* as in struct scaling */
};

static int read_option(void *cookie, int option, const char *value)
{
    struct scale *scale = cookie;
    int64_t number = 0;
    int status = 0;
    switch (option) {
    case OPT_MAX:
        status = options_number("--max", value, 1, SLOTS_MOST, &number);
        scale->max = (unsigned)number;
        break;
    case OPT_ALL:
        scale->all = true;
        break;
    default:
        scale->svg = value;
    }
    return status;
}

/*** Progress ***/

/* A line that a program has one of, on its terminal: hence the global. */
static bool shown;

static void clear_progress(void)
{
    if (shown)
        fputs("\r\033[K", stderr);
    shown = false;
}

static void show_progress(const struct scale *scale, unsigned done, unsigned slots)
{
    if (scale->measure.map.work.quiet || !isatty(STDERR_FILENO))
        return;
    tell_before(clear_progress);
    fprintf(stderr, "\r\033[Krun %u of %zu, %u slot%s", done + 1, scale->count * scale->measure.runs, slots,
            slots == 1 ? "" : "s");
    shown = true;
}

/*** Measuring ***/

/* Which numbers of slots are tried: of those that a first job was told it may use. It makes the pool warm,
 * too. Returns 0 or an exit status. */
static int choose_slots(struct scale *scale)
{
    struct measure *m = &scale->measure;
    int64_t took_ns = 0;
    int status = measure_run(m, 0, 1, &took_ns);
    if (status != 0)
        return status;
    unsigned most = m->slots > 0 ? m->slots : 1;
    if (scale->max > most)
        tell("scale: --max %u: there are %u slot%s for you, no more", scale->max, most, most == 1 ? "" : "s");
    else if (scale->max > 0)
        most = scale->max;
    unsigned *slots = calloc(most, sizeof *slots);
    if (slots)
        scale->count = amdahl_choose(most, scale->all, slots, most);
    scale->points = calloc(scale->count > 0 ? scale->count : 1, sizeof *scale->points);
    scale->runs_s = calloc(scale->count * m->runs + 1, sizeof *scale->runs_s);
    bool memory = slots && scale->points && scale->runs_s;
    for (size_t i = 0; i < scale->count && memory; i++)
        scale->points[i].slots = slots[i];
    free(slots);
    if (!memory) {
        tell("out of memory");
        return STATUS_FAILED;
    }
    return 0;
}

/* Unless it was said: so many jobs that a run with one slot is long beside the clock's and the kernel's
 * whims. */
static int choose_loops(struct measure *m)
{
    int64_t took_ns = 0;
    if (m->loops > 0)
        return 0;
    int status = measure_run(m, 1, 1, &took_ns);
    m->loops = 1;
    if (status == 0 && took_ns > 0)
        m->loops = (uint64_t)fmax(1, ceil(RUN_LEAST_S / ((double)took_ns / 1e9)));
    return status;
}

/* All runs: there and back through the numbers of slots, so that what gets slower or faster meanwhile meets
 * them all alike. Returns 0 or an exit status. */
static int measure_all(struct scale *scale)
{
    struct measure *m = &scale->measure;
    unsigned done = 0;
    for (unsigned run = 0; run < m->runs; run++) {
        for (size_t i = 0; i < scale->count; i++) {
            size_t at = run % 2 == 0 ? i : scale->count - 1 - i;
            int64_t took_ns = 0;
            show_progress(scale, done++, scale->points[at].slots);
            int status = measure_run(m, scale->points[at].slots, m->loops, &took_ns);
            if (status != 0)
                return status;
            double time_s = fmax((double)took_ns, 1) / 1e9 / (double)m->loops;
            scale->runs_s[at * m->runs + run] = time_s;
            double *least = &scale->points[at].time_s;
            *least = run == 0 ? time_s : fmin(*least, time_s);
        }
    }
    return 0;
}

/* Measures, and looks at the pool before and behind it. *others: as in struct scaling. Returns 0 or an exit
 * status. */
static int measure_watched(struct scale *scale, double *others)
{
    struct measure *m = &scale->measure;
    struct neighbours before, after;
    int status = neighbours_look(m->pool, &before);
    m->busy_ns = 0;
    if (status == 0)
        status = measure_all(scale);
    clear_progress();
    if (status == 0)
        status = neighbours_look(m->pool, &after);
    if (status == 0)
        *others = neighbours_slots(&before, &after, (double)m->busy_ns / 1e9);
    return status;
}

/* Returns an exit status. */
static int scale_it(struct scale *scale, struct scaling_file *file)
{
    struct measure *m = &scale->measure;
    double others = -1;
    int status = choose_slots(scale);
    if (status == 0)
        status = choose_loops(m);
    if (status == 0)
        status = measure_watched(scale, &others);
    if (status != 0)
        return status;
    struct scaling scaling = {.amdahl = {.points = scale->points, .count = scale->count},
                              .function = m->map.work.name,
                              .items = m->items.count,
                              .loops = m->loops,
                              .runs = m->runs,
                              .runs_s = scale->runs_s,
                              .slots = pmap_get_info(m->pool)->slots,
                              .others = others};
    amdahl_fill(&scaling.amdahl);
    int saved = scaling_save(file, &scaling);
    status = m->json ? scaling_print_json(&scaling) : scaling_print(&scaling, m->map.work.quiet);
    return status != STATUS_DONE ? status : saved;
}

int command_scale(const struct globals *globals, int argc, char **argv)
{
    struct scale scale = {.svg = NULL};
    struct map_command command = {.name = "scale", .longs = longs, .option = read_option, .cookie = &scale};
    struct scaling_file file = {.fd = -1};
    int status = measure_read(&scale.measure, &command, RUNS, help, argc, argv);
    if (status < 0 && scale.measure.map.work.job.slots > 0) {
        tell("scale: --slots has no place here: it is what is tried; --max says up to how many");
        status = STATUS_USAGE;
    }
    if (status < 0) {
        status = scaling_open(&file, scale.svg);
        if (status == 0)
            status = measure_begin(&scale.measure, globals);
        if (status == 0)
            status = scale_it(&scale, &file);
    }
    scaling_close(&file);
    measure_free(&scale.measure);
    free(scale.points);
    free(scale.runs_s);
    return status;
}
