/*
 * Functions that see all items of a chunk at once; see chunked.h. A call has several items in hand: should
 * the process die of it, the worker learns that from `together`, and has another process take them one at a
 * time, which tells whose fault it is.
 */
#include "daemon/worker/host/chunked.h"

#include "daemon/functions/builtin.h"
#include "daemon/worker/host/values.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A call: items [first, first + count) of the chunk, whose bytes begin at `bytes`. */
struct span {
    uint64_t first;
    size_t count;
    const uint8_t *bytes;
};

static int group_prepare(struct group *g, size_t count)
{
    if (count > g->room) {
        struct outcome *outcomes = realloc(g->outcomes, count * sizeof *outcomes);
        if (!outcomes)
            return -ENOMEM;
        g->outcomes = outcomes;
        g->room = count;
    }
    memset(g->outcomes, 0, count * sizeof *g->outcomes);
    struct out *buffers[] = {&g->items, &g->in, &g->values, &g->out, &g->errors};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++)
        serve_shrink(buffers[i]);
    g->context.outcomes = g->outcomes;
    g->context.items = count;
    g->context.errors = &g->errors;
    return 0;
}

static void group_free(struct group *g)
{
    free(g->outcomes);
    out_free(&g->items);
    out_free(&g->in);
    out_free(&g->values);
    out_free(&g->out);
    out_free(&g->errors);
}

/* The function's return value: not 0 fails all items of the call that have not failed for a reason of their
 * own. */
static void take_return(struct group *g, size_t count, int rc)
{
    module_flush();
    if (rc == 0)
        return;
    context_failed(&g->context, rc);
    for (size_t i = 0; i < count; i++) {
        if (g->outcomes[i].error == 0)
            context_fail_item(&g->context, i, g->context.error);
    }
}

/*** Items as bytes ***/

static int call_bytes(struct chunked *k, struct serve *s, struct group *g, const struct span *span)
{
    struct channel *c = &s->channel;
    struct pmap_item *items = (struct pmap_item *)out_reserve(&g->items, span->count * sizeof *items);
    if (!items)
        return -ENOMEM;
    const uint8_t *bytes = span->bytes;
    for (size_t i = 0; i < span->count; i++) {
        items[i] = (struct pmap_item){bytes, c->lengths[span->first + i]};
        bytes += items[i].size;
    }
    context_begin(&g->context, c, CONTEXT_CHUNK, span->first, span->count, &g->out);
    int rc = k->module->function->chunk(&g->context.base, items, span->count);
    context_end_item(&g->context);
    take_return(g, span->count, rc);
    return 0;
}

/*** Items as values ***/

struct types {
    enum pmap_type in, out;
    size_t in_size, out_size;
};

static struct types types_of(const struct chunked *k)
{
    const struct pmap_function *f = k->module->function;
    struct types t = {.in = f->in, .out = f->out == PMAP_BYTES ? f->in : f->out};
    t.in_size = value_size(t.in);
    t.out_size = value_size(t.out);
    return t;
}

static void refuse_raw(struct group *g, size_t i, size_t len, enum pmap_type type)
{
    char text[CONTEXT_ERROR_MAX];
    snprintf(text, sizeof text, "%zu bytes are not a whole number of %s values", len, value_name(type));
    context_fail_item(&g->context, i, text);
}

static void refuse_text(struct group *g, size_t i, const uint8_t *item, size_t len, enum pmap_type type)
{
    char text[CONTEXT_ERROR_MAX], quoted[BUILTIN_QUOTE_MAX];
    builtin_quote(item, len, quoted);
    snprintf(text, sizeof text, "%s is not %s %s", quoted, strchr("if", value_name(type)[0]) ? "an" : "a",
             value_name(type));
    context_fail_item(&g->context, i, text);
}

/* Copies a raw item's values, or parses a text's, to the end of the array. Returns 0 or -ENOMEM; an item that
 * has none has failed. */
static int add_values(struct chunked *k, struct group *g, size_t i, const uint8_t *item, size_t len,
                      const struct types *t)
{
    uint8_t *to = out_reserve(&g->in, k->raw ? len : t->in_size);
    if (!to)
        return -ENOMEM;
    if (k->raw && (len == 0 || len % t->in_size != 0)) {
        refuse_raw(g, i, len, t->in);
    } else if (k->raw) {
        memcpy(to, item, len);
        g->in.len += len;
    } else {
        int rc = value_parse(t->in, item, len, to, &g->items);
        if (rc == -EINVAL)
            refuse_text(g, i, item, len, t->in);
        else if (rc < 0)
            return rc;
        else
            g->in.len += t->in_size;
    }
    return 0;
}

/* Finds, for each item, where its values begin. Returns their number; *in: the array. -ENOMEM. */
static int64_t gather(struct chunked *k, const struct channel *c, struct group *g, const struct span *span,
                      const struct types *t, const void **in)
{
    const uint32_t *lengths = c->lengths + span->first;
    size_t bytes = 0, bad = !k->raw;
    for (size_t i = 0; i < span->count; i++) {
        g->outcomes[i].value = bytes / t->in_size;
        bad += lengths[i] == 0 || lengths[i] % t->in_size != 0;
        bytes += lengths[i];
    }
    /* Raw values lie in the arena as the function wants them, unless something is wrong with an item. */
    if (bad == 0 && (uintptr_t)span->bytes % t->in_size == 0) {
        *in = span->bytes;
        return (int64_t)(bytes / t->in_size);
    }
    const uint8_t *item = span->bytes;
    for (size_t i = 0; i < span->count; i++) {
        g->outcomes[i].value = g->in.len / t->in_size;
        if (add_values(k, g, i, item, lengths[i], t) < 0)
            return -ENOMEM;
        item += lengths[i];
    }
    *in = g->in.data;
    return (int64_t)(g->in.len / t->in_size);
}

static int print_values(struct group *g, const struct span *span, size_t values, const struct types *t)
{
    const uint8_t *from = g->values.data;
    for (size_t i = 0; i < span->count; i++) {
        struct outcome *o = &g->outcomes[i];
        size_t next = i + 1 < span->count ? g->outcomes[i + 1].value : values;
        uint8_t *to = out_reserve(&g->out, VALUE_PRINT_MAX);
        if (!to)
            return -ENOMEM;
        o->at = g->out.len;
        if (next > o->value && o->error == 0)
            o->len = value_print(t->out, from + o->value * t->out_size, to);
        g->out.len += o->len;
    }
    return 0;
}

/* Where each raw item's results are in `out`, which is what the function wrote. */
static void find_values(struct group *g, const struct span *span, size_t values, const struct types *t)
{
    for (size_t i = 0; i < span->count; i++) {
        size_t next = i + 1 < span->count ? g->outcomes[i + 1].value : values;
        g->outcomes[i].at = g->outcomes[i].value * t->out_size;
        g->outcomes[i].len = (next - g->outcomes[i].value) * t->out_size;
    }
}

static int call_typed(struct chunked *k, struct serve *s, struct group *g, const struct span *span)
{
    struct channel *c = &s->channel;
    struct types t = types_of(k);
    const void *in = NULL;
    /* Raw results are what the items' results are; those that are to be printed are only on the way. */
    struct out *results = k->raw ? &g->out : &g->values;
    int64_t values = gather(k, c, g, span, &t, &in);
    if (values < 0)
        return -ENOMEM;
    size_t size = (size_t)values * t.out_size;
    void *out = out_reserve(results, size);
    if (!out)
        return -ENOMEM;
    context_begin(&g->context, c, CONTEXT_TYPED, span->first, (size_t)values, NULL);
    g->context.base.in = t.in;
    g->context.base.out = t.out;
    if (values > 0)
        take_return(g, span->count, k->module->function->typed(&g->context.base, in, (size_t)values, out));
    results->len = size;
    if (!k->raw)
        return print_values(g, span, (size_t)values, &t);
    find_values(g, span, (size_t)values, &t);
    return 0;
}

/*** Chunks ***/

/* One call. *now: in, when it begins; out, when it has ended. */
static int call(struct chunked *k, struct serve *s, struct group *g, const struct span *span, int64_t *now)
{
    int rc = group_prepare(g, span->count);
    if (rc < 0)
        return rc;
    channel_begin(&s->channel, span->first, span->count, *now);
    rc = k->module->function->typed ? call_typed(k, s, g, span) : call_bytes(k, s, g, span);
    *now = channel_now();
    return rc;
}

/* Leaves the results of a call; items that have failed are tried again, one at a time. */
static int deliver(struct chunked *k, struct serve *s, const struct span *span, int64_t share_ns,
                   int64_t *now)
{
    struct channel *c = &s->channel;
    struct span one = {.count = 1, .bytes = span->bytes};
    for (size_t i = 0; i < span->count; i++) {
        struct group *g = &k->all;
        size_t at = i;
        int64_t took_ns = share_ns;
        one.first = span->first + i;
        uint64_t tries = serve_attempts(s, one.first) + 1;
        for (; g->outcomes[at].error != 0 && tries <= s->retries && !channel_unwanted(c); tries++) {
            int64_t began = *now;
            g = &k->again;
            at = 0;
            int rc = call(k, s, g, &one, now);
            if (rc < 0)
                return rc;
            took_ns = *now - began;
            channel_look(c, *now);
        }
        if (channel_unwanted(c))
            return -ECANCELED;
        const struct outcome *o = &g->outcomes[at];
        const uint8_t *result = o->len > 0 ? g->out.data + o->at : NULL;
        int rc = serve_result(s, result, o->len, context_error(&g->context, at), tries, took_ns);
        if (rc < 0)
            return rc;
        *now = channel_after(c, *now);
        one.bytes += c->lengths[one.first];
    }
    return 0;
}

int chunked_serve(struct chunked *k, struct serve *s)
{
    struct channel *c = &s->channel;
    uint64_t limit = serve_limit(s);
    bool single = c->arena->single || c->arena->attempts > 0;
    const uint8_t *bytes = c->items;
    int64_t now = channel_now();
    while (c->done < limit && !c->yielded && !channel_unwanted(c)) {
        struct span span = {.first = c->done, .count = single ? 1 : limit, .bytes = bytes};
        int64_t began = now;
        int rc = call(k, s, &k->all, &span, &now);
        if (rc == 0)
            rc = deliver(k, s, &span, (now - began) / (int64_t)span.count, &now);
        if (rc == -ECANCELED)
            break;
        if (rc < 0)
            return rc;
        if (single)
            bytes += c->lengths[span.first];
        channel_look(c, now);
        now = channel_now();
    }
    return 0;
}

void chunked_free(struct chunked *k)
{
    group_free(&k->all);
    group_free(&k->again);
}
