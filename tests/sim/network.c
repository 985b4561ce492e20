/*
 * Links and packets of the simulation, and the batches that they carry; see network.h.
 */
#include "tests/sim/network.h"

#include <stdlib.h>
#include <string.h>

struct packet *packet_new(struct world *world, unsigned type)
{
    struct packet *packet = need_zeroed(1, sizeof *packet);
    packet->type = type;
    LIST_INSERT_HEAD(&world->packets, packet, entry);
    return packet;
}

void packet_free(struct world *world, struct packet *packet)
{
    (void)world;
    LIST_REMOVE(packet, entry);
    batch_unref(packet->batch);
    free(packet->done);
    free(packet);
}

static void arrive(struct world *world, void *target, uint64_t argument)
{
    (void)argument;
    struct packet *packet = target;
    bool arrives = !packet->link->cut || packet->type == PACKET_GONE;
    if (!arrives || !packet->link->deliver(world, packet))
        packet_free(world, packet);
}

void link_send(struct world *world, struct link *link, struct packet *packet)
{
    int64_t delay = link->base_ns + (int64_t)random_below(&world->random, (uint64_t)link->spread_ns + 1);
    if (packet->batch)
        delay += (int64_t)(packet->batch->size >> 10) * link->ns_per_kib;
    int64_t at = world->now_ns + delay;
    if (at < link->last_ns && !strikes(world, FAULT_REORDER, 2))
        at = link->last_ns;
    if (at > link->last_ns)
        link->last_ns = at;
    packet->link = link;
    if (packet->type < PACKET_HELLO && strikes(world, FAULT_LOST_MESSAGE, 8)) {
        packet_free(world, packet);
        return;
    }
    if ((packet->type == MSG_RESULTS || packet->type == MSG_ITEMS) &&
        strikes(world, FAULT_DOUBLE_MESSAGE, 4)) {
        struct packet *again = packet_new(world, packet->type);
        LIST_ENTRY(packet) entry = {again->entry.le_next, again->entry.le_prev};
        *again = *packet;
        again->entry.le_next = entry.le_next;
        again->entry.le_prev = entry.le_prev;
        if (again->batch)
            batch_ref(again->batch);
        events_add(&world->events, at, arrive, again, 0);
    }
    events_add(&world->events, at, arrive, packet, 0);
}

/*** Batches ***/

/* A batch in one block of memory, counted by its world. */
struct own_batch {
    struct batch batch;
    struct world *world;
    uint8_t memory[];
};

static void release(struct batch *batch)
{
    struct own_batch *own = (struct own_batch *)batch;
    own->world->batches--;
    free(own);
}

static struct own_batch *own_new(struct world *world, size_t size)
{
    struct own_batch *own = need(sizeof *own + size);
    own->world = world;
    world->batches++;
    return own;
}

struct batch *batch_of_slice(struct world *world, const struct slice *slice, bool more)
{
    size_t lengths = 4 * (size_t)slice->count;
    struct own_batch *own = own_new(world, lengths + slice->size);
    memcpy(own->memory, slice->batch->lengths + 4 * (size_t)slice->first, lengths);
    if (slice->size > 0)
        memcpy(own->memory + lengths, slice->batch->bytes + slice->offset, slice->size);
    if (batch_init(&own->batch, own->memory, lengths, own->memory + lengths, slice->size, release) < 0) {
        world->batches--;
        free(own);
        broken(world, "batches", "a slice of %u records and %zu bytes does not add up", slice->count,
               slice->size);
        return NULL;
    }
    own->batch.more = more;
    return &own->batch;
}

/* Where the parts of a batch of results are, in the order of their frames. */
struct parts {
    uint8_t *lengths, *bytes, *times, *notes, *texts;
    size_t size[5];
};

static struct own_batch *results_new(struct world *world, size_t count, size_t size, size_t notes,
                                     size_t texts, struct parts *parts)
{
    struct own_batch *own = own_new(world, 12 * count + size + NOTE_SIZE * notes + texts);
    parts->lengths = own->memory;
    parts->bytes = parts->lengths + 4 * count;
    parts->times = parts->bytes + size;
    parts->notes = parts->times + 8 * count;
    parts->texts = parts->notes + NOTE_SIZE * notes;
    parts->size[0] = 4 * count;
    parts->size[1] = size;
    parts->size[2] = 8 * count;
    parts->size[3] = NOTE_SIZE * notes;
    parts->size[4] = texts;
    return own;
}

static struct batch *results_finish(struct world *world, struct own_batch *own, const struct parts *parts,
                                    bool more)
{
    const void *const frames[5] = {parts->lengths, parts->bytes, parts->times, parts->notes, parts->texts};
    size_t count = parts->size[3] > 0 ? 5 : 3;
    if (results_init(&own->batch, frames, parts->size, count, more, release) < 0) {
        world->batches--;
        free(own);
        broken(world, "batches", "results that are none: %zu records, %zu bytes", parts->size[0] / 4,
               parts->size[1]);
        return NULL;
    }
    return &own->batch;
}

struct batch *batch_of_blocks(struct world *world, struct batch *const *blocks, size_t count, bool more)
{
    size_t records = 0, size = 0, notes = 0, texts = 0;
    for (size_t i = 0; i < count; i++) {
        records += blocks[i]->count;
        size += blocks[i]->size;
        notes += blocks[i]->note_count;
        texts += blocks[i]->note_text_size;
    }
    struct parts parts;
    struct own_batch *own = results_new(world, records, size, notes, texts, &parts);
    struct parts at = parts;
    uint32_t before = 0;
    for (size_t i = 0; i < count; i++) {
        const struct batch *block = blocks[i];
        at.lengths = (uint8_t *)mempcpy(at.lengths, block->lengths, 4 * (size_t)block->count);
        if (block->size > 0)
            at.bytes = (uint8_t *)mempcpy(at.bytes, block->bytes, block->size);
        at.times = (uint8_t *)mempcpy(at.times, block->times, 8 * (size_t)block->count);
        for (uint32_t k = 0; k < block->note_count; k++, at.notes += NOTE_SIZE) {
            struct note note = note_load(block->notes + (size_t)NOTE_SIZE * k);
            note.record += before;
            note_store(at.notes, &note);
        }
        if (block->note_text_size > 0)
            at.texts = (uint8_t *)mempcpy(at.texts, block->note_text, block->note_text_size);
        before += block->count;
    }
    return results_finish(world, own, &parts, more);
}

/* A failed item has a note with this text. */
static const char note_text[] = "no";

static void add_note(struct parts *at, uint32_t record)
{
    struct note note = {record, NOTE_ERROR, 7, sizeof note_text - 1};
    note_store(at->notes, &note);
    at->notes += NOTE_SIZE;
    at->texts = (uint8_t *)mempcpy(at->texts, note_text, sizeof note_text - 1);
}

struct batch *batch_of_results(struct world *world, const struct work *work, uint64_t first, uint32_t count)
{
    size_t size = 0, notes = 0;
    for (uint32_t i = 0; i < count; i++) {
        size += work_result_length(work, first + i);
        notes += work_fails(work, first + i);
    }
    struct parts parts;
    struct own_batch *own = results_new(world, count, size, notes, notes * (sizeof note_text - 1), &parts);
    struct parts at = parts;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t index = first + i;
        uint32_t length = work_result_length(work, index);
        store_u32(at.lengths + 4 * (size_t)i, length);
        store_u64(at.times + 8 * (size_t)i, (uint64_t)work_time_ns(work, index));
        work_result_bytes(work, index, 0, at.bytes, length);
        if (length > 0 && strikes(world, FAULT_WRONG_RESULT, 8))
            at.bytes[random_below(&world->random, length)] ^= 1;
        at.bytes += length;
        if (work_fails(work, index))
            add_note(&at, i);
    }
    return results_finish(world, own, &parts, false);
}

struct batch *batch_of_piece(struct world *world, const struct work *work, uint64_t index, size_t offset,
                             size_t size, bool more)
{
    bool failed = !more && work_fails(work, index);
    struct parts parts;
    struct own_batch *own = results_new(world, 1, size, failed, failed ? sizeof note_text - 1 : 0, &parts);
    store_u32(parts.lengths, (uint32_t)size);
    store_u64(parts.times, more ? 0 : (uint64_t)work_time_ns(work, index));
    work_result_bytes(work, index, offset, parts.bytes, size);
    struct parts at = parts;
    if (failed)
        add_note(&at, 0);
    return results_finish(world, own, &parts, more);
}
