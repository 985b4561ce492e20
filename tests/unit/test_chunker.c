/* The chunker: the properties that each size must have, over many inputs, and the single rules. */
#include "daemon/core/chunker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MS INT64_C(1000000)

static uint64_t draw(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* A number of up to `bits` bits, small ones as likely as large ones. */
static uint64_t draw_scale(uint64_t *state, unsigned bits)
{
    return draw(state) >> (64 - 1 - draw(state) % bits);
}

static void keeps_its_promises(void **unused)
{
    (void)unused;
    uint64_t state = 88172645463325252;
    for (int i = 0; i < 1000000; i++) {
        struct chunker_input in = {
            .item_ns = (double)draw_scale(&state, 50) / 8,
            .last_count = (uint32_t)draw_scale(&state, 32),
            .measured = draw(&state) & 1,
            .queued_items = draw_scale(&state, 62) + 1,
            .slots = (uint32_t)draw_scale(&state, 31) % 1024 + 1,
            .limit = (uint32_t)draw_scale(&state, 32),
            .target_ns = (int64_t)draw_scale(&state, 30) + 1,
        };
        uint32_t count = chunker_count(&in);
        assert_true(count >= 1);
        assert_true(count <= in.queued_items);
        assert_true(in.limit == 0 || count <= in.limit);
        if (in.item_ns <= 0)
            assert_int_equal(count, 1);
        if (count == 1)
            continue;
        assert_true(count * in.item_ns <= (double)in.target_ns); /* one item may take longer, two may not */
        if (in.measured && in.last_count > 0)
            assert_true(count <= 8ULL * in.last_count);
    }
}

static uint32_t count_for(double item_ns, uint32_t last, uint64_t queued, uint32_t slots)
{
    struct chunker_input in = {.item_ns = item_ns,
                               .last_count = last,
                               .measured = 1,
                               .queued_items = queued,
                               .slots = slots,
                               .target_ns = 10 * MS};
    return chunker_count(&in);
}

static void grows_to_the_target(void **unused)
{
    (void)unused;
    assert_int_equal(count_for(1000, 1, 1 << 30, 4), 8);
    assert_int_equal(count_for(1000, 8, 1 << 30, 4), 64);
    assert_int_equal(count_for(1000, 64, 1 << 30, 4), 512);
    assert_int_equal(count_for(1000, 100000, 1 << 30, 4), 10000); /* 10 ms */
    assert_int_equal(count_for(0, 100000, 1 << 30, 4), 1);        /* not measured yet */
    assert_int_equal(count_for(20 * (double)MS, 100, 1 << 30, 4), 1);
}

static void takes_a_hint_at_its_word(void **unused)
{
    (void)unused;
    struct chunker_input in = {
        .item_ns = 1000, .last_count = 1, .queued_items = 1 << 30, .slots = 4, .target_ns = 10 * MS};
    assert_int_equal(chunker_count(&in), 10000);
}

/* The tail: never more than half of an even part, so that all slots finish together. */
static void splits_the_tail(void **unused)
{
    (void)unused;
    uint64_t queued = 1000;
    uint32_t chunks = 0, last = UINT32_MAX;
    while (queued > 0) {
        uint32_t count = count_for(1 * (double)MS, 1000, queued, 4);
        assert_true(count <= last);
        assert_true(count <= (queued + 7) / 8);
        queued -= count;
        last = count;
        chunks++;
    }
    assert_int_equal(last, 1);
    assert_true(chunks >= 100 && chunks < 140); /* 10 ms each, and some small ones */
    /* But not into chunks of less than 100 us. */
    assert_int_equal(count_for(1000, 1000, 200, 4), 100); /* what is worth a message */
    assert_int_equal(count_for(1000, 1000, 30, 4), 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_its_promises),
        cmocka_unit_test(grows_to_the_target),
        cmocka_unit_test(takes_a_hint_at_its_word),
        cmocka_unit_test(splits_the_tail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
