/*
 * Batches: items (or results) as they travel. A batch is a count, an array of little-endian u32 lengths, and
 * the bytes of all its records one after the other; results add a time for each record and notes for the few
 * that need one. It is immutable and counted, so that a chunk or a message may refer into it without a copy.
 * No ZeroMQ in here: whoever makes a batch out of received frames says in `release` how to give them back.
 *
 * Ownership, for the whole API: a function that returns a batch hands one reference to its caller; a function
 * that takes one borrows it, unless it says "takes the reference". Thread-safety: the count is atomic, so
 * references may be dropped in any thread; everything else is its maker's until the batch is shared, and
 * constant from then on (save batch_append, see there).
 */
#ifndef PMAP_BATCH_H
#define PMAP_BATCH_H

#include <endian.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What a record costs in credit, over its bytes: so that empty items are not free. */
enum { RECORD_COST = 32 };

struct batch {
    atomic_uint refs;
    uint32_t count;         /* records */
    const uint8_t *lengths; /* count × u32, little-endian, of any alignment */
    const uint8_t *bytes;   /* the records, one after the other */
    size_t size;            /* of bytes */
    /* Results only: */
    const uint8_t *times; /* count × u64 LE: what each record took, in ns; NULL for items */
    const uint8_t *notes; /* note_count records of NOTE_SIZE bytes (protocol.h); NULL where note_count is 0 */
    uint32_t note_count;
    const uint8_t *note_text; /* the notes' texts, one after the other */
    size_t note_text_size;
    /* A large record travels in pieces, each a batch of one record; `more`: its next piece is still to come.
     */
    bool more;
    struct batch
        *next_piece; /* owned; the rest of one large record once it has been put together, else NULL */
    /* Private to batch.c: room behind what is used, for batch_append. */
    uint32_t count_capacity;
    size_t size_capacity;
    void (*release)(struct batch *batch); /* called once, in whichever thread drops the last reference */
};

/* Reads little-endian numbers of any alignment. */
static inline uint32_t load_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return le32toh(v);
}

static inline uint64_t load_u64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

static inline void store_u32(uint8_t *p, uint32_t v)
{
    v = htole32(v);
    memcpy(p, &v, sizeof v);
}

static inline void store_u64(uint8_t *p, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, sizeof v);
}

/* Length in bytes of record i (i < batch->count). */
static inline uint32_t batch_length(const struct batch *batch, uint32_t i)
{
    return load_u32(batch->lengths + 4 * (size_t)i);
}

/*
 * Makes *batch describe two frames, with one reference; the caller sets the fields of results and pieces
 * after it. lengths: lengths_size bytes; bytes: size bytes. Both must live until release(batch) is called.
 * Returns 0, or -EPROTO when lengths_size is not a positive multiple of 4 or the lengths do not add up to
 * size; *batch is then untouched and nothing is taken over.
 */
int batch_init(struct batch *batch, const void *lengths, size_t lengths_size, const void *bytes, size_t size,
               void (*release)(struct batch *));

/*
 * A new, empty batch of its own memory with room for `count` records of together `size` bytes.
 * Returns NULL when memory is short.
 */
struct batch *batch_new(uint32_t count, size_t size);

/*
 * Copies one record to the end of a batch from batch_new. What the batch held before stays where it is, so
 * slices of it remain good; the only writer must be the thread that made the batch, and readers only look at
 * the records that were there when they got their slice. Returns 0, or -ENOSPC when it does not fit (len over
 * UINT32_MAX included).
 */
int batch_append(struct batch *batch, const void *data, size_t len);

/* Adds a reference and returns the batch. */
struct batch *batch_ref(struct batch *batch);

/* Drops one; with the last, its next_piece too (not by recursion) and release(). NULL is accepted. */
void batch_unref(struct batch *batch);

/* A run of records in a batch. Holds no reference by itself: its user says who does. */
struct slice {
    struct batch *batch;
    uint32_t first; /* its first record in the batch */
    uint32_t count; /* records */
    size_t offset;  /* its first byte in the batch */
    size_t size;    /* bytes */
};

/* All of a batch. */
struct slice slice_all(struct batch *batch);

/*
 * Cuts up to max_count (at least 1) records of together at most max_size bytes, but at least one, off the
 * front of *rest, which must not be empty. Returns what was cut; *rest is what remains (count 0 when nothing
 * does).
 */
struct slice slice_cut(struct slice *rest, uint32_t max_count, size_t max_size);

/*
 * What the slice costs in credit: its bytes + RECORD_COST a record; all pieces of a record in pieces counted,
 * each with its own RECORD_COST, because each was sent as a record.
 */
uint64_t slice_cost(const struct slice *slice);

/* What one message's worth of a batch costs: its bytes + RECORD_COST a record, without its further pieces. */
static inline uint64_t batch_cost(const struct batch *batch)
{
    return batch->size + (uint64_t)RECORD_COST * batch->count;
}

/* … and what its notes take (results.c): a process pays for those too, as what is written to stderr has no
 * end. */
uint64_t batch_weight(const struct batch *batch);

#endif
