/* Cutting: from the segments of items that wait to chunks, and back where a chunk's items were not run. */
#include "daemon/core/chunker.h"
#include "daemon/core/internal.h"

#include <errno.h>

/* Items of an exact chunk at most, and bytes of them: they have to fit one message. */
enum { EXACT_ITEMS_MAX = PROTOCOL_MESSAGE_MAX / 8 };

void cut_add_queued(struct core *core, struct job *job, uint64_t count)
{
    core->waiting_jobs += job->queued_items == 0 && count > 0;
    job->queued_items += count;
    job->owner->queued_items += count;
    core->queued_items += count;
}

void cut_sub_queued(struct core *core, struct job *job, uint64_t count)
{
    core->waiting_jobs -= count > 0 && job->queued_items == count;
    job->queued_items -= count;
    job->owner->queued_items -= count;
    core->queued_items -= count;
}

static void remove_segment(struct core *core, struct job *job, struct segment *segment)
{
    if (job->gather == segment->items.batch)
        job->gather = NULL;
    TAILQ_REMOVE(&job->segments, segment, link);
    batch_unref(segment->items.batch);
    spare_give(&core->spare_segments, segment);
}

static void insert_segment(struct core *core, struct job *job, struct segment *segment)
{
    struct segment *behind;
    TAILQ_FOREACH (behind, &job->segments, link) {
        if (behind->first > segment->first)
            break;
    }
    if (behind != NULL)
        TAILQ_INSERT_BEFORE(behind, segment, link);
    else
        TAILQ_INSERT_TAIL(&job->segments, segment, link);
    cut_add_queued(core, job, segment->items.count);
}

/* Cuts up to so many items off the first segment; *cut holds a reference. */
static void cut_first(struct core *core, struct job *job, uint32_t count, size_t size, struct slice *cut)
{
    struct segment *segment = TAILQ_FIRST(&job->segments);
    *cut = slice_cut(&segment->items, count, size);
    batch_ref(cut->batch);
    segment->first += cut->count;
    segment->deaths = 0; /* they go with its first item */
    cut_sub_queued(core, job, cut->count);
    if (segment->items.count == 0)
        remove_segment(core, job, segment);
}

/*** Exact chunks ***/

static uint32_t exact_count(const struct job *job)
{
    return job->options.chunksize < EXACT_ITEMS_MAX ? job->options.chunksize : EXACT_ITEMS_MAX;
}

static size_t exact_size(const struct job *job)
{
    return PROTOCOL_MESSAGE_MAX - 4 * (size_t)exact_count(job);
}

/* What has killed a worker is tried alone, and a large item that is in pieces cannot be copied behind
 * another. */
static bool stands_alone(const struct segment *segment)
{
    return segment->deaths > 0 || segment->items.batch->next_piece != NULL;
}

/* May a chunk go on from this segment into the next one? */
static bool goes_on(const struct segment *segment)
{
    const struct segment *next = TAILQ_NEXT(segment, link);
    return next != NULL && next->first == segment->first + segment->items.count && !stands_alone(segment) &&
           !stands_alone(next);
}

bool cut_is_due(const struct job *job)
{
    const struct segment *segment = TAILQ_FIRST(&job->segments);
    uint64_t count = segment->items.count;
    size_t size = segment->items.size;
    while (goes_on(segment) && count < exact_count(job) && size < exact_size(job)) {
        segment = TAILQ_NEXT(segment, link);
        count += segment->items.count;
        size += segment->items.size;
    }
    if (count >= exact_count(job) || size >= exact_size(job) || job->ended)
        return true;
    if (stands_alone(segment) || segment->first + segment->items.count != job->next_index)
        return true; /* nothing can come behind it */
    /* Nothing more comes before something is delivered, and there is nothing else to deliver. */
    return job->in_credit <= 0 && job->in_owed == 0 && TAILQ_EMPTY(&job->chunks) &&
           STAILQ_EMPTY(&job->ready) && STAILQ_EMPTY(&job->sent);
}

/* The number of the items that are copied together, and their bytes. */
static uint32_t count_exact(const struct job *job, size_t *bytes)
{
    const struct segment *segment = TAILQ_FIRST(&job->segments);
    uint32_t count = 0, most = exact_count(job);
    size_t size = 0, room = exact_size(job);
    for (;;) {
        struct slice rest = segment->items;
        struct slice part = slice_cut(&rest, most - count, room - size);
        if (count > 0 && part.size > room - size)
            break;
        count += part.count;
        size += part.size;
        if (rest.count > 0 || count == most || size >= room || !goes_on(segment))
            break;
        segment = TAILQ_NEXT(segment, link);
    }
    *bytes = size;
    return count;
}

static int cut_exact(struct core *core, struct job *job, struct slice *items)
{
    const struct segment *segment = TAILQ_FIRST(&job->segments);
    if (segment->items.count >= exact_count(job) || !goes_on(segment)) {
        cut_first(core, job, exact_count(job), exact_size(job), items);
        return 0;
    }
    size_t size;
    uint32_t count = count_exact(job, &size);
    struct batch *batch = batch_new(count, size);
    if (batch == NULL)
        return -ENOMEM;
    while (batch->count < count) {
        struct slice part;
        cut_first(core, job, count - batch->count, SIZE_MAX, &part);
        const uint8_t *bytes = part.batch->bytes + part.offset;
        for (uint32_t i = 0; i < part.count; i++) {
            uint32_t len = batch_length(part.batch, part.first + i);
            (void)batch_append(batch, bytes, len); /* there is room */
            bytes += len;
        }
        batch_unref(part.batch);
    }
    *items = slice_all(batch); /* the reference goes with it */
    return 0;
}

/*** All chunks ***/

/*
 * Where less than a part of a chunk would be left of the batch, that and this chunk share the items evenly: a
 * chunk of a few items costs as much by itself as a whole one.
 */
enum { REST_PART = 4 };

static uint32_t share_rest(const struct job *job, const struct segment *segment, uint32_t count)
{
    uint32_t all = segment->items.count;
    bool little = all > count && all - count < count / REST_PART;
    return little && job->options.chunksize == 0 ? all - all / 2 : count;
}

uint32_t cut_most(const struct job *job)
{
    const struct slice *items = &TAILQ_FIRST(&job->segments)->items;
    if (job->exact || items->size <= CHUNK_BYTES_MAX)
        return job->exact ? UINT32_MAX : items->count;
    return (uint32_t)((uint64_t)items->count * CHUNK_BYTES_MAX / items->size) + 1;
}

int cut_next(struct core *core, struct job *job, uint32_t count, struct chunk *chunk)
{
    const struct segment *segment = TAILQ_FIRST(&job->segments);
    uint64_t first = segment->first;
    uint32_t deaths = segment->deaths;
    if (job->exact) {
        int rc = cut_exact(core, job, &chunk->items);
        if (rc < 0)
            return rc;
    } else {
        cut_first(core, job, deaths > 0 ? 1 : share_rest(job, segment, count), CHUNK_BYTES_MAX,
                  &chunk->items);
    }
    chunk->first = first;
    chunk->deaths = deaths;
    return 0;
}

struct slice cut_unanswered(const struct chunk *chunk, uint32_t count)
{
    struct slice rest = chunk->items;
    rest.first += chunk->done;
    rest.count -= chunk->done;
    rest.offset += chunk->done_offset;
    rest.size -= chunk->done_offset;
    if (count < rest.count) {
        size_t size = 0;
        for (uint32_t i = 0; i < count; i++)
            size += batch_length(rest.batch, rest.first + i);
        rest.count = count;
        rest.size = size;
    }
    return rest;
}

/* The items behind `kept` become a segment. */
static void hand_back(struct core *core, struct chunk *chunk, struct slice kept, struct segment *rest)
{
    uint32_t count = chunk->done + kept.count;
    size_t size = chunk->done_offset + kept.size;
    rest->first = chunk->first + count;
    rest->items = chunk->items;
    rest->items.first += count;
    rest->items.count -= count;
    rest->items.offset += size;
    rest->items.size -= size;
    batch_ref(rest->items.batch);
    chunk->items.count = count;
    chunk->items.size = size;
    insert_segment(core, chunk->job, rest);
}

void cut_hand_back(struct core *core, struct chunk *chunk, uint32_t deaths)
{
    struct segment *rest = chunk->rest;
    chunk->rest = NULL;
    rest->deaths = deaths;
    hand_back(core, chunk, cut_unanswered(chunk, 0), rest);
}

int cut_shorten(struct core *core, struct chunk *chunk, uint32_t count)
{
    if (count == chunk->items.count - chunk->done)
        return 0;
    struct segment *rest = spare_take(&core->spare_segments);
    if (rest == NULL)
        return -ENOMEM;
    hand_back(core, chunk, cut_unanswered(chunk, count), rest);
    return 0;
}

struct chunk *cut_void(struct core *core, struct job *job)
{
    struct chunk *chunk = spare_take(&core->spare_chunks);
    if (chunk == NULL)
        return NULL;
    STAILQ_INIT(&chunk->blocks);
    chunk->job = job;
    chunk->first = TAILQ_FIRST(&job->segments)->first;
    cut_first(core, job, UINT32_MAX, SIZE_MAX, &chunk->items);
    return chunk;
}
