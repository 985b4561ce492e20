/*
 * The table of contexts; see context.h. It is short enough to be searched from end to end: a comparison of
 * hashes each.
 */
#include "daemon/launcher/context.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* More than there may be workers (workers.h), so that there is always one without. */
enum { CONTEXTS_MAX = 5000 };

void identity_clear(struct identity *identity)
{
    free(identity->groups);
    *identity = (struct identity){0};
}

/* FNV-1a. Nobody gains by two identities with one hash: they are compared whole. */
static uint64_t hash_more(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static uint64_t identity_hash(const struct identity *i)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    hash = hash_more(hash, &i->uid, sizeof i->uid);
    hash = hash_more(hash, &i->gid, sizeof i->gid);
    hash = hash_more(hash, i->groups, i->group_count * sizeof *i->groups);
    hash = hash_more(hash, i->limits, sizeof i->limits);
    hash = hash_more(hash, &i->nice, sizeof i->nice);
    return hash_more(hash, i->cpus, sizeof i->cpus);
}

static bool identity_equal(const struct identity *a, const struct identity *b)
{
    return a->uid == b->uid && a->gid == b->gid && a->groups_known == b->groups_known &&
           a->group_count == b->group_count && a->nice == b->nice &&
           (a->group_count == 0 || memcmp(a->groups, b->groups, a->group_count * sizeof *a->groups) == 0) &&
           memcmp(a->limits, b->limits, sizeof a->limits) == 0 &&
           memcmp(a->cpus, b->cpus, sizeof a->cpus) == 0;
}

static void context_free(struct context *context)
{
    identity_clear(&context->identity);
    free(context);
}

/* Forgets the one without workers that was not used for longest. */
static bool drop_one(struct contexts *contexts)
{
    size_t oldest = contexts->count;
    for (size_t i = 0; i < contexts->count; i++) {
        if (contexts->list[i]->workers == 0 &&
            (oldest == contexts->count || contexts->list[i]->used < contexts->list[oldest]->used))
            oldest = i;
    }
    if (oldest == contexts->count)
        return false;
    context_free(contexts->list[oldest]);
    contexts->list[oldest] = contexts->list[--contexts->count];
    return true;
}

/* A new one. Takes over the identity when it succeeds. */
static int add(struct contexts *contexts, struct identity *identity, uint64_t hash, struct context **context)
{
    if (contexts->count == CONTEXTS_MAX && !drop_one(contexts))
        return -EAGAIN;
    if (contexts->number == UINT32_MAX)
        return -EAGAIN; /* a number is never used again */
    struct context **list = realloc(contexts->list, (contexts->count + 1) * sizeof(struct context *));
    if (!list)
        return -ENOMEM;
    contexts->list = list;
    struct context *c = malloc(sizeof *c);
    if (!c)
        return -ENOMEM;
    *c = (struct context){.number = ++contexts->number, .hash = hash, .identity = *identity};
    *identity = (struct identity){0};
    list[contexts->count++] = c;
    *context = c;
    return 0;
}

int contexts_get(struct contexts *contexts, struct identity *identity, struct context **context)
{
    uint64_t hash = identity_hash(identity);
    struct context *found = NULL;
    for (size_t i = 0; i < contexts->count && !found; i++) {
        struct context *c = contexts->list[i];
        if (c->hash == hash && identity_equal(&c->identity, identity))
            found = c;
    }
    int rc = found ? 0 : add(contexts, identity, hash, &found);
    identity_clear(identity);
    if (rc < 0)
        return rc;
    found->used = ++contexts->uses;
    *context = found;
    return 0;
}

void contexts_free(struct contexts *contexts)
{
    for (size_t i = 0; i < contexts->count; i++)
        context_free(contexts->list[i]);
    free(contexts->list);
    *contexts = (struct contexts){0};
}
