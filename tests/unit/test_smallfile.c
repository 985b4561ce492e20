/*
 * The kernel's small files, read and written.
 */
#include "common/smallfile.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];
static int below = -1;

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/test_smallfile_XXXXXX");
    if (!mkdtemp(folder) || (below = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        return -1;
    int fd = openat(below, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    return fd < 0 || close(fd);
}

static int teardown(void **state)
{
    (void)state;
    unlinkat(below, "file", 0);
    close(below);
    return rmdir(folder);
}

static void test_whole(void **state)
{
    (void)state;
    char room[8] = "before", path[96];
    assert_int_equal(smallfile_read(below, "file", room, sizeof room), 0);
    assert_string_equal(room, "");
    assert_int_equal(smallfile_write(below, "file", "1234567"), 0);
    assert_int_equal(smallfile_read(below, "file", room, sizeof room), 7); /* to the last byte */
    assert_string_equal(room, "1234567");
    snprintf(path, sizeof path, "%s/file", folder);
    assert_int_equal(smallfile_read(AT_FDCWD, path, room, sizeof room), 7);
}

static void test_too_large(void **state)
{
    (void)state;
    char room[8];
    assert_int_equal(smallfile_write(below, "file", "12345678"), 0);
    assert_int_equal(smallfile_read(below, "file", room, sizeof room), -EFBIG);
    assert_string_equal(room, "1234567");
}

/* A file of the kernel's comes in pieces, and changes its mind. */
static void test_proc(void **state)
{
    (void)state;
    char room[1 << 14], text[32];
    assert_true(smallfile_read(AT_FDCWD, "/proc/self/status", room, sizeof room) > 500);
    assert_int_equal(smallfile_number(room, "Pid:"), getpid());
    assert_int_equal(smallfile_number(room, "Threads:"), 1);
    assert_int_equal(smallfile_read(AT_FDCWD, "/proc/self/mem", text, sizeof text), -EIO);
    assert_string_equal(text, "");
}

static void test_not_there(void **state)
{
    (void)state;
    char room[8] = "before";
    assert_int_equal(smallfile_read(below, "none", room, sizeof room), -ENOENT);
    assert_string_equal(room, "");
    assert_int_equal(smallfile_read(below, ".", room, sizeof room), -EISDIR);
    /* It is the kernel that makes them. */
    assert_int_equal(smallfile_write(below, "none", "1"), -ENOENT);
    assert_int_equal(faccessat(below, "none", F_OK, 0), -1);
    assert_int_equal(smallfile_write(AT_FDCWD, "/dev/full", "1"), -ENOSPC);
}

static void test_lines(void **state)
{
    (void)state;
    static const char text[] = "low 0\nmax 17\noom 3\noom_kill 2\nempty\n last 5";
    assert_string_equal(smallfile_line("one", "one"), "");
    assert_string_equal(smallfile_line(text, " last"), " 5");
    assert_null(smallfile_line(text, "last")); /* not at the beginning of a line */
    assert_null(smallfile_line("", "x"));
    assert_int_equal(smallfile_number(text, "low"), 0);
    assert_int_equal(smallfile_number(text, "oom "), 3);
    assert_int_equal(smallfile_number(text, "oom_kill"), 2);
    assert_true(smallfile_number(text, "empty") == UINT64_MAX);
    assert_true(smallfile_number("max\n", "") == UINT64_MAX);
    assert_int_equal(smallfile_number("4096\n", ""), 4096);
    assert_true(smallfile_number("x -1", "x") == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_large, setup, teardown),
        cmocka_unit_test(test_proc),
        cmocka_unit_test_setup_teardown(test_not_there, setup, teardown),
        cmocka_unit_test(test_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
