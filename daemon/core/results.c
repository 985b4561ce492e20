/*
 * Ordering: results come from workers chunk by chunk, and go out in the order of the items (or, unordered, as
 * they come, but never anything between the pieces of one large result).
 */
#include "daemon/core/internal.h"

#include <errno.h>
#include <stdlib.h>

static void count_block(struct core *core, struct job *job, const struct block *block, int sign)
{
    uint64_t cost = batch_cost(block->batch);
    if (sign > 0) {
        job->held += cost;
        job->owner->held_bytes += cost;
        core->held_bytes += cost;
    } else {
        job->held -= cost;
        job->owner->held_bytes -= cost;
        core->held_bytes -= cost;
    }
}

void results_drop(struct core *core, struct job *job, struct block_list *blocks)
{
    struct block *block;
    while ((block = STAILQ_FIRST(blocks)) != NULL) {
        STAILQ_REMOVE_HEAD(blocks, link);
        count_block(core, job, block, -1);
        batch_unref(block->batch);
        spare_give(&core->spare_blocks, block);
    }
}

int results_add(struct core *core, struct chunk *chunk, struct batch *batch, uint64_t input_cost)
{
    struct job *job = chunk->job;
    if (job->session == NULL || job->cancelled)
        return 0; /* nobody wants it any more */
    struct block *block = spare_take(&core->spare_blocks);
    if (block == NULL)
        return -ENOMEM;
    block->batch = batch_ref(batch);
    block->first = chunk->first + chunk->done;
    block->input_cost = input_cost;
    STAILQ_INSERT_TAIL(&chunk->blocks, block, link);
    count_block(core, job, block, +1);
    job->report.bytes_out += batch->size;
    if (!batch->more) {
        uint32_t failed = results_failed(batch);
        job->report.items += batch->count;
        job->report.failed += failed;
        job->owner->items_done += batch->count;
        core->items_done += batch->count;
        core->items_failed += failed;
    }
    return 0;
}

static void free_plain(struct batch *batch)
{
    free(batch);
}

/* One failed result, without bytes, whose note says why. */
static struct batch *broken_result(const char *why)
{
    struct {
        struct batch batch;
        uint8_t length[4], time[8], note[NOTE_SIZE];
    } *memory = calloc(1, sizeof *memory);
    if (memory == NULL)
        return NULL;
    if (batch_init(&memory->batch, memory->length, sizeof memory->length, memory->note, 0, free_plain) < 0) {
        free(memory);
        return NULL;
    }
    struct note note = {.kind = NOTE_ERROR, .text_len = (uint32_t)strlen(why)};
    note_store(memory->note, &note);
    memory->batch.times = memory->time;
    memory->batch.notes = memory->note;
    memory->batch.note_count = 1;
    memory->batch.note_text = (const uint8_t *)why;
    memory->batch.note_text_size = note.text_len;
    return &memory->batch;
}

int results_break(struct core *core, struct chunk *chunk)
{
    struct batch *batch = broken_result("its worker died in the middle of its result");
    if (batch == NULL)
        return -ENOMEM;
    struct slice item = chunk->items;
    item.first += chunk->done;
    item.offset += chunk->done_offset;
    item.size -= chunk->done_offset;
    struct slice one = slice_cut(&item, 1, 1);
    int rc = results_add(core, chunk, batch, slice_cost(&one));
    batch_unref(batch);
    if (rc < 0)
        return rc;
    chunk->in_piece = false;
    chunk->done++;
    chunk->done_offset += one.size;
    return 0;
}

static void end_chunk(struct core *core, struct job *job, struct chunk *chunk)
{
    TAILQ_REMOVE(&job->chunks, chunk, job_link);
    chunk_free(core, chunk);
}

static void flush_ordered(struct core *core, struct job *job)
{
    struct chunk *chunk;
    while ((chunk = TAILQ_FIRST(&job->chunks)) != NULL) {
        const struct segment *segment = TAILQ_FIRST(&job->segments);
        if (segment != NULL && segment->first < chunk->first)
            break; /* something before it was handed back */
        STAILQ_CONCAT(&job->ready, &chunk->blocks);
        if (chunk->worker != NULL)
            break;
        end_chunk(core, job, chunk);
    }
}

/* Moves the chunk's blocks; returns false where they have to wait for another chunk's large result. */
static void flush_chunk_unordered(struct job *job, struct chunk *chunk)
{
    struct block *block;
    while ((block = STAILQ_FIRST(&chunk->blocks)) != NULL) {
        if (job->piece_owner != NULL && job->piece_owner != chunk)
            return;
        STAILQ_REMOVE_HEAD(&chunk->blocks, link);
        STAILQ_INSERT_TAIL(&job->ready, block, link);
        job->piece_owner = block->batch->more ? chunk : NULL;
    }
}

static void flush_or_end(struct core *core, struct job *job, struct chunk *chunk)
{
    flush_chunk_unordered(job, chunk);
    if (chunk->worker == NULL && STAILQ_EMPTY(&chunk->blocks))
        end_chunk(core, job, chunk);
}

static void flush_unordered(struct core *core, struct job *job, struct chunk *changed)
{
    bool held_others_up = job->piece_owner == changed;
    flush_or_end(core, job, changed);
    if (!held_others_up || job->piece_owner != NULL)
        return;
    /* Its large result is through, and any other chunk may have waited for that. */
    struct chunk *chunk, *next;
    for (chunk = TAILQ_FIRST(&job->chunks); chunk != NULL; chunk = next) {
        next = TAILQ_NEXT(chunk, job_link);
        flush_or_end(core, job, chunk);
    }
}

void results_flush(struct core *core, struct job *job, struct chunk *changed)
{
    if (job->session == NULL || job->cancelled)
        return;
    if (job->options.unordered)
        flush_unordered(core, job, changed);
    else
        flush_ordered(core, job);
    if (!STAILQ_EMPTY(&job->ready) || job->ended)
        job_tell(core, job);
}

/* Bytes of a message's frames that a block takes. */
static size_t frames_size(const struct batch *batch)
{
    return batch->size + (4 + 8) * (size_t)batch->count + NOTE_SIZE * (size_t)batch->note_count +
           batch->note_text_size;
}

bool results_next(struct core *core, struct job *job, struct action *action)
{
    struct block *block = STAILQ_FIRST(&job->ready);
    if (block == NULL || job->out_credit <= 0)
        return false;
    struct sent *sent = spare_take(&core->spare_sent);
    if (sent == NULL)
        return false; /* short of memory: the next event tries again */

    action->type = ACTION_RESULTS;
    action->results.first = block->first;
    action->results.blocks = core->out;
    action->results.more = block->batch->more;
    bool piece = block->batch->more || job->sent_piece;
    job->sent_piece = block->batch->more;
    size_t size = 0;
    do {
        const struct batch *batch = block->batch;
        STAILQ_REMOVE_HEAD(&job->ready, link);
        count_block(core, job, block, -1);
        core->out[core->out_count++] = block->batch;
        action->results.records += batch->count;
        action->results.size += batch->size;
        size += frames_size(batch);
        sent->cost += batch_cost(batch);
        sent->input_cost += block->input_cost;
        spare_give(&core->spare_blocks, block);
        block = STAILQ_FIRST(&job->ready);
    } while (!piece && block != NULL && !block->batch->more && core->out_count < RESULTS_BLOCKS_MAX &&
             block->first == action->results.first + action->results.records &&
             size + frames_size(block->batch) <= RESULTS_SIZE_SOFT && sent->cost < (uint64_t)job->out_credit);
    action->results.count = core->out_count;
    job->out_credit -= (int64_t)sent->cost;
    job->sent_cost += sent->cost;
    STAILQ_INSERT_TAIL(&job->sent, sent, link);
    return true;
}
