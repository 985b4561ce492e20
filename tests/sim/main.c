/*
 * pmap_sim: runs histories of the real core and the real flow from consecutive seeds, each on virtual time,
 * and stops at the first that breaks a promise, with the command that replays it.
 */
#include "tests/sim/plan.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct options {
    uint64_t first, seeds, steps;
    bool verbose, fair, replay, processes;
    enum fault fault;
};

struct totals {
    uint64_t histories, steps, jobs, items, bytes, chunks, deaths, resumes;
};

static const struct {
    const char *name, *promise;
} faults[] = {
#define X(code, text, broken_promise) [FAULT_##code] = {text, broken_promise},
    FAULTS(X)
#undef X
};

static void usage(FILE *to)
{
    fputs("Usage: pmap_sim [OPTION]...\n"
          "Simulates the core with random clients and workers and checks its promises.\n\n"
          "  --seeds N      histories to run (1000)\n"
          "  --first S      seed of the first one (1)\n"
          "  --seed S       this history only\n"
          "  --steps MAX    most events of a history (20000000)\n"
          "  --fair         backlogged owners: shares of slot time\n"
          "  --processes    with workers that are processes\n"
          "  --replay       run each history twice and compare\n"
          "  --break FAULT  put a fault into the models:",
          to);
    for (unsigned i = 0; i < FAULT_COUNT; i++)
        fprintf(to, " %s", faults[i].name);
    fputs("\n  --verbose      print every event\n", to);
}

static bool parse_number(const char *text, uint64_t *number)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 0);
    if (errno || end == text || *end != '\0')
        return false;
    *number = value;
    return true;
}

static bool parse_fault(const char *text, enum fault *fault)
{
    for (unsigned i = 0; i < FAULT_COUNT; i++) {
        if (strcmp(text, faults[i].name) == 0) {
            *fault = (enum fault)i;
            return true;
        }
    }
    return false;
}

/* Returns -1 to go on, else the exit status. */
static int parse(int argc, char **argv, struct options *options)
{
    static const struct option table[] = {{"seeds", required_argument, NULL, 'n'},
                                          {"first", required_argument, NULL, 'f'},
                                          {"seed", required_argument, NULL, 's'},
                                          {"steps", required_argument, NULL, 'm'},
                                          {"break", required_argument, NULL, 'b'},
                                          {"fair", no_argument, NULL, 'F'},
                                          {"replay", no_argument, NULL, 'r'},
                                          {"verbose", no_argument, NULL, 'v'},
                                          {"processes", no_argument, NULL, 'p'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    int c;
    bool good = true;
    while (good && (c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        switch (c) {
        case 'n':
            good = parse_number(optarg, &options->seeds);
            break;
        case 'f':
            good = parse_number(optarg, &options->first);
            break;
        case 's':
            good = parse_number(optarg, &options->first);
            options->seeds = 1;
            break;
        case 'm':
            good = parse_number(optarg, &options->steps);
            break;
        case 'b':
            good = parse_fault(optarg, &options->fault);
            break;
        case 'F':
            options->fair = true;
            break;
        case 'r':
            options->replay = true;
            break;
        case 'p':
            options->processes = true;
            break;
        case 'v':
            options->verbose = true;
            break;
        case 'h':
            usage(stdout);
            return 0;
        default:
            good = false;
            break;
        }
    }
    if (good && optind == argc)
        return -1;
    usage(stderr);
    return 2;
}

static void add(struct totals *totals, const struct world *world)
{
    totals->histories++;
    totals->steps += world->steps;
    totals->jobs += world->jobs_done;
    totals->items += world->items_done;
    totals->bytes += world->bytes_done;
    totals->chunks += world->chunks_given;
    totals->deaths += world->deaths;
    totals->resumes += world->resumes;
}

/* Runs one history; false when it broke a promise, which has been told: with a fault, the promise that the
 * fault breaks. Where another check comes across the fault first, the next history may show the one that is
 * wanted. */
static bool run(const struct options *options, uint64_t seed, struct totals *totals, uint64_t *hash)
{
    struct world world;
    world_init(&world, seed, options->fault);
    world.verbose = options->verbose;
    world.processes = options->processes;
    if (options->steps)
        world.step_limit = options->steps;
    if (options->fair) {
        fair_run(&world);
    } else {
        plan_random(&world);
        world_run(&world, INT64_MAX);
        world_close(&world);
    }
    *hash = world.hash;
    world_free(&world);
    add(totals, &world);
    if (!world.failed)
        return true;
    printf("seed %" PRIu64 " at %.6f ms, event %" PRIu64 ": broken promise: %s\n", seed,
           (double)world.now_ns / 1e6, world.steps, world.failure);
    printf("replay: pmap_sim%s%s%s%s --seed %" PRIu64 " --verbose\n", options->fair ? " --fair" : "",
           options->processes ? " --processes" : "", options->fault ? " --break " : "",
           options->fault ? faults[options->fault].name : "", seed);
    const char *promise = faults[options->fault].promise;
    bool detected = options->fault && strncmp(world.failure, promise, strlen(promise)) == 0;
    if (detected)
        printf("fault %s was detected\n", faults[options->fault].name);
    return options->fault && !detected;
}

int main(int argc, char **argv)
{
    struct options options = {.first = 1, .seeds = 1000};
    int status = parse(argc, argv, &options);
    if (status >= 0)
        return status;

    struct totals totals = {0};
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    status = 0;
    for (uint64_t i = 0; i < options.seeds && status == 0; i++) {
        uint64_t hash, again;
        if (!run(&options, options.first + i, &totals, &hash)) {
            status = 1;
        } else if (options.replay && (!run(&options, options.first + i, &totals, &again) || hash != again)) {
            printf("seed %" PRIu64 ": two runs differ\n", options.first + i);
            status = 1;
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
    printf("%" PRIu64 " histories in %.2f s (%.0f/s): %" PRIu64 " events, %" PRIu64 " jobs, %" PRIu64
           " items, %" PRIu64 " bytes, %" PRIu64 " chunks, %" PRIu64 " deaths, %" PRIu64 " resumes\n",
           totals.histories, seconds, (double)totals.histories / (seconds > 0 ? seconds : 1), totals.steps,
           totals.jobs, totals.items, totals.bytes, totals.chunks, totals.deaths, totals.resumes);
    return status;
}
