/*
 * What a decision of the core costs, against the number of users and of slots, and how even the shares are.
 * The real core, no daemon: users who always have work, slots that take their time by a seed, virtual time.
 *
 * Every user keeps some jobs of equal items open, and opens the next one when one is done. A decision is one
 * call of core_next that gives a worker a chunk: whose turn it is, how much, and from where. Wall time by the
 * clock, whose own cost is measured first and taken off; the median says what it costs when nobody disturbs.
 * Prints a table, the curve and verdicts (0: all good, 1: something falls short, 2: usage), or JSON.
 */
#include "daemon/core/core.h"
#include "tests/sim/random.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum {
    JOB_ITEMS = 100,     /* of each job */
    QUEUE_DEPTH = 4,     /* chunks that wait at a worker */
    CHUNK_ITEMS = 1024,  /* of a chunk at most */
    RING_US = 1 << 20,   /* longer than anything runs */
    WEIGHTS = 3,         /* users weigh 1, 2, 3, 1, … */
    HISTOGRAM_PARTS = 8, /* of each doubling */
    HISTOGRAM_SIZE = 64 * HISTOGRAM_PARTS,
    NONE = -1,
};

#define NS_PER_US INT64_C(1000)

/* How often, and how long, one kind of call was. */
struct cost {
    uint64_t calls;
    int64_t ns;
    uint64_t histogram[HISTOGRAM_SIZE];
};

struct user {
    struct session *session;
    uint32_t weight;
    uint64_t next_ref;
    int64_t busy_ns;
};

struct held {
    uint64_t chunk;
    struct user *user;
    uint32_t count;
};

struct slot {
    struct worker *worker;
    struct held held[QUEUE_DEPTH + 2]; /* the first one runs */
    uint32_t held_count;
    int64_t run_ns; /* of the first one */
    int32_t next;   /* in its bucket */
};

struct bench {
    uint32_t user_count, slot_count, item_us, jobs_open; /* jobs of each user */
    struct random random;
    struct core *core;
    struct user *users;
    struct slot *slots;
    int32_t *ring; /* slots whose chunk ends in that µs */
    int64_t now_us;
    struct batch *items, *results[CHUNK_ITEMS + 1];
    uint64_t jobs;
    struct cost decisions, answers, others, ticks;
};

struct options {
    uint32_t users, slots, jobs, item_us, times, seeds;
    uint64_t seed;
    bool json;
};

static int64_t clock_cost_ns;

static _Noreturn void die(const char *what, int rc)
{
    fprintf(stderr, "bench_core: %s: %s\n", what, strerror(-rc));
    exit(1);
}

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (memory == NULL)
        die("memory", -ENOMEM);
    return memory;
}

/*** Cost ***/

static int64_t clock_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void calibrate(void)
{
    enum { ROUNDS = 200000 };
    int64_t start_ns = clock_ns(), now_ns = start_ns;
    for (int i = 0; i < ROUNDS; i++)
        now_ns = clock_ns();
    clock_cost_ns = (now_ns - start_ns) / ROUNDS;
}

static void add_cost(struct cost *cost, uint64_t calls, int64_t ns)
{
    ns -= clock_cost_ns;
    cost->calls += calls;
    cost->ns += ns;
    uint64_t mean = ns > 0 ? (uint64_t)ns / calls : 0;
    unsigned doubling = mean < HISTOGRAM_PARTS ? 0 : 61 - (unsigned)__builtin_clzll(mean);
    uint64_t part = mean < HISTOGRAM_PARTS ? mean : mean >> (doubling - 1);
    size_t at =
        mean < HISTOGRAM_PARTS ? mean : (size_t)doubling * HISTOGRAM_PARTS + (part & (HISTOGRAM_PARTS - 1));
    cost->histogram[at < HISTOGRAM_SIZE ? at : HISTOGRAM_SIZE - 1] += calls;
}

/* The middle of the histogram's bucket. */
static double bucket_ns(size_t at)
{
    if (at < HISTOGRAM_PARTS)
        return (double)at;
    double unit = (double)(UINT64_C(1) << (at / HISTOGRAM_PARTS - 1));
    return unit * ((double)(HISTOGRAM_PARTS + at % HISTOGRAM_PARTS) + 0.5);
}

static double quantile_ns(const struct cost *cost, double part)
{
    uint64_t before = 0;
    for (size_t at = 0; at < HISTOGRAM_SIZE; at++) {
        before += cost->histogram[at];
        if ((double)before >= part * (double)cost->calls)
            return bucket_ns(at);
    }
    return 0;
}

static double mean_ns(const struct cost *cost)
{
    return cost->calls > 0 ? (double)cost->ns / (double)cost->calls : 0;
}

/*** The pool ***/

static struct batch *empty_records(uint32_t count)
{
    struct batch *batch = batch_new(count, 0);
    for (uint32_t i = 0; batch != NULL && i < count; i++)
        (void)batch_append(batch, "", 0); /* there is room */
    if (batch == NULL)
        die("memory", -ENOMEM);
    return batch;
}

static struct batch *results_of(struct bench *bench, uint32_t count)
{
    if (count > CHUNK_ITEMS)
        die("a chunk is larger than was thought of", -E2BIG);
    if (bench->results[count] == NULL)
        bench->results[count] = empty_records(count);
    return bench->results[count];
}

static void open_job(struct bench *bench, struct user *user)
{
    int64_t now_ns = bench->now_us * NS_PER_US;
    struct job_request request = {.ref = user->next_ref++,
                                  .function = user,
                                  .expected_ns = bench->item_us * NS_PER_US,
                                  .credit = 1 << 20,
                                  .whole = true};
    struct job *job;
    int rc = core_job_open(bench->core, user->session, &request, now_ns, &job);
    if (rc == 0)
        rc = core_job_items(bench->core, job, 0, bench->items, now_ns);
    if (rc == 0)
        rc = core_job_end(bench->core, job, JOB_ITEMS, now_ns);
    if (rc < 0)
        die("a job", rc);
    bench->jobs++;
}

/* The slot's first chunk begins. */
static void begin(struct bench *bench, struct slot *slot)
{
    int64_t run_us = 0;
    for (uint32_t i = 0; i < slot->held[0].count; i++)
        run_us += (int64_t)random_between(&bench->random, bench->item_us / 2, bench->item_us * 3 / 2);
    run_us = run_us > 0 ? run_us : 1;
    if (run_us >= RING_US)
        die("a chunk is longer than was thought of", -ERANGE);
    slot->run_ns = run_us * NS_PER_US;
    int32_t *bucket = &bench->ring[(bench->now_us + run_us) % RING_US];
    slot->next = *bucket;
    *bucket = (int32_t)(slot - bench->slots);
}

static void take_chunk(struct bench *bench, const struct action *action)
{
    struct slot *slot = worker_cookie(action->worker);
    slot->held[slot->held_count++] = (struct held){.chunk = action->chunk,
                                                   .user = (struct user *)action->work.function,
                                                   .count = action->work.items.count};
    if (slot->held_count == 1)
        begin(bench, slot);
}

/* The client takes the results, gives the credit back, and opens its next job when one is done. */
static void take_results(struct bench *bench, const struct action *action)
{
    struct user *user = session_cookie(action->session);
    bool done = action->type == ACTION_DONE || action->results.has_done;
    uint64_t credit = action->type == ACTION_RESULTS ? RECORD_COST * (uint64_t)action->results.records : 0;
    struct job *job = done ? NULL : core_job_find(user->session, action->ref);
    int64_t start_ns = clock_ns();
    int rc = job != NULL ? core_job_credit(bench->core, job, credit, bench->now_us * NS_PER_US) : 0;
    if (done)
        open_job(bench, user);
    add_cost(&bench->others, 1, clock_ns() - start_ns);
    if (rc < 0)
        die("credit", rc);
}

/* Does all that is due. What a worker is asked to give back it runs instead, as it may. */
static void turn(struct bench *bench)
{
    int64_t now_ns = bench->now_us * NS_PER_US;
    if (core_deadline(bench->core) <= now_ns) {
        int64_t start_ns = clock_ns();
        core_tick(bench->core, now_ns);
        add_cost(&bench->ticks, 1, clock_ns() - start_ns);
    }
    for (;;) {
        struct action action;
        int64_t start_ns = clock_ns();
        bool more = core_next(bench->core, now_ns, &action);
        int64_t ns = clock_ns() - start_ns;
        if (more && action.type == ACTION_CHUNK) {
            add_cost(&bench->decisions, 1, ns);
            take_chunk(bench, &action);
            continue;
        }
        add_cost(&bench->others, 1, ns);
        if (!more)
            return;
        if (action.type == ACTION_RESULTS || action.type == ACTION_DONE)
            take_results(bench, &action);
    }
}

/* The slot's first chunk is through. */
static void answer(struct bench *bench, struct slot *slot)
{
    struct held held = slot->held[0];
    int64_t run_ns = slot->run_ns;
    held.user->busy_ns += run_ns;
    memmove(slot->held, slot->held + 1, --slot->held_count * sizeof held);
    if (slot->held_count > 0)
        begin(bench, slot);
    struct batch *results = results_of(bench, held.count);
    int64_t now_ns = bench->now_us * NS_PER_US, start_ns = clock_ns();
    int rc = core_worked(bench->core, slot->worker, held.chunk, results, true, run_ns, run_ns, now_ns);
    add_cost(&bench->answers, 1, clock_ns() - start_ns);
    if (rc < 0)
        die("results", rc);
}

static void run_for(struct bench *bench, int64_t us)
{
    for (int64_t end_us = bench->now_us + us; bench->now_us < end_us; bench->now_us++) {
        int32_t *bucket = &bench->ring[bench->now_us % RING_US];
        if (*bucket == NONE)
            continue;
        int32_t at = *bucket;
        *bucket = NONE;
        while (at != NONE) {
            struct slot *slot = &bench->slots[at];
            at = slot->next;
            answer(bench, slot);
        }
        turn(bench);
    }
}

static void bench_start(struct bench *bench, const struct options *options, uint32_t users, uint32_t slots,
                        uint64_t seed)
{
    *bench = (struct bench){
        .user_count = users, .slot_count = slots, .item_us = options->item_us, .jobs_open = options->jobs};
    bench->random.state = seed;
    struct core_config config = {
        .chunk_target_ns = 10000 * NS_PER_US, .queued_bytes = UINT64_C(1) << 50, .queue_depth = QUEUE_DEPTH};
    bench->core = core_new(&config);
    bench->users = allocate(users, sizeof *bench->users);
    bench->slots = allocate(slots, sizeof *bench->slots);
    bench->ring = allocate(RING_US, sizeof *bench->ring);
    bench->items = empty_records(JOB_ITEMS);
    for (size_t i = 0; i < RING_US; i++)
        bench->ring[i] = NONE;
    int rc = bench->core != NULL ? 0 : -ENOMEM;
    for (uint32_t i = 0; rc == 0 && i < slots; i++)
        rc = core_worker_add(bench->core, NULL, &bench->slots[i], 0, &bench->slots[i].worker);
    for (uint32_t i = 0; rc == 0 && i < users; i++) {
        struct user *user = &bench->users[i];
        user->weight = 1 + i % WEIGHTS;
        struct owner_limits limits = {
            .weight = user->weight, .jobs = bench->jobs_open, .queued_bytes = UINT64_C(1) << 50};
        rc = core_session_open(bench->core, 100000 + i, &limits, user, &user->session);
    }
    if (rc < 0)
        die("the pool", rc);
    for (uint32_t k = 0; k < bench->jobs_open; k++) {
        for (uint32_t i = 0; i < users; i++)
            open_job(bench, &bench->users[i]);
    }
    turn(bench);
}

static void bench_end(struct bench *bench)
{
    core_free(bench->core);
    for (uint32_t i = 0; i <= CHUNK_ITEMS; i++)
        batch_unref(bench->results[i]);
    batch_unref(bench->items);
    free(bench->ring);
    free(bench->slots);
    free(bench->users);
}

/* Forgets what was measured so far. */
static void start_measuring(struct bench *bench)
{
    bench->decisions = bench->answers = bench->others = bench->ticks = (struct cost){0};
    for (uint32_t i = 0; i < bench->user_count; i++)
        bench->users[i].busy_ns = 0;
}

/*** The curve ***/

enum { CURVE_DECISIONS = 300000, DECADES = 4, BAR = 50, BAR_NS = 1000 };

static double run_point(const struct options *options, uint32_t users, uint32_t slots)
{
    struct bench bench;
    bench_start(&bench, options, users, slots, options->seed);
    run_for(&bench, 2 * (int64_t)options->item_us);
    start_measuring(&bench);
    while (bench.decisions.calls < CURVE_DECISIONS)
        run_for(&bench, options->item_us);
    double ns = quantile_ns(&bench.decisions, 0.5);
    if (options->json)
        printf("{\"users\": %u, \"slots\": %u, \"jobs\": %" PRIu64 ", \"decisions\": %" PRIu64
               ", \"median_ns\": %.0f, \"mean_ns\": %.0f, \"p99_ns\": %.0f, \"answer_ns\": %.0f"
               ", \"other_ns\": %.0f, \"ticks\": %" PRIu64 ", \"tick_ns\": %.0f}\n",
               users, slots, bench.jobs, bench.decisions.calls, ns, mean_ns(&bench.decisions),
               quantile_ns(&bench.decisions, 0.99), quantile_ns(&bench.answers, 0.5),
               quantile_ns(&bench.others, 0.5), bench.ticks.calls, mean_ns(&bench.ticks));
    else
        printf("%6u %7u %8.0f %7.0f %7.0f %8.0f %8.0f   %.*s\n", users, slots, ns, mean_ns(&bench.decisions),
               quantile_ns(&bench.decisions, 0.99), quantile_ns(&bench.answers, 0.5), mean_ns(&bench.ticks),
               (int)(ns * BAR / BAR_NS < BAR ? ns * BAR / BAR_NS : BAR),
               "##################################################");
    fflush(stdout);
    bench_end(&bench);
    return ns;
}

/*
 * 10,000 users are served in less than a µs each. Ten times the users may cost five times as much, for a
 * decision that is logarithmic reads more and more from memory that is further and further away; ten times as
 * much would be linear. callgrind.sh prints the same curve in instructions, which do not see the caches.
 */
static bool run_curve(const struct options *options)
{
    bool good = true;
    if (!options->json)
        printf("a decision, ns (the clock's own %" PRId64 " ns taken off)\n"
               " users   slots   median    mean     p99   answer     tick   median, to 1 µs\n",
               clock_cost_ns);
    for (uint32_t slots = options->slots < 100 ? options->slots : 100; slots <= options->slots;
         slots = slots < options->slots && slots * 10 > options->slots ? options->slots : slots * 10) {
        double before = 0;
        for (uint32_t users = 10; users <= options->users; users *= 10) {
            double ns = run_point(options, users, slots);
            bool log = before == 0 || ns < 5 * before;
            if ((!log || ns >= BAR_NS) && !options->json)
                printf("falls short: %s\n",
                       log ? "over 1 µs" : "more than five times the cost of a tenth of the users");
            good = good && log && ns < BAR_NS;
            before = ns;
        }
    }
    return good;
}

/*** Shares ***/

static bool run_shares(const struct options *options, uint64_t seed)
{
    struct bench bench;
    int64_t start_ns = clock_ns();
    bench_start(&bench, options, options->users, options->slots, seed);
    run_for(&bench, 20 * (int64_t)options->item_us);
    start_measuring(&bench);
    run_for(&bench, (int64_t)options->times * options->item_us);
    double all = 0, weights = 0, worst = 0, squares = 0;
    for (uint32_t i = 0; i < bench.user_count; i++) {
        all += (double)bench.users[i].busy_ns;
        weights += bench.users[i].weight;
    }
    uint32_t unlucky = 0;
    for (uint32_t i = 0; i < bench.user_count; i++) {
        double due = all * bench.users[i].weight / weights;
        double off = ((double)bench.users[i].busy_ns - due) / due;
        squares += off * off;
        if (off * off > worst * worst) {
            worst = off;
            unlucky = i;
        }
    }
    double capacity = 1e3 * options->times * options->item_us * options->slots;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    bool good = worst < 0.01 && worst > -0.01;
    printf(options->json
               ? "{\"seed\": %" PRIu64 ", \"users\": %u, \"slots\": %u, \"jobs\": %" PRIu64
                 ", \"decisions\": %" PRIu64 ", \"median_ns\": %.0f, \"used\": %.4f, \"worst\": %.5f"
                 ", \"weight\": %u, \"standard\": %.5f, \"peak_mib\": %ld, \"wall_s\": %.1f}\n"
               : "seed %" PRIu64 ": %u users, %u slots, %" PRIu64 " jobs, %" PRIu64
                 " decisions of %.0f ns; slot time used %.4f; furthest from its share: %+.5f (a user"
                 " of weight %u), all of them: ± %.5f; %ld MiB, %.1f s\n",
           seed, options->users, options->slots, bench.jobs, bench.decisions.calls,
           quantile_ns(&bench.decisions, 0.5), all / capacity, worst, bench.users[unlucky].weight,
           sqrt(squares / bench.user_count), usage.ru_maxrss >> 10, (double)(clock_ns() - start_ns) / 1e9);
    if (!good && !options->json)
        printf("falls short: a share is off by 1 %% or more\n");
    fflush(stdout);
    bench_end(&bench);
    return good;
}

/*** Options ***/

static const char usage[] =
    "usage: bench_core [--users N] [--slots N] [--jobs N] [--item-us N] [--times N] [--seed N] [--seeds N] "
    "[--json] "
    "[curve|shares]\n"
    "  --users N    so many at most (10000)\n"
    "  --slots N    likewise (100000)\n"
    "  --jobs N     so many open at once of each user, of 100 items each (3)\n"
    "  --item-us N  mean time of an item, which varies from half to one and a half of it (2000)\n"
    "  --times N    shares: over so many of these times (1000)\n"
    "  --seed N     the first seed (1); --seeds N: shares, so many of them (1)\n"
    "A million jobs are opened by 100000 slots in 1000 times.\n";

static uint64_t number(const char *text, uint64_t least, uint64_t most)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < least || value > most) {
        fprintf(stderr, "bench_core: '%s' is not a number from %" PRIu64 " to %" PRIu64 "\n", text, least,
                most);
        exit(2);
    }
    return value;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {{"users", required_argument, NULL, 'u'},
                                          {"slots", required_argument, NULL, 's'},
                                          {"jobs", required_argument, NULL, 'o'},
                                          {"item-us", required_argument, NULL, 'i'},
                                          {"times", required_argument, NULL, 't'},
                                          {"seed", required_argument, NULL, 'r'},
                                          {"seeds", required_argument, NULL, 'n'},
                                          {"json", no_argument, NULL, 'j'},
                                          {NULL, 0, NULL, 0}};
    struct options options = {
        .users = 10000, .slots = 100000, .jobs = 3, .item_us = 2000, .times = 1000, .seed = 1, .seeds = 1};
    int option;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (option) {
        case 'u':
            options.users = (uint32_t)number(optarg, 1, 100000);
            break;
        case 's':
            options.slots = (uint32_t)number(optarg, 1, 1000000);
            break;
        case 'o':
            options.jobs = (uint32_t)number(optarg, 1, 1000);
            break;
        case 'i':
            options.item_us = (uint32_t)number(optarg, 2, 100000);
            break;
        case 't':
            options.times = (uint32_t)number(optarg, 1, 1000000);
            break;
        case 'r':
            options.seed = number(optarg, 0, UINT64_MAX);
            break;
        case 'n':
            options.seeds = (uint32_t)number(optarg, 1, 1000);
            break;
        case 'j':
            options.json = true;
            break;
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    const char *what = optind < argc ? argv[optind] : "";
    bool curve = strcmp(what, "shares") != 0, shares = strcmp(what, "curve") != 0;
    if (argc > optind + 1 || (curve && shares && *what != '\0')) {
        fputs(usage, stderr);
        return 2;
    }
    calibrate();
    bool good = !curve || run_curve(&options);
    for (uint32_t i = 0; shares && i < options.seeds; i++)
        good = run_shares(&options, options.seed + i) && good;
    return good ? 0 : 1;
}
