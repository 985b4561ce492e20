/* See core_pool.h. */
#include "tests/unit/core_pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

void pool_start(struct pool *pool, const struct core_config *config, uint32_t workers)
{
    memset(pool, 0, sizeof *pool);
    rig_start(&pool->rig, config, workers);
}

void pool_end(struct pool *pool)
{
    rig_forget(&pool->rig);
    core_free(pool->rig.core);
}

uint64_t pool_job(struct pool *pool, struct session *session, struct job_options options, int64_t item_ns,
                  uint32_t items, bool endless)
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
        case ACTION_START:
            assert_null(seen.crew);
            rig_add_worker(rig);
            break;
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

void pool_run(struct pool *pool, int64_t ns)
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

void pool_forget_busy(struct pool *pool)
{
    for (uint64_t i = 0; i < JOBS_MAX; i++)
        pool->jobs[i].busy_ns = 0;
}

/* This job's part of all slot time since pool_forget_busy. */
static double part(const struct pool *pool, uint64_t job)
{
    int64_t all = 0;
    for (uint64_t i = 0; i < JOBS_MAX; i++)
        all += pool->jobs[i].busy_ns;
    return (double)pool->jobs[job].busy_ns / (double)all;
}

void pool_assert_part(const struct pool *pool, uint64_t job, double due)
{
    double is = part(pool, job);
    if (is < due - 0.03 || is > due + 0.03)
        fail_msg("job %d has got %.3f instead of %.3f", (int)job, is, due);
}

struct session *pool_session(struct pool *pool, uid_t uid, uint32_t weight)
{
    struct owner_limits limits = no_limits;
    limits.weight = weight;
    return rig_session(&pool->rig, uid, &limits);
}
