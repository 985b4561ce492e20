/*
 * pmapc timeit: how long a job takes, as IPython's %timeit says it.
 */
#include "client/pmapc/json.h"
#include "client/pmapc/measure.h"
#include "client/pmapc/pmapc.h"
#include "client/pmapc/tell.h"
#include "client/pmapc/timing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] = "Usage: pmapc timeit [OPTION...] FUNCTION [::: ITEM...]\n"
                           "       pmapc timeit [OPTION...] --python EXPR|-- COMMAND [ARG...] [::: ITEM...]\n"
                           "Times a job as IPython's %timeit times a statement, and prints the same line.\n"
                           "A loop is a whole job: from its opening to its last result, over a connection\n"
                           "that is open. All items are in memory before; the results are thrown away.\n"
                           "\n"
                           "      --loops N  loops in a run (default: the first of 1, 10, 100 ... that make\n"
                           "                 one of at least 0.2 s)\n"
                           "      --runs N   runs (default: 7)\n"
                           "      --json     the figures as an object, times in seconds, those of all runs\n"
                           "      --help     show this\n"
                           "\n"
                           "Other options are those of 'pmapc map' (see its --help=all) that are not about\n"
                           "results: -j, -c, -a, -0, -d, -n, -C, -u, --isolate, --filter, --pipe ...\n"
                           "\n"
                           "  seq 1000 | pmapc timeit square\n"
                           "  pmapc timeit --python 'int(x)**2' ::: 1 2 3\n"
                           "  pmapc timeit -j 1 --json -a numbers.txt cube\n";

static const struct option longs[] = {MEASURE_LONGS, {NULL, 0, NULL, 0}};

/* Finds out how many loops a run is to have, unless that is given; and the pool is warm then. Returns 0 or an
 * exit status. */
static int choose_loops(struct measure *m)
{
    int64_t took_ns = 0;
    if (m->loops > 0)
        return measure_run(m, 0, 1, &took_ns);
    uint64_t next = 1;
    do {
        m->loops = next;
        int status = measure_run(m, 0, m->loops, &took_ns);
        if (status != 0)
            return status;
        next = timing_loops(m->loops, (double)took_ns / 1e9);
    } while (next != m->loops);
    return 0;
}

static int print_json(const struct measure *m, const struct timing *timing, const double *loop_s)
{
    json_t *object = json_object(), *all = json_array();
    for (unsigned i = 0; i < m->runs; i++)
        json_array_append_new(all, json_real(loop_s[i]));
    json_object_set_new(object, "function", json_of_text(m->map.work.name, strlen(m->map.work.name)));
    json_object_set_new(object, "items", json_of_unsigned(m->items.count));
    json_object_set_new(object, "slots", json_of_unsigned(m->slots));
    json_object_set_new(object, "loops", json_of_unsigned(m->loops));
    json_object_set_new(object, "runs", json_of_unsigned(m->runs));
    json_object_set_new(object, "mean_s", json_real(timing->mean_s));
    json_object_set_new(object, "std_s", json_real(timing->std_s));
    json_object_set_new(object, "min_s", json_real(timing->min_s));
    json_object_set_new(object, "max_s", json_real(timing->max_s));
    json_object_set_new(object, "all_s", all);
    return json_print(object, stdout, JSON_INDENT(2));
}

static int print(const struct measure *m, const double *loop_s)
{
    struct timing timing = timing_of(loop_s, m->runs);
    char line[TIMING_LINE_ROOM];
    int status = STATUS_DONE;
    if (m->json)
        status = print_json(m, &timing, loop_s);
    else
        puts(timing_line(&timing, m->runs, m->loops, tell_utf8(), line));
    int finished = tell_finish();
    if (timing_uneven(&timing) && !m->map.work.quiet)
        tell("the slowest run took %.1f times as long as the fastest: did something else use the machine?",
             timing.max_s / timing.min_s);
    return status != 0 ? status : finished;
}

/* Returns an exit status. */
static int time_it(struct measure *m)
{
    double *loop_s = calloc(m->runs, sizeof *loop_s);
    if (!loop_s) {
        tell("out of memory");
        return STATUS_FAILED;
    }
    int status = choose_loops(m);
    for (unsigned i = 0; i < m->runs && status == 0; i++) {
        int64_t took_ns = 0;
        status = measure_run(m, 0, m->loops, &took_ns);
        loop_s[i] = (double)took_ns / 1e9 / (double)m->loops;
    }
    if (status == 0)
        status = print(m, loop_s);
    free(loop_s);
    return status;
}

int command_timeit(const struct globals *globals, int argc, char **argv)
{
    static const struct map_command command = {.name = "timeit", .longs = longs};
    struct measure m;
    int status = measure_read(&m, &command, TIMING_RUNS, help, argc, argv);
    if (status < 0) {
        status = measure_begin(&m, globals);
        if (status == 0)
            status = time_it(&m);
    }
    measure_free(&m);
    return status;
}
