/*
 * daemon/common/config.h: what the configuration says of one user: may he, and how much. The users are given
 * by number, since none but root is on every machine.
 */
#include "tests/unit/config_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool allows(const struct config *c, uid_t uid, const gid_t *groups, size_t group_count)
{
    return config_keeps_out(c, uid, groups, group_count) == NULL;
}

static void test_whose_limit(void **state)
{
    const gid_t groups[] = {50, 60};
    struct config c;

    (void)state;
    assert_int_equal(
        rig_read_text("[group 60]\njobs = 5\n[user 7]\nweight = 2\njobs = 6\n[group 50]\nslots = 1\n", &c),
        0);
    assert_string_equal(config_limit_section(&c, 7, groups, 2, "jobs"), "user 7");
    assert_string_equal(config_limit_section(&c, 8, groups, 2, "jobs"), "group 60");
    assert_string_equal(config_limit_section(&c, 7, groups, 2, "slots"),
                        "defaults"); /* the first group is it */
    assert_string_equal(config_limit_section(&c, 8, groups, 1, "slots"), "group 50");
    assert_string_equal(config_limit_section(&c, 8, NULL, 0, "jobs"), "defaults");
    config_free(&c);
}

static void test_access(void **state)
{
    const gid_t groups[] = {50, 60};
    struct config c;

    (void)state;
    assert_int_equal(rig_read_text("[access]\nallow = 7, @60\ndeny = 8 @70\nadmin = @50\n", &c), 0);
    assert_true(allows(&c, 7, NULL, 0));
    assert_false(allows(&c, 9, NULL, 0));
    assert_true(allows(&c, 9, groups, 2));
    assert_false(allows(&c, 9, groups, 1));
    assert_false(allows(&c, 8, groups, 2)); /* deny wins */
    assert_false(allows(&c, 7, (gid_t[]){60, 70}, 2));
    assert_false(allows(&c, 60, NULL, 0)); /* a gid is no uid */
    assert_false(allows(&c, 0, NULL, 0));  /* root is not special here */
    assert_non_null(strstr(config_keeps_out(&c, 9, NULL, 0), "'allow' of [access]"));
    assert_non_null(strstr(config_keeps_out(&c, 8, groups, 2), "'deny' of [access]"));
    assert_true(config_is_admin(&c, 9, groups, 2));
    assert_false(config_is_admin(&c, 9, groups + 1, 1));
    assert_false(config_is_admin(&c, 0, NULL, 0));
    config_free(&c);

    assert_int_equal(rig_read_text("[access]\ndeny = *\n", &c), 0);
    assert_false(allows(&c, 0, NULL, 0));
    config_free(&c);
    assert_int_equal(rig_read_text("[access]\nallow =\n", &c), 0);
    assert_false(allows(&c, 0, NULL, 0));
    config_free(&c);
}

static void test_limits(void **state)
{
    struct config c;
    struct limits l;

    (void)state;
    assert_int_equal(rig_read_text("[user 7]\nweight = 70\nslots = 0\n"
                                   "[group 60]\nweight = 60\nslots = 6\nmemory = 6M\n"
                                   "[group 50]\nweight = 50\njobs = 5\n"
                                   "[defaults]\nweight = 2\nslots = 9\nspool = 9G\n",
                                   &c),
                     0);
    /* Nobody in particular: the defaults, although they stand last. */
    rig_assert_limits(config_limits(&c, 1, (gid_t[]){1, 2}, 2), c.defaults);
    assert_int_equal(c.defaults.weight, 2);

    /* The first group of the file, whichever is the process's first; the second gives nothing. */
    l = config_limits(&c, 1, (gid_t[]){50, 60}, 2);
    assert_int_equal(l.weight, 60);
    assert_int_equal(l.slots, 6);
    assert_int_equal(l.memory, 6 << 20);
    assert_int_equal(l.jobs, 1000);
    assert_int_equal(l.spool, UINT64_C(9) << 30);
    l = config_limits(&c, 1, (gid_t[]){50}, 1);
    assert_int_equal(l.weight, 50);
    assert_int_equal(l.slots, 9);
    assert_int_equal(l.jobs, 5);

    /* The user's keys win, also with the value 0; for the others the group holds. */
    l = config_limits(&c, 7, (gid_t[]){60}, 1);
    assert_int_equal(l.weight, 70);
    assert_int_equal(l.slots, 0);
    assert_int_equal(l.memory, 6 << 20);
    assert_int_equal(config_limits(&c, 60, NULL, 0).weight, 2); /* a gid is no uid */
    config_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_access),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_whose_limit),
    };

    return cmocka_run_group_tests_name("config, owners", tests, NULL, NULL);
}
