/* pmap-exec's commands, with the real program: see exec_rig.h. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/exec_rig.h"

#define PLAIN      "--timeout", "0", "--grace", "0", "--retries", "0", "--recycle", "0"
#define SH(script) "--", "sh", "-c", script, "sh"

static void items_become_arguments(void **state)
{
    (void)state;
    struct rig *rig = RIG("command", PLAIN, "--", "printf", "%s|", "a", "{}");
    RIG_CHUNK(rig, "x", "", "it's \"quoted\"", "-n", "two\nlines", "sp ace");
    rig_run(rig);
    const char *expected[] = {"a|x|", "a||", "a|it's \"quoted\"|", "a|-n|", "a|two\nlines|", "a|sp ace|"};
    for (int i = 0; i < 6; i++) {
        assert_true(rig->results[i].done);
        assert_string_equal(rig->results[i].out.bytes, expected[i]);
        assert_int_equal(rig->results[i].fails, 0);
        assert_int_equal(rig->results[i].usages, 1);
        assert_true(rig->results[i].wall_ns > 0 && rig->results[i].started_ns > 0);
    }
    assert_true(rig->arena->cpu_ns > 0);
    assert_int_equal(rig->arena->current, 0);
    rig_stop(rig);
}

static void fields_become_several_arguments(void **state)
{
    (void)state;
    struct rig *rig = RIG("command", PLAIN, "--fields", "--", "printf", "%s|");
    const char *items[] = {"a\0b c\0"};
    rig_chunk(rig, 1, items, (const size_t[]){6});
    rig_run(rig);
    assert_string_equal(rig->results[0].out.bytes, "a|b c||");
    rig_stop(rig);
}

static void a_nul_without_fields_fails_the_item(void **state)
{
    (void)state;
    struct rig *rig = RIG("command", PLAIN, "--", "echo");
    const char *items[] = {"a\0b", "c"};
    rig_chunk(rig, 2, items, (const size_t[]){3, 1});
    rig_run(rig);
    assert_string_equal(rig->results[0].error.bytes, "has a NUL byte, which no argument can hold");
    assert_string_equal(rig->results[1].out.bytes, "c\n");
    rig_stop(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_become_arguments),
        cmocka_unit_test(fields_become_several_arguments),
        cmocka_unit_test(a_nul_without_fields_fails_the_item),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
