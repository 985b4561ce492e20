/*
 * Stopping. Nothing is begun any more; what runs has `stop_timeout` to end, and results go out as long as
 * their client takes them. Each client is told that the daemon stops when there is nothing more for it to
 * expect, so all that it has got until then stands, and it goes on with the next daemon from there. What has
 * not ended in time is given up as if its client had cancelled it. Whoever asks a second time has no patience
 * left.
 */
#include "daemon/broker_state.h"
#include "daemon/common/log.h"
#include "daemon/service.h"

#include <stdio.h>

#define MS INT64_C(1000000)

/* Between two looks at all sessions, however many messages come. */
#define LOOK_NS MS
/* For a client to take results that are ready; and, when it was told, to read that and go. */
#define FAREWELL_NS (1000 * MS)
/* The same where there is no patience left. */
#define HURRY_NS (200 * MS)
/* More than kill_grace, for what was killed to be dead. */
#define DEAD_NS (1000 * MS)

void drain_begin(struct broker *broker, const char *why, int64_t now_ns)
{
    struct core_counts counts;
    if (broker->stopping) {
        log_notice("stopping at once: %s", why);
        broker->drain.at_once = true;
        return;
    }
    int64_t patience_ns = broker->options.config->stop_timeout_ns;
    core_counts(broker->core, &counts);
    service_stopping("no new work is begun");
    if (counts.busy > 0)
        log_info("stopping: %s; what runs in %u slots, for %u jobs, may take %lld s", why, counts.busy,
                 counts.jobs, (long long)(patience_ns / (1000 * MS)));
    else
        log_info("stopping: %s", why);
    broker->stopping = true;
    broker->drain.stop_by_ns = now_ns + patience_ns;
    core_stop(broker->core, now_ns);
}

/* May this client still expect something? Into *again_ns when to ask anew at the latest. */
static bool expects(const struct broker *broker, struct client *client, int64_t now_ns, int64_t *again_ns)
{
    enum core_rest rest = client->session != NULL ? core_session_rest(client->session) : REST_NONE;
    if (rest == REST_RUNS)
        client->read_ns = now_ns;
    else if (rest == REST_NONE && clients_is_stalled(client))
        rest = REST_WAITS; /* its last results are on their way */
    int64_t until_ns = rest == REST_NONE ? now_ns : broker->drain.stop_by_ns;
    if (rest == REST_WAITS && client->read_ns + FAREWELL_NS < until_ns)
        until_ns = client->read_ns + FAREWELL_NS; /* who does not read keeps nobody waiting */
    if (until_ns < *again_ns)
        *again_ns = until_ns;
    return until_ns > now_ns;
}

/* Tells those who have nothing more to expect; all: everybody. Returns whether there are others, and in
 * *again_ns when they are to be looked at. */
static bool tell(struct broker *broker, bool all, int64_t now_ns, int64_t *again_ns)
{
    struct client *client, *next;
    bool others = false;
    *again_ns = INT64_MAX;
    HASH_ITER (hh, broker->clients.table, client, next) {
        if (client->doomed)
            continue;
        int64_t its_ns = INT64_MAX;
        if (all || !expects(broker, client, now_ns, &its_ns)) {
            serve_stop(broker, client, now_ns);
            continue;
        }
        others = true;
        if (its_ns < *again_ns)
            *again_ns = its_ns;
    }
    return others;
}

/* Everybody has been told. */
static void give_up(struct broker *broker, int64_t now_ns)
{
    struct core_counts counts;
    core_counts(broker->core, &counts);
    if (counts.busy > 0)
        log_warning("what runs in %u slots did not end in time and is given up", counts.busy);
    broker->drain.told = true;
    broker->drain.leave_by_ns = now_ns + FAREWELL_NS;
    broker->drain.kill_by_ns = now_ns + broker->options.config->kill_grace_ns + DEAD_NS;
}

/* Waits for what was given up to be dead, and for clients to have read why and left: what they have not read
 * when we end can get lost, since libzmq may drop what it has received with the connection's end. */
static int64_t wait_for_end(const struct broker *broker, int64_t now_ns)
{
    struct core_counts counts;
    core_counts(broker->core, &counts);
    if (counts.busy > 0 && now_ns < broker->drain.kill_by_ns)
        return broker->drain.kill_by_ns;
    if (broker->clients.count > 0 && now_ns < broker->drain.leave_by_ns)
        return broker->drain.leave_by_ns;
    return 0;
}

int64_t drain_tick(struct broker *broker, int64_t now_ns)
{
    struct drain *drain = &broker->drain;
    int64_t again_ns;
    if (drain->at_once && !drain->hurries) {
        (void)tell(broker, true, now_ns, &again_ns);
        drain->hurries = drain->told = true;
        drain->leave_by_ns = now_ns + HURRY_NS;
        drain->kill_by_ns = now_ns;
    }
    if (drain->told)
        return wait_for_end(broker, now_ns);
    if (now_ns - drain->looked_ns < LOOK_NS)
        return drain->looked_ns + LOOK_NS;
    drain->looked_ns = now_ns;
    if (tell(broker, now_ns >= drain->stop_by_ns, now_ns, &again_ns))
        return again_ns;
    give_up(broker, now_ns);
    return wait_for_end(broker, now_ns);
}
