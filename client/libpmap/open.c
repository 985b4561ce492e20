/*
 * Opening a job: its options and its function are checked as far as that is possible here, and the state of
 * this process that the function's processes are to have is taken.
 */
#include "client/libpmap/job.h"

#include "common/call.h"
#include "common/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)PMAP_COMMAND == (int)KIND_COMMAND && (int)PMAP_MODULE == (int)KIND_MODULE,
               "one numbering");
_Static_assert((int)PMAP_HALT_NOW == (int)HALT_NOW, "one numbering");
_Static_assert(sizeof(struct pmap_range) == sizeof(struct range), "one form");

static int no_memory(pmap *pool)
{
    return pool_say(pool, -ENOMEM, "%s", strerror(ENOMEM));
}

static int check_name(pmap *pool, const char *name)
{
    if (!name || strlen(name) > PROTOCOL_STRING_MAX)
        return pool_say(pool, -EINVAL, "the function's name is too long");
    if (!utf8_valid(name, strlen(name)))
        return pool_say(pool, -EINVAL, "the function's name is not UTF-8");
    return 0;
}

static int check_options(pmap *pool, const struct pmap_job_options *o)
{
    if (o->priority < -PROTOCOL_PRIORITY_MAX || o->priority > PROTOCOL_PRIORITY_MAX)
        return pool_say(pool, -EINVAL, "priority: not between %d and %d", -PROTOCOL_PRIORITY_MAX,
                        PROTOCOL_PRIORITY_MAX);
    if (o->halt < 0 || o->halt > HALT_MAX)
        return pool_say(pool, -EINVAL, "halt: not between 0 and %d", HALT_MAX);
    if (o->result_window > INT64_MAX)
        return pool_say(pool, -EINVAL, "result_window: too large");
    return 0;
}

/* What the flow is to know of what was done by an earlier run. */
static int take_done(pmap *pool, const struct pmap_job_options *o, struct range **done)
{
    if (o->done_count == 0)
        return 0;
    if (o->done_count > PROTOCOL_RANGES_MAX)
        return pool_say(pool, -EINVAL, "done: more than %d ranges", PROTOCOL_RANGES_MAX);
    struct range *ranges = malloc(o->done_count * sizeof *ranges);
    if (!ranges)
        return no_memory(pool);
    for (size_t i = 0; i < o->done_count; i++)
        ranges[i] = (struct range){o->done[i].from, o->done[i].to};
    if (!flow_done_valid(ranges, o->done_count)) {
        free(ranges);
        return pool_say(pool, -EINVAL, "done: out of order, or too many ranges");
    }
    *done = ranges;
    return 0;
}

/* Encodes the call, with what this process is like now. */
static int take_call(pmap *pool, const struct pmap_call *from, struct text *out)
{
    struct call call;
    void *data = NULL;
    size_t size = 0, argc = 0;
    while (from->argv && from->argv[argc])
        argc++;
    call_init(&call);
    int rc = call_capture(&call);
    if (rc == 0 && argc > 0)
        rc = call_set_argv(&call, from->argv, argc);
    else if (rc == -ENOENT)
        rc = pool_say(pool, rc, "the working directory is gone");
    else if (rc < 0)
        rc = pool_say(pool, rc, "cannot tell the working directory: %s", strerror(-rc));
    if (rc == 0) {
        call.fields = from->fields != 0;
        call.file = from->file != 0;
        call.raw = from->raw != 0;
        if ((from->placeholder && !(call.placeholder = strdup(from->placeholder))) ||
            (from->type && !(call.type = strdup(from->type))))
            rc = -ENOMEM;
    }
    if (rc == 0)
        rc = call_encode(&call, &data, &size);
    call_free(&call);
    if (rc == -ENOMEM)
        return no_memory(pool);
    if (rc == -EMSGSIZE)
        return pool_say(pool, -E2BIG, "the arguments and the environment are larger than %d MiB",
                        PROTOCOL_CALL_MAX >> 20);
    if (rc == 0)
        *out = (struct text){data, size};
    return rc;
}

/* The name of what is called, where the caller has none. */
static const char *name_of(const struct pmap_call *call)
{
    if (call->name || call->kind == PMAP_BUILTIN || call->kind == PMAP_MODULE)
        return call->name;
    const char *program = call->argv ? call->argv[0] : NULL;
    return program && utf8_valid(program, strlen(program)) ? program : "command";
}

static int check_call(pmap *pool, const struct pmap_call *call)
{
    if ((unsigned)call->kind > KIND_MAX)
        return pool_say(pool, -EINVAL, "there is no such kind of function");
    bool argv = call->argv && call->argv[0];
    if (argv == (call->kind == PMAP_BUILTIN))
        return pool_say(pool, -EINVAL, argv ? "a builtin has no arguments" : "there is no program to run");
    return check_name(pool, name_of(call));
}

int pmap_open_call(pmap *pool, const struct pmap_call *call, const struct pmap_job_options *options,
                   pmap_job **job)
{
    static const struct pmap_job_options defaults;
    if (pool->error < 0)
        return pool->error;
    const struct pmap_job_options *o = options ? options : &defaults;
    struct range *done = NULL;
    struct text encoded = {NULL, 0};
    int rc = check_call(pool, call);
    if (rc == 0)
        rc = check_options(pool, o);
    if (rc == 0 && (call->kind != PMAP_BUILTIN || o->isolate))
        rc = take_call(pool, call, &encoded);
    if (rc == 0)
        rc = take_done(pool, o, &done);
    if (rc < 0) {
        free((void *)encoded.data);
        return rc;
    }
    struct pmap_job *j = calloc(1, sizeof *j);
    struct flow_config config = {.ref = pool->next_ref,
                                 .unordered = o->unordered,
                                 .result_window = o->result_window,
                                 .done = done,
                                 .done_count = (uint32_t)o->done_count};
    bool made = j && (j->function = strdup(name_of(call))) && (j->flow = flow_new(&config));
    free(done);
    if (!made) {
        if (j)
            free(j->function);
        free(j);
        free((void *)encoded.data);
        return no_memory(pool);
    }
    j->pool = pool;
    j->ref = pool->next_ref++;
    j->kind = (uint32_t)call->kind;
    j->call = encoded;
    j->options = (struct job_options){.chunksize = o->chunksize,
                                      .slots = o->slots,
                                      .unordered = o->unordered != 0,
                                      .priority = o->priority,
                                      .timeout_ms = o->timeout_ms,
                                      .retries = o->retries,
                                      .halt = (uint32_t)o->halt,
                                      .recycle = o->recycle,
                                      .isolate = o->isolate != 0,
                                      .live = o->live != 0,
                                      .once = o->once != 0,
                                      .jobserver = o->jobserver != 0,
                                      .trace = o->trace != 0};
    j->noted = UINT32_MAX;
    STAILQ_INIT(&j->results);
    stats_init(&j->times, 0);
    TAILQ_INSERT_TAIL(&pool->jobs, j, link);
    *job = j;
    return 0;
}

int pmap_open(pmap *pool, const char *function, const struct pmap_job_options *options, pmap_job **job)
{
    return pmap_open_call(pool, &(struct pmap_call){.kind = PMAP_BUILTIN, .name = function}, options, job);
}
