/*
 * The replay buffer; see replay.h. A list of blocks, each a batch of items (or one large item in pieces) that
 * is kept until all its results were taken.
 *
 * Without order, results come from anywhere. A block has two bits for each record: `got`, the daemon owes
 * nothing for it any more, and `taken`, the caller has its result. A block in the middle of the list all of
 * whose records are taken gives its memory back and stays as a stone, which only says that its range is done;
 * neighbouring stones are one. The number of stones is limited so that OPEN can always list them: what is a
 * stone cannot be sent again. A block is kept for as long as one record of it is wanted; as the daemon runs
 * items nearly in order, the number of such blocks is about that of the chunks in flight.
 */
#include "client/libpmap/block.h"

#include <errno.h>
#include <stdlib.h>

void replay_init(struct replay *r, bool unordered, size_t batch_size, uint32_t ranges_max)
{
    *r = (struct replay){.unordered = unordered, .batch_size = batch_size, .ranges_max = ranges_max};
    TAILQ_INIT(&r->blocks);
}

/* Moves an index that stands at the beginning of a range that is skipped behind it. */
static void jump(const struct replay *r, uint64_t *index, uint32_t *passed)
{
    if (*passed < r->skip_count && r->skips[*passed].from == *index)
        *index = r->skips[(*passed)++].to;
}

void replay_skip(struct replay *r, const struct range *skips, uint32_t count)
{
    r->skips = skips;
    r->skip_count = count;
    jump(r, &r->total, &r->skipped);
    jump(r, &r->wanted, &r->wanted_skip);
}

void replay_cursor_to(struct replay *r, struct block *b)
{
    r->cursor.block = b;
    r->cursor.record = 0;
    r->cursor.offset = 0;
    r->cursor.piece = b && b->batch && b->batch->next_piece ? b->batch : NULL;
}

static void remove_block(struct replay *r, struct block *b)
{
    struct block *after = TAILQ_NEXT(b, link);
    if (r->cursor.block == b)
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): nothing is in a list twice, so it is there still */
        replay_cursor_to(r, after);
    if (r->hint == b)
        r->hint = NULL;
    if (r->filling == b)
        r->filling = NULL;
    TAILQ_REMOVE(&r->blocks, b, link);
    r->kept -= b->kept;
    if (!b->batch)
        r->stones--;
    batch_unref(b->batch);
    free(b);
}

void replay_drop(struct replay *r)
{
    struct block *b;
    while ((b = TAILQ_FIRST(&r->blocks)))
        remove_block(r, b);
    free(r->ranges);
    r->ranges = NULL;
    r->range_count = 0;
}

/* Is nothing of the block wanted any more, by nobody? */
static bool is_finished(const struct replay *r, const struct block *b)
{
    if (!b->batch)
        return true;
    uint32_t count = block_count(b);
    return b != r->filling && b->taken == count && (!r->unordered || b->got == count);
}

void replay_settle(struct replay *r, struct block *b)
{
    if (!is_finished(r, b))
        return;
    if (b == TAILQ_FIRST(&r->blocks)) {
        struct block *after;
        do {
            after = TAILQ_NEXT(b, link);
            remove_block(r, b);
            b = after;
        } while (b && is_finished(r, b));
        return;
    }
    struct block *before = TAILQ_PREV(b, block_list, link), *after = TAILQ_NEXT(b, link);
    if (!before->batch) {
        before->end = b->end;
        if (after && !after->batch) {
            before->end = after->end;
            remove_block(r, after);
        }
        remove_block(r, b);
    } else if (after && !after->batch) {
        after->first = b->first;
        remove_block(r, b);
    } else if (r->stones + r->skip_count < r->ranges_max / 2) {
        batch_unref(b->batch);
        b->batch = NULL;
        r->stones++;
        if (r->cursor.block == b)
            replay_cursor_to(r, b);
    }
}

/* A block of its own for `batch`, whose reference it takes; at the end of the list. NULL when memory is
 * short. */
static struct block *add_block(struct replay *r, struct batch *batch, uint32_t capacity)
{
    uint32_t words = r->unordered ? (capacity + 63) / 64 : 0;
    struct block *b = calloc(1, sizeof *b + 2 * sizeof(uint64_t) * words);
    if (!b)
        return NULL;
    b->batch = batch;
    b->words = words;
    b->first = b->end = r->total;
    TAILQ_INSERT_TAIL(&r->blocks, b, link);
    if (!r->cursor.block)
        replay_cursor_to(r, b);
    return b;
}

/* The filling block gets no more items. */
static void close_filling(struct replay *r)
{
    struct block *b = r->filling;
    r->filling = NULL;
    if (b)
        replay_settle(r, b);
}

/* A chain of pieces with a copy of the item; NULL when memory is short. */
static struct batch *copy_in_pieces(const uint8_t *data, size_t len, uint64_t *cost)
{
    struct batch *head = NULL, **end = &head;
    uint64_t sum = 0;
    while (len > 0) {
        size_t part = len < REPLAY_PIECE_MAX ? len : REPLAY_PIECE_MAX;
        struct batch *piece = batch_new(1, part);
        if (!piece || batch_append(piece, data, part) < 0) {
            batch_unref(piece);
            batch_unref(head);
            return NULL;
        }
        sum += batch_cost(piece);
        data += part;
        len -= part;
        piece->more = len > 0;
        *end = piece;
        end = &piece->next_piece;
    }
    *cost = sum;
    return head;
}

static int put_large(struct replay *r, const void *data, size_t len)
{
    uint64_t cost = 0;
    struct batch *batch = copy_in_pieces(data, len, &cost);
    if (!batch)
        return -ENOMEM;
    close_filling(r);
    struct block *b = add_block(r, batch, 1);
    if (!b) {
        batch_unref(batch);
        return -ENOMEM;
    }
    b->end++;
    b->kept = cost;
    r->kept += cost;
    r->total++;
    jump(r, &r->total, &r->skipped);
    return 0;
}

int replay_put(struct replay *r, const void *data, size_t len)
{
    if (len > REPLAY_PIECE_MAX)
        return put_large(r, data, len);
    struct block *b = r->filling;
    if (!b || batch_append(b->batch, data, len) < 0) {
        uint32_t records = (uint32_t)(r->batch_size / RECORD_COST) + 1;
        struct batch *batch = batch_new(records, len > r->batch_size ? len : r->batch_size);
        if (!batch || batch_append(batch, data, len) < 0) {
            batch_unref(batch);
            return -ENOMEM;
        }
        close_filling(r);
        b = add_block(r, batch, records);
        if (!b) {
            batch_unref(batch);
            return -ENOMEM;
        }
        r->filling = b;
    }
    b->end++;
    b->kept += len + RECORD_COST;
    r->kept += len + RECORD_COST;
    r->total++;
    jump(r, &r->total, &r->skipped);
    if (batch_cost(b->batch) >= r->batch_size || r->total != b->end) /* a block's indices have no gap */
        close_filling(r);
    return 0;
}

/* Moves the cursor to the next record that is to be sent and may be; false when there is none. */
static bool seek(struct replay *r)
{
    if (r->only) {
        const struct block *b = r->cursor.block;
        return b && b->batch && b->first + r->cursor.record == r->only_index;
    }
    for (;;) {
        struct block *b = r->cursor.block;
        if (!b)
            return false;
        if (b->batch) {
            uint32_t count = block_count(b), end = count;
            if (b == r->filling && r->flushed < b->end)
                end = r->flushed > b->first ? (uint32_t)(r->flushed - b->first) : 0;
            uint32_t i = r->cursor.record;
            if (r->unordered)
                for (; i < end && bit_of(got_bits(b), i); i++)
                    r->cursor.offset += batch_length(b->batch, i);
            r->cursor.record = i;
            if (i < end)
                return true;
            if (b == r->filling)
                return false;
        }
        struct block *after = TAILQ_NEXT(b, link);
        if (!after)
            return false;
        replay_cursor_to(r, after);
    }
}

bool replay_ready(struct replay *r)
{
    return seek(r);
}

bool replay_all_sent(struct replay *r)
{
    if (seek(r))
        return false;
    const struct block *b = r->cursor.block;
    return r->only || !b || !b->batch || r->cursor.record >= block_count(b);
}

uint64_t replay_sent(const struct replay *r)
{
    const struct block *b = r->cursor.block;
    if (!b)
        return r->total;
    return b->batch ? b->first + r->cursor.record : b->end;
}

/* The records from the cursor on that may go as one message. After seek(). */
static struct slice run_at_cursor(const struct replay *r)
{
    struct block *b = r->cursor.block;
    uint32_t count = block_count(b), end = count;
    if (b == r->filling && r->flushed < b->end)
        end = (uint32_t)(r->flushed - b->first);
    struct slice run = {.batch = b->batch, .first = r->cursor.record, .offset = r->cursor.offset};
    uint32_t i = run.first;
    if (r->only)
        i++;
    else if (r->unordered)
        while (i < end && !bit_of(got_bits(b), i))
            i++;
    else
        i = end;
    run.count = i - run.first;
    if (i == count)
        run.size = b->batch->size - run.offset;
    else
        for (uint32_t k = run.first; k < i; k++)
            run.size += batch_length(b->batch, k);
    return run;
}

bool replay_next(struct replay *r, bool inlined, struct slice *items, uint64_t *first, bool *more)
{
    if (!seek(r))
        return false;
    struct block *b = r->cursor.block;
    struct batch *piece = r->cursor.piece;
    struct slice run;
    if (piece) {
        if (inlined)
            return false;
        run = (struct slice){.batch = piece, .count = 1, .size = piece->size};
    } else {
        run = run_at_cursor(r);
        if (inlined) {
            if (batch_length(b->batch, run.first) > PROTOCOL_INLINE_MAX)
                return false;
            if (run.size > PROTOCOL_INLINE_MAX || run.count > PROTOCOL_INLINE_MAX / 4) {
                struct slice rest = run;
                run = slice_cut(&rest, PROTOCOL_INLINE_MAX / 4, PROTOCOL_INLINE_MAX);
            }
        }
    }
    *items = run;
    *first = b->first + r->cursor.record;
    *more = piece && piece->next_piece;
    if (*more) {
        r->cursor.piece = piece->next_piece;
    } else {
        r->cursor.record += run.count;
        r->cursor.offset += run.size;
    }
    return true;
}

struct block *replay_find(struct replay *r, uint64_t index)
{
    struct block *b = r->hint && r->hint->first <= index ? r->hint : TAILQ_FIRST(&r->blocks);
    while (b && b->end <= index)
        b = TAILQ_NEXT(b, link);
    if (!b || b->first > index)
        return NULL;
    r->hint = b;
    return b;
}

/*
 * Are all items of [first, end) in blocks (no stones), with their bits as `got` and `taken` say? -1: either
 * will do.
 */
static bool all_are(struct replay *r, uint64_t first, uint64_t end, int got, int taken)
{
    struct block *b = replay_find(r, first);
    while (first < end) {
        if (!b || !b->batch || b->first > first)
            return false;
        for (; first < end && first < b->end; first++) {
            uint32_t i = (uint32_t)(first - b->first);
            if ((got >= 0 && bit_of(got_bits(b), i) != got) ||
                (taken >= 0 && bit_of(taken_bits(b), i) != taken))
                return false;
        }
        b = TAILQ_NEXT(b, link);
    }
    return true;
}

int replay_got(struct replay *r, uint64_t first, uint32_t count, bool *again)
{
    uint64_t sent = replay_sent(r), end = first + count;
    if (first > sent || count > sent - first || !all_are(r, first, end, 0, -1))
        return -EPROTO;
    bool seen = false;
    while (first < end) {
        struct block *b = replay_find(r, first);
        for (; first < end && first < b->end; first++) {
            uint32_t i = (uint32_t)(first - b->first);
            bit_set(got_bits(b), i);
            b->got++;
            seen |= bit_of(taken_bits(b), i);
        }
        replay_settle(r, b); /* it may have been taken before */
    }
    *again = seen;
    return 0;
}

bool replay_has_got(struct replay *r, uint64_t index)
{
    struct block *b = replay_find(r, index);
    return !b || !b->batch || bit_of(got_bits(b), (uint32_t)(index - b->first));
}

bool replay_is_taken(struct replay *r, uint64_t index)
{
    if (!r->unordered)
        return index < r->wanted;
    struct block *b = replay_find(r, index);
    if (!b)
        return index < r->total;
    return !b->batch || bit_of(taken_bits(b), (uint32_t)(index - b->first));
}

bool replay_all_got(const struct replay *r)
{
    const struct block *b;
    TAILQ_FOREACH (b, &r->blocks, link)
        if (b->batch && b->got != block_count(b))
            return false;
    return true;
}

static int taken_in_order(struct replay *r, uint32_t count, uint64_t *cost)
{
    uint64_t sum = 0;
    while (count > 0) {
        struct block *b = TAILQ_FIRST(&r->blocks);
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): TAILQ_REMOVE has set the head, through tqe_prev */
        uint64_t left = b->end - r->wanted;
        uint32_t n = count < left ? count : (uint32_t)left;
        uint64_t part = 0;
        if (n == left)
            part = b->kept;
        else
            for (uint32_t i = (uint32_t)(r->wanted - b->first), k = 0; k < n; k++)
                part += batch_length(b->batch, i + k) + RECORD_COST;
        b->kept -= part;
        r->kept -= part;
        sum += part;
        b->taken += n;
        r->wanted += n;
        count -= n;
        jump(r, &r->wanted, &r->wanted_skip);
        replay_settle(r, b);
    }
    *cost = sum;
    return 0;
}

int replay_taken(struct replay *r, uint64_t first, uint32_t count, uint64_t *cost)
{
    uint64_t end = first + count, sum = 0;
    if (!r->unordered) {
        /* What is skipped has no results, so a run of them ends before it. */
        uint64_t until = r->wanted_skip < r->skip_count ? r->skips[r->wanted_skip].from : UINT64_MAX;
        if (first != r->wanted || count > r->total - first || count > until - first)
            return -EINVAL;
        return taken_in_order(r, count, cost);
    }
    if (first > r->total || count > r->total - first || !all_are(r, first, end, 1, 0))
        return -EINVAL;
    while (first < end) {
        struct block *b = replay_find(r, first);
        uint64_t part = 0;
        for (; first < end && first < b->end; first++) {
            uint32_t i = (uint32_t)(first - b->first);
            bit_set(taken_bits(b), i);
            b->taken++;
            part += b->batch->next_piece ? b->kept : batch_length(b->batch, i) + RECORD_COST;
        }
        b->kept -= part;
        r->kept -= part;
        sum += part;
        replay_settle(r, b);
    }
    *cost = sum;
    return 0;
}

uint64_t replay_wanted(const struct replay *r)
{
    if (!r->unordered)
        return r->wanted;
    struct block *b;
    TAILQ_FOREACH (b, &r->blocks, link) {
        uint32_t count = block_count(b);
        for (uint32_t i = 0; b->batch && b->taken < count && i < count; i++)
            if (!bit_of(taken_bits(b), i))
                return b->first + i;
    }
    return r->total;
}
