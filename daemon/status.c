/*
 * Answers to queries; their fields are in PROTOCOL.md. Of others' jobs a user learns whose they are and how
 * large, and nothing else, unless the user may see everything.
 */
#include "common/utf8.h"
#include "daemon/answer.h"
#include "daemon/broker_state.h"
#include "daemon/functions/functions.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

/* Who asks, and when. */
struct asker {
    const struct client *client;
    bool admin;
    int64_t now_ns;
};

static bool may_see(const struct asker *asker, uid_t uid)
{
    return asker->admin || uid == asker->client->uid;
}

/*** status ***/

static void add_owner(struct answer *a, const struct owner_view *view)
{
    answer_map(a, NULL);
    answer_count(a, "uid", view->uid);
    answer_count(a, "weight", view->weight);
    answer_count(a, "sessions", view->sessions);
    answer_count(a, "jobs", view->jobs);
    answer_count(a, "running", view->running);
    answer_real(a, "entitled", view->entitled);
    answer_real(a, "used", view->used);
    answer_count(a, "queued_items", view->queued_items);
    answer_count(a, "held_bytes", view->held_bytes);
    answer_count(a, "jobs_done", view->jobs_done);
    answer_count(a, "items_done", view->items_done);
    answer_count(a, "items_failed", view->items_failed);
    answer_seconds(a, "run_s", view->run_ns);
    answer_seconds(a, "cpu_s", view->cpu_ns);
    answer_count(a, "waits", view->waits);
    answer_seconds(a, "wait_s", view->wait_ns);
    answer_seconds(a, "longest_wait_s", view->longest_wait_ns);
    answer_close(a);
}

static void add_rates(struct answer *a, const struct core_rates *rates)
{
    double window_s = (double)rates->window_ns / 1e9;
    double per_s = window_s > 0 ? 1 / window_s : 0;
    answer_map(a, "rates");
    answer_real(a, "window_s", window_s);
    answer_real(a, "items_per_s", (double)rates->items * per_s);
    answer_real(a, "chunks_per_s", (double)rates->chunks * per_s);
    answer_real(a, "busy", rates->busy);
    answer_close(a);
}

static void add_limits(struct answer *a, const struct broker *broker, const struct asker *asker)
{
    struct limits limits = clients_limits(&broker->clients, asker->client);
    answer_map(a, "limits");
    answer_count(a, "uid", asker->client->uid);
    answer_count(a, "weight", (uint64_t)limits.weight);
    answer_count(a, "slots", (uint64_t)limits.slots);
    answer_count(a, "jobs", (uint64_t)limits.jobs);
    answer_count(a, "connections", (uint64_t)limits.connections);
    answer_count(a, "queued_bytes", limits.queued_bytes);
    answer_count(a, "spool", limits.spool);
    answer_count(a, "memory", limits.memory);
    answer_count(a, "pids", (uint64_t)limits.pids);
    answer_flag(a, "admin", asker->admin);
    answer_close(a);
}

static void add_counts(struct answer *a, const struct core_counts *counts)
{
    answer_count(a, "sessions", counts->sessions);
    answer_count(a, "jobs", counts->jobs);
    answer_count(a, "waiting", counts->waiting);
    answer_count(a, "orphans", counts->orphans);
    answer_count(a, "queued_items", counts->queued_items);
    answer_count(a, "held_bytes", counts->held_bytes);
    answer_count(a, "jobs_done", counts->jobs_done);
    answer_count(a, "items_done", counts->items_done);
    answer_count(a, "items_failed", counts->items_failed);
    answer_count(a, "chunks", counts->chunks_done);
    answer_seconds(a, "run_s", counts->run_ns);
}

static int answer_status(struct answer *a, struct broker *broker, const struct asker *asker)
{
    struct core_counts counts;
    struct core_rates rates;
    int rc = core_look(broker->core, asker->now_ns, &rates);
    if (rc < 0)
        return rc;
    core_counts(broker->core, &counts);
    answer_map(a, NULL);
    answer_text(a, "version", PMAP_VERSION);
    answer_count(a, "pid", (uint64_t)getpid());
    answer_flag(a, "private", broker->options.private_pool);
    answer_seconds(a, "uptime_s", asker->now_ns - broker->started_ns);
    answer_count(a, "slots", broker->options.slots);
    answer_count(a, "busy", counts.busy);
    answer_count(a, "above", counts.above);
    const struct config *config = broker->options.config;
    answer_real(a, "guarantee_s", config->guarantee ? (double)config->guarantee_after_ns / 1e9 : -1);
    if (config->guarantee)
        answer_count(a, "guarantee_slots",
                     config->guarantee_max > 0 ? (uint64_t)config->guarantee_max : broker->options.slots);
    answer_count(a, "connections", monitor_connections(broker->monitor));
    answer_count(a, "cut", monitor_cuts(broker->monitor));
    add_counts(a, &counts);
    add_rates(a, &rates);
    add_limits(a, broker, asker);
    answer_array(a, "owners");
    const void *cursor = NULL;
    struct owner_view view;
    while (!answer_is_full(a) && core_owner_next(broker->core, &cursor, &view))
        add_owner(a, &view);
    answer_close(a);
    answer_close(a);
    return 0;
}

/*** functions ***/

static int answer_functions(struct answer *a, struct broker *broker, const struct asker *asker)
{
    (void)broker;
    (void)asker;
    size_t count;
    const struct function *table = function_table(&count);
    answer_array(a, NULL);
    for (size_t i = 0; i < count; i++) {
        answer_map(a, NULL);
        answer_text(a, "name", table[i].name);
        answer_text(a, "summary", table[i].summary);
        answer_close(a);
    }
    answer_close(a);
    return 0;
}

/*** jobs ***/

enum { NAME_MAX_SHOWN = 200 };

static void add_function(struct answer *a, const struct function *function)
{
    char name[NAME_MAX_SHOWN + 1];
    size_t len = strlen(function->name);
    snprintf(name, sizeof name, "%.*s", (int)utf8_cut(function->name, len, NAME_MAX_SHOWN), function->name);
    answer_text(a, "function", name);
}

static const char *waits_name(enum job_waits waits)
{
    static const char *const names[] = {
#define X(name, text) [WAITS_##name] = (text),
        JOB_WAITS(X)
#undef X
    };
    return names[waits];
}

static void add_job_in_full(struct answer *a, const struct broker *broker, const struct asker *asker,
                            const struct job_view *view)
{
    const struct callee *callee = callee_of(view->function);
    const struct client *client = session_cookie(view->session);
    int64_t age_ns = asker->now_ns - view->opened_ns;
    add_function(a, view->function);
    answer_count(a, "kind", callee != NULL ? callee->kind : KIND_BUILTIN);
    answer_count(a, "finished", view->finished);
    answer_count(a, "failed", view->failed);
    answer_count(a, "queued_items", view->queued_items);
    answer_flag(a, "ended", view->ended);
    answer_count(a, "running", view->running);
    answer_count(a, "slots", view->slots);
    answer_number(a, "priority", view->priority);
    answer_seconds(a, "age_s", age_ns);
    answer_seconds(a, "run_s", view->run_ns);
    answer_seconds(a, "wait_s", view->started ? view->wait_ns : age_ns);
    answer_real(a, "item_s", view->item_ns / 1e9);
    answer_count(a, "client", (uint64_t)clients_pid(&broker->clients, client));
    answer_text(a, "waits", waits_name(view->waits));
}

static int answer_jobs(struct answer *a, struct broker *broker, const struct asker *asker)
{
    const void *cursor = NULL;
    struct job_view view;
    answer_array(a, NULL);
    while (!answer_is_full(a) && core_job_next(broker->core, &cursor, &view)) {
        answer_map(a, NULL);
        answer_count(a, "job", view.id);
        answer_count(a, "uid", view.uid);
        answer_count(a, "items", view.received);
        if (may_see(asker, view.uid))
            add_job_in_full(a, broker, asker, &view);
        answer_close(a);
    }
    answer_close(a);
    return 0;
}

/*** slots ***/

static int answer_slots(struct answer *a, struct broker *broker, const struct asker *asker)
{
    const void *cursor = NULL;
    struct slot_view view;
    answer_array(a, NULL);
    while (!answer_is_full(a) && core_slot_next(broker->core, &cursor, &view)) {
        const void *cookie = worker_cookie(view.worker);
        bool process = worker_crew(view.worker) != NULL;
        answer_map(a, NULL);
        answer_count(a, "slot",
                     process ? ((const struct process *)cookie)->slot
                             : (uint64_t)((const struct pool_worker *)cookie - broker->workers) + 1);
        answer_flag(a, "process", process);
        answer_count(a, "uid", view.uid);
        answer_seconds(a, "age_s", asker->now_ns - view.started_ns);
        answer_flag(a, "above", view.above);
        if (may_see(asker, view.uid)) {
            answer_count(a, "job", view.job);
            add_function(a, view.function);
            answer_count(a, "item", view.item);
            answer_count(a, "items", view.items);
            answer_count(a, "done", view.done);
            answer_flag(a, "asked", view.asked);
        }
        answer_close(a);
    }
    answer_close(a);
    return 0;
}

int status_answer(struct broker *broker, const struct client *client, struct text what, int64_t now_ns,
                  char **data, size_t *size)
{
    static const struct {
        const char *what;
        int (*answer)(struct answer *a, struct broker *broker, const struct asker *asker);
    } queries[] = {{"status", answer_status},
                   {"functions", answer_functions},
                   {"jobs", answer_jobs},
                   {"slots", answer_slots}};
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++) {
        if (!text_is(what, queries[i].what))
            continue;
        struct asker asker = {client, clients_is_admin(&broker->clients, client), now_ns};
        struct answer answer;
        answer_init(&answer);
        int rc = queries[i].answer(&answer, broker, &asker);
        if (rc == 0)
            return answer_take(&answer, data, size);
        answer_drop(&answer);
        return rc;
    }
    return -EINVAL;
}
