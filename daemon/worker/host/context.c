/*
 * What a module's function sees of us; see context.h.
 */
#include "daemon/worker/host/context.h"

#include "common/protocol.h"

#include <stdio.h>
#include <string.h>

static const char no_memory[] = "not enough memory for the result";

/* An outcome's error for which there was no memory. */
#define ERROR_LOST SIZE_MAX

static int fail(struct pmap_context *base, const char *text);

/* The item that a typed function's value belongs to: the last one that begins at or before it. */
static size_t item_of(const struct context *x, size_t value)
{
    size_t low = 0, high = x->items; /* of the items from high on, all begin behind it */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (x->outcomes[middle].value <= value)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static void *reserve(struct pmap_context *base, size_t size)
{
    struct context *x = (struct context *)base;
    const char *why = no_memory;
    x->reserved = 0;
    if (!x->out) {
        why = "the function appends to a result where there is none to append to";
    } else if (size > PROTOCOL_ITEM_MAX || x->out->len - x->begin > PROTOCOL_ITEM_MAX - size) {
        why = "the result is larger than 1 GiB";
    } else {
        uint8_t *to = out_reserve(x->out, size);
        if (to) {
            x->reserved = size;
            return to;
        }
    }
    fail(base, why);
    return NULL;
}

static int commit(struct pmap_context *base, size_t size)
{
    struct context *x = (struct context *)base;
    if (size > x->reserved)
        return fail(base, "the function commits more bytes than it has reserved");
    x->out->len += size;
    x->reserved -= size;
    return 0;
}

static int append(struct pmap_context *base, const void *bytes, size_t size)
{
    void *to = reserve(base, size);
    if (!to)
        return -1;
    if (size > 0)
        memcpy(to, bytes, size);
    return commit(base, size);
}

static int at(struct pmap_context *base, size_t index)
{
    struct context *x = (struct context *)base;
    bool chunk = x->kind == CONTEXT_CHUNK;
    if (index >= x->count || (chunk && index < x->present) || (!chunk && x->kind != CONTEXT_TYPED))
        return -1;
    if (chunk && index > x->present)
        context_end_item(x);
    x->present = index;
    return 0;
}

static int fail(struct pmap_context *base, const char *text)
{
    struct context *x = (struct context *)base;
    snprintf(x->error, sizeof x->error, "%s", text[0] ? text : "failed, without a reason");
    x->failed = true;
    if (x->kind == CONTEXT_CHUNK || x->kind == CONTEXT_TYPED)
        context_fail_item(x, x->kind == CONTEXT_CHUNK ? x->present : item_of(x, x->present), text);
    return -1;
}

static int cancelled(struct pmap_context *base)
{
    struct context *x = (struct context *)base;
    return channel_cancelled(x->channel, 0);
}

static const struct pmap_calls calls = {
    .size = sizeof calls,
    .append = append,
    .reserve = reserve,
    .commit = commit,
    .at = at,
    .fail = fail,
    .cancelled = cancelled,
};

void context_begin(struct context *x, struct channel *channel, int kind, uint64_t first, size_t count,
                   struct out *out)
{
    x->base.calls = &calls;
    x->base.first = channel->arena->first + first;
    x->base.job = channel->arena->job;
    x->base.slot = channel->arena->slot;
    x->channel = channel;
    x->kind = kind;
    x->present = 0;
    x->count = count;
    x->failed = false;
    x->out = out;
    x->begin = out ? out->len : 0;
    x->reserved = 0;
}

bool context_failed(struct context *x, int returned)
{
    if (returned != 0 && !x->failed)
        snprintf(x->error, sizeof x->error, "the function failed without a reason (it returned %d)",
                 returned);
    return x->failed || returned != 0;
}

void context_fail_item(struct context *x, size_t i, const char *text)
{
    size_t len = strlen(text);
    struct outcome *outcome = &x->outcomes[i];
    uint8_t *to = out_reserve(x->errors, len + 1);
    if (!to) {
        outcome->error = ERROR_LOST;
        return;
    }
    memcpy(to, text, len + 1);
    outcome->error = x->errors->len + 1;
    x->errors->len += len + 1;
}

const char *context_error(const struct context *x, size_t i)
{
    size_t error = x->outcomes[i].error;
    if (error == 0)
        return NULL;
    return error == ERROR_LOST ? no_memory : (const char *)x->errors->data + (error - 1);
}

void context_end_item(struct context *x)
{
    struct outcome *outcome = &x->outcomes[x->present];
    outcome->at = x->begin;
    outcome->len = x->out->len - x->begin;
    x->begin = x->out->len;
    x->reserved = 0;
}
