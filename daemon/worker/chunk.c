/* Chunks: made, found, freed; see chunk.h. */
#include "daemon/worker/worker.h"

#include <stdlib.h>

struct chunk *chunk_new(struct worker *w, const struct message *m, struct job *job)
{
    struct chunk *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->id = m->chunk.chunk;
    c->first = m->chunk.first;
    c->credit = m->chunk.credit >= PROTOCOL_COUNT_MAX ? INT64_MAX : (int64_t)m->chunk.credit;
    c->trace = m->chunk.trace;
    c->job = job_ref(job);
    zmq_msg_init(&c->lengths);
    zmq_msg_init(&c->bytes);
    TAILQ_INSERT_TAIL(&w->queue, c, link);
    return c;
}

/* It must be in no list. */
void chunk_free(struct worker *w, struct chunk *c)
{
    zmq_msg_close(&c->lengths);
    zmq_msg_close(&c->bytes);
    if (c->large)
        arena_large_end(&c->large->arena);
    outbox_free(&c->outbox, &w->spool);
    job_unref(c->job);
    free(c);
}

static struct chunk *find_in(struct chunk_list *list, uint64_t id)
{
    struct chunk *c;
    TAILQ_FOREACH (c, list, link) {
        if (c->id == id)
            return c;
    }
    return NULL;
}

struct chunk *chunk_find(struct worker *w, uint64_t id)
{
    struct chunk *c = w->run.chunk;
    if (c && c->id == id)
        return c;
    c = find_in(&w->queue, id);
    return c ? c : find_in(&w->parked, id);
}
