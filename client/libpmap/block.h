/*
 * The inside of the replay buffer: its blocks. Of no use outside replay.c and rewind.c.
 */
#ifndef PMAP_BLOCK_H
#define PMAP_BLOCK_H

#include "client/libpmap/replay.h"

struct block {
    TAILQ_ENTRY(block) link;
    struct batch *batch; /* NULL: a stone */
    uint64_t first, end; /* indices of its items */
    uint64_t kept;       /* cost of those that were not taken */
    uint32_t got, taken; /* how many; `got` without order only */
    uint32_t words;      /* of each bitmap; 0: ordered, or one large item's single bit */
    uint64_t bits[];     /* without order: `got`, then `taken` */
};

static inline uint64_t *got_bits(struct block *b)
{
    return b->bits;
}

static inline uint64_t *taken_bits(struct block *b)
{
    return b->bits + b->words;
}

static inline bool bit_of(const uint64_t *bits, uint32_t i)
{
    return bits[i / 64] >> (i % 64) & 1;
}

static inline void bit_set(uint64_t *bits, uint32_t i)
{
    bits[i / 64] |= UINT64_C(1) << (i % 64);
}

static inline void bit_clear(uint64_t *bits, uint32_t i)
{
    bits[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

static inline uint32_t block_count(const struct block *b)
{
    return (uint32_t)(b->end - b->first);
}

/* Sending goes on with the beginning of this block (NULL: the next one that is made). */
void replay_cursor_to(struct replay *r, struct block *b);

/* The block of this index, a stone perhaps; NULL when there is none any more. */
struct block *replay_find(struct replay *r, uint64_t index);

/* Gives back what a block that has just changed does not need any more. May free it, and neighbours. */
void replay_settle(struct replay *r, struct block *b);

#endif
