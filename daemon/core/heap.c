/* A heap with four branches at each node; see heap.h. */
#include "daemon/core/heap.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* The root's place is such that the branches of each node start at a multiple of four: at a line of the
 * cache. */
enum { ROOT = HEAP_ROOT, BRANCHES = 4, FIRST_ROOM = 5 };

static_assert(sizeof(struct heap_entry) * BRANCHES <= CACHE_LINE,
              "a node's branches are one line of the cache");

static uint32_t parent_of(uint32_t at)
{
    return at / BRANCHES + ROOT - 1;
}

static uint32_t branches_of(uint32_t at)
{
    return (at - ROOT + 1) * BRANCHES;
}

int heap_reserve(struct heap *heap, uint32_t shares)
{
    if (shares <= heap->room)
        return 0;
    uint32_t room = heap->room > 0 ? 2 * heap->room : FIRST_ROOM;
    if (room < shares)
        room = shares;
    size_t size = (ROOT + (size_t)room) * sizeof *heap->entries;
    struct heap_entry *entries = aligned_alloc(CACHE_LINE, (size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);
    if (entries == NULL)
        return -ENOMEM;
    if (heap->count > 0)
        memcpy(entries + ROOT, heap->entries + ROOT, heap->count * sizeof *entries);
    free(heap->entries);
    heap->entries = entries;
    heap->room = room;
    return 0;
}

void heap_free(struct heap *heap)
{
    free(heap->entries);
    memset(heap, 0, sizeof *heap);
}

static bool is_before(const struct heap_entry *a, const struct heap_entry *b)
{
    if (__builtin_expect(a->key == b->key, 0))
        return a->share->number < b->share->number;
    return a->key < b->key;
}

static void set(struct heap *heap, uint32_t at, const struct heap_entry *entry)
{
    heap->entries[at] = *entry;
    entry->share->place = at;
}

/* Puts the entry where it belongs, from this empty place on towards the root. */
static void rise(struct heap *heap, uint32_t at, const struct heap_entry *entry)
{
    while (at != ROOT && is_before(entry, &heap->entries[parent_of(at)])) {
        set(heap, at, &heap->entries[parent_of(at)]);
        at = parent_of(at);
    }
    set(heap, at, entry);
}

/*
 * The least of four. Nobody can foresee which it is, and neither can a processor: so there is no branch to be
 * foreseen, but for equal keys.
 */
static uint32_t least_of_four(const struct heap_entry *four)
{
    uint32_t a = is_before(&four[1], &four[0]), b = 2 + (uint32_t)is_before(&four[3], &four[2]);
    return a + (b - a) * (uint32_t)is_before(&four[b], &four[a]);
}

static uint32_t least_branch(const struct heap *heap, uint32_t at, uint32_t end)
{
    uint32_t least = branches_of(at);
    if (least + BRANCHES <= end)
        return least + least_of_four(heap->entries + least);
    for (uint32_t branch = least + 1; branch < end; branch++) {
        if (is_before(&heap->entries[branch], &heap->entries[least]))
            least = branch;
    }
    return least;
}

/* The same, away from the root. */
static void sink(struct heap *heap, uint32_t at, const struct heap_entry *entry)
{
    uint32_t end = ROOT + heap->count;
    while (branches_of(at) < end) {
        uint32_t least = least_branch(heap, at, end);
        if (!is_before(&heap->entries[least], entry))
            break;
        set(heap, at, &heap->entries[least]);
        at = least;
    }
    set(heap, at, entry);
}

static void settle(struct heap *heap, uint32_t at, struct heap_entry entry)
{
    if (at != ROOT && is_before(&entry, &heap->entries[parent_of(at)]))
        rise(heap, at, &entry);
    else
        sink(heap, at, &entry);
}

void heap_put(struct heap *heap, struct share *share, double key)
{
    share->key = key;
    uint32_t at = share->place != 0 ? share->place : ROOT + heap->count++;
    settle(heap, at, (struct heap_entry){key, share});
}

void heap_remove(struct heap *heap, struct share *share)
{
    uint32_t at = share->place, last = ROOT + --heap->count;
    share->place = 0;
    if (at != last)
        settle(heap, at, heap->entries[last]);
}

struct share *heap_at(const struct heap *heap, uint32_t at)
{
    return heap->entries[ROOT + at].share;
}
