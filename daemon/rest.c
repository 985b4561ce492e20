/*
 * Rest: memory that load has taken goes back to the system once nothing has run for a while. The allocator
 * would keep the most that there ever was, and the core what it has for use again.
 */
#include "daemon/broker_state.h"

#include <malloc.h>

/* So short that an idle pool is soon small, and so long that jobs one after the other do not pay for it. */
#define REST_NS INT64_C(1000000000)

static bool works(const struct broker *broker)
{
    struct core_counts counts;
    core_counts(broker->core, &counts);
    return counts.busy > 0 || counts.orphans > 0 || counts.queued_items > 0 || counts.held_bytes > 0;
}

/* What is on its way to a client is freed when it goes, which may be long after the last job. */
static bool peers_differ(const struct broker *broker)
{
    return broker->rest.peers != broker->clients.count + monitor_connections(broker->monitor);
}

int64_t rest_tick(struct broker *broker, int64_t now_ns)
{
    struct rest *rest = &broker->rest;
    if (works(broker)) {
        rest->due = true;
        rest->since_ns = INT64_MAX;
        return INT64_MAX;
    }
    if (rest->since_ns == INT64_MAX || (!rest->due && peers_differ(broker)))
        *rest = (struct rest){.due = true, .since_ns = now_ns};
    if (!rest->due)
        return INT64_MAX;
    if (now_ns - rest->since_ns < REST_NS)
        return rest->since_ns + REST_NS;
    rest->due = false;
    rest->peers = broker->clients.count + monitor_connections(broker->monitor);
    core_rest(broker->core);
    malloc_trim(0);
    return INT64_MAX;
}
