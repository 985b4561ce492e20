/*
 * Fair share over virtual time, in few workers and few jobs whose every turn can be foreseen: weights,
 * latecomers, long items, caps and priorities. Each test says who may get which part of the slot time, and
 * when.
 */
#include "tests/unit/core_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { JOBS_MAX = 8, HELD_MAX = 64 };

static const struct job_options plain;

/* A chunk at a worker. */
struct held {
    uint64_t chunk, job;
    uint32_t count, asked; /* items; and how many it is to do when it has been asked to yield */
};

struct pool {
    struct rig rig;
    struct held held[RIG_WORKERS][HELD_MAX]; /* the first one runs */
    uint32_t held_count[RIG_WORKERS];
    int64_t started_ns[RIG_WORKERS];
    struct {
        struct job *job;
        int64_t item_ns, busy_ns;
        int64_t began_ns; /* its last chunk */
        bool endless;     /* gets a new item for each that is given out */
    } jobs[JOBS_MAX];     /* by the core's number */
    uint64_t job_count;
};

static void pool_start(struct pool *pool, uint32_t workers)
{
    memset(pool, 0, sizeof *pool);
    rig_start(&pool->rig, NULL, workers);
}

static void pool_end(struct pool *pool)
{
    rig_forget(&pool->rig);
    core_free(pool->rig.core);
}

/* A job whose items take item_ns each, with so many items to begin with; `endless`: it never runs out. */
static uint64_t pool_job(struct pool *pool, struct session *session, struct job_options options,
                         int64_t item_ns, uint32_t items, bool endless)
{
    uint64_t id = ++pool->job_count;
    assert_true(id < JOBS_MAX);
    struct rig *rig = &pool->rig;
    struct job_request request = {.ref = id, .function = session, .options = options, .credit = 1 << 30};
    assert_int_equal(core_job_open(rig->core, session, &request, rig->now_ns, &pool->jobs[id].job), 0);
    pool->jobs[id].item_ns = item_ns;
    pool->jobs[id].endless = endless;
    assert_int_equal(rig_items(rig, pool->jobs[id].job, items, 1, 'i'), 0);
    return id;
}

static uint32_t worker_index(const struct pool *pool, const struct worker *worker)
{
    uint32_t i = 0;
    while (pool->rig.workers[i] != worker)
        i++;
    return i;
}

static void begin(struct pool *pool, uint32_t w)
{
    pool->started_ns[w] = pool->rig.now_ns;
    if (pool->held_count[w] > 0)
        pool->jobs[pool->held[w][0].job].began_ns = pool->rig.now_ns;
}

static void take_chunk(struct pool *pool, const struct seen *seen)
{
    uint32_t w = worker_index(pool, seen->worker);
    assert_true(pool->held_count[w] < HELD_MAX);
    pool->held[w][pool->held_count[w]++] =
        (struct held){.chunk = seen->chunk, .job = seen->job, .count = seen->count, .asked = seen->count};
    if (pool->held_count[w] == 1)
        begin(pool, w);
    uint32_t count = seen->count;
    uint64_t job = seen->job;
    if (pool->jobs[job].endless)
        assert_int_equal(rig_items(&pool->rig, pool->jobs[job].job, count, 1, 'i'), 0);
}

static void answer_control(struct pool *pool, const struct seen *seen)
{
    uint32_t w = worker_index(pool, seen->worker);
    for (uint32_t i = 0; i < pool->held_count[w]; i++) {
        struct held *held = &pool->held[w][i];
        if (held->chunk != seen->chunk)
            continue;
        if (i == 0) {
            int64_t item_ns = pool->jobs[held->job].item_ns;
            uint64_t done = (uint64_t)((pool->rig.now_ns - pool->started_ns[w]) / item_ns) + 1;
            held->asked = done < held->count ? (uint32_t)done : held->count;
            return;
        }
        uint64_t chunk = held->chunk;
        memmove(held, held + 1, (--pool->held_count[w] - i) * sizeof *held);
        assert_int_equal(rig_worked(&pool->rig, seen->worker, chunk, 0, 0, false, true, 0), 0);
        return;
    }
}

static void act(struct pool *pool)
{
    struct rig *rig = &pool->rig;
    while (rig->taken < rig->seen_count) {
        const struct seen seen = rig->seen[rig->taken++];
        switch (seen.type) {
        case ACTION_CHUNK:
            take_chunk(pool, &seen);
            break;
        case ACTION_YIELD:
        case ACTION_RECALL:
        case ACTION_DROP:
            answer_control(pool, &seen);
            break;
        case ACTION_RESULTS: {
            struct job *job = core_job_find(seen.session, seen.ref);
            if (job != NULL)
                assert_int_equal(core_job_credit(rig->core, job, seen.credit, rig->now_ns), 0);
            rig_settle(rig);
            break;
        }
        default:
            break;
        }
    }
}

static int64_t end_ns(const struct pool *pool, uint32_t w)
{
    if (pool->held_count[w] == 0)
        return INT64_MAX;
    const struct held *held = &pool->held[w][0];
    return pool->started_ns[w] + held->asked * pool->jobs[held->job].item_ns;
}

/* Lets the time pass, and the workers work. */
static void pool_run(struct pool *pool, int64_t ns)
{
    struct rig *rig = &pool->rig;
    int64_t until = rig->now_ns + ns;
    for (;;) {
        act(pool);
        uint32_t w = 0;
        for (uint32_t i = 1; i < rig->worker_count; i++)
            w = end_ns(pool, i) < end_ns(pool, w) ? i : w;
        int64_t next = end_ns(pool, w), due = core_deadline(rig->core);
        if (next > until && due > until)
            break;
        if (due < next) {
            rig->now_ns = due > rig->now_ns ? due : rig->now_ns;
            core_tick(rig->core, rig->now_ns);
            rig_settle(rig);
            continue;
        }
        rig->now_ns = next;
        struct held held = pool->held[w][0];
        int64_t run_ns = next - pool->started_ns[w];
        pool->jobs[held.job].busy_ns += run_ns;
        memmove(pool->held[w], pool->held[w] + 1, --pool->held_count[w] * sizeof held);
        begin(pool, w);
        assert_int_equal(rig_worked(rig, rig->workers[w], held.chunk, held.asked, 1, false, true, run_ns), 0);
    }
    rig->now_ns = until;
}

static void forget_busy(struct pool *pool)
{
    for (uint64_t i = 0; i < JOBS_MAX; i++)
        pool->jobs[i].busy_ns = 0;
}

/* This job's part of all slot time since forget_busy. */
static double part(const struct pool *pool, uint64_t job)
{
    int64_t all = 0;
    for (uint64_t i = 0; i < JOBS_MAX; i++)
        all += pool->jobs[i].busy_ns;
    return (double)pool->jobs[job].busy_ns / (double)all;
}

static void assert_part(const struct pool *pool, uint64_t job, double due)
{
    double is = part(pool, job);
    if (is < due - 0.03 || is > due + 0.03)
        fail_msg("job %d has got %.3f instead of %.3f", (int)job, is, due);
}

static struct owner_limits weighing(uint32_t weight)
{
    struct owner_limits limits = no_limits;
    limits.weight = weight;
    return limits;
}

static struct session *pool_session(struct pool *pool, uid_t uid, uint32_t weight)
{
    struct owner_limits limits = weighing(weight);
    return rig_session(&pool->rig, uid, &limits);
}

static struct pool pool;

static void shares_between_two_by_weight(void **unused)
{
    (void)unused;
    for (uint32_t workers = 1; workers <= 3; workers += 2) {
        pool_start(&pool, workers);
        uint64_t one = pool_job(&pool, pool_session(&pool, 1000, 1), plain, 500 * US, 5000, true);
        uint64_t three = pool_job(&pool, pool_session(&pool, 1001, 3), plain, 2 * MS, 5000, true);
        pool_run(&pool, 3000 * MS);
        assert_part(&pool, one, 0.25);
        assert_part(&pool, three, 0.75);
        /* Weights change with the next session, and count from then on. */
        pool_session(&pool, 1000, 9);
        forget_busy(&pool);
        pool_run(&pool, 3000 * MS);
        assert_part(&pool, one, 0.75);
        pool_end(&pool);
    }
}

static void shares_among_three_and_their_jobs(void **unused)
{
    (void)unused;
    pool_start(&pool, 2);
    struct session *a = pool_session(&pool, 1000, 1);
    uint64_t a1 = pool_job(&pool, a, plain, 100 * US, 20000, true);
    uint64_t a2 = pool_job(&pool, a, plain, 10 * MS, 5000, true);
    uint64_t b = pool_job(&pool, pool_session(&pool, 1001, 1), plain, 5 * MS, 5000, true);
    uint64_t c = pool_job(&pool, pool_session(&pool, 1002, 2), plain, MS, 5000, true);
    pool_run(&pool, 6000 * MS);
    assert_part(&pool, a1, 0.125);
    assert_part(&pool, a2, 0.125);
    assert_part(&pool, b, 0.25);
    assert_part(&pool, c, 0.5);
    pool_end(&pool);
}

/* Nothing is owed to who was not there, or idle; and nothing by who was alone. */
static void starts_latecomers_evenly(void **unused)
{
    (void)unused;
    pool_start(&pool, 2);
    struct session *sessions[] = {pool_session(&pool, 1000, 1), pool_session(&pool, 1001, 1)};
    uint64_t first = pool_job(&pool, sessions[0], plain, MS, 5000, true);
    uint64_t brief = pool_job(&pool, sessions[1], plain, MS, 10, false);
    pool_run(&pool, 5000 * MS);
    forget_busy(&pool);
    uint64_t late = pool_job(&pool, sessions[1], plain, MS, 5000, true);
    pool_run(&pool, 1000 * MS);
    assert_part(&pool, first, 0.5);
    assert_part(&pool, late, 0.5);
    assert_int_equal(pool.jobs[brief].busy_ns, 0);
    pool_end(&pool);
}

/* Who comes while an item of another owner runs for long does not get that whole time for itself afterwards.
 */
static void starts_latecomers_evenly_behind_long_items(void **unused)
{
    (void)unused;
    pool_start(&pool, 1);
    uint64_t slow = pool_job(&pool, pool_session(&pool, 1000, 1), plain, 1000 * MS, 100, true);
    pool_run(&pool, 900 * MS);
    uint64_t late = pool_job(&pool, pool_session(&pool, 1001, 1), plain, 10 * MS, 5000, true);
    pool_run(&pool, 400 * MS);
    assert_true(pool.jobs[late].busy_ns > 0);
    assert_true(pool.jobs[late].busy_ns <= 200 * MS);
    assert_true(pool.jobs[slow].began_ns > 1000 * MS + 1000 * MS); /* it has its second turn */
    pool_end(&pool);
}

/* Who used less than its share, because it wanted no more, has no claim to the rest. */
static void gives_no_credit_for_a_part_of_idleness(void **unused)
{
    (void)unused;
    pool_start(&pool, 4);
    struct session *a = pool_session(&pool, 1000, 1);
    uint64_t lone = pool_job(&pool, a, plain, 10000 * MS, 1, false);
    uint64_t busy = pool_job(&pool, pool_session(&pool, 1001, 1), plain, 10 * MS, 5000, true);
    pool_run(&pool, 9000 * MS);
    forget_busy(&pool);
    uint64_t more = pool_job(&pool, a, plain, 10 * MS, 5000, true);
    pool_run(&pool, 900 * MS);
    assert_int_equal(pool.jobs[lone].busy_ns, 0); /* it still runs, in one of its owner's two slots */
    assert_part(&pool, busy, 2.0 / 3);
    assert_part(&pool, more, 1.0 / 3);
    pool_end(&pool);
}

/* A cap holds an owner up again and again; it must not lose what the cap allows by that. */
static void gives_a_capped_owner_all_that_it_may_have(void **unused)
{
    (void)unused;
    for (uint32_t cap = 1; cap <= 2; cap++) {
        pool_start(&pool, 4);
        struct owner_limits limits = weighing(1);
        limits.slots = cap;
        uint64_t capped = pool_job(&pool, rig_session(&pool.rig, 2000, &limits), plain, 10 * MS, 5000, true);
        uint64_t other = pool_job(&pool, pool_session(&pool, 1000, 1), plain, 10 * MS, 5000, true);
        pool_run(&pool, 3000 * MS);
        assert_part(&pool, capped, 0.25 * cap);
        assert_part(&pool, other, 1 - 0.25 * cap);
        pool_end(&pool);
    }
}

/* Two jobs that an urgent one has kept waiting, one of them for longer, share evenly when it is through. */
static void shares_among_those_that_waited(void **unused)
{
    (void)unused;
    pool_start(&pool, 2);
    struct session *session = pool_session(&pool, 1000, 1);
    uint64_t early = pool_job(&pool, session, plain, 10 * MS, 5000, true);
    pool_run(&pool, 100 * MS);
    uint64_t urgent = pool_job(&pool, session, (struct job_options){.priority = 1}, 10 * MS, 5000, true);
    pool_run(&pool, 3000 * MS);
    uint64_t late = pool_job(&pool, session, plain, 10 * MS, 5000, true);
    forget_busy(&pool);
    pool_run(&pool, 100 * MS);
    assert_part(&pool, urgent, 1);
    core_job_cancel(pool.rig.core, pool.jobs[urgent].job, pool.rig.now_ns);
    pool.jobs[urgent].endless = false;
    rig_settle(&pool.rig);
    pool_run(&pool, 100 * MS);
    forget_busy(&pool);
    pool_run(&pool, 1000 * MS);
    assert_part(&pool, early, 0.5);
    assert_part(&pool, late, 0.5);
    pool_end(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_between_two_by_weight),
        cmocka_unit_test(shares_among_three_and_their_jobs),
        cmocka_unit_test(starts_latecomers_evenly),
        cmocka_unit_test(starts_latecomers_evenly_behind_long_items),
        cmocka_unit_test(gives_no_credit_for_a_part_of_idleness),
        cmocka_unit_test(gives_a_capped_owner_all_that_it_may_have),
        cmocka_unit_test(shares_among_those_that_waited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
