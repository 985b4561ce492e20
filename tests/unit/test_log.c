/*
 * daemon/common/log.h: what arrives on stderr, byte by byte. stderr is a memfd during each test.
 */
#include "daemon/common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { THREADS = 4, LINES = 300 };

static int real_stderr = -1;
static char captured[256 << 10];

static int capture(void **state)
{
    int fd = memfd_create("stderr", MFD_CLOEXEC);

    (void)state;
    real_stderr = dup(STDERR_FILENO);
    /* O_APPEND: a memfd, unlike a file or a pipe, does not order the writes of several threads by itself. */
    if (fd < 0 || real_stderr < 0 || fcntl(fd, F_SETFL, O_APPEND) < 0 || dup2(fd, STDERR_FILENO) < 0)
        return -1;
    close(fd);
    unsetenv("JOURNAL_STREAM");
    log_init("prog", LOG_INFO);
    return 0;
}

static int release(void **state)
{
    (void)state;
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    return 0;
}

/* What has been written since the last call. */
static const char *taken(void)
{
    ssize_t n = pread(STDERR_FILENO, captured, sizeof(captured) - 1, 0);

    assert_true(n >= 0);
    captured[n] = '\0';
    assert_int_equal(ftruncate(STDERR_FILENO, 0), 0);
    assert_int_equal(lseek(STDERR_FILENO, 0, SEEK_SET), 0);
    return captured;
}

/* The text of one line behind "HH:MM:SS.mmm prog: ", which is checked. */
static const char *text_of(const char *line)
{
    static const char form[] = "00:00:00.000 prog: ";

    for (const char *f = form; *f != '\0'; f++) {
        if (*f == '0')
            assert_in_range(line[f - form], '0', '9');
        else
            assert_int_equal(line[f - form], *f);
    }
    return line + 19;
}

static void test_line(void **state)
{
    (void)state;
    log_error("job %d: %s", 7, "killed by SIGSEGV");
    assert_string_equal(text_of(taken()), "job 7: killed by SIGSEGV\n");
    log_info("%s", "");
    assert_string_equal(text_of(taken()), "\n");
}

static void test_level(void **state)
{
    (void)state;
    log_debug("not this");
    assert_string_equal(taken(), "");
    log_init("prog", LOG_DEBUG);
    log_debug("this");
    assert_string_equal(text_of(taken()), "this\n");
    log_init("prog", LOG_ERR);
    log_warning("not this");
    assert_string_equal(taken(), "");
}

static void test_journal(void **state)
{
    char stream[64];
    struct stat st;

    (void)state;
    assert_int_equal(fstat(STDERR_FILENO, &st), 0);
    snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    log_init("prog", LOG_INFO);
    log_warning("full");
    assert_string_equal(taken(), "<4>full\n");
    log_error("over\n<0>forged");
    assert_string_equal(taken(), "<3>over\\x0a<0>forged\n");

    /* The variable is inherited by what was started with another stderr. */
    snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino + 1);
    setenv("JOURNAL_STREAM", stream, 1);
    log_init("prog", LOG_INFO);
    log_warning("full");
    assert_string_equal(text_of(taken()), "full\n");
}

static void test_escapes(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"a\nb\tc\rd", "a\\x0ab\\x09c\\x0dd\n"},
        {"\x1b[31mred\x7f", "\\x1b[31mred\\x7f\n"},
        {"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\n"},
        {"caf\xe9", "caf\\xe9\n"},
        {"\xc2\x9b"
         "1m",
         "\\xc2\\x9b1m\n"},
        {"\xc2\xa0", "\xc2\xa0\n"},
        {"\xc0\x8a", "\\xc0\\x8a\n"},
        {"\xe2\x82", "\\xe2\\x82\n"},
        {"back\\slash %d", "back\\slash %d\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        log_notice("%s", cases[i].in);
        assert_string_equal(text_of(taken()), cases[i].out);
    }
}

static void test_long_lines(void **state)
{
    char *text = malloc(10001);
    const char *line;

    (void)state;
    assert_non_null(text);
    /* Cut before the escapes, and cut by the escapes: in both cases one line that says that it was cut. */
    for (int filler = 'x'; filler != 0; filler = filler == 'x' ? 1 : 0) {
        memset(text, filler, 10000);
        text[10000] = '\0';
        log_notice("%s", text);
        line = taken();
        assert_in_range(strlen(line), 3000, 4096);
        assert_string_equal(line + strlen(line) - 4, "...\n");
        assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    }
    /* The longest that is not cut. */
    memset(text, 'x', 3071);
    text[3071] = '\0';
    log_notice("%s", text);
    line = text_of(taken());
    assert_int_equal(strlen(line), 3072);
    assert_null(strchr(line, '.'));
    free(text);
}

static void test_keeps_errno(void **state)
{
    struct log_limit limit = LOG_LIMIT(1, 10);
    int full, saved;

    (void)state;
    errno = ENOENT;
    log_error("%m");
    assert_int_equal(errno, ENOENT);
    assert_string_equal(text_of(taken()), "No such file or directory\n");
    errno = EACCES;
    log_limited(&limit, LOG_ERR, "%m");
    assert_int_equal(errno, EACCES);
    assert_string_equal(text_of(taken()), "Permission denied\n");

    /* Also when the line cannot be written. */
    saved = dup(STDERR_FILENO);
    assert_true(saved >= 0);
    close(STDERR_FILENO);
    errno = ENOENT;
    log_error("lost");
    full = errno;
    dup2(saved, STDERR_FILENO);
    close(saved);
    assert_int_equal(full, ENOENT);
}

static void test_limit(void **state)
{
    struct log_limit limit = LOG_LIMIT(2, 10), other = LOG_LIMIT(2, 10);
    const char *lines;

    (void)state;
    for (int i = 0; i < 5; i++)
        log_limited(&limit, LOG_WARNING, "line %d", i);
    lines = text_of(taken());
    assert_memory_equal(lines, "line 0\n", 7);
    assert_string_equal(text_of(lines + 7), "line 1\n");

    /* Lines that the level keeps back are not counted; another limit has its own count. */
    log_limited(&limit, LOG_DEBUG, "debug");
    log_limited(&other, LOG_WARNING, "other");
    assert_string_equal(text_of(taken()), "other\n");

    limit.window_s -= 10; /* ten seconds later */
    log_limited(&limit, LOG_WARNING, "line %d", 5);
    assert_string_equal(text_of(taken()), "line 5 (3 more like this left out)\n");
    log_limited(&limit, LOG_WARNING, "line %d", 6);
    assert_string_equal(text_of(taken()), "line 6\n");
    log_limited(&limit, LOG_WARNING, "line %d", 7);
    assert_string_equal(taken(), "");
}

/* One who floods hides no other's lines, and many together do not go on for ever. */
static void test_limit_of_each(void **state)
{
    struct log_limits limits = LOG_LIMITS(2, 5, 3600);

    (void)state;
    for (int i = 0; i < 100; i++)
        log_limited_of(&limits, 1000, LOG_WARNING, "flood %d", i);
    assert_string_equal(text_of(strchr(taken(), '\n') + 1), "flood 1\n");
    log_limited_of(&limits, 1001, LOG_WARNING, "another");
    assert_string_equal(text_of(taken()), "another\n");
    log_limited_of(&limits, 1000 + LOG_UIDS, LOG_WARNING, "at the same place"); /* its count is used up */
    assert_string_equal(taken(), "");
    for (unsigned i = 2; i < 30; i++)
        log_limited_of(&limits, 1000 + i, LOG_WARNING, "many");
    const char *second = strchr(taken(), '\n');
    assert_non_null(second);
    assert_string_equal(text_of(second + 1), "many\n"); /* with the three before, five */
}

static struct log_limit shared = LOG_LIMIT(LINES, 3600);

static void *write_lines(void *arg)
{
    for (int i = 0; i < LINES; i++) {
        log_notice("thread %d line %03d", *(int *)arg, i);
        log_limited(&shared, LOG_NOTICE, "limited");
    }
    return NULL;
}

/* Lines of several threads do not mix, each thread's are in order, and a shared limit counts exactly. */
static void test_threads(void **state)
{
    pthread_t threads[THREADS];
    int numbers[THREADS], next[THREADS] = {0}, limited = 0;
    char *rest = NULL, expected[32];

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, &numbers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    taken();
    for (char *line = strtok_r(captured, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        const char *text = text_of(line);
        int thread;

        if (strcmp(text, "limited") == 0) {
            limited++;
            continue;
        }
        /* "thread 0 line 000" */
        assert_int_equal(strlen(text), 17);
        thread = text[7] - '0';
        assert_in_range(thread, 0, THREADS - 1);
        snprintf(expected, sizeof(expected), "thread %d line %03d", thread, next[thread]++);
        assert_string_equal(text, expected);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(next[i], LINES);
    assert_int_equal(limited, LINES);
    assert_int_equal(shared.suppressed, (THREADS - 1) * LINES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_line, capture, release),
        cmocka_unit_test_setup_teardown(test_level, capture, release),
        cmocka_unit_test_setup_teardown(test_journal, capture, release),
        cmocka_unit_test_setup_teardown(test_escapes, capture, release),
        cmocka_unit_test_setup_teardown(test_long_lines, capture, release),
        cmocka_unit_test_setup_teardown(test_keeps_errno, capture, release),
        cmocka_unit_test_setup_teardown(test_limit, capture, release),
        cmocka_unit_test_setup_teardown(test_limit_of_each, capture, release),
        cmocka_unit_test_setup_teardown(test_threads, capture, release),
    };

    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
