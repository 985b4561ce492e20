/*
 * The reader gives the same items however its input arrives: every cut of short inputs into reads, random
 * cuts of long ones, all delimiters, items longer than its buffer, and limits; also single bytes as options
 * name them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/pmapc/options.h"
#include "client/pmapc/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Items as one text: each in brackets, so that [a][] differs from [a] and from [a]. */
struct items {
    char text[4096];
    size_t len;
};

static void add_item(struct items *items, const char *data, size_t len)
{
    assert_true(items->len + len + 2 < sizeof items->text);
    items->text[items->len++] = '[';
    if (len > 0)
        memcpy(items->text + items->len, data, len);
    items->len += len;
    items->text[items->len++] = ']';
}

/* What the reader should say, worked out in the plainest way. */
static void split(const char *input, size_t len, char delimiter, struct items *items)
{
    items->len = 0;
    size_t start = 0;
    for (size_t i = 0; i < len; i++) {
        if (input[i] == delimiter) {
            add_item(items, input + start, i - start);
            start = i + 1;
        }
    }
    if (start < len)
        add_item(items, input + start, len - start);
}

struct feed {
    int write_fd;
    struct reader reader;
};

static void feed_begin(struct feed *feed, char delimiter, size_t item_max, size_t room)
{
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    feed->write_fd = fds[1];
    reader_init(&feed->reader, fds[0], (unsigned char)delimiter, item_max, room);
}

static void feed_end(struct feed *feed)
{
    close(feed->reader.fd);
    if (feed->write_fd >= 0)
        close(feed->write_fd);
    reader_free(&feed->reader);
}

/* Hands out what is there; reads until the pipe is empty or has ended. */
static void drain(struct feed *feed, struct items *items)
{
    const char *data;
    size_t len;
    int rc;
    do {
        while ((rc = reader_next(&feed->reader, &data, &len)) > 0)
            add_item(items, data, len);
        assert_int_equal(rc, 0);
        if (reader_finished(&feed->reader))
            return;
        rc = reader_fill(&feed->reader);
        assert_true(rc == 0 || rc == 1 || rc == -EAGAIN);
    } while (rc != -EAGAIN);
}

/* Feeds the input in the pieces that `cuts` says: bit i set is a cut behind byte i. */
static void check_cuts(const char *input, size_t len, char delimiter, uint64_t cuts, size_t room)
{
    struct feed feed;
    struct items expected, got = {.len = 0};
    split(input, len, delimiter, &expected);
    feed_begin(&feed, delimiter, 1000, room);
    size_t start = 0;
    for (size_t i = 0; i < len; i++) {
        if (i + 1 == len || (cuts >> i & 1)) {
            assert_int_equal(write(feed.write_fd, input + start, i + 1 - start), (ssize_t)(i + 1 - start));
            drain(&feed, &got);
            assert_false(reader_finished(&feed.reader));
            start = i + 1;
        }
    }
    close(feed.write_fd);
    feed.write_fd = -1;
    drain(&feed, &got);
    assert_true(reader_finished(&feed.reader));
    assert_int_equal(got.len, expected.len);
    assert_memory_equal(got.text, expected.text, got.len);
    feed_end(&feed);
}

static void test_every_cut(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        char delimiter;
    } inputs[] = {
        {"", 0, '\n'},
        {"\n", 1, '\n'},
        {"\n\n\n", 3, '\n'},
        {"a", 1, '\n'},
        {"a\n", 2, '\n'},
        {"a\r\nb\r\n", 6, '\n'},
        {"ab\n\ncde\nf", 9, '\n'},
        {"\nab\n\n", 5, '\n'},
        {"a\0\0b\nc\0", 7, '\0'},
        {"a,b\n,", 5, ','},
        {"\xff\xfe\n\xff", 4, '\xff'},
    };
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        for (uint64_t cuts = 0; cuts < UINT64_C(1) << inputs[i].len; cuts++) {
            /* Buffers from one byte, which has to grow all the time, to more than the input. */
            for (size_t room = 1; room <= 16; room *= 2)
                check_cuts(inputs[i].bytes, inputs[i].len, inputs[i].delimiter, cuts, room);
        }
    }
}

static void test_random_cuts(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (int run = 0; run < 3000; run++) {
        char input[60];
        size_t len = 0;
        while (len < sizeof input) {
            seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            unsigned r = (unsigned)(seed >> 40);
            input[len++] = r % 7 == 0 ? '\n' : (char)(r >> 3);
        }
        check_cuts(input, len, '\n', seed ^ seed >> 17, 1 + (size_t)(seed >> 50) % 32);
    }
}

/* An item far larger than the buffer, then small ones: all are right, and the buffer is small again
 * afterwards. */
static void test_large_item(void **state)
{
    (void)state;
    enum { LARGE = 3 << 20, ROOM = 4096, SMALL = 40000 };
    FILE *file = tmpfile();
    assert_non_null(file);
    for (int i = 0; i < LARGE; i++)
        fputc('a' + i % 23, file);
    for (int i = 0; i < SMALL; i++)
        fprintf(file, "\n%d", i);
    assert_int_equal(fflush(file), 0);
    rewind(file);

    struct reader reader;
    const char *data;
    size_t len;
    int rc, count = 0;
    reader_init(&reader, fileno(file), '\n', LARGE, ROOM);
    while (!reader_finished(&reader)) {
        while ((rc = reader_next(&reader, &data, &len)) > 0) {
            char text[16];
            if (count == 0) {
                assert_int_equal(len, LARGE);
                for (size_t i = 0; i < len; i += 4099)
                    assert_int_equal(data[i], 'a' + i % 23);
            } else {
                assert_int_equal(len, snprintf(text, sizeof text, "%d", count - 1));
                assert_memory_equal(data, text, len);
            }
            count++;
        }
        assert_int_equal(rc, 0);
        assert_true(reader_fill(&reader) >= 0);
    }
    assert_int_equal(count, SMALL + 1);
    assert_true(reader.capacity <= (size_t)2 * ROOM);
    reader_free(&reader);
    fclose(file);
}

/* An item of exactly the limit passes; one byte more is an error, however much of it has come, and stays one.
 */
static void test_limit(void **state)
{
    (void)state;
    struct feed feed;
    struct items items = {.len = 0};
    const char *data;
    size_t len;
    feed_begin(&feed, '\n', 4, 2);
    assert_int_equal(write(feed.write_fd, "abcd\nabc", 8), 8);
    drain(&feed, &items);
    assert_int_equal(items.len, 6);
    assert_int_equal(write(feed.write_fd, "d", 1), 1);
    drain(&feed, &items);
    assert_int_equal(write(feed.write_fd, "e\nf\n", 4), 4);
    int rc;
    while ((rc = reader_next(&feed.reader, &data, &len)) == 0)
        assert_int_equal(reader_fill(&feed.reader), 1);
    assert_int_equal(rc, -EMSGSIZE);
    assert_int_equal(reader_next(&feed.reader, &data, &len), -EMSGSIZE);
    feed_end(&feed);
}

static void test_errors(void **state)
{
    (void)state;
    struct reader reader;
    int fd = open("/", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    reader_init(&reader, fd, '\n', 100, 0);
    assert_int_equal(reader_fill(&reader), -EISDIR);
    assert_false(reader_finished(&reader));
    reader_free(&reader);
    close(fd);
}

static void test_arguments(void **state)
{
    (void)state;
    char *arguments[] = {(char[]){"-x"}, (char[]){""}, (char[]){"a\nb"}, (char[]){"toolong"}};
    struct reader reader;
    struct items items = {.len = 0};
    const char *data;
    size_t len;
    reader_init_arguments(&reader, arguments, 4, 6);
    assert_false(reader_finished(&reader));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(reader_next(&reader, &data, &len), 1);
        add_item(&items, data, len);
    }
    assert_int_equal(items.len, 11);
    assert_memory_equal(items.text, "[-x][][a\nb]", 11);
    assert_int_equal(reader_next(&reader, &data, &len), -EMSGSIZE);
    assert_false(reader_finished(&reader));
    reader_free(&reader);

    reader_init_arguments(&reader, arguments, 0, 6);
    assert_int_equal(reader_next(&reader, &data, &len), 0);
    assert_true(reader_finished(&reader));
}

static void test_byte(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int value; /* -1: refused */
    } cases[] = {{",", ','},    {"\\", '\\'}, {"\\n", '\n'},   {"\\t", '\t'},  {"\\0", 0},   {"\\\\", '\\'},
                 {"\\x41", 65}, {"\\x9", 9},  {"\\xfF", 0xff}, {"\xff", 0xff}, {"", -1},     {"ab", -1},
                 {"\\q", -1},   {"\\x", -1},  {"\\xg", -1},    {"\\x123", -1}, {"\\nn", -1}, {"\xc3\xa4", -1},
                 {"\\01", -1},  {"\n", '\n'}, {"\\x4 ", -1},   {"\\x-1", -1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned char value = 0xa5;
        int status = options_byte("--delimiter", cases[i].text, &value);
        assert_int_equal(status != 0, cases[i].value < 0);
        assert_int_equal(value, cases[i].value < 0 ? 0xa5 : cases[i].value);
    }
}

static void test_number(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
    } cases[] = {{"-5", true},  {"12", true},  {"+7", true},   {"007", true},
                 {"13", false}, {"-6", false}, {"", false},    {"-", false},
                 {"1x", false}, {" 1", false}, {"0x1", false}, {"99999999999999999999", false},
                 {"1.0", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t value = 99;
        assert_int_equal(options_number("--priority", cases[i].text, -5, 12, &value) == 0, cases[i].good);
        assert_int_equal(value, cases[i].good ? strtol(cases[i].text, NULL, 10) : 99);
    }
}

static const char *name_of(unsigned i, const void *cookie)
{
    return ((const char *const *)cookie)[i];
}

static void test_suggest(void **state)
{
    (void)state;
    static const char *const names[] = {"map", "functions", "status", NULL};
    assert_string_equal(options_suggest("mpa", name_of, names), "map");
    assert_string_equal(options_suggest("Status", name_of, names), "status");
    assert_string_equal(options_suggest("fonctoins", name_of, names), "functions");
    assert_string_equal(options_suggest("statu=x", name_of, names), "status");
    assert_null(options_suggest("xyz", name_of, names));
    assert_null(options_suggest("", name_of, names));
    assert_null(options_suggest("functions-and-more-than-forty-characters-of-it", name_of, names));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut),  cmocka_unit_test(test_random_cuts),
        cmocka_unit_test(test_large_item), cmocka_unit_test(test_limit),
        cmocka_unit_test(test_errors),     cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_byte),       cmocka_unit_test(test_number),
        cmocka_unit_test(test_suggest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
