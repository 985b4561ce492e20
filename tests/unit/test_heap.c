/* The heap against a search through all shares: puts, moves and removals by a seed, many keys equal. */
#include "daemon/core/heap.h"

#include "tests/sim/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { SHARES = 300 };

struct world {
    struct heap heap;
    struct share shares[SHARES];
};

static void begin(struct world *world, uint32_t shares)
{
    memset(world, 0, sizeof *world);
    for (uint32_t i = 0; i < SHARES; i++)
        share_init(&world->shares[i], 1, (i * 7919) % SHARES); /* in no order */
    assert_int_equal(heap_reserve(&world->heap, shares), 0);
}

static struct share *search(struct world *world, uint32_t *count)
{
    struct share *first = NULL;
    *count = 0;
    for (uint32_t i = 0; i < SHARES; i++) {
        struct share *share = &world->shares[i];
        if (share->place == 0)
            continue;
        ++*count;
        if (first == NULL || share->key < first->key ||
            (share->key == first->key && share->number < first->number))
            first = share;
    }
    return first;
}

static void assert_first(struct world *world)
{
    uint32_t count;
    assert_ptr_equal(heap_first(&world->heap), search(world, &count));
    assert_int_equal(world->heap.count, count);
}

static void finds_the_least_key(void **unused)
{
    (void)unused;
    static struct world world;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct random random = {seed};
        begin(&world, SHARES);
        uint64_t keys = seed % 2 == 0 ? 10 : 1000000;
        for (int i = 0; i < 3000; i++) {
            struct share *share = &world.shares[random_between(&random, 0, SHARES - 1)];
            if (share->place != 0 && random_between(&random, 0, 2) == 0)
                heap_remove(&world.heap, share);
            else
                heap_put(&world.heap, share, (double)random_between(&random, 0, keys));
            assert_first(&world);
        }
        struct share *first;
        while ((first = heap_first(&world.heap)) != NULL) {
            heap_remove(&world.heap, first);
            assert_int_equal(first->place, 0);
            assert_first(&world);
        }
        heap_free(&world.heap);
    }
}

static void hands_out_all_that_are_in(void **unused)
{
    (void)unused;
    static struct world world;
    begin(&world, 30);
    for (uint32_t i = 0; i < 30; i++)
        heap_put(&world.heap, &world.shares[i], 100 - i);
    assert_ptr_equal(heap_at(&world.heap, 0), heap_first(&world.heap));
    uint32_t seen = 0;
    for (uint32_t i = 0; i < world.heap.count; i++)
        seen |= 1U << (heap_at(&world.heap, i) - world.shares);
    assert_int_equal(seen, (1U << 30) - 1);
    heap_free(&world.heap);
}

static void keeps_what_is_in_when_it_grows(void **unused)
{
    (void)unused;
    static struct world world;
    begin(&world, 1);
    for (uint32_t i = 0; i < SHARES; i++) {
        assert_int_equal(heap_reserve(&world.heap, i + 1), 0);
        heap_put(&world.heap, &world.shares[i], SHARES - i);
        assert_first(&world);
    }
    assert_int_equal(heap_reserve(&world.heap, 1), 0); /* never less than there is */
    heap_free(&world.heap);
    assert_null(heap_first(&world.heap));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_least_key),
        cmocka_unit_test(hands_out_all_that_are_in),
        cmocka_unit_test(keeps_what_is_in_when_it_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
