/*
 * The replay buffer when the daemon is lost: what the next one is told to be done, where sending begins anew,
 * and what is not sent again; see replay.h.
 */
#include "client/libpmap/block.h"

#include <errno.h>
#include <stdlib.h>

/* Adds [from, to) to what is done, joined to the range before it where they touch; false when there are
 * `most`. */
static bool list_range(struct range *ranges, uint32_t *count, uint32_t most, uint64_t from, uint64_t to)
{
    if (*count > 0 && from <= ranges[*count - 1].to) {
        if (to > ranges[*count - 1].to)
            ranges[*count - 1].to = to;
        return true;
    }
    if (*count >= most)
        return false;
    ranges[(*count)++] = (struct range){from, to};
    return true;
}

/* Lists the block's runs of taken records and sets `got` to what the daemon will not be asked for again. */
static void list_block(struct replay *r, struct block *b, uint64_t wanted, uint32_t most)
{
    uint32_t count = block_count(b);
    b->got = 0;
    for (uint32_t i = 0; i < count;) {
        bool taken = bit_of(taken_bits(b), i);
        uint32_t from = i;
        while (i < count && bit_of(taken_bits(b), i) == taken)
            i++;
        bool listed = taken && (b->first + i <= wanted ||
                                list_range(r->ranges, &r->range_count, most, b->first + from, b->first + i));
        for (uint32_t k = from; k < i; k++)
            (listed ? bit_set : bit_clear)(got_bits(b), k);
        if (listed)
            b->got += i - from;
    }
}

/* Lists the ranges that are skipped anyway and begin before `until`. */
static void list_skips(struct replay *r, uint32_t *next, uint64_t wanted, uint64_t until)
{
    for (; *next < r->skip_count && r->skips[*next].from < until; ++*next)
        if (r->skips[*next].to > wanted)
            list_range(r->ranges, &r->range_count, UINT32_MAX, r->skips[*next].from, r->skips[*next].to);
}

const struct range *replay_done(const struct replay *r, uint32_t *count)
{
    if (r->ranges) {
        *count = r->range_count;
        return r->ranges;
    }
    /* Ordered, or nothing was taken yet: what is skipped is all, and lies wholly before or behind `wanted`.
     */
    uint32_t passed = r->wanted_skip;
    *count = r->skip_count - passed;
    return *count > 0 ? r->skips + passed : NULL;
}

/* Lists all that is done behind the first index wanted: from the blocks, and what is skipped. */
static int list_done(struct replay *r)
{
    size_t room = (size_t)r->ranges_max + r->skip_count;
    if (!r->ranges && !(r->ranges = malloc(room * sizeof *r->ranges)))
        return -ENOMEM;
    uint64_t wanted = replay_wanted(r);
    /* These have to be listed, whatever else there is room for. */
    uint32_t reserved = r->stones + r->skip_count, next = 0;
    struct block *b;
    r->range_count = 0;
    TAILQ_FOREACH (b, &r->blocks, link) {
        uint32_t before = next;
        list_skips(r, &next, wanted, b->first);
        reserved -= next - before;
        if (b->batch) {
            list_block(r, b, wanted, r->ranges_max > reserved ? r->ranges_max - reserved : 0);
            continue;
        }
        reserved--;
        if (b->end > wanted)
            list_range(r->ranges, &r->range_count, UINT32_MAX, b->first, b->end);
    }
    list_skips(r, &next, wanted, UINT64_MAX);
    return 0;
}

int replay_rewind(struct replay *r)
{
    int rc = r->unordered ? list_done(r) : 0;
    if (rc < 0)
        return rc;
    struct block *b = TAILQ_FIRST(&r->blocks);
    r->only = false;
    replay_cursor_to(r, b);
    if (b && !r->unordered) {
        uint32_t skip = (uint32_t)(r->wanted - b->first);
        for (uint32_t i = 0; i < skip; i++)
            r->cursor.offset += batch_length(b->batch, i);
        r->cursor.record = skip;
    }
    /* What was got late only because it was not listed the last time may be finished now. */
    if (b && r->unordered)
        replay_settle(r, b);
    return 0;
}

void replay_only(struct replay *r, uint64_t index)
{
    struct block *b = replay_find(r, index);
    r->only = true;
    r->only_index = index;
    replay_cursor_to(r, b);
    for (; b && b->first + r->cursor.record < index; r->cursor.record++)
        r->cursor.offset += batch_length(b->batch, r->cursor.record);
}

/* Without order: the next run in one block. */
static bool give_up_some(struct replay *r, uint64_t from, uint64_t limit, uint32_t most, uint64_t *first,
                         uint32_t *count)
{
    uint64_t index = from, cost;
    while (index < limit && replay_is_taken(r, index))
        index++;
    struct block *b = replay_find(r, index);
    if (index >= limit || !b)
        return false;
    uint32_t at = (uint32_t)(index - b->first), n = 0;
    while (n < most && index + n < limit && index + n < b->end && !bit_of(taken_bits(b), at + n)) {
        if (!bit_of(got_bits(b), at + n))
            b->got++;
        bit_set(got_bits(b), at + n++);
    }
    *first = index;
    *count = n;
    return replay_taken(r, index, n, &cost) == 0;
}

bool replay_give_up(struct replay *r, const struct range *items, uint32_t most, uint64_t *first,
                    uint32_t *count)
{
    uint64_t wanted = replay_wanted(r), until = items->to < r->total ? items->to : r->total, cost;
    if (r->unordered)
        return give_up_some(r, items->from > wanted ? items->from : wanted, until, most, first, count);
    uint64_t skip = r->wanted_skip < r->skip_count ? r->skips[r->wanted_skip].from : UINT64_MAX;
    if (until > skip)
        until = skip;
    if (wanted >= until)
        return false;
    *first = wanted;
    *count = until - wanted < most ? (uint32_t)(until - wanted) : most;
    return replay_taken(r, *first, *count, &cost) == 0;
}
