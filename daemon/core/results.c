/*
 * Ordering: results come from workers chunk by chunk, and go out in the order of the items (or, unordered, as
 * they come, but never anything between the pieces of one large result).
 */
#include "daemon/core/internal.h"

#include <errno.h>
#include <stdlib.h>

static void add_held(struct core *core, struct job *job, uint64_t cost)
{
    job->held += cost;
    job->owner->held_bytes += cost;
    core->held_bytes += cost;
}

static void sub_held(struct core *core, struct job *job, uint64_t cost)
{
    job->held -= cost;
    job->owner->held_bytes -= cost;
    core->held_bytes -= cost;
}

static void drop_blocks(struct core *core, struct block_list *blocks)
{
    struct block *block;
    while ((block = STAILQ_FIRST(blocks)) != NULL) {
        STAILQ_REMOVE_HEAD(blocks, link);
        batch_unref(block->batch);
        spare_give(&core->spare_blocks, block);
    }
}

void results_drop_ready(struct core *core, struct job *job)
{
    drop_blocks(core, &job->ready);
    sub_held(core, job, job->ready_cost);
    job->ready_cost = 0;
}

void results_drop_chunk(struct core *core, struct chunk *chunk)
{
    drop_blocks(core, &chunk->blocks);
    sub_held(core, chunk->job, chunk->held);
    chunk->held = 0;
}

/* Items of a chunk at least where each chunk takes a process of its own: as many as make up for it. */
enum { BUFFERING_COUNT = 1000 };

/* Takes in what the results' notes say of the job itself. */
static void heed_notes(struct job *job, const struct batch *batch)
{
    for (uint32_t i = 0; i < batch->note_count; i++) {
        struct note note = note_load(batch->notes + (size_t)NOTE_SIZE * i);
        if (note.kind == NOTE_ATTEMPTS && note.code > 1)
            job->report.retried += note.code - 1U;
        if (note.kind == NOTE_REMARK && note.code == REMARK_BUFFERS && job->lasting)
            job->least_count = BUFFERING_COUNT;
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
    uint64_t weight = batch_weight(batch);
    chunk->held += weight;
    add_held(core, job, weight);
    job->report.bytes_out += batch->size;
    heed_notes(job, batch);
    if (!batch->more) {
        uint32_t failed = results_failed(batch);
        job->report.items += batch->count;
        job->report.failed += failed;
        job->owner->items_done += batch->count;
        job->owner->items_failed += failed;
        core->items_done += batch->count;
        core->items_failed += failed;
    }
    return 0;
}

/*** Results that the core makes ***/

/* Records in a batch of them. */
enum { FAIL_RECORDS = 256 };

static void free_plain(struct batch *batch)
{
    free(batch);
}

/* Failed results, without bytes, whose notes say why. trace: and that they were made in no slot. */
static struct batch *failed_results(uint32_t count, uint16_t kind, const char *why, bool trace)
{
    size_t text = strlen(why), own = trace ? 1 : 0;
    struct batch *batch =
        calloc(1, sizeof *batch + count * (4 + 8 + NOTE_SIZE + text) + own * (NOTE_SIZE + NOTE_SLOT_SIZE));
    if (batch == NULL)
        return NULL;
    uint8_t *lengths = (uint8_t *)(batch + 1), *times = lengths + 4 * (size_t)count;
    uint8_t *notes = times + 8 * (size_t)count, *texts = notes + NOTE_SIZE * (count + own);
    if (batch_init(batch, lengths, 4 * (size_t)count, texts, 0, free_plain) < 0) {
        free(batch);
        return NULL;
    }
    batch->times = times;
    batch->notes = notes;
    batch->note_count = count + (uint32_t)own;
    batch->note_text = texts;
    batch->note_text_size = text * count + own * NOTE_SLOT_SIZE;
    if (trace) {
        struct note slot = {.kind = NOTE_SLOT, .text_len = NOTE_SLOT_SIZE};
        note_store(notes, &slot);
        notes += NOTE_SIZE;
        texts += NOTE_SLOT_SIZE;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct note note = {.record = i, .kind = kind, .text_len = (uint32_t)text};
        note_store(notes + (size_t)NOTE_SIZE * i, &note);
        memcpy(texts + text * i, why, text);
    }
    return batch;
}

int results_fail(struct core *core, struct chunk *chunk, uint32_t count, uint16_t kind, const char *why)
{
    /* Of the first one a piece may have come, which this ends: it is a message of its own. */
    uint32_t most = chunk->in_piece ? 1 : FAIL_RECORDS;
    for (; count > 0; most = FAIL_RECORDS) {
        uint32_t now = count < most ? count : most;
        struct batch *batch = failed_results(now, kind, why, chunk->job->options.trace);
        if (batch == NULL)
            return -ENOMEM;
        struct slice items = cut_unanswered(chunk, now);
        int rc = results_add(core, chunk, batch, slice_cost(&items));
        batch_unref(batch);
        if (rc < 0)
            return rc;
        chunk->in_piece = false;
        chunk->done += now;
        chunk->done_offset += items.size;
        count -= now;
    }
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
        job->ready_cost += chunk->held;
        chunk->held = 0;
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
        uint64_t weight = batch_weight(block->batch);
        job->ready_cost += weight;
        chunk->held -= weight;
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
    uint64_t weight = 0;
    do {
        const struct batch *batch = block->batch;
        STAILQ_REMOVE_HEAD(&job->ready, link);
        core->out[core->out_count++] = block->batch;
        action->results.records += batch->count;
        action->results.size += batch->size;
        size += frames_size(batch);
        sent->cost += batch_cost(batch);
        weight += batch_weight(batch);
        sent->input_cost += block->input_cost;
        spare_give(&core->spare_blocks, block);
        block = STAILQ_FIRST(&job->ready);
    } while (!piece && block != NULL && !block->batch->more && core->out_count < RESULTS_BLOCKS_MAX &&
             block->first == action->results.first + action->results.records &&
             size + frames_size(block->batch) <= RESULTS_SIZE_SOFT && sent->cost < (uint64_t)job->out_credit);
    action->results.count = core->out_count;
    job->ready_cost -= weight;
    sub_held(core, job, weight);
    job->out_credit -= (int64_t)sent->cost;
    job->sent_cost += sent->cost;
    STAILQ_INSERT_TAIL(&job->sent, sent, link);
    return true;
}
