/*
 * Results as they come from a worker or the daemon: a batch with times and with notes on what went wrong.
 */
#include <errno.h>

#include "common/batch.h"
#include "common/protocol.h"

struct note note_load(const uint8_t *p)
{
    uint32_t kind_and_code = load_u32(p + 4);
    return (struct note){load_u32(p), (uint16_t)kind_and_code, (uint16_t)(kind_and_code >> 16),
                         load_u32(p + 8)};
}

void note_store(uint8_t *p, const struct note *note)
{
    store_u32(p, note->record);
    store_u32(p + 4, note->kind | (uint32_t)note->code << 16);
    store_u32(p + 8, note->text_len);
}

struct usage usage_load(const uint8_t *p)
{
    return (struct usage){load_u64(p), load_u64(p + 8), load_u64(p + 16)};
}

void usage_store(uint8_t *p, const struct usage *usage)
{
    store_u64(p, usage->started_ns);
    store_u64(p + 8, usage->cpu_ns);
    store_u64(p + 16, usage->peak_bytes);
}

int note_fails(uint16_t kind)
{
    if (kind == 0 || kind > NOTE_MAX)
        return -1;
    return kind <= NOTE_TIMEOUT;
}

bool note_text_fits(uint16_t kind, uint32_t text_len)
{
    switch (kind) {
    case NOTE_USAGE:
        return text_len == NOTE_USAGE_SIZE;
    case NOTE_SLOT:
        return text_len == NOTE_SLOT_SIZE;
    default:
        return true;
    }
}

static bool notes_valid(const uint8_t *notes, size_t size, size_t text_size, size_t records)
{
    uint64_t text = 0;
    uint32_t last = 0;
    for (size_t at = 0; at < size; at += NOTE_SIZE) {
        struct note note = note_load(notes + at);
        if (note.record < last || note.record >= records || note_fails(note.kind) < 0)
            return false;
        if (!note_text_fits(note.kind, note.text_len))
            return false;
        last = note.record;
        text += note.text_len;
    }
    return text == text_size;
}

/* Is every time one that an int64_t can hold? */
static bool times_valid(const uint8_t *times, size_t count)
{
    uint64_t all = 0;
    for (size_t i = 0; i < count; i++)
        all |= load_u64(times + 8 * i);
    return all <= INT64_MAX;
}

int results_init(struct batch *batch, const void *const *frame, const size_t *size, size_t count, bool more,
                 void (*release)(struct batch *))
{
    enum { LENGTHS, BYTES, TIMES, NOTES, TEXTS };
    if (count != TIMES + 1 && count != TEXTS + 1)
        return -EPROTO;
    size_t records = size[LENGTHS] / 4, notes_size = count > NOTES ? size[NOTES] : 0;
    if (more && records != 1)
        return -EPROTO;
    if (size[TIMES] % 8 != 0 || size[TIMES] / 8 != records || !times_valid(frame[TIMES], records))
        return -EPROTO;
    if (count > NOTES) {
        if (notes_size == 0 || notes_size % NOTE_SIZE != 0 || notes_size / NOTE_SIZE > UINT32_MAX)
            return -EPROTO;
        if (!notes_valid(frame[NOTES], notes_size, size[TEXTS], records))
            return -EPROTO;
    }
    int rc = batch_init(batch, frame[LENGTHS], size[LENGTHS], frame[BYTES], size[BYTES], release);
    if (rc < 0)
        return rc;
    batch->times = frame[TIMES];
    batch->more = more;
    if (count > NOTES) {
        batch->notes = frame[NOTES];
        batch->note_count = (uint32_t)(notes_size / NOTE_SIZE);
        batch->note_text = frame[TEXTS];
        batch->note_text_size = size[TEXTS];
    }
    return 0;
}

uint64_t batch_weight(const struct batch *batch)
{
    return batch_cost(batch) + (uint64_t)NOTE_SIZE * batch->note_count + batch->note_text_size;
}

uint32_t results_failed(const struct batch *batch)
{
    uint32_t failed = 0;
    uint64_t last = UINT64_MAX; /* the record last counted */
    for (uint32_t i = 0; i < batch->note_count; i++) {
        struct note note = note_load(batch->notes + (size_t)NOTE_SIZE * i);
        if (note.record != last && note_fails(note.kind) > 0) {
            last = note.record;
            failed++;
        }
    }
    return failed;
}
