/*
 * Builtins that nothing limits: run here, in the worker's own process, which spares two wake-ups a chunk. No
 * user's code is among them, and each asks, all the while that it takes, whether it is to be given up, so the
 * daemon is listened to meanwhile. What asks for more than that (a time limit, retries, a new process now and
 * then) gets a host, and so do a large item, which is put together in a host's arena, and everything where
 * this process's own limits could be felt.
 */
#include "daemon/worker/worker.h"

#include "common/clock.h"

#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum {
    TURN_NS = 2000000,  /* of items, before the daemon is listened to again */
    TELL_NS = 10000000, /* results wait at most so long for others to go with them */
    KEEP_MAX = 1 << 20, /* the buffer is kept between turns if it has at most so many bytes */
};

static bool is_limited(int resource)
{
    struct rlimit limit;
    return getrlimit((__rlimit_resource_t)resource, &limit) < 0 || limit.rlim_cur != RLIM_INFINITY;
}

void direct_init(struct direct *d)
{
    d->limited = is_limited(RLIMIT_CPU) || is_limited(RLIMIT_AS) || is_limited(RLIMIT_DATA);
}

bool direct_fits(const struct direct *d, const struct chunk *c)
{
    const struct job_options *o = &c->job->options;
    return c->job->kind == KIND_BUILTIN && !c->large && !d->limited && o->timeout_ms == 0 &&
           o->retries == 0 && o->recycle == 0;
}

static uint64_t cpu_ns(void)
{
    return (uint64_t)clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

static void account(struct worker *w)
{
    struct direct *d = &w->direct;
    uint64_t used = cpu_ns();
    w->run.cpu_ns += used - d->cpu_ns;
    d->cpu_ns = used;
}

/* Is the chunk to go on? */
static bool wanted(const struct worker *w)
{
    return !w->run.chunk->dropped && !w->stop && w->error == 0;
}

/* Sends the results that are there. */
static void tell(struct worker *w)
{
    struct direct *d = &w->direct;
    struct chunk *c = w->run.chunk;
    if (d->parcel.records == 0)
        return;
    account(w);
    d->parcel.bytes = d->out.data + d->told;
    d->told += d->parcel.size;
    deliver(w, &d->parcel, !d->parcel.more && c->next + d->parcel.records == c->count);
    parcel_begin(&d->parcel, w->space);
    d->told_ns = now_ns();
}

/* A result that is too long for one parcel, all of it at the buffer's end. */
static void tell_pieces(struct worker *w, size_t len, int64_t took_ns)
{
    struct direct *d = &w->direct;
    struct chunk *c = w->run.chunk;
    tell(w);
    uint32_t item = c->next;
    for (; len > PARCEL_BYTES && c->next == item && wanted(w); len -= PARCEL_BYTES) {
        d->parcel.more = true;
        parcel_record(&d->parcel, w->space, PARCEL_BYTES, 0);
        tell(w);
    }
    if (c->next != item) {
        d->told = d->out.len; /* it could not be kept, and has failed of that */
        return;
    }
    parcel_record(&d->parcel, w->space, (uint32_t)len, (uint64_t)took_ns);
}

/* While an item is on: what has come before it is told, and the daemon listened to. */
static bool cancelled(void *cookie, int64_t timeout_ns)
{
    struct worker *w = cookie;
    int64_t now = now_ns(), until = timeout_ns < INT64_MAX - now ? now + timeout_ns : INT64_MAX;
    if (timeout_ns > 0 || now - w->direct.told_ns >= TELL_NS)
        tell(w);
    do
        worker_listen(w, until);
    while (wanted(w) && now_ns() < until);
    return !wanted(w);
}

/* One item. Returns false if it was given up. */
static bool map_item(struct worker *w, const uint8_t *item, size_t len, int64_t *now)
{
    struct direct *d = &w->direct;
    size_t before = d->out.len;
    enum function_result result = d->function->map(&d->context, item, len, &d->out);
    int64_t end = now_ns(), took_ns = end - *now;
    *now = end;
    if (result == FUNCTION_CANCELLED)
        return false;
    size_t size = d->out.len - before;
    if (d->parcel.size + size > PARCEL_BYTES || d->parcel.records == PARCEL_RECORDS ||
        d->parcel.texts_size + FUNCTION_ERROR_MAX > PARCEL_TEXTS)
        tell(w);
    if (size > PARCEL_BYTES) {
        tell_pieces(w, size, took_ns);
        return true;
    }
    parcel_record(&d->parcel, w->space, (uint32_t)size, (uint64_t)took_ns);
    if (result == FUNCTION_FAILED) {
        uint32_t text_len = (uint32_t)strnlen(d->context.error, FUNCTION_ERROR_MAX);
        parcel_note(&d->parcel, w->space, (struct note){d->parcel.records - 1, NOTE_ERROR, 0, text_len},
                    d->context.error);
    }
    if (end - d->told_ns >= TELL_NS)
        tell(w);
    return true;
}

/* Looks the function up where the job is another than before. */
static bool find(struct worker *w, struct job *job)
{
    struct direct *d = &w->direct;
    if (d->function && strcmp(d->function->name, job->function) == 0)
        return true;
    d->function = function_find(job->function, strlen(job->function));
    if (!d->function)
        job_fail(job, "there is no such builtin");
    return d->function != NULL;
}

void direct_run(struct worker *w)
{
    struct direct *d = &w->direct;
    struct run *r = &w->run;
    struct chunk *c = r->chunk;
    if (!find(w, c->job))
        return;
    if (c->next == 0)
        r->item_at = 0;
    d->context.cancelled = cancelled;
    d->context.cookie = w;
    d->out.len = d->told = 0;
    d->cpu_ns = cpu_ns();
    parcel_begin(&d->parcel, w->space);
    const uint8_t *lengths = zmq_msg_data(&c->lengths), *items = zmq_msg_data(&c->bytes);
    int64_t now = now_ns(), end = now + TURN_NS;
    d->told_ns = r->told_ns;
    uint32_t next = c->next;
    while (next < c->count && !c->stopping && wanted(w) && now < end) {
        size_t len = load_u32(lengths + 4 * (size_t)next);
        if (!map_item(w, items + r->item_at, len, &now))
            break;
        r->item_at += len;
        next++;
    }
    if (wanted(w))
        tell(w);
    account(w);
    if (d->out.capacity > KEEP_MAX)
        out_free(&d->out);
}
