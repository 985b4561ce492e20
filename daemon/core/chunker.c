/*
 * Chunk sizes: small at first, then by the measured time per item to take about the target, and never so
 * large that one slot is left with the job's tail while others are free (guided self-scheduling: C. D.
 * Polychronopoulos and D. J. Kuck, IEEE Transactions on Computers C-36, 1987).
 */
#include "daemon/core/chunker.h"

/* Shorter chunks are not worth a message to a further slot (one costs a worker and the broker about 3 µs). */
enum { WORTHWHILE_NS = 100000 };

/* How much larger than its predecessor a chunk may be while the measurement is young. */
enum { GROWTH = 8 };

uint32_t chunker_count(const struct chunker_input *in)
{
    uint64_t limit = in->limit != 0 && in->limit < in->queued_items ? in->limit : in->queued_items;
    if (limit > UINT32_MAX)
        limit = UINT32_MAX;
    uint32_t least = in->least < limit ? in->least : (uint32_t)limit;
    if (in->item_ns <= 0)
        return least > 1 ? least : 1;

    double by_time = (double)in->target_ns / in->item_ns;
    uint64_t by_share = (in->queued_items + 2 * (uint64_t)in->slots - 1) / (2 * (uint64_t)in->slots);
    double worthwhile = WORTHWHILE_NS / in->item_ns;
    double count = (double)by_share > worthwhile ? (double)by_share : worthwhile;
    if (count > by_time)
        count = by_time;
    if (in->measured && in->last_count != 0 && count > (double)GROWTH * in->last_count)
        count = (double)GROWTH * in->last_count;
    if (count < least)
        count = least;
    if (count < 1)
        return 1;
    return count < (double)limit ? (uint32_t)count : (uint32_t)limit;
}
