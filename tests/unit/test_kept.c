/*
 * Items that are kept in memory, and how many may be.
 */
#include "client/pmapc/kept.h"
#include "client/pmapc/pmapc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct work_input input;
static struct kept kept;

/* The input is what `text` is, through a pipe. */
static void begin(const char *text, size_t len)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], text, len), len);
    close(fds[1]);
    input = (struct work_input){.name = "pipe", .fd = fds[0]};
    reader_init(&input.reader, fds[0], '\n', 1000, 0);
    items_init(&input.items, &input.reader);
    kept = (struct kept){.ends = NULL};
}

static void end(void)
{
    kept_free(&kept);
    assert_int_equal(kept.count, 0);
    items_free(&input.items);
    reader_free(&input.reader);
    close(input.fd);
}

static void expect_item(size_t index, const char *item)
{
    size_t len = 0;
    const char *data = kept_item(&kept, index, &len);
    assert_int_equal(len, strlen(item));
    assert_memory_equal(data, item, len);
}

static void all_of_them(void **state)
{
    (void)state;
    begin("one\n\nthree", 10);
    assert_int_equal(kept_read(&kept, &input, 1000, "test"), 0);
    assert_int_equal(kept.count, 3);
    expect_item(0, "one");
    expect_item(1, "");
    expect_item(2, "three");
    end();
}

static void many(void **state)
{
    (void)state;
    static char text[20000];
    memset(text, '\n', sizeof text);
    begin(text, sizeof text);
    assert_int_equal(kept_read(&kept, &input, sizeof text * 8, "test"), 0);
    assert_int_equal(kept.count, sizeof text);
    expect_item(sizeof text - 1, "");
    end();
}

static void as_many_as_there_may_be(void **state)
{
    (void)state;
    begin("one\ntwo\n", 8);
    assert_int_equal(kept_read(&kept, &input, 22, "test"), 0);
    end();
    begin("one\ntwo\n", 8);
    assert_int_equal(kept_read(&kept, &input, 21, "test"), STATUS_USAGE);
    end();
    begin("\n\n\n", 3);
    assert_int_equal(kept_read(&kept, &input, 23, "test"), STATUS_USAGE);
    end();
}

static void none(void **state)
{
    (void)state;
    begin("", 0);
    assert_int_equal(kept_read(&kept, &input, 1000, "test"), STATUS_USAGE);
    end();
}

static void one_too_large(void **state)
{
    (void)state;
    char text[1002];
    memset(text, 'x', sizeof text);
    text[1] = '\n';
    begin(text, sizeof text);
    assert_int_equal(kept_read(&kept, &input, 10000, "test"), 0);
    end();
    text[1] = 'x';
    begin(text, sizeof text);
    assert_int_equal(kept_read(&kept, &input, 10000, "test"), STATUS_FAILED);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_them),
        cmocka_unit_test(many),
        cmocka_unit_test(as_many_as_there_may_be),
        cmocka_unit_test(none),
        cmocka_unit_test(one_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
