/*
 * daemon/common/config.h with files that nobody meant: cut, strewn with other bytes, or nothing but such
 * bytes. To be run with the sanitizers too.
 */
#include "daemon/common/config.h"

#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

/* The file that is installed, to be freed. */
static char *installed_file(void)
{
    FILE *f = fopen(PMAPD_CONF, "re");
    char *text = calloc(1, 65536);

    assert_non_null(f);
    assert_non_null(text);
    assert_in_range(fread(text, 1, 65535, f), 1, 65534);
    fclose(f);
    return text;
}

/* Takes the '#' from each `#key = default`. */
static void take_comments_off(char *text)
{
    for (char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (line[0] == '#' && islower((unsigned char)line[1]))
            line[0] = ' ';
    }
}

/* What any file must give: a configuration, or one line of complaint and nothing left allocated. */
static void read_hostile(const char *bytes, size_t size)
{
    char path[64], error[CONFIG_ERROR_MAX] = "";
    struct config c;
    int rc, fd = memfd_create("pmapd.conf", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    rc = config_read(path, &c, error);
    close(fd);

    if (rc == 0) {
        assert_non_null(c.endpoints[0]);
        assert_in_range(c.defaults.weight, 1, 10000);
        config_free(&c);
        return;
    }
    assert_int_equal(rc, -EINVAL);
    assert_memory_equal(error, path, strlen(path));
    assert_in_range(strlen(error), strlen(path) + 3, CONFIG_ERROR_MAX - 1);
    for (const char *p = error; *p != '\0'; p++)
        assert_false(iscntrl((unsigned char)*p) && *p != '\t');
}

/* The installed file, cut anywhere. */
static void test_prefixes(void **state)
{
    char *text = installed_file();
    size_t length = strlen(text);

    (void)state;
    take_comments_off(text);
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
    char *original = installed_file();
    size_t length = strlen(original);
    uint64_t seed = 0x706d617064;
    char *text = malloc(length + 1);

    (void)state;
    assert_non_null(text);
    take_comments_off(original);
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
