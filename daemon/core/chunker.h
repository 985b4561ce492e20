/*
 * The chunker: how many items the next chunk of a job should have. A pure function of what is known of the
 * job; the caller cuts. Thread-safe.
 */
#ifndef PMAP_CHUNKER_H
#define PMAP_CHUNKER_H

#include <stdint.h>

/* Bytes of items over which a chunk is not made larger (a single item may be). */
enum { CHUNK_BYTES_MAX = 256 << 10 };

struct chunker_input {
    double item_ns;        /* what an item is expected to take; 0: unknown */
    uint32_t last_count;   /* items in the job's last chunk; 0: this is the first */
    int measured;          /* item_ns rests on results of this job, not on a hint */
    uint64_t queued_items; /* items of the job that no worker has, at least 1 */
    uint32_t slots;        /* slots that the job may use, at least 1 */
    uint32_t limit;        /* --chunksize; 0: none */
    uint32_t least;        /* items that are worth a chunk's own cost; 0: any */
    int64_t target_ns;     /* what the chunk should take */
};

/* Returns the number of items, at least 1 and at most queued_items and the limit. */
uint32_t chunker_count(const struct chunker_input *in);

#endif
