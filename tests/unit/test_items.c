/*
 * Items out of records: groups, columns, products, and what an earlier run has done.
 */
#include "client/pmapc/items.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char *words[] = {"a", "b c", "", "d", "e"};

static struct reader reader;
static struct items items;

static void begin(size_t count)
{
    reader_init_arguments(&reader, words, count, 100);
    items_init(&items, &reader);
}

static void expect_item(uint64_t index, const char *item, size_t len)
{
    const char *data;
    size_t size;
    assert_int_equal(items_next(&items, &data, &size), 1);
    assert_int_equal(size, len);
    if (len > 0)
        assert_memory_equal(data, item, len);
    assert_int_equal(items_index(&items), index);
}
#define EXPECT(index, item) expect_item(index, item, sizeof(item) - 1)

static void expect_end(void)
{
    const char *data;
    size_t size;
    assert_int_equal(items_next(&items, &data, &size), 0);
    assert_true(items_finished(&items));
    items_free(&items);
    reader_free(&reader);
}

static void plain(void **state)
{
    (void)state;
    begin(3);
    EXPECT(0, "a");
    EXPECT(1, "b c");
    assert_false(items_finished(&items));
    EXPECT(2, "");
    expect_end();
}

static void groups(void **state)
{
    (void)state;
    begin(5);
    items.group = 2;
    EXPECT(0, "a\0b c");
    EXPECT(1, "\0d");
    assert_false(items_finished(&items));
    EXPECT(2, "e"); /* what is left */
    expect_end();
    begin(4);
    items.group = 4;
    EXPECT(0, "a\0b c\0\0d");
    expect_end();
    begin(0);
    items.group = 4;
    expect_end();
}

/* A group whose rest comes with a later read. */
static void groups_across_reads(void **state)
{
    (void)state;
    int fds[2];
    const char *data;
    size_t size;
    assert_int_equal(pipe(fds), 0);
    reader_init(&reader, fds[0], '\n', 100, 0);
    items_init(&items, &reader);
    items.group = 2;
    assert_int_equal(write(fds[1], "one\ntw", 6), 6);
    assert_int_equal(items_next(&items, &data, &size), 0);
    assert_int_equal(reader_fill(&reader), 1);
    assert_int_equal(items_next(&items, &data, &size), 0);
    assert_false(items_finished(&items));
    assert_int_equal(write(fds[1], "o\nthree\n", 8), 8);
    close(fds[1]);
    assert_int_equal(reader_fill(&reader), 1);
    EXPECT(0, "one\0two");
    assert_int_equal(items_next(&items, &data, &size), 0);
    assert_false(items_finished(&items));
    assert_int_equal(reader_fill(&reader), 0);
    EXPECT(1, "three");
    expect_end();
    close(fds[0]);
}

static void columns(void **state)
{
    (void)state;
    regex_t re;
    char *lines[] = {"a\t b c \td", "", "x", "\t"};
    assert_int_equal(items_compile(&re, "\\t"), 0);
    reader_init_arguments(&reader, lines, 4, 100);
    items_init(&items, &reader);
    items.columns = &re;
    EXPECT(0, "a\0b c\0d"); /* trimmed */
    EXPECT(1, "");
    EXPECT(2, "x");
    EXPECT(3, "\0");
    expect_end();
    regfree(&re);

    char *more[] = {"1,2;;3", ",4"};
    assert_int_equal(items_compile(&re, "[,;]+"), 0);
    reader_init_arguments(&reader, more, 2, 100);
    items_init(&items, &reader);
    items.columns = &re;
    EXPECT(0, "1\0002\0003");
    EXPECT(1, "\0004");
    expect_end();
    regfree(&re);

    /* One that matches nothing at all cuts nothing, and ^ is the line's beginning only. */
    char *empty[] = {"aab"};
    assert_int_equal(items_compile(&re, "x*|^a"), 0);
    reader_init_arguments(&reader, empty, 1, 100);
    items_init(&items, &reader);
    items.columns = &re;
    EXPECT(0, "\0ab");
    expect_end();
    regfree(&re);
    assert_int_not_equal(items_compile(&re, "[a"), 0);
}

static void products(void **state)
{
    (void)state;
    char *second[] = {"1", "2"}, *third[] = {"x"};
    struct item_list lists[] = {{words, 2}, {second, 2}, {third, 1}};
    begin(2);
    assert_int_equal(items_product(&items, lists, 3), 0);
    EXPECT(0, "a\0001\0x");
    EXPECT(1, "a\0002\0x");
    EXPECT(2, "b c\0001\0x");
    assert_false(items_finished(&items));
    EXPECT(3, "b c\0002\0x");
    expect_end();
    lists[1].count = 0; /* with nothing there is nothing */
    begin(2);
    assert_int_equal(items_product(&items, lists, 3), 0);
    expect_end();
    lists[0].count = lists[1].count = SIZE_MAX / 2;
    begin(2);
    assert_int_equal(items_product(&items, lists, 2), -EOVERFLOW);
}

static void what_is_done_is_left_out(void **state)
{
    (void)state;
    static const struct pmap_range done[] = {{0, 1}, {2, 4}, {7, 9}};
    begin(5);
    items.done = done;
    items.done_count = 3;
    EXPECT(1, "b c");
    EXPECT(4, "e");
    expect_end();
    static const struct pmap_range all[] = {{0, 100}};
    begin(5);
    items.done = all;
    items.done_count = 1;
    expect_end();
}

static void what_cannot_be_an_argument(void **state)
{
    (void)state;
    int fds[2];
    const char *data;
    size_t size;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "a\0b\n", 4), 4);
    close(fds[1]);
    reader_init(&reader, fds[0], '\n', 100, 0);
    items_init(&items, &reader);
    items.group = 2;
    assert_int_equal(reader_fill(&reader), 1);
    assert_int_equal(items_next(&items, &data, &size), -EILSEQ);
    items_free(&items);
    reader_free(&reader);
    close(fds[0]);
    /* Together larger than an item may be. */
    char large[80];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    char *two[] = {large, large};
    reader_init_arguments(&reader, two, 2, 100);
    items_init(&items, &reader);
    items.group = 2;
    assert_int_equal(items_next(&items, &data, &size), -EMSGSIZE);
    items_free(&items);
}

/*** How many there will be ***/

static void arguments_are_counted(void **state)
{
    static const struct pmap_range done[] = {{1, 2}, {4, 100}};
    bool about = true;
    (void)state;
    begin(5);
    assert_int_equal(items_expected(&items, 0, &about), 5);
    assert_false(about);
    items.group = 2;
    assert_int_equal(items_expected(&items, 0, &about), 3);
    items.group = 0;
    items.done = done;
    items.done_count = 2;
    assert_int_equal(items_expected(&items, 0, &about), 3);
    items_free(&items);
    begin(5);
    char *words_of[] = {"a", "b", "c"};
    const struct item_list lists[] = {{words_of, 3}, {words_of, 2}};
    assert_int_equal(items_product(&items, lists, 2), 0);
    assert_int_equal(items_expected(&items, 0, &about), 6);
    items_free(&items);
}

static void a_files_size_says_how_many(void **state)
{
    static const struct pmap_range done[] = {{0, 5}};
    char line[11] = "123456789\n";
    bool about = false;
    FILE *file = tmpfile();
    (void)state;
    assert_non_null(file);
    for (int i = 0; i < 100; i++)
        assert_int_equal(fwrite(line, 1, 10, file), 10);
    rewind(file);
    reader_init(&reader, fileno(file), '\n', 100, 256);
    items_init(&items, &reader);
    assert_int_equal(items_expected(&items, 1000, &about), 0); /* too early */
    assert_int_equal(reader_fill(&reader), 1);
    EXPECT(0, "123456789");
    assert_int_equal(items_expected(&items, 1000, &about), 100);
    assert_true(about);
    assert_int_equal(items_expected(&items, 0, &about), 0);  /* nobody knows its size */
    assert_int_equal(items_expected(&items, 5, &about), 0);  /* it has grown since */
    assert_int_equal(items_expected(&items, 10, &about), 1); /* that was all */
    items.done = done;
    items.done_count = 1;
    assert_int_equal(items_expected(&items, 1000, &about), 95);
    items_free(&items);
    reader_free(&reader);
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain),
        cmocka_unit_test(groups),
        cmocka_unit_test(groups_across_reads),
        cmocka_unit_test(columns),
        cmocka_unit_test(products),
        cmocka_unit_test(arguments_are_counted),
        cmocka_unit_test(a_files_size_says_how_many),
        cmocka_unit_test(what_is_done_is_left_out),
        cmocka_unit_test(what_cannot_be_an_argument),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
