/*
 * Serving: what clients and pool threads say, checked and handed to the core. A client that breaks the
 * protocol is told why and dropped; an option or a name that is wrong costs it only the job.
 */
#include "common/utf8.h"
#include "daemon/broker_state.h"
#include "daemon/common/log.h"
#include "daemon/functions/functions.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { TEXT_MAX = 300 };

static int send_error(struct broker *broker, struct client *client, const uint64_t *ref, unsigned code,
                      const char *text)
{
    struct message m = {.type = MSG_ERROR};
    m.error.has_ref = ref != NULL;
    m.error.ref = ref != NULL ? *ref : 0;
    m.error.code = code;
    m.error.text = text_of(text);
    return act_answer(broker, client, &m, NULL, 0);
}

void serve_gone(void *cookie, struct client *client)
{
    struct broker *broker = cookie;
    if (client->session != NULL)
        core_session_close(broker->core, client->session, broker_now());
    client->session = NULL;
    accounts_client_gone(&broker->accounts, client);
    identities_client_gone(broker, client);
}

void serve_refuse(struct broker *broker, struct client *client, unsigned code, const char *text,
                  int64_t now_ns)
{
    static struct log_limits limits = LOG_LIMITS(5, 30, 60);
    if (code == PERR_PROTOCOL || code == PERR_REFUSED || code == PERR_LIMIT)
        log_limited_of(&limits, client->uid, LOG_NOTICE, "a client of uid %u is refused: %s",
                       (unsigned)client->uid, text);
    if (client->account != NULL)
        greet_welcome(broker, client);                  /* it has not been answered */
    (void)send_error(broker, client, NULL, code, text); /* one that does not read is cut without a word */
    serve_gone(broker, client);
    clients_doom(&broker->clients, client, now_ns);
}

/*
 * What came of an answer. Results wait in the core for a client that does not read; answers to its own
 * questions do not: who goes on asking without reading is dropped.
 */
static void answered(struct broker *broker, struct client *client, int rc, int64_t now_ns)
{
    if (rc == -EAGAIN)
        serve_refuse(broker, client, PERR_PROTOCOL, "the client does not read its answers", now_ns);
}

static void refuse_ref(struct broker *broker, struct client *client, uint64_t ref, unsigned code,
                       const char *text, int64_t now_ns)
{
    answered(broker, client, send_error(broker, client, &ref, code, text), now_ns);
}

/* Before the end of a job that may not be run twice: what of it is not to be run again. */
static void tell_begun(struct broker *broker, struct client *client, const struct job *job)
{
    struct range *ranges, all = {0, PROTOCOL_COUNT_MAX};
    struct message m = {.type = MSG_BEGUN};
    if (client->version < PROTOCOL_VERSION_BEGUN)
        return;
    m.begun.ref = core_job_ref(job);
    int rc = core_job_begun(job, &ranges, &m.begun.count);
    m.begun.items = ranges;
    if (rc < 0) {
        m.begun.items = &all; /* who is not told takes it that nothing was */
        m.begun.count = 1;
    }
    if (m.begun.count > 0)
        (void)act_answer(broker, client, &m, NULL, 0);
    free(ranges);
}

void serve_stop(struct broker *broker, struct client *client, int64_t now_ns)
{
    const struct job *job = NULL;
    while (client->session != NULL && (job = core_session_job(client->session, job)) != NULL)
        tell_begun(broker, client, job);
    serve_refuse(broker, client, PERR_STOPPING, protocol_error_text(PERR_STOPPING), now_ns);
}

void serve_fail(struct broker *broker, struct job *job, unsigned code, const char *text, int64_t now_ns)
{
    struct client *client = session_cookie(core_job_session(job));
    uint64_t ref = core_job_ref(job);
    tell_begun(broker, client, job);
    core_job_abandon(broker->core, job, now_ns);
    refuse_ref(broker, client, ref, code, text, now_ns);
}

/*** OPEN ***/

/* Is it a job that needs a process? */
static bool needs_process(const struct message *m)
{
    return m->open.kind != KIND_BUILTIN || m->open.options.isolate;
}

/* What is asked of a builtin that only a process can do; NULL: nothing. */
static const char *only_isolated(const struct job_options *options)
{
    return options->timeout_ms != 0 ? "a time limit"
           : options->retries != 0  ? "retries"
           : options->recycle != 0  ? "recycling"
                                    : NULL;
}

/* The builtin of an OPEN, whose name it must be; NULL when there is none, after the client was told. */
static const struct function *find_builtin(struct broker *broker, struct client *client,
                                           const struct message *m, int64_t now_ns)
{
    char text[TEXT_MAX];
    struct text name = m->open.function;
    const struct function *function = function_find(name.data, name.len);
    const char *what = needs_process(m) ? NULL : only_isolated(&m->open.options);
    if (function != NULL && what != NULL) {
        snprintf(text, sizeof text, "%s needs a process: isolate the builtin", what);
        refuse_ref(broker, client, m->open.ref, PERR_OPTION, text, now_ns);
        return NULL;
    }
    if (function != NULL)
        return function;
    const char *near = function_suggest(name.data, name.len);
    int shown = (int)utf8_cut(name.data, name.len, 60);
    if (near != NULL)
        snprintf(text, sizeof text, "unknown function '%.*s'; did you mean '%s'?", shown, name.data, near);
    else
        snprintf(text, sizeof text, "unknown function '%.*s'", shown, name.data);
    refuse_ref(broker, client, m->open.ref, PERR_FUNCTION, text, now_ns);
    return NULL;
}

/* The function of an OPEN, as the core is given it; NULL when there is none, after the client was told. */
static const void *find_function(struct broker *broker, struct client *client, const struct message *m,
                                 int64_t now_ns)
{
    char text[TEXT_MAX];
    if (m->open.kind > KIND_MAX) {
        snprintf(text, sizeof text, "functions of kind %u are unknown here", (unsigned)m->open.kind);
        refuse_ref(broker, client, m->open.ref, PERR_FUNCTION, text, now_ns);
        return NULL;
    }
    if (m->open.options.jobserver && m->open.kind != KIND_COMMAND) {
        refuse_ref(broker, client, m->open.ref, PERR_OPTION, "jobserver is for commands only", now_ns);
        return NULL;
    }
    const struct function *builtin = NULL;
    if (m->open.kind == KIND_BUILTIN && (builtin = find_builtin(broker, client, m, now_ns)) == NULL)
        return NULL;
    if (!needs_process(m))
        return builtin;
    if (client->identity_refusal[0] != '\0') {
        refuse_ref(broker, client, m->open.ref, PERR_REFUSED, client->identity_refusal, now_ns);
        return NULL;
    }
    zmq_msg_t *call = &broker->in.part[1];
    struct callee *callee;
    int rc = callee_new(&broker->callees, client->uid, m->open.function, zmq_msg_data(call),
                        zmq_msg_size(call), &callee);
    if (rc < 0) {
        snprintf(text, sizeof text,
                 "the arguments and environments of uid %u's open jobs take over %d MiB, which is the most: "
                 "wait until "
                 "one ends",
                 (unsigned)client->uid, CALLEE_BYTES_MAX >> 20);
        refuse_ref(broker, client, m->open.ref, rc == -EDQUOT ? PERR_LIMIT : PERR_MEMORY,
                   rc == -EDQUOT ? text : protocol_error_text(PERR_MEMORY), now_ns);
        return NULL;
    }
    callee->kind = (enum function_kind)m->open.kind;
    callee->options = m->open.options;
    callee->spool = clients_limits(&broker->clients, client).spool;
    if (callee->spool > PROTOCOL_COUNT_MAX)
        callee->spool = PROTOCOL_COUNT_MAX;
    return callee;
}

static void refuse_job(struct broker *broker, struct client *client, uint64_t ref, int rc, int64_t now_ns)
{
    char text[TEXT_MAX];
    unsigned code = PERR_MEMORY;
    snprintf(text, sizeof text, "%s", protocol_error_text(PERR_MEMORY));
    if (rc == -EDQUOT) {
        code = PERR_LIMIT;
        unsigned limit = (unsigned)clients_limits(&broker->clients, client).jobs;
        char whose[LIMIT_TEXT_MAX];
        clients_say_limit(&broker->clients, client, "jobs", limit, whose, sizeof whose);
        snprintf(text, sizeof text, "uid %u has %u open jobs, %s: wait until one ends, or cancel one",
                 (unsigned)client->uid, limit, whose);
    } else if (rc == -EINVAL) {
        code = PERR_OPTION;
        snprintf(text, sizeof text, "the credit for results is out of range");
    }
    refuse_ref(broker, client, ref, code, text, now_ns);
}

/* What core_job_items and its like say of a client that does not keep to the protocol. */
static void job_breach(struct broker *broker, struct client *client, int rc, const char *what, int64_t now_ns)
{
    switch (rc) {
    case -ENOBUFS:
        serve_refuse(broker, client, PERR_PROTOCOL, "items were sent without credit", now_ns);
        break;
    case -ENOMEM:
        serve_refuse(broker, client, PERR_MEMORY, protocol_error_text(PERR_MEMORY), now_ns);
        break;
    default:
        serve_refuse(broker, client, PERR_PROTOCOL, what, now_ns);
    }
}

/* May this client open a job now? If not it was told. */
static bool may_open(struct broker *broker, struct client *client, uint64_t ref, int64_t now_ns)
{
    char text[TEXT_MAX];
    if (broker->stopping) {
        refuse_ref(broker, client, ref, PERR_STOPPING, protocol_error_text(PERR_STOPPING), now_ns);
        return false;
    }
    if (client->kept_out == NULL)
        return true;
    snprintf(text, sizeof text, "uid %u may not use this pool any more: %s", (unsigned)client->uid,
             client->kept_out);
    refuse_ref(broker, client, ref, PERR_REFUSED, text, now_ns);
    return false;
}

static void serve_open(struct broker *broker, struct client *client, const struct message *m, int64_t now_ns)
{
    struct frames *in = &broker->in;
    uint64_t ref = m->open.ref;
    if (core_job_find(client->session, ref) != NULL) {
        serve_refuse(broker, client, PERR_PROTOCOL, "OPEN: the job's number is in use", now_ns);
        return;
    }
    struct batch *batch = NULL;
    if (in->count == 4) {
        bool large = zmq_msg_size(&in->part[2]) > PROTOCOL_INLINE_MAX ||
                     zmq_msg_size(&in->part[3]) > PROTOCOL_INLINE_MAX;
        int rc = large ? -EPROTO : frames_batch(in, 2, false, false, &batch);
        if (rc < 0) {
            job_breach(broker, client, rc, "OPEN: its items are too large or do not add up", now_ns);
            return;
        }
    }
    const void *function =
        may_open(broker, client, ref, now_ns) ? find_function(broker, client, m, now_ns) : NULL;
    if (function == NULL) {
        batch_unref(batch);
        return;
    }
    struct callee *callee = callee_of(function);
    struct job_request request = {
        .ref = ref,
        .function = function,
        .expected_ns = ((const struct function *)function)->expected_ns,
        .process = callee != NULL,
        .lasting = callee != NULL && m->open.kind != KIND_COMMAND && m->open.kind != KIND_PIPE,
        /* A module's function may be one that sees all items of a chunk at once. */
        .exact = (m->open.kind == KIND_PIPE || m->open.kind == KIND_MODULE) && m->open.options.chunksize != 0,
        .tell_over = callee != NULL,
        .options = m->open.options,
        .credit = m->open.credit,
        .first = m->open.first,
        .done = m->open.done,
        .done_count = m->open.done_count,
        .whole = m->open.end,
    };
    bool end = m->open.end;
    struct job *job;
    int rc = core_job_open(broker->core, client->session, &request, now_ns, &job);
    if (rc < 0) {
        callee_free(&broker->callees, callee);
        batch_unref(batch);
        refuse_job(broker, client, ref, rc, now_ns);
        return;
    }
    if (batch != NULL)
        rc = core_job_items(broker->core, job, core_job_expects(job), batch, now_ns);
    if (rc == 0 && end)
        rc = core_job_end(broker->core, job, core_job_expects(job), now_ns);
    batch_unref(batch);
    if (rc < 0)
        job_breach(broker, client, rc, "OPEN: its items reach into what is done", now_ns);
    else if (callee != NULL)
        identities_ask(broker, client); /* last: where it cannot be asked for, the job ends here */
}

/*** ITEMS, END, CREDIT, CANCEL ***/

static void serve_items(struct broker *broker, struct client *client, const struct message *m, int64_t now_ns)
{
    struct job *job = core_job_find(client->session, m->items.ref);
    if (job == NULL)
        return; /* it has ended: these crossed the news */
    struct batch *batch;
    int rc = frames_batch(&broker->in, 1, false, m->items.more, &batch);
    if (rc == 0) {
        rc = core_job_items(broker->core, job, m->items.first, batch, now_ns);
        batch_unref(batch);
    }
    if (rc == -EMSGSIZE) {
        char text[TEXT_MAX];
        snprintf(text, sizeof text, "item %" PRIu64 " is larger than 1 GiB", m->items.first + 1);
        core_job_abandon(broker->core, job, now_ns);
        refuse_ref(broker, client, m->items.ref, PERR_TOO_LARGE, text, now_ns);
        return;
    }
    if (rc < 0)
        job_breach(broker, client, rc, "ITEMS: out of place, too large, or lengths that do not add up",
                   now_ns);
}

static void serve_end(struct broker *broker, struct client *client, const struct message *m, int64_t now_ns)
{
    struct job *job = core_job_find(client->session, m->end.ref);
    int rc = job != NULL ? core_job_end(broker->core, job, m->end.total, now_ns) : 0;
    if (rc < 0)
        job_breach(broker, client, rc, "END: out of place, or not the number of items that came", now_ns);
}

static void serve_credit(struct broker *broker, struct client *client, const struct message *m,
                         int64_t now_ns)
{
    struct job *job = core_job_find(client->session, m->credit.ref);
    client->read_ns = now_ns;
    int rc = job != NULL ? core_job_credit(broker->core, job, m->credit.bytes, now_ns) : 0;
    if (rc < 0)
        job_breach(broker, client, rc, "CREDIT: more than was sent", now_ns);
}

static void serve_hold(struct broker *broker, struct client *client, const struct message *m, int64_t now_ns)
{
    struct job *job = core_job_find(client->session, m->hold.ref);
    if (job != NULL)
        core_job_hold(broker->core, job, m->hold.paused, now_ns);
}

/* A job of the same owner's, or of anybody's where the client may see everything; to others there is no such
 * job. */
static void serve_abort(struct broker *broker, struct client *client, const struct message *m, int64_t now_ns)
{
    uint64_t ref = m->abort.ref;
    struct job *job = core_job_by_id(broker->core, m->abort.job);
    if (job != NULL && core_job_owner(job) != client->uid && !clients_is_admin(&broker->clients, client))
        job = NULL;
    if (job == NULL) {
        refuse_ref(broker, client, ref, PERR_NO_JOB, protocol_error_text(PERR_NO_JOB), now_ns);
        return;
    }
    core_job_cancel(broker->core, job, now_ns);
    static const uint8_t nothing[] = {0x80}; /* an empty map */
    struct message answer = {.type = MSG_ANSWER};
    answer.answer.ref = ref;
    answered(broker, client, act_answer(broker, client, &answer, nothing, sizeof nothing), now_ns);
}

static void serve_query(struct broker *broker, struct client *client, const struct message *m, int64_t now_ns)
{
    char *data;
    size_t size;
    uint64_t ref = m->query.ref;
    int rc = status_answer(broker, client, m->query.what, now_ns, &data, &size);
    if (rc < 0) {
        unsigned code = rc == -EINVAL ? PERR_QUERY : PERR_MEMORY;
        refuse_ref(broker, client, ref, code, protocol_error_text(code), now_ns);
        return;
    }
    struct message answer = {.type = MSG_ANSWER};
    answer.answer.ref = ref;
    answered(broker, client, act_answer(broker, client, &answer, data, size), now_ns);
    free(data);
}

void serve_client(struct broker *broker, int64_t now_ns)
{
    struct frames *in = &broker->in;
    bool first;
    struct client *client = clients_sender(&broker->clients, in, &first, serve_gone, broker);
    if (client == NULL || client->doomed)
        return;

    struct message m;
    const char *why = "the daemon is short of memory";
    int rc = message_decode(broker->decoder, zmq_msg_data(&in->part[0]), zmq_msg_size(&in->part[0]),
                            in->count, FROM_CLIENT, &m, &why);
    if (rc < 0) {
        serve_refuse(broker, client, rc == -ENOMEM ? PERR_MEMORY : PERR_PROTOCOL, why, now_ns);
        return;
    }
    if (first != (m.type == MSG_HELLO)) {
        serve_refuse(broker, client, PERR_PROTOCOL, first ? "HELLO must come first" : "HELLO must come once",
                     now_ns);
        return;
    }
    if (client->account != NULL) { /* nothing is kept for it, so it must not get further than it has come */
        serve_refuse(broker, client, PERR_PROTOCOL, "WELCOME must be waited for", now_ns);
        return;
    }
    switch (m.type) {
    case MSG_HELLO:
        greet_hello(broker, client, &m, now_ns);
        break;
    case MSG_OPEN:
        serve_open(broker, client, &m, now_ns);
        break;
    case MSG_ITEMS:
        serve_items(broker, client, &m, now_ns);
        break;
    case MSG_END:
        serve_end(broker, client, &m, now_ns);
        break;
    case MSG_CREDIT:
        serve_credit(broker, client, &m, now_ns);
        break;
    case MSG_CANCEL: {
        struct job *job = core_job_find(client->session, m.cancel.ref);
        if (job != NULL)
            core_job_cancel(broker->core, job, now_ns);
        break;
    }
    case MSG_PING:
        m.type = MSG_PONG;
        answered(broker, client, act_answer(broker, client, &m, NULL, 0), now_ns);
        break;
    case MSG_HOLD:
        serve_hold(broker, client, &m, now_ns);
        break;
    case MSG_ABORT:
        serve_abort(broker, client, &m, now_ns);
        break;
    case MSG_QUERY:
        serve_query(broker, client, &m, now_ns);
        break;
    default:
        serve_refuse(broker, client, PERR_PROTOCOL, "not a message of a client", now_ns);
    }
}

/*** Pool threads ***/

static void worker_ready(struct broker *broker, const struct message *m, int64_t now_ns)
{
    if (m->ready.slot >= broker->threads_most || broker->workers[m->ready.slot].worker != NULL) {
        log_error("a pool thread says that it is number %u", (unsigned)m->ready.slot);
        broker->failed = true;
        return;
    }
    struct pool_worker *pool_worker = &broker->workers[m->ready.slot];
    pool_worker->id_size = zmq_msg_size(&broker->in.id);
    memcpy(pool_worker->id, zmq_msg_data(&broker->in.id), pool_worker->id_size);
    if (core_worker_add(broker->core, NULL, pool_worker, now_ns, &pool_worker->worker) < 0) {
        log_error("out of memory");
        broker->failed = true;
    }
}

static struct pool_worker *worker_sender(struct broker *broker)
{
    size_t size = zmq_msg_size(&broker->in.id);
    const uint8_t *id = zmq_msg_data(&broker->in.id);
    /* "T" and the slot (pool.c): our own threads, so the number is right or a bug. */
    uint32_t slot = size == 5 ? load_u32(id + 1) : UINT32_MAX;
    if (slot >= broker->threads_most || broker->workers[slot].worker == NULL)
        return NULL;
    return &broker->workers[slot];
}

void serve_worker(struct broker *broker, int64_t now_ns)
{
    struct frames *in = &broker->in;
    struct message m;
    const char *why = "out of memory";
    int rc = message_decode(broker->decoder, zmq_msg_data(&in->part[0]), zmq_msg_size(&in->part[0]),
                            in->count, FROM_WORKER, &m, &why);
    if (rc == 0 && m.type == MSG_READY) {
        worker_ready(broker, &m, now_ns);
        return;
    }
    struct batch *batch = NULL;
    if (rc == 0 && m.type != MSG_WORKED)
        rc = -EPROTO; /* the rest is for processes */
    if (rc == 0 && in->count > 1)
        rc = frames_batch(in, 1, true, m.worked.more, &batch);
    struct pool_worker *sender = worker_sender(broker);
    if (rc == 0 && sender != NULL)
        rc = core_worked(broker->core, sender->worker, m.worked.chunk, batch, m.worked.last, m.worked.run_ns,
                         m.worked.cpu_ns, now_ns);
    batch_unref(batch);
    if (rc < 0 ||
        sender == NULL) { /* trusted code has broken its promises, or memory is out: nothing to build on */
        log_error("a pool thread's message cannot be used: %s", rc == -ENOMEM ? "out of memory" : why);
        broker->failed = true;
    }
}

/*** Worker processes ***/

static int process_worked(struct broker *broker, struct process *process, const struct message *m,
                          int64_t now_ns)
{
    struct batch *batch = NULL;
    int rc = 0;
    if (broker->in.count > 1)
        rc = frames_batch(&broker->in, 1, true, m->worked.more, &batch);
    if (rc == 0)
        rc = core_worked(broker->core, process->worker, m->worked.chunk, batch, m->worked.last,
                         m->worked.run_ns, m->worked.cpu_ns, now_ns);
    batch_unref(batch);
    return rc;
}

/* The job that it is at cannot be run: it ends, with the worker's words for its client. */
static int process_failed(struct broker *broker, struct process *process, const struct message *m,
                          int64_t now_ns)
{
    char text[PROTOCOL_STRING_MAX + 1];
    struct job *job = core_job_by_id(broker->core, m->failed.job);
    if (job == NULL)
        return 0; /* it has ended: this crossed the news */
    if (core_worker_job(process->worker) != job)
        return -EPROTO;
    snprintf(text, sizeof text, "%.*s", (int)m->failed.text.len, m->failed.text.data);
    serve_fail(broker, job, PERR_FUNCTION, text, now_ns);
    return 0;
}

void serve_process(struct broker *broker, int64_t now_ns)
{
    struct frames *in = &broker->in;
    struct message m;
    const char *why = "its message does not fit what it was given";
    struct process *process = processes_sender(broker);
    if (process != NULL && process->worker == NULL)
        return; /* it is to leave, or is leaving */
    int rc = message_decode(broker->decoder, zmq_msg_data(&in->part[0]), zmq_msg_size(&in->part[0]),
                            in->count, FROM_WORKER, &m, &why);
    if (process == NULL) {
        if (rc == 0 && m.type == MSG_READY)
            processes_ready(broker, m.ready.slot, now_ns);
        return;
    }
    if (rc == 0) {
        switch (m.type) {
        case MSG_WORKED:
            rc = process_worked(broker, process, &m, now_ns);
            break;
        case MSG_PARKED:
            rc = core_parked(broker->core, process->worker, m.parked.chunk, m.parked.count, m.parked.run_ns,
                             m.parked.cpu_ns, now_ns);
            break;
        case MSG_RETURNED:
            rc = core_returned(broker->core, process->worker, m.returned.chunk, m.returned.tokens, now_ns);
            break;
        case MSG_FAILED:
            rc = process_failed(broker, process, &m, now_ns);
            break;
        default:
            rc = -EPROTO;
        }
    }
    if (rc == -ENOMEM)
        why = "out of memory";
    if (rc < 0)
        processes_breach(broker, process, why, now_ns);
}
