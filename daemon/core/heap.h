/*
 * Heap: which of many shares has the least key; putting one in, moving it and taking it out are O(log
 * shares). It has four branches at each node (D. B. Johnson, Information Processing Letters 4, 1975), and the
 * keys of a node's branches are one line of the cache: a tree of the owners themselves, of which there were
 * 10,000, missed the cache at nearly each step of a walk, and that was a third of a decision.
 *
 * Of shares with equal keys the one with the lower number comes first.
 * Thread-safety: none. Zeroed memory is an empty heap. The shares belong to the caller, who frees none that
 * is in.
 */
#ifndef PMAP_HEAP_H
#define PMAP_HEAP_H

#include "daemon/core/share.h"

#include <stddef.h>

/* Where the first entry is: so the branches of each node start at a multiple of four, at a line of the cache
 * (of so many bytes). */
enum { HEAP_ROOT = 3, CACHE_LINE = 64 };

struct heap_entry {
    double key;
    struct share *share;
};

struct heap {
    struct heap_entry *entries; /* from HEAP_ROOT on */
    uint32_t count, room;       /* shares that are in; and that may be */
};

/* Makes room for so many shares in all, so that putting them in cannot fail. Returns 0, or -ENOMEM: then
 * nothing has changed. */
int heap_reserve(struct heap *heap, uint32_t shares);

/* Its memory; the heap is empty then. */
void heap_free(struct heap *heap);

/* Puts the share in, or moves it to where it belongs now; share->key becomes `key`. There must be room. */
void heap_put(struct heap *heap, struct share *share, double key);

/* Takes it out; it must be in. */
void heap_remove(struct heap *heap, struct share *share);

/* Those that are in, `at` from 0 to count - 1: the first one, and the others in no order. */
struct share *heap_at(const struct heap *heap, uint32_t at);

/* The one with the least key; NULL: none is in. */
static inline struct share *heap_first(const struct heap *heap)
{
    return heap->count > 0 ? heap->entries[HEAP_ROOT].share : NULL;
}

#endif
