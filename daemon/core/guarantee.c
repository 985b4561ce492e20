/*
 * The guarantee: nobody waits behind another's long items. Who has work and nothing running for
 * guarantee_after_ns gets one chunk above the pool's number of slots. It is charged as any other, and nothing
 * else begins until no more run than there are slots, so what is given is only lent.
 */
#include "daemon/core/internal.h"

void guarantee_look(struct core *core, struct owner *owner, int64_t now_ns)
{
    bool unserved = owner->share.running == 0 && (owner->runnable || owner->starved_jobs > 0);
    if (unserved == owner->unserved)
        return;
    owner->unserved = unserved;
    if (unserved) {
        owner->unserved_ns = now_ns;
        TAILQ_INSERT_TAIL(&core->unserved, owner, unserved_link);
    } else {
        TAILQ_REMOVE(&core->unserved, owner, unserved_link);
    }
}

/* All slots are taken, and not yet all of those above them. */
static bool may_exceed(const struct core *core)
{
    return core->config.guarantee_after_ns != 0 && !slot_free(core) && core->running < slots_most(core);
}

struct job *guarantee_pick(struct core *core, struct worker **worker, int64_t now_ns)
{
    if (!may_exceed(core))
        return NULL;
    struct owner *owner, *next;
    for (owner = TAILQ_FIRST(&core->unserved); owner != NULL; owner = next) {
        next = TAILQ_NEXT(owner, unserved_link);
        if (now_ns - owner->unserved_ns < core->config.guarantee_after_ns)
            break;
        struct job *job;
        while ((job = order_pick_of(owner, now_ns)) != NULL) {
            *worker = worker_choose(core, job);
            if (*worker != NULL)
                return job;
            order_starve(core, job, now_ns); /* a worker is asked for */
        }
    }
    return NULL;
}

int64_t guarantee_deadline(const struct core *core)
{
    if (!may_exceed(core))
        return INT64_MAX;
    const struct owner *owner;
    TAILQ_FOREACH (owner, &core->unserved, unserved_link) {
        if (owner->runnable)
            return owner->unserved_ns + core->config.guarantee_after_ns;
    }
    return INT64_MAX; /* they wait for workers */
}
