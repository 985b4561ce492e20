/*
 * Items, results and times of the simulation's jobs; see work.h.
 */
#include "tests/sim/work.h"

#include "tests/sim/random.h"

#include <string.h>

/* Different values for different questions about the same item. */
enum { SALT_ITEM = 1, SALT_RESULT, SALT_LENGTH, SALT_RESULT_LENGTH, SALT_LARGE, SALT_FAIL, SALT_TIME };

static uint64_t value(const struct work *work, uint64_t index, unsigned salt)
{
    return mix2(work->seed + salt, index);
}

static bool one_in(const struct work *work, uint64_t index, unsigned salt, uint32_t every)
{
    return every > 0 && value(work, index, salt) % every == 0;
}

static uint32_t length(const struct work *work, uint64_t index, unsigned salt, uint32_t most, uint32_t large)
{
    if (one_in(work, index, SALT_LARGE, work->large_every))
        most = large;
    return (uint32_t)(value(work, index, salt) % ((uint64_t)most + 1));
}

uint32_t work_item_length(const struct work *work, uint64_t index)
{
    return length(work, index, SALT_LENGTH, work->item_max, work->item_large);
}

uint32_t work_result_length(const struct work *work, uint64_t index)
{
    return length(work, index, SALT_RESULT_LENGTH, work->result_max, work->result_large);
}

bool work_fails(const struct work *work, uint64_t index)
{
    return one_in(work, index, SALT_FAIL, work->fail_every);
}

int64_t work_time_ns(const struct work *work, uint64_t index)
{
    uint64_t random = value(work, index, SALT_TIME);
    switch (work->timing) {
    case TIMING_CONSTANT:
        return work->base_ns;
    case TIMING_UNIFORM:
        return (int64_t)(random % (uint64_t)(2 * work->base_ns + 1));
    case TIMING_HEAVY: {
        int doublings = __builtin_ctzll(random | UINT64_C(1) << 12);
        return work->base_ns << doublings;
    }
    case TIMING_SLOW_HEAD:
        return index == 0 ? work->base_ns * 1000 : work->base_ns;
    case TIMING_ZERO:
    case TIMINGS:
        break;
    }
    return 0;
}

/* The bytes of a stream are those of the words mix(seed + k), so any part of it can be had without the rest.
 */
static uint8_t stream_byte(uint64_t seed, size_t offset)
{
    return (uint8_t)(mix(seed + offset / 8) >> (offset % 8 * 8));
}

static void stream_write(uint64_t seed, size_t offset, uint8_t *to, size_t size)
{
    while (size > 0 && offset % 8 != 0) {
        *to++ = stream_byte(seed, offset++);
        size--;
    }
    for (; size >= 8; size -= 8, offset += 8, to += 8) {
        uint64_t word = mix(seed + offset / 8);
        memcpy(to, &word, 8);
    }
    while (size-- > 0)
        *to++ = stream_byte(seed, offset++);
}

static bool stream_equals(uint64_t seed, size_t offset, const uint8_t *data, size_t size)
{
    while (size > 0 && offset % 8 != 0) {
        if (*data++ != stream_byte(seed, offset++))
            return false;
        size--;
    }
    for (; size >= 8; size -= 8, offset += 8, data += 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        if (word != mix(seed + offset / 8))
            return false;
    }
    for (; size > 0; size--) {
        if (*data++ != stream_byte(seed, offset++))
            return false;
    }
    return true;
}

void work_item_bytes(const struct work *work, uint64_t index, size_t offset, uint8_t *to, size_t size)
{
    stream_write(value(work, index, SALT_ITEM), offset, to, size);
}

void work_result_bytes(const struct work *work, uint64_t index, size_t offset, uint8_t *to, size_t size)
{
    stream_write(value(work, index, SALT_RESULT), offset, to, size);
}

bool work_item_right(const struct work *work, uint64_t index, size_t offset, const uint8_t *data, size_t size)
{
    return stream_equals(value(work, index, SALT_ITEM), offset, data, size);
}

bool work_result_right(const struct work *work, uint64_t index, size_t offset, const uint8_t *data,
                       size_t size)
{
    return stream_equals(value(work, index, SALT_RESULT), offset, data, size);
}
