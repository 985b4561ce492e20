/*
 * The job log: what is written is what parallel writes, and what is read back is what was done.
 */
#include "client/pmapc/joblog.h"

#include "client/pmapc/pmapc.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define HEADER "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"

static char folder[64], path[96];

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/pmap-joblog-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/log", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void fill(const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void holds(const char *text, size_t len)
{
    char got[4096];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t size = fread(got, 1, sizeof got, file);
    fclose(file);
    assert_int_equal(size, len);
    assert_memory_equal(got, text, len);
}
#define HOLDS(text) holds(text, sizeof(text) - 1)

static void written_as_parallel_does(void **state)
{
    (void)state;
    struct joblog log;
    fill("what was there before");
    assert_int_equal(joblog_open(&log, path, JOBLOG_NEW), 0);
    assert_int_equal(log.done_count, 0);
    HOLDS(HEADER);
    struct joblog_entry entry = {.number = 1,
                                 .started_s = 1700000000.0625,
                                 .took_s = 0.0034,
                                 .sent = 4,
                                 .received = 6,
                                 .command = "echo 'a\nb'",
                                 .command_len = 10};
    assert_int_equal(joblog_add(&log, &entry), 0);
    HOLDS(HEADER); /* not before it is delivered */
    assert_int_equal(joblog_flush(&log), 0);
    entry = (struct joblog_entry){
        .number = 2, .took_s = 12345678.5, .exit_code = -1, .signal = 15, .command = ""};
    assert_int_equal(joblog_add(&log, &entry), 0);
    assert_int_equal(joblog_flush(&log), 0);
    joblog_close(&log);
    HOLDS(HEADER "1\t:\t1700000000.062\t     0.003\t4\t6\t0\t0\techo 'a\0b'\n"
                 "2\t:\t0.000\t12345678.500\t0\t0\t-1\t15\t\n");
}

#define LINE(number, exit, signal)                                                                           \
#number "\t:\t1.000\t     1.000\t0\t0\t" #exit "\t" #signal "\ttrue\t\x01 x\n"

static void ranges(enum joblog_mode mode, size_t count, const struct pmap_range *expected)
{
    struct joblog log;
    assert_int_equal(joblog_open(&log, path, mode), 0);
    assert_int_equal(log.done_count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(log.done[i].from, expected[i].from);
        assert_int_equal(log.done[i].to, expected[i].to);
    }
    joblog_close(&log);
}

static void what_is_listed_is_done(void **state)
{
    (void)state;
    fill(HEADER LINE(2, 0, 0) LINE(1, 3, 0) LINE(4, 0, 9) LINE(5, -1, 0) LINE(70, 0, 0) LINE(129, 0, 0));
    ranges(JOBLOG_RESUME, 4, (struct pmap_range[]){{0, 2}, {3, 5}, {69, 70}, {128, 129}});
    ranges(JOBLOG_RESUME_FAILED, 3, (struct pmap_range[]){{1, 2}, {69, 70}, {128, 129}});
    /* The last line on an item counts. */
    fill(HEADER LINE(1, 3, 0) LINE(2, 0, 0) LINE(1, 0, 0) LINE(2, 1, 0));
    ranges(JOBLOG_RESUME, 1, (struct pmap_range[]){{0, 2}});
    ranges(JOBLOG_RESUME_FAILED, 1, (struct pmap_range[]){{0, 1}});
}

static void a_line_that_was_cut_is_not(void **state)
{
    (void)state;
    struct joblog log;
    fill(HEADER LINE(1, 0, 0) "2\t:\t1.000");
    assert_int_equal(joblog_open(&log, path, JOBLOG_RESUME), 0);
    assert_int_equal(log.done_count, 1);
    assert_true(log.done[0].from == 0 && log.done[0].to == 1);
    HOLDS(HEADER LINE(1, 0, 0));
    assert_int_equal(joblog_add(&log, &(struct joblog_entry){.number = 3, .command = "x", .command_len = 1}),
                     0);
    assert_int_equal(joblog_flush(&log), 0);
    joblog_close(&log);
    HOLDS(HEADER LINE(1, 0, 0) "3\t:\t0.000\t     0.000\t0\t0\t0\t0\tx\n");
    fill("Seq\tHo"); /* not even the header */
    ranges(JOBLOG_RESUME, 0, NULL);
    HOLDS(HEADER);
}

static void a_log_that_is_not_there_is_empty(void **state)
{
    (void)state;
    ranges(JOBLOG_RESUME, 0, NULL);
    HOLDS(HEADER);
}

static void what_is_no_log_is_left_alone(void **state)
{
    (void)state;
    struct joblog log;
    static const char *const wrong[] = {
        "my letter\n",   HEADER "one\t:\n", HEADER "0\t:\n", HEADER "\n", HEADER "99999999999999\t:\n",
        HEADER "-1\t:\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        fill(wrong[i]);
        assert_int_equal(joblog_open(&log, path, JOBLOG_RESUME), STATUS_USAGE);
        joblog_close(&log);
        holds(wrong[i], strlen(wrong[i]));
    }
    assert_int_equal(joblog_open(&log, folder, JOBLOG_NEW), STATUS_USAGE);
    joblog_close(&log);
}

static void too_many_gaps(void **state)
{
    (void)state;
    struct joblog log;
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(HEADER, file);
    for (int i = 0; i < 4096; i++)
        fprintf(file, "%d\t:\t1.000\t     1.000\t0\t0\t0\t0\tx\n", 2 * i + 1);
    fclose(file);
    assert_int_equal(joblog_open(&log, path, JOBLOG_RESUME), 0);
    assert_int_equal(log.done_count, 4096);
    joblog_close(&log);
    file = fopen(path, "a");
    assert_non_null(file);
    fprintf(file, "%d\t:\t1.000\t     1.000\t0\t0\t0\t0\tx\n", 10001);
    fclose(file);
    assert_int_equal(joblog_open(&log, path, JOBLOG_RESUME), STATUS_USAGE);
    joblog_close(&log);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(written_as_parallel_does),     TEST(what_is_listed_is_done),
        TEST(a_line_that_was_cut_is_not),   TEST(a_log_that_is_not_there_is_empty),
        TEST(what_is_no_log_is_left_alone), TEST(too_many_gaps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
