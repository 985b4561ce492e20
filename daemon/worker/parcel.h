/*
 * A parcel: the results that one WORKED message holds, on their way from the arena to the daemon, or to the
 * outbox where there is no credit for them. Its frames are as on the wire.
 */
#ifndef PMAP_PARCEL_H
#define PMAP_PARCEL_H

#include "common/batch.h"
#include "common/protocol.h"
#include "daemon/worker/host.h"

struct parcel {
    uint32_t records, note_count;
    bool more; /* its one record goes on in the next parcel */
    const uint8_t *lengths, *times, *bytes, *notes, *texts;
    size_t size, texts_size; /* of bytes and of texts */
};

enum {
    PARCEL_RECORDS = 8192,         /* at most; no more than notes, so that all can have one */
    PARCEL_BYTES = 256 << 10,      /* of all records, save notes */
    PARCEL_NOTES_AREA = 128 << 10, /* notes of an arena: all of them fit one parcel */
    /* The notes of an arena, and over them some that the worker itself has to say. */
    PARCEL_NOTES = PARCEL_NOTES_AREA / sizeof(struct arena_note) + 4,
    PARCEL_TEXTS = PARCEL_NOTES_AREA + ARENA_NOTE_TEXT_MAX + 4096,
};
_Static_assert((int)PARCEL_RECORDS <= (int)PARCEL_NOTES, "each record can have a note");
_Static_assert(PARCEL_BYTES + 2 * NOTE_SIZE * PARCEL_NOTES + PARCEL_TEXTS < PROTOCOL_MESSAGE_MAX,
               "a parcel fits a message");

/* Memory in which a parcel is made; its bytes stay where they are. The last part of notes and texts is for
 * parcel_slot. */
struct parcel_space {
    uint8_t lengths[4 * PARCEL_RECORDS];
    uint8_t times[8 * PARCEL_RECORDS];
    uint8_t notes[NOTE_SIZE * (PARCEL_NOTES + 1)];
    uint8_t texts[PARCEL_TEXTS + NOTE_SLOT_SIZE];
};

/* What it costs in credit. */
static inline uint64_t parcel_cost(const struct parcel *p)
{
    return p->size + (uint64_t)RECORD_COST * p->records + (uint64_t)NOTE_SIZE * p->note_count + p->texts_size;
}

/* Begins a parcel without records in `space`. */
static inline void parcel_begin(struct parcel *p, const struct parcel_space *space)
{
    *p = (struct parcel){
        .lengths = space->lengths, .times = space->times, .notes = space->notes, .texts = space->texts};
}

/* Adds a record of so many bytes and ns. There must be room (PARCEL_RECORDS). */
static inline void parcel_record(struct parcel *p, struct parcel_space *space, uint32_t len, uint64_t ns)
{
    store_u32(space->lengths + 4 * (size_t)p->records, len);
    store_u64(space->times + 8 * (size_t)p->records, ns <= INT64_MAX ? ns : 0);
    p->records++;
    p->size += len;
}

/* Adds a note on one of its records; text: NULL where it has none. There must be room: see PARCEL_NOTES and
 * PARCEL_TEXTS. */
static inline void parcel_note(struct parcel *p, struct parcel_space *space, struct note note,
                               const void *text)
{
    note_store(space->notes + NOTE_SIZE * (size_t)p->note_count, &note);
    p->note_count++;
    if (text)
        memcpy(space->texts + p->texts_size, text, note.text_len);
    p->texts_size += note.text_len;
}

/* Adds the note SLOT to the first record, before all others. Once; there is always room for it. */
static inline void parcel_slot(struct parcel *p, struct parcel_space *space, uint16_t slot, uint64_t began_ns)
{
    struct note note = {.kind = NOTE_SLOT, .code = slot, .text_len = NOTE_SLOT_SIZE};
    memmove(space->notes + NOTE_SIZE, space->notes, NOTE_SIZE * (size_t)p->note_count);
    memmove(space->texts + NOTE_SLOT_SIZE, space->texts, p->texts_size);
    note_store(space->notes, &note);
    store_u64(space->texts, began_ns);
    p->note_count++;
    p->texts_size += NOTE_SLOT_SIZE;
}

#endif
