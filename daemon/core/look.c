/* How the pool is used: rates over a window, and each owner's share, as it is and as it should be. */
#include "daemon/core/entitle.h"
#include "daemon/core/internal.h"

#include <errno.h>
#include <stdlib.h>

/* Between two marks at least; and how old one must be to be compared with. */
#define MARK_NS  INT64_C(1000000000)
#define LEAST_NS INT64_C(500000000)

void core_mark(struct core *core, int64_t now_ns)
{
    if (core->mark_count > 0 && now_ns - core->marks[0].at_ns < MARK_NS)
        return;
    core->marks[1] = core->marks[0];
    core->marks[0] = (struct mark){now_ns, core->items_done, core->chunks_done};
    if (core->mark_count < 2)
        core->mark_count++;
    struct owner *owner;
    RB_FOREACH (owner, owner_uids, &core->owners) {
        owner->used_at[1] = owner->used_at[0];
        owner->used_at[0] = share_used(&owner->share, now_ns);
    }
}

/* The mark to compare with; -1: there is none, or only one of this very moment. */
static int choose_mark(const struct core *core, int64_t now_ns)
{
    int mark = core->mark_count == 2 && now_ns - core->marks[0].at_ns < LEAST_NS ? 1 : 0;
    return core->mark_count > 0 && now_ns > core->marks[mark].at_ns ? mark : -1;
}

static void look_at_use(struct core *core, int64_t now_ns, struct core_rates *rates)
{
    *rates = (struct core_rates){0};
    int i = choose_mark(core, now_ns);
    if (i >= 0) {
        const struct mark *mark = &core->marks[i];
        rates->window_ns = now_ns - mark->at_ns;
        rates->items = core->items_done - mark->items_done;
        rates->chunks = core->chunks_done - mark->chunks_done;
    }
    struct owner *owner;
    RB_FOREACH (owner, owner_uids, &core->owners) {
        owner->used = 0;
        if (i >= 0)
            owner->used =
                (double)(share_used(&owner->share, now_ns) - owner->used_at[i]) / (double)rates->window_ns;
        rates->busy += owner->used;
    }
}

/* Slots that the job could use beside those that it does. */
static uint64_t wants_more(const struct core *core, const struct job *job)
{
    if (!order_has_work(core, job))
        return 0;
    uint32_t slots = order_slots(core, job);
    uint64_t more = slots > job->running ? slots - job->running : 0, chunks = chunks_left(job);
    return more < chunks ? more : chunks;
}

static double most_of(const struct core *core, const struct owner *owner)
{
    uint64_t most = owner->wants;
    if (owner->limits.slots != 0 && owner->limits.slots < most)
        most = owner->limits.slots;
    return most < slots_of(core) ? (double)most : slots_of(core);
}

static int look_at_dues(struct core *core)
{
    size_t count = 0, at = 0;
    struct owner *owner;
    RB_FOREACH (owner, owner_uids, &core->owners) {
        owner->entitled = 0;
        owner->wants = owner->share.running;
    }
    struct job *job;
    RB_FOREACH (job, job_ids, &core->jobs)
        job->owner->wants += wants_more(core, job);
    RB_FOREACH (owner, owner_uids, &core->owners)
        count += owner->wants > 0;
    if (count == 0)
        return 0;
    struct claim *claims = calloc(count, sizeof *claims);
    if (claims == NULL)
        return -ENOMEM;
    RB_FOREACH (owner, owner_uids, &core->owners) {
        if (owner->wants > 0)
            claims[at++] = (struct claim){owner, owner->share.weight, most_of(core, owner), 0};
    }
    entitle(claims, count, slots_of(core));
    for (size_t i = 0; i < count; i++) {
        owner = claims[i].who;
        owner->entitled = claims[i].due;
    }
    free(claims);
    return 0;
}

int core_look(struct core *core, int64_t now_ns, struct core_rates *rates)
{
    look_at_use(core, now_ns, rates);
    return look_at_dues(core);
}
