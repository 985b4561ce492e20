/* Identities: asked for, shared, dropped; see identities.h. */
#include "daemon/identities.h"

#include "daemon/broker_state.h"
#include "daemon/callee.h"
#include "daemon/common/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Until the launcher is asked again that has had no room for a question. */
#define AGAIN_NS INT64_C(10000000)

void identities_init(struct identities *identities)
{
    LIST_INIT(&identities->list);
    TAILQ_INIT(&identities->asked);
    TAILQ_INIT(&identities->waiting);
}

void identities_free(struct identities *identities)
{
    struct identity *identity;
    while ((identity = LIST_FIRST(&identities->list)) != NULL) {
        LIST_REMOVE(identity, link);
        free(identity->slots);
        free(identity);
    }
}

/* The identity of a context, made when it is new; NULL when memory is short. */
static struct identity *identity_of(struct broker *broker, uint32_t context, uid_t uid)
{
    struct processes *p = &broker->processes;
    struct identity *identity;
    LIST_FOREACH (identity, &p->identities.list, link) {
        if (identity->context == context)
            return identity;
    }
    identity = calloc(1, sizeof *identity);
    if (identity == NULL)
        return NULL;
    identity->context = context;
    identity->uid = uid;
    TAILQ_INIT(&identity->clients);
    if (core_crew_new(broker->core, identity, &identity->crew) < 0) {
        free(identity);
        return NULL;
    }
    LIST_INSERT_HEAD(&p->identities.list, identity, link);
    return identity;
}

/* Frees it when nobody is of it any more. */
static void drop(struct broker *broker, struct identity *identity)
{
    if (!TAILQ_EMPTY(&identity->clients) || identity->workers > 0 ||
        core_crew_free(broker->core, identity->crew) < 0)
        return;
    LIST_REMOVE(identity, link);
    free(identity->slots);
    free(identity);
}

void identity_left(struct broker *broker, struct identity *identity)
{
    identity->workers--;
    drop(broker, identity);
}

unsigned identity_slot(struct identity *identity)
{
    unsigned slot = 1;
    while (slot < identity->slot_count && identity->slots[slot])
        slot++;
    if (slot >= identity->slot_count) {
        unsigned count = identity->slot_count != 0 ? 2 * identity->slot_count : 8;
        uint8_t *slots = realloc(identity->slots, count);
        if (slots == NULL)
            return 0;
        memset(slots + identity->slot_count, 0, count - identity->slot_count);
        identity->slots = slots;
        identity->slot_count = count;
    }
    return slot;
}

void identities_fail_jobs(struct broker *broker, const struct client *client, const struct identity *identity,
                          unsigned code, const char *text, int64_t now_ns)
{
    const void *cursor = NULL;
    struct job_view view;
    size_t count = 0, room = 0;
    uint64_t *ids = NULL;
    while (core_job_next(broker->core, &cursor, &view)) {
        const struct client *of = session_cookie(core_job_session(core_job_by_id(broker->core, view.id)));
        if (callee_of(view.function) == NULL || (client != NULL ? of != client : of->identity != identity))
            continue;
        if (count == room) {
            room = room != 0 ? 2 * room : 64;
            uint64_t *more = reallocarray(ids, room, sizeof *ids);
            if (more == NULL)
                break; /* the others fail the next time */
            ids = more;
        }
        ids[count++] = view.id;
    }
    for (size_t i = 0; i < count; i++) {
        struct job *job = core_job_by_id(broker->core, ids[i]);
        if (job != NULL)
            serve_fail(broker, job, code, text, now_ns);
    }
    free(ids);
}

/* Asks. Returns false if the launcher has no room for questions now. */
static bool ask(struct broker *broker, struct client *client, int64_t now_ns)
{
    struct processes *p = &broker->processes;
    int fd = clients_descriptor(&broker->clients, client);
    if (fd < 0)
        return true; /* it has gone, and the monitor will say so */
    struct record record = {.type = RECORD_IDENTIFY, .token = processes_token(p)};
    int rc = record_send(p->launcher, &record, fd);
    close(fd);
    if (rc == 0) {
        client->identity_token = record.token;
        TAILQ_INSERT_TAIL(&p->identities.asked, client, identity_link);
    } else if (rc != -EAGAIN) {
        identities_fail_jobs(broker, client, NULL, PERR_MEMORY, "the launcher cannot be asked for a process",
                             now_ns);
    }
    return rc != -EAGAIN;
}

void identities_ask(struct broker *broker, struct client *client)
{
    if (client->identity != NULL || client->identity_token != 0 || client->identity_waits)
        return;
    if (ask(broker, client, broker_now()))
        return;
    client->identity_waits = true;
    TAILQ_INSERT_TAIL(&broker->processes.identities.waiting, client, identity_link);
}

int64_t identities_tick(struct broker *broker, int64_t now_ns)
{
    struct identities *identities = &broker->processes.identities;
    struct client *client;
    while ((client = TAILQ_FIRST(&identities->waiting)) != NULL) {
        TAILQ_REMOVE(&identities->waiting, client, identity_link);
        client->identity_waits = false;
        if (ask(broker, client, now_ns))
            continue;
        client->identity_waits = true;
        TAILQ_INSERT_HEAD(&identities->waiting, client, identity_link);
        return now_ns + AGAIN_NS;
    }
    return INT64_MAX;
}

void identities_client_gone(struct broker *broker, struct client *client)
{
    if (client->identity_token != 0)
        TAILQ_REMOVE(&broker->processes.identities.asked, client, identity_link);
    if (client->identity_waits)
        TAILQ_REMOVE(&broker->processes.identities.waiting, client, identity_link);
    client->identity_waits = false;
    client->identity_token = 0;
    struct identity *identity = client->identity;
    if (identity == NULL)
        return;
    client->identity = NULL;
    TAILQ_REMOVE(&identity->clients, client, identity_link);
    drop(broker, identity);
}

/* The client that was asked about with this token; it is not any more. NULL: it has gone. */
static struct client *asked_about(struct processes *p, uint32_t token)
{
    struct client *client;
    TAILQ_FOREACH (client, &p->identities.asked, identity_link) {
        if (client->identity_token == token)
            break;
    }
    if (client != NULL) {
        TAILQ_REMOVE(&p->identities.asked, client, identity_link);
        client->identity_token = 0;
    }
    return client;
}

void identities_take(struct broker *broker, const struct record *record, int64_t now_ns)
{
    struct client *client = asked_about(&broker->processes, record->token);
    if (client == NULL || client->session == NULL)
        return;
    if (record->uid != client->uid) { /* never: but it would be the worst thing to be wrong about */
        log_error("the launcher takes a client of uid %u for one of uid %u", (unsigned)client->uid,
                  (unsigned)record->uid);
        identities_fail_jobs(broker, client, NULL, PERR_REFUSED,
                             "the launcher and the daemon disagree on your uid", now_ns);
        return;
    }
    struct identity *identity = identity_of(broker, record->context, record->uid);
    if (identity == NULL) {
        identities_fail_jobs(broker, client, NULL, PERR_MEMORY, protocol_error_text(PERR_MEMORY), now_ns);
        return;
    }
    client->identity = identity;
    TAILQ_INSERT_TAIL(&identity->clients, client, identity_link);
    core_session_crew(broker->core, client->session, identity->crew, now_ns);
}

void identities_refused(struct broker *broker, const struct record *record, int64_t now_ns)
{
    struct client *client = asked_about(&broker->processes, record->token);
    if (client == NULL)
        return;
    bool for_ever = record->error == EPERM || record->error == EACCES;
    if (for_ever)
        memcpy(client->identity_refusal, record->text, sizeof client->identity_refusal);
    identities_fail_jobs(broker, client, NULL, for_ever ? PERR_REFUSED : PERR_LIMIT, record->text, now_ns);
}

void identities_sweep(struct broker *broker)
{
    struct identity *identity, *next;
    for (identity = LIST_FIRST(&broker->processes.identities.list); identity != NULL; identity = next) {
        next = LIST_NEXT(identity, link);
        drop(broker, identity);
    }
}
