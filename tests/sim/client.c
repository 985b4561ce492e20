/*
 * Clients of the simulation: connections, producers and readers around the real flow; see client.h.
 */
#include "tests/sim/client.h"

#include "tests/sim/daemon.h"
#include "tests/sim/results.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void produce(struct world *world, struct sim_job *job);
static void take(struct world *world, void *target, uint64_t argument);
static void lose(struct world *world, struct client *client, int64_t away_ns);
static void connect_event(struct world *world, void *target, uint64_t argument);

static bool connected(const struct client *client)
{
    return client->connection && client->connection->open;
}

static void send(struct world *world, struct sim_job *job, struct packet *packet)
{
    packet->ref = job->ref;
    link_send(world, &job->client->connection->up, packet);
}

/* Sends whatever flow has to say. */
static void pump(struct world *world, struct sim_job *job)
{
    struct flow_out out;
    while (!world->failed && connected(job->client) && job->flow && flow_next(job->flow, &out)) {
        struct packet *packet = packet_new(world, out.type);
        packet->first = out.first;
        packet->bytes = out.bytes;
        packet->more = out.more;
        packet->end = out.end;
        trace(world, message_name(out.type), client_job_id(job), out.first, out.items.count);
        if (out.type == MSG_OPEN) {
            job->got = job->got_failed = job->got_bytes = 0;
            packet->done_count = out.done_count;
            packet->done = need(out.done_count * sizeof *packet->done);
            if (out.done_count > 0)
                memcpy(packet->done, out.done, out.done_count * sizeof *packet->done);
        }
        if (out.type == MSG_ITEMS || (out.type == MSG_OPEN && out.items.count > 0))
            packet->batch = batch_of_slice(world, &out.items, out.more);
        if (out.type == MSG_CREDIT) {
            if (strikes(world, FAULT_LOST_CREDIT, 1)) {
                packet_free(world, packet);
                continue;
            }
            if (strikes(world, FAULT_DOUBLE_CREDIT, 1))
                packet->bytes *= 2;
        }
        send(world, job, packet);
    }
}

/*** Producing ***/

static void produce_event(struct world *world, void *target, uint64_t argument)
{
    (void)argument;
    struct sim_job *job = target;
    job->putting = false;
    produce(world, job);
}

static void produce_later(struct world *world, struct sim_job *job, int64_t delay_ns)
{
    if (job->putting || job->state != JOB_RUNNING || job->end_said || job->cancelled)
        return;
    job->putting = true;
    after(world, delay_ns, produce_event, job, 0);
}

/* Returns flow_put's result. */
static int put_one(struct world *world, struct sim_job *job)
{
    uint8_t small[512];
    uint32_t length = work_item_length(&job->work, job->put);
    uint8_t *data = length <= sizeof small ? small : need(length);
    work_item_bytes(&job->work, job->put, 0, data, length);
    int rc = flow_put(job->flow, data, length);
    if (data != small)
        free(data);
    if (rc == 0)
        job->put++;
    else if (rc != -EAGAIN && rc != -EPIPE)
        broken(world, "flow accepts", "job %" PRIu64 ": flow_put of item %" PRIu64 ": %d", client_job_id(job),
               job->put, rc);
    return rc;
}

static void produce(struct world *world, struct sim_job *job)
{
    if (job->state != JOB_RUNNING || job->end_said || job->cancelled || world->failed)
        return;
    int rc = 0;
    for (uint32_t i = 0; i < job->put_burst && job->put < job->work.items && rc == 0; i++)
        rc = put_one(world, job);
    job->full = rc == -EAGAIN;
    if (rc == -EPIPE) /* refused meanwhile */
        return;
    if (job->put == job->work.items) {
        job->end_said = true;
        rc = flow_end(job->flow);
        if (rc < 0)
            broken(world, "flow accepts", "job %" PRIu64 ": flow_end: %d", client_job_id(job), rc);
    } else {
        if (job->full || job->put_pause_ns > 0)
            flow_flush(job->flow);
        if (!job->full)
            produce_later(world, job, job->put_pause_ns);
    }
    pump(world, job);
    /* What was in the item's way may have gone out. */
    if (job->full && job->state == JOB_RUNNING && !world->failed && put_one(world, job) == 0) {
        job->full = false;
        produce_later(world, job, 0);
    }
}

/* Something was taken or granted: a producer that had to wait goes on. */
static void produce_again(struct world *world, struct sim_job *job)
{
    if (job->full)
        produce_later(world, job, 0);
}

/*** Ending ***/

static void leave(struct world *world, struct client *client)
{
    client->gone = true;
    if (!connected(client))
        return;
    struct connection *connection = client->connection;
    connection->open = false;
    connection->down.cut = true;
    trace(world, "leave", client->number, 0, 0);
    link_send(world, &connection->up, packet_new(world, PACKET_GONE));
}

static void forget_received(struct world *world, struct sim_job *job)
{
    struct packet *packet;
    while ((packet = STAILQ_FIRST(&job->received))) {
        STAILQ_REMOVE_HEAD(&job->received, waiting);
        packet_free(world, packet);
    }
    job->head_taken = 0;
    job->head_offset = 0;
}

static void leave_event(struct world *world, void *target, uint64_t argument)
{
    (void)argument;
    struct client *client = target;
    if (client->gone)
        return;
    for (unsigned i = 0; i < client->job_count; i++) {
        struct sim_job *job = &client->jobs[i];
        if (job->state != JOB_WAITING && job->state != JOB_RUNNING)
            continue;
        job->state = JOB_DROPPED;
        forget_received(world, job);
        flow_free(job->flow);
        job->flow = NULL;
    }
    leave(world, client);
}

static void job_over(struct world *world, struct sim_job *job, enum job_state state)
{
    job->state = state;
    trace(world, "over", client_job_id(job), state, job->taken);
    if (state == JOB_ENDED) {
        world->jobs_done++;
        world->items_done += job->taken;
    }
    forget_received(world, job);
    flow_free(job->flow);
    job->flow = NULL;
    struct client *client = job->client;
    for (unsigned i = 0; i < client->job_count; i++) {
        if (client->jobs[i].state == JOB_WAITING || client->jobs[i].state == JOB_RUNNING)
            return;
    }
    leave(world, client);
}

/*** Taking results ***/

/* Takes up to `most` records of the first packet. Returns how many. */
static uint32_t take_some(struct world *world, struct sim_job *job, const struct packet *packet,
                          uint32_t most)
{
    const struct batch *batch = packet->batch;
    uint32_t count = 0;
    for (; count < most && job->head_taken < batch->count && !world->failed; count++) {
        uint32_t size = batch_length(batch, job->head_taken);
        results_take(world, job, packet, job->head_taken, batch->bytes + job->head_offset, size);
        job->head_offset += size;
        job->head_taken++;
    }
    return count;
}

static void take_later(struct world *world, struct sim_job *job, int64_t delay_ns)
{
    if (job->taking || STAILQ_EMPTY(&job->received))
        return;
    job->taking = true;
    after(world, delay_ns, take, job, 0);
}

static void cancel(struct world *world, struct sim_job *job)
{
    if (flow_state(job->flow) == FLOW_ENDED)
        return; /* DONE is waiting to be taken */
    job->cancelled = true;
    trace(world, "cancel", client_job_id(job), job->taken, 0);
    flow_cancel(job->flow);
    pump(world, job);
    /* A job that has not gone out has nobody to end it. */
    if (flow_state(job->flow) == FLOW_ENDED)
        job_over(world, job, JOB_ENDED);
}

/* The first packet has been dealt with. Returns false when that ended the job. */
static bool finish_packet(struct world *world, struct sim_job *job, struct packet *packet)
{
    STAILQ_REMOVE_HEAD(&job->received, waiting);
    job->head_taken = 0;
    job->head_offset = 0;
    if (packet->batch && !job->cancelled)
        flow_released(job->flow, batch_cost(packet->batch));
    /* Else that was the end of the one item that comes first after a resume. */
    bool over = packet->has_done && flow_state(job->flow) == FLOW_ENDED;
    if (over)
        results_done(world, job, &packet->report);
    packet_free(world, packet);
    if (over)
        job_over(world, job, JOB_ENDED);
    return !over;
}

static void send_hold(struct world *world, struct sim_job *job, bool paused)
{
    if (job->state != JOB_RUNNING || !connected(job->client))
        return;
    struct packet *packet = packet_new(world, MSG_HOLD);
    packet->bytes = paused;
    trace(world, "HOLD", client_job_id(job), paused, 0);
    send(world, job, packet);
}

static void go_on_event(struct world *world, void *target, uint64_t argument)
{
    (void)argument;
    send_hold(world, target, false);
}

static void take(struct world *world, void *target, uint64_t argument)
{
    (void)argument;
    struct sim_job *job = target;
    job->taking = false;
    if (job->state != JOB_RUNNING)
        return;
    uint32_t left = job->take_most;
    struct packet *packet;
    while (left > 0 && (packet = STAILQ_FIRST(&job->received)) && !world->failed) {
        if (packet->batch && !job->cancelled) {
            uint32_t taken = take_some(world, job, packet, left);
            left -= taken < left ? taken : left;
            if (job->head_taken < packet->batch->count)
                break;
        }
        if (!finish_packet(world, job, packet))
            return;
    }
    if (world->failed)
        return;
    if (job->taken >= job->cancel_at && !job->cancelled) {
        cancel(world, job);
        if (job->state != JOB_RUNNING)
            return;
    }
    produce_again(world, job);
    pump(world, job);
    if (job->taken >= job->hold_at) {
        job->hold_at = UINT64_MAX;
        send_hold(world, job, true);
        after(world, job->hold_ns, go_on_event, job, 0);
    }
    if (job->taken >= job->stall_at) {
        job->stall_at = UINT64_MAX;
        trace(world, "stall", client_job_id(job), job->taken, (uint64_t)job->stall_ns);
        take_later(world, job, job->stall_ns);
    } else {
        take_later(world, job, job->take_pause_ns);
    }
}

/*** What comes from the daemon ***/

static void count_results(struct sim_job *job, const struct packet *packet)
{
    job->got_bytes += packet->batch->size;
    if (packet->more)
        return;
    job->got += packet->batch->count;
    job->got_failed += results_failed(packet->batch);
}

/* Takes the packet over when it returns true. */
static bool receive_results(struct world *world, struct sim_job *job, struct packet *packet)
{
    if (packet->batch) {
        int rc = flow_results(job->flow, packet->first, packet->batch, &packet->verdict);
        if (rc < 0) {
            broken(world, "flow accepts", "job %" PRIu64 ": flow_results(%" PRIu64 ", %u records): %d",
                   client_job_id(job), packet->first, packet->batch->count, rc);
            return false;
        }
        if (packet->verdict.drop != job->cancelled)
            broken(world, "flow accepts", "job %" PRIu64 ": to be dropped: %d", client_job_id(job),
                   packet->verdict.drop);
        count_results(job, packet);
    }
    if (packet->has_done) {
        int rc = flow_done(job->flow, packet->report.outcome == OUTCOME_DONE);
        if (rc < 0)
            broken(world, "flow accepts", "job %" PRIu64 ": flow_done: %d", client_job_id(job), rc);
    }
    STAILQ_INSERT_TAIL(&job->received, packet, waiting);
    if (job->take_pause_ns == 0 && !job->taking)
        take(world, job, 0);
    else
        take_later(world, job, job->take_pause_ns);
    return true;
}

static bool client_receive(struct world *world, struct packet *packet)
{
    struct connection *connection = packet->link->end;
    struct client *client = connection->client;
    struct sim_job *job = &client->jobs[packet->ref]; /* our own numbers come back */
    if (connection->open && packet->type == PACKET_STOPPING) {
        trace(world, "told to go", client->number, 0, 0);
        lose(world, client, client->away_ns > 20 * NS_PER_MS ? client->away_ns : 20 * NS_PER_MS);
        return false;
    }
    if (!connection->open || job->state != JOB_RUNNING)
        return false;
    trace(world, message_name(packet->type), client_job_id(job), packet->first,
          packet->batch ? packet->batch->count : packet->bytes);
    int rc = 0;
    switch (packet->type) {
    case MSG_OPENED:
        rc = flow_opened(job->flow, packet->bytes);
        break;
    case MSG_CREDIT:
        rc = flow_credit(job->flow, packet->bytes);
        break;
    case MSG_RESULTS:
    case MSG_DONE:
        return receive_results(world, job, packet);
    case MSG_ERROR:
        flow_done(job->flow, false);
        job_over(world, job, JOB_REFUSED);
        return false;
    default:
        rc = -EPROTO;
        break;
    }
    if (rc < 0)
        broken(world, "flow accepts", "job %" PRIu64 ": %s: %d", client_job_id(job),
               message_name(packet->type), rc);
    produce_again(world, job);
    pump(world, job);
    return false;
}

/*** Connections ***/

/* The client has lost its connection, and comes back after a while. */
static void lose(struct world *world, struct client *client, int64_t away_ns)
{
    struct connection *connection = client->connection;
    connection->open = false;
    connection->down.cut = true;
    link_send(world, &connection->up, packet_new(world, PACKET_GONE));
    for (unsigned i = 0; i < client->job_count; i++) {
        struct sim_job *job = &client->jobs[i];
        if (job->state != JOB_RUNNING || flow_state(job->flow) == FLOW_ENDED)
            continue; /* after DONE, what is left is the client's own affair */
        forget_received(world, job);
        job->in_piece = false;
        int rc = flow_lost(job->flow);
        if (rc < 0)
            broken(world, "flow accepts", "job %" PRIu64 ": flow_lost: %d", client_job_id(job), rc);
        else if (flow_state(job->flow) == FLOW_ENDED)
            job_over(world, job, JOB_ENDED); /* cancelled, and now there is nobody to say so */
        world->resumes++;
    }
    after(world, away_ns, connect_event, client, 0);
}

static void lose_event(struct world *world, void *target, uint64_t argument)
{
    struct client *client = target;
    struct connection *connection = client->connection;
    if (!connection->open || connection->number != argument)
        return;
    trace(world, "lose", client->number, 0, 0);
    connection->up.cut = random_chance(&world->random, 50);
    lose(world, client, client->away_ns);
}

static void connect_event(struct world *world, void *target, uint64_t argument)
{
    (void)argument;
    struct client *client = target;
    if (client->gone)
        return;
    struct connection *connection = need_zeroed(1, sizeof *connection);
    connection->client = client;
    connection->older = client->connection;
    connection->number = connection->older ? connection->older->number + 1 : 0;
    connection->open = true;
    connection->up =
        (struct link){.base_ns = client->up_ns, .spread_ns = client->spread_ns, .deliver = daemon_receive};
    connection->down =
        (struct link){.base_ns = client->down_ns, .spread_ns = client->spread_ns, .deliver = client_receive};
    connection->up.end = connection->down.end = connection;
    client->connection = connection;
    trace(world, "connect", client->number, connection->number, 0);
    link_send(world, &connection->up, packet_new(world, PACKET_HELLO));
    if (client->losses > 0) {
        client->losses--;
        after(world, client->loss_ns, lose_event, client, connection->number);
    }
    for (unsigned i = 0; i < client->job_count; i++) {
        struct sim_job *job = &client->jobs[i];
        if (job->state != JOB_RUNNING)
            continue;
        pump(world, job);
        produce_again(world, job);
    }
}

static void start_job(struct world *world, void *target, uint64_t argument)
{
    (void)argument;
    struct sim_job *job = target;
    if (job->state != JOB_WAITING)
        return;
    struct flow_config config = {.ref = job->ref,
                                 .unordered = job->options.unordered,
                                 .result_window = job->result_window,
                                 .batch_size = job->batch_size,
                                 .ranges_max = job->ranges_max};
    job->state = JOB_RUNNING;
    job->flow = flow_new(&config);
    if (!job->flow) {
        broken(world, "memory", "flow_new");
        return;
    }
    if (job->cancel_at == 0) {
        /* Cancelled by time, not by a count: somewhere between its first items. */
        job->cancel_at = UINT64_MAX;
        if (job->work.items > 0)
            put_one(world, job);
        pump(world, job);
        cancel(world, job);
        return;
    }
    produce(world, job);
}

void client_start(struct world *world, struct client *client)
{
    connect_event(world, client, 0);
    for (unsigned i = 0; i < client->job_count; i++)
        after(world, client->jobs[i].start_ns, start_job, &client->jobs[i], 0);
    if (client->leaves_ns < INT64_MAX)
        after(world, client->leaves_ns, leave_event, client, 0);
}

void client_check_ended(struct world *world, const struct client *client)
{
    for (unsigned i = 0; i < client->job_count; i++) {
        const struct sim_job *job = &client->jobs[i];
        if (job->state != JOB_WAITING && job->state != JOB_RUNNING)
            continue;
        broken(world, "stuck",
               "job %" PRIu64 " of client %u: state %d, flow %d, put %" PRIu64 " of %" PRIu64
               "%s%s, taken %" PRIu64 ", kept %" PRIu64 ", received and not taken: %s",
               job->ref, client->number, job->state, job->flow ? (int)flow_state(job->flow) : -1, job->put,
               job->work.items, job->end_said ? ", end said" : "", job->full ? ", full" : "", job->taken,
               job->flow ? flow_kept(job->flow) : 0, STAILQ_EMPTY(&job->received) ? "nothing" : "some");
    }
}

void client_free(struct client *client)
{
    if (!client)
        return;
    while (client->connection) {
        struct connection *older = client->connection->older;
        free(client->connection);
        client->connection = older;
    }
    for (unsigned i = 0; i < client->job_count; i++) {
        flow_free(client->jobs[i].flow);
        free(client->jobs[i].seen);
        free(client->jobs[i].excused);
        free(client->jobs[i].part);
    }
    free(client->jobs);
    free(client);
}
