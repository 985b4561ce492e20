/*
 * Batches: making, counting and cutting them. The only place that writes through a batch's const fields: what
 * it writes there is memory that it allocated itself, behind the part that anybody else may look at.
 */
#include "common/batch.h"

#include <errno.h>
#include <stdlib.h>

/* Sum of `count` lengths. 2^32 records of 2^32 - 1 bytes fit in 64 bits, so this cannot overflow. */
static uint64_t sum_lengths(const uint8_t *lengths, size_t count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += load_u32(lengths + 4 * i);
    return sum;
}

int batch_init(struct batch *batch, const void *lengths, size_t lengths_size, const void *bytes, size_t size,
               void (*release)(struct batch *))
{
    size_t count = lengths_size / 4;
    if (count == 0 || lengths_size % 4 != 0 || count > UINT32_MAX)
        return -EPROTO;
    if (sum_lengths(lengths, count) != size)
        return -EPROTO;
    memset(batch, 0, sizeof *batch);
    atomic_init(&batch->refs, 1);
    batch->count = (uint32_t)count;
    batch->lengths = lengths;
    batch->bytes = bytes;
    batch->size = size;
    batch->release = release;
    return 0;
}

static void release_own(struct batch *batch)
{
    free(batch);
}

struct batch *batch_new(uint32_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow((size_t)count, 4, &total) || __builtin_add_overflow(total, size, &total) ||
        __builtin_add_overflow(total, sizeof(struct batch), &total))
        return NULL;
    struct batch *batch = malloc(total);
    if (!batch)
        return NULL;
    memset(batch, 0, sizeof *batch);
    atomic_init(&batch->refs, 1);
    batch->lengths = (uint8_t *)(batch + 1);
    batch->bytes = batch->lengths + 4 * (size_t)count;
    batch->count_capacity = count;
    batch->size_capacity = size;
    batch->release = release_own;
    return batch;
}

int batch_append(struct batch *batch, const void *data, size_t len)
{
    /* Batches of received frames have no capacity, so nothing is ever written into those. */
    if (batch->count >= batch->count_capacity || len > batch->size_capacity - batch->size || len > UINT32_MAX)
        return -ENOSPC;
    if (len > 0)
        memcpy((uint8_t *)batch->bytes + batch->size, data, len);
    store_u32((uint8_t *)batch->lengths + 4 * (size_t)batch->count, (uint32_t)len);
    batch->size += len;
    batch->count++;
    return 0;
}

struct batch *batch_ref(struct batch *batch)
{
    atomic_fetch_add_explicit(&batch->refs, 1, memory_order_relaxed);
    return batch;
}

void batch_unref(struct batch *batch)
{
    /* Acquire and release: who frees it must see everything that the others did with it before they let go.
     */
    while (batch && atomic_fetch_sub_explicit(&batch->refs, 1, memory_order_acq_rel) == 1) {
        struct batch *next = batch->next_piece;
        if (batch->release)
            batch->release(batch);
        batch = next;
    }
}

struct slice slice_all(struct batch *batch)
{
    return (struct slice){.batch = batch, .count = batch->count, .size = batch->size};
}

struct slice slice_cut(struct slice *rest, uint32_t max_count, size_t max_size)
{
    struct slice cut = *rest;
    if (rest->count > max_count || rest->size > max_size) {
        const uint8_t *length = rest->batch->lengths + 4 * (size_t)rest->first;
        uint32_t most = rest->count < max_count ? rest->count : max_count;
        uint32_t count = 1;
        size_t size = load_u32(length);
        while (count < most) {
            size_t more = load_u32(length + 4 * (size_t)count);
            if (size > max_size || more > max_size - size)
                break;
            size += more;
            count++;
        }
        cut.count = count;
        cut.size = size;
    }
    rest->first += cut.count;
    rest->count -= cut.count;
    rest->offset += cut.size;
    rest->size -= cut.size;
    return cut;
}

uint64_t slice_cost(const struct slice *slice)
{
    uint64_t cost = slice->size + (uint64_t)RECORD_COST * slice->count;
    if (slice->count == 0)
        return cost;
    for (const struct batch *piece = slice->batch->next_piece; piece; piece = piece->next_piece)
        cost += batch_cost(piece);
    return cost;
}
