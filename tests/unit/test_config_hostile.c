/*
 * daemon/common/config.h with files that nobody meant: cut, strewn with other bytes, or nothing but such
 * bytes. To be run with the sanitizers too.
 */
#include "tests/unit/config_rig.h"

#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What any file must give: a configuration, or one line of complaint and nothing left allocated. */
static void read_hostile(const char *bytes, size_t size)
{
    struct config c;
    int rc = rig_read(bytes, size, &c);

    if (rc == 0) {
        assert_non_null(c.endpoints[0]);
        assert_in_range(c.defaults.weight, 1, 10000);
        config_free(&c);
        return;
    }
    assert_int_equal(rc, -EINVAL);
    assert_in_range(strlen(rig_error), 2, CONFIG_ERROR_MAX - 1);
    for (const char *p = rig_error; *p != '\0'; p++)
        assert_false(iscntrl((unsigned char)*p) && *p != '\t');
}

/* The installed file, cut anywhere. */
static void test_prefixes(void **state)
{
    char *text = rig_installed();
    size_t length = strlen(text);

    (void)state;
    rig_uncomment(text);
    for (size_t size = 0; size <= length; size++) {
        /* A copy without room behind it, so that reading over its end is seen. */
        char *copy = malloc(size > 0 ? size : 1);

        assert_non_null(copy);
        memcpy(copy, text, size);
        read_hostile(copy, size);
        free(copy);
    }
    free(text);
}

/* xorshift64*: the same on each run. */
static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * UINT64_C(2685821657736338717);
}

/* Bytes that mean something here and others: alone, and strewn over the installed file. */
static void test_random(void **state)
{
    static const char alphabet[] =
        "[[]]==  \n\n\n\t#;,@*!\"'\\/:.-_%$018KMGsmhyesnoautoipc\r\x1b\x7f\x80\xc3\xa9\xff";
    char *original = rig_installed();
    size_t length = strlen(original);
    uint64_t seed = 0x706d617064;
    char *text = malloc(length + 1);

    (void)state;
    assert_non_null(text);
    rig_uncomment(original);
    for (int run = 0; run < 3000; run++) {
        size_t size = run % 2 == 0 ? next_random(&seed) % 200 : length;
        size_t changes = run % 2 == 0 ? size : 1 + next_random(&seed) % 4;

        memcpy(text, original, length + 1);
        for (size_t i = 0; i < changes; i++) {
            uint64_t r = next_random(&seed);
            size_t at = run % 2 == 0 ? i : (r >> 32) % size;

            text[at] = run % 3 == 0 ? (char)(r >> 16) : alphabet[(r >> 16) % sizeof(alphabet)];
        }
        read_hostile(text, size);
    }
    free(text);
    free(original);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_prefixes), cmocka_unit_test(test_random)};

    return cmocka_run_group_tests_name("config, hostile", tests, NULL, NULL);
}
