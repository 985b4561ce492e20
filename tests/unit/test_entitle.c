/* Entitlement: who is due how many slots. */
#include "daemon/core/entitle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MANY = 10000 };

/* Entitles `count` claims of these weights and wants; compares what they are due. */
static void check(double slots, size_t count, const double *weights, const double *wants, const double *dues)
{
    struct claim claims[8];
    size_t places[8];
    assert_true(count <= 8);
    for (size_t i = 0; i < count; i++) {
        places[i] = i;
        claims[i] = (struct claim){&places[i], weights[i], wants[i], -1};
    }
    entitle(claims, count, slots);
    for (size_t i = 0; i < count; i++) {
        size_t place = *(const size_t *)claims[i].who;
        if (claims[i].due < dues[place] - 1e-9 || claims[i].due > dues[place] + 1e-9)
            fail_msg("claim %zu is due %g, not %g", place, claims[i].due, dues[place]);
    }
}

#define LIST(...)                                                                                            \
    (const double[])                                                                                         \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }

static void shares_by_weight(void **unused)
{
    (void)unused;
    entitle(NULL, 0, 4);
    check(4, 1, LIST(1), LIST(9), LIST(4));
    check(4, 2, LIST(1, 1), LIST(9, 9), LIST(2, 2));
    check(3, 2, LIST(2, 1), LIST(9, 9), LIST(2, 1));
    check(2, 3, LIST(1, 1, 1), LIST(9, 9, 9), LIST(2 / 3.0, 2 / 3.0, 2 / 3.0));
}

static void leaves_to_the_others_what_is_not_wanted(void **unused)
{
    (void)unused;
    check(4, 1, LIST(1), LIST(1), LIST(1));
    check(4, 2, LIST(1, 1), LIST(1, 9), LIST(1, 3));
    check(4, 2, LIST(1, 1), LIST(9, 1), LIST(3, 1));
    check(4, 2, LIST(1, 1), LIST(0, 9), LIST(0, 4));
    /* What one leaves goes to the others by weight, which may satisfy the next one, and so on. */
    check(12, 4, LIST(1, 1, 1, 1), LIST(1, 3.5, 9, 9), LIST(1, 3.5, 3.75, 3.75));
    check(12, 4, LIST(4, 1, 1, 2), LIST(2, 9, 2, 9), LIST(2, 8 / 3.0, 2, 16 / 3.0));
    /* Nobody wants the rest. */
    check(100, 3, LIST(5, 1, 1), LIST(2, 3, 4), LIST(2, 3, 4));
}

static void gives_out_all_slots_among_many(void **unused)
{
    (void)unused;
    struct claim *claims = calloc(MANY, sizeof *claims);
    assert_non_null(claims);
    for (size_t i = 0; i < MANY; i++)
        claims[i] = (struct claim){NULL, 1 + i % 7, (double)(i % 13), -1};
    entitle(claims, MANY, 4096);
    double sum = 0, level = 0;
    for (size_t i = 0; i < MANY; i++) {
        sum += claims[i].due;
        assert_true(claims[i].due >= 0 && claims[i].due <= claims[i].most);
        if (claims[i].due < claims[i].most && level == 0)
            level = claims[i].due / claims[i].weight;
    }
    assert_true(sum > 4096 - 1e-6 && sum < 4096 + 1e-6);
    /* Who has less than it wants has as much by weight as the others of these; who has what it wants, no
     * more. */
    for (size_t i = 0; i < MANY; i++) {
        double part = claims[i].due / claims[i].weight;
        assert_true(part <= level * (1 + 1e-9));
        assert_true(claims[i].due == claims[i].most || part >= level * (1 - 1e-9));
    }
    free(claims);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_by_weight),
        cmocka_unit_test(leaves_to_the_others_what_is_not_wanted),
        cmocka_unit_test(gives_out_all_slots_among_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
