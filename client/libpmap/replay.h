/*
 * The replay buffer of one job: the items that were put and whose results were not taken, in the batches in
 * which they travel; how far they have been sent; and, for a job without order, which of them had a result
 * and which were taken. Knows nothing of credit or of messages: that is flow's. Pure; one thread at a time;
 * never logs, never exits.
 */
#ifndef PMAP_REPLAY_H
#define PMAP_REPLAY_H

#include "common/batch.h"
#include "common/protocol.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct block;
TAILQ_HEAD(block_list, block);

struct replay {
    struct block_list blocks; /* ascending by index */
    struct block *filling;    /* the last one, while items are still added to it; else NULL */
    struct block *hint;       /* where the last search ended, or NULL */
    struct {                  /* the next record to send */
        struct block *block;  /* NULL: the next one that is made */
        uint32_t record;
        size_t offset;       /* of that record */
        struct batch *piece; /* of a large item, the piece to send; else NULL */
    } cursor;
    bool unordered;
    bool only; /* nothing is sent but only_index: see replay_only */
    uint64_t only_index;
    size_t batch_size;
    uint32_t ranges_max, stones; /* most ranges that may be listed; blocks that are only a range */
    uint64_t total;              /* items put */
    uint64_t flushed;            /* items below this may go although their batch is not full */
    uint64_t wanted;             /* ordered: the item whose result is to be taken next */
    uint64_t kept;               /* credit's cost of all that was not taken */
    const struct range *skips;   /* indices that no item gets; ascending, apart from each other */
    uint32_t skip_count;
    uint32_t skipped;     /* of them, those that `total` has passed */
    uint32_t wanted_skip; /* ordered: those that `wanted` has passed */
    struct range *ranges; /* what the last replay_rewind listed; before it, `skips` is what is listed */
    uint32_t range_count;
};

/* Largest record that goes in one message; what is larger goes in pieces of this size. */
enum { REPLAY_PIECE_MAX = PROTOCOL_MESSAGE_MAX - 4 };

void replay_init(struct replay *r, bool unordered, size_t batch_size, uint32_t ranges_max);

/*
 * Before the first item: these indices are done by other means, so items that are put get the others. The
 * array stays the caller's and must outlive the buffer; ascending, none empty, with at least one index
 * between two ranges.
 */
void replay_skip(struct replay *r, const struct range *skips, uint32_t count);

/* Drops all that is kept; total and wanted stay. */
void replay_drop(struct replay *r);

/* Copies an item to the end. Returns 0 or -ENOMEM (nothing was added). */
int replay_put(struct replay *r, const void *data, size_t len);

/*
 * Cuts what may be sent next out of the batches, and counts it as sent: *items, the index of its first item,
 * and whether it is a piece whose next follows. inlined: only what an OPEN may carry. Returns false when
 * there is nothing (that fits).
 */
bool replay_next(struct replay *r, bool inlined, struct slice *items, uint64_t *first, bool *more);

/* Is there something that replay_next would give? */
bool replay_ready(struct replay *r);
/* Has all that was put been sent? */
bool replay_all_sent(struct replay *r);
/* Items below this index were sent wholly, or need not be sent. */
uint64_t replay_sent(const struct replay *r);

/* Unordered only: notes that the results of [first, first + count) came. Returns 0 or -EPROTO (never sent, or
 * came before; nothing is noted then). *again: some of them had been taken before. */
int replay_got(struct replay *r, uint64_t first, uint32_t count, bool *again);

/* Unordered only: did the result of this item, which was sent, come? */
bool replay_has_got(struct replay *r, uint64_t index);
/* Was its result taken? */
bool replay_is_taken(struct replay *r, uint64_t index);
/* Did all items put have their results, taken or not? Unordered only. */
bool replay_all_got(const struct replay *r);

/*
 * These results were taken: their items need not be kept. *cost: of the items. Ordered: first must be
 * `wanted`. Returns 0 or -EINVAL (unordered: no such result came, or it was taken before).
 */
int replay_taken(struct replay *r, uint64_t first, uint32_t count, uint64_t *cost);

/* The lowest index whose result was not taken. */
uint64_t replay_wanted(const struct replay *r);

/*
 * What OPEN is to list as done: the ranges behind the first index wanted whose items are not sent.
 */
const struct range *replay_done(const struct replay *r, uint32_t *count);

/*
 * Starts sending anew from the first item wanted. replay_done then lists what need not be sent.
 * Where there are more ranges than may be listed, the surplus is sent again, and replay_got says so when it
 * comes. Returns 0 or -ENOMEM (nothing has changed).
 */
int replay_rewind(struct replay *r);

/* Right after replay_rewind, unordered only: until the next one nothing is sent but this item, which was put
 * and not taken. */
void replay_only(struct replay *r, uint64_t index);

/*
 * Items that will never be sent (again): counts the next run of those in *items that were put and not taken,
 * at most `most` of them, as taken; in order those before them first. Returns false when there are none.
 */
bool replay_give_up(struct replay *r, const struct range *items, uint32_t most, uint64_t *first,
                    uint32_t *count);

#endif
