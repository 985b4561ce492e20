/* Answers to queries: one MessagePack value each; the fields are in PROTOCOL.md. */
#include "daemon/broker_state.h"
#include "daemon/functions/functions.h"

#include <errno.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void pack_text(msgpack_packer *pk, const char *text)
{
    size_t len = strlen(text);
    msgpack_pack_str(pk, len);
    msgpack_pack_str_body(pk, text, len);
}

static void pack_count(msgpack_packer *pk, const char *key, uint64_t value)
{
    pack_text(pk, key);
    msgpack_pack_uint64(pk, value);
}

static void pack_seconds(msgpack_packer *pk, const char *key, int64_t ns)
{
    pack_text(pk, key);
    msgpack_pack_double(pk, (double)ns / 1e9);
}

static void pack_flag(msgpack_packer *pk, const char *key, bool value)
{
    pack_text(pk, key);
    if (value)
        msgpack_pack_true(pk);
    else
        msgpack_pack_false(pk);
}

static void pack_owners(struct broker *broker, msgpack_packer *pk)
{
    const void *cursor = NULL;
    struct owner_view view;
    size_t count = 0;
    while (core_owner_next(broker->core, &cursor, &view))
        count++;
    msgpack_pack_array(pk, count);
    for (cursor = NULL; core_owner_next(broker->core, &cursor, &view);) {
        msgpack_pack_map(pk, 10);
        pack_count(pk, "uid", view.uid);
        pack_count(pk, "weight", view.weight);
        pack_count(pk, "sessions", view.sessions);
        pack_count(pk, "jobs", view.jobs);
        pack_count(pk, "running", view.running);
        pack_count(pk, "queued_items", view.queued_items);
        pack_count(pk, "held_bytes", view.held_bytes);
        pack_count(pk, "items_done", view.items_done);
        pack_seconds(pk, "run_s", view.run_ns);
        pack_seconds(pk, "cpu_s", view.cpu_ns);
    }
}

static void pack_limits(struct broker *broker, const struct client *client, msgpack_packer *pk)
{
    struct limits limits = clients_limits(&broker->clients, client);
    msgpack_pack_map(pk, 6);
    pack_count(pk, "uid", client->uid);
    pack_count(pk, "weight", (uint64_t)limits.weight);
    pack_count(pk, "slots", (uint64_t)limits.slots);
    pack_count(pk, "jobs", (uint64_t)limits.jobs);
    pack_count(pk, "connections", (uint64_t)limits.connections);
    pack_count(pk, "queued_bytes", limits.queued_bytes);
}

static void pack_status(struct broker *broker, const struct client *client, msgpack_packer *pk)
{
    struct core_counts counts;
    core_counts(broker->core, &counts);
    msgpack_pack_map(pk, 21);
    pack_text(pk, "version");
    pack_text(pk, PMAP_VERSION);
    pack_count(pk, "pid", (uint64_t)getpid());
    pack_flag(pk, "private", broker->options.private_pool);
    pack_seconds(pk, "uptime_s", broker_now() - broker->started_ns);
    pack_count(pk, "slots", broker->options.slots);
    pack_count(pk, "busy", counts.busy);
    pack_count(pk, "connections", monitor_connections(broker->monitor));
    pack_count(pk, "cut", monitor_cuts(broker->monitor));
    pack_count(pk, "sessions", counts.sessions);
    pack_count(pk, "jobs", counts.jobs);
    pack_count(pk, "waiting", counts.waiting);
    pack_count(pk, "orphans", counts.orphans);
    pack_count(pk, "queued_items", counts.queued_items);
    pack_count(pk, "held_bytes", counts.held_bytes);
    pack_count(pk, "jobs_done", counts.jobs_done);
    pack_count(pk, "items_done", counts.items_done);
    pack_count(pk, "items_failed", counts.items_failed);
    pack_count(pk, "chunks", counts.chunks_done);
    pack_seconds(pk, "run_s", counts.run_ns);
    pack_text(pk, "owners");
    pack_owners(broker, pk);
    pack_text(pk, "limits");
    pack_limits(broker, client, pk);
}

static void pack_functions(msgpack_packer *pk)
{
    size_t count;
    const struct function *table = function_table(&count);
    msgpack_pack_array(pk, count);
    for (size_t i = 0; i < count; i++) {
        msgpack_pack_map(pk, 2);
        pack_text(pk, "name");
        pack_text(pk, table[i].name);
        pack_text(pk, "summary");
        pack_text(pk, table[i].summary);
    }
}

/* One's own jobs in full, those of others as owner and size only, unless one may see everything. */
static void pack_jobs(struct broker *broker, const struct client *client, msgpack_packer *pk)
{
    bool admin = clients_is_admin(&broker->clients, client);
    const void *cursor = NULL;
    struct job_view view;
    size_t count = 0;
    while (core_job_next(broker->core, &cursor, &view))
        count++;
    msgpack_pack_array(pk, count);
    for (cursor = NULL; core_job_next(broker->core, &cursor, &view);) {
        bool full = admin || view.uid == client->uid;
        const struct function *function = view.function;
        msgpack_pack_map(pk, full ? 10 : 3);
        pack_count(pk, "job", view.id);
        pack_count(pk, "uid", view.uid);
        pack_count(pk, "items", view.received);
        if (!full)
            continue;
        pack_text(pk, "function");
        pack_text(pk, function->name);
        pack_count(pk, "finished", view.finished);
        pack_count(pk, "failed", view.failed);
        pack_flag(pk, "ended", view.ended);
        pack_count(pk, "running", view.running);
        pack_seconds(pk, "age_s", broker_now() - view.opened_ns);
        pack_seconds(pk, "run_s", view.run_ns);
    }
}

int status_answer(struct broker *broker, const struct client *client, struct text what, char **data,
                  size_t *size)
{
    msgpack_sbuffer buffer;
    msgpack_packer pk;
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&pk, &buffer, msgpack_sbuffer_write);
    if (text_is(what, "status"))
        pack_status(broker, client, &pk);
    else if (text_is(what, "functions"))
        pack_functions(&pk);
    else if (text_is(what, "jobs"))
        pack_jobs(broker, client, &pk);
    else
        return -EINVAL;
    if (buffer.data == NULL)
        return -ENOMEM;
    *size = buffer.size;
    *data = msgpack_sbuffer_release(&buffer);
    return 0;
}
