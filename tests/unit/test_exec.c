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

static void the_environment_says_which_item_it_is(void **state)
{
    (void)state;
    assert_int_equal(setenv("PMAP_JOB", "12", 1), 0);
    assert_int_equal(setenv("PMAP_SEQ", "stale", 1), 0);
    struct rig *rig =
        RIG("command", PLAIN, SH("echo $PMAP_JOB $PMAP_SEQ $PMAP_SLOT $2 $3 $1; env | grep -c PMAP_SEQ"),
            "{}", "{#}", "{%}");
    rig->first = 40;
    rig->slot = 2;
    RIG_CHUNK(rig, "x", "y");
    rig_run(rig);
    assert_string_equal(rig->results[0].out.bytes, "12 41 2 41 2 x\n1\n");
    assert_string_equal(rig->results[1].out.bytes, "12 42 2 42 2 y\n1\n");
    unsetenv("PMAP_JOB");
    unsetenv("PMAP_SEQ");
    rig_stop(rig);
}

static void stdout_and_stderr_come_apart(void **state)
{
    (void)state;
    struct rig *rig = RIG("command", PLAIN, SH("echo out$1; echo err$1 >&2; exit $1"));
    RIG_CHUNK(rig, "0", "3");
    rig_run(rig);
    assert_string_equal(rig->results[0].out.bytes, "out0\n");
    assert_string_equal(rig->results[0].err.bytes, "err0\n");
    assert_int_equal(rig->results[0].fails, 0);
    assert_string_equal(rig->results[1].out.bytes, "out3\n");
    assert_string_equal(rig->results[1].err.bytes, "err3\n");
    assert_int_equal(rig->results[1].exit_code, 3);
    assert_int_equal(rig->results[1].fails, 1);
    rig_stop(rig);
}

static void a_signal_is_told(void **state)
{
    (void)state;
    struct rig *rig = RIG("command", PLAIN, SH("ulimit -c 0; echo before; kill -$1 $$"));
    RIG_CHUNK(rig, "SEGV", "KILL", "PIPE");
    rig_run(rig);
    const int signals[] = {SIGSEGV, SIGKILL, SIGPIPE};
    for (int i = 0; i < 3; i++) {
        assert_string_equal(rig->results[i].out.bytes, "before\n");
        assert_int_equal(rig->results[i].signal, signals[i]);
        assert_int_equal(rig->results[i].fails, 1);
    }
    rig_stop(rig);
}

static void nothing_but_the_three_descriptors(void **state)
{
    (void)state;
    struct rig *rig =
        RIG("command", PLAIN, SH("ls /proc/self/fd | tr '\n' ' '; readlink /proc/self/fd/0"), "{#}");
    RIG_CHUNK(rig, "");
    rig_run(rig);
    /* 3 is ls's own, the folder. */
    assert_string_equal(rig->results[0].out.bytes, "0 1 2 3 /dev/null\n");
    rig_stop(rig);
}

/* A line of /proc/self/status as a number. */
static unsigned long long status_of(struct rig *rig, const char *key)
{
    const char *line = strstr(rig->results[0].out.bytes, key);
    assert_non_null(line);
    return strtoull(line + strlen(key), NULL, 16);
}

static void signals_are_the_submitters(void **state)
{
    (void)state;
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    signal(SIGCHLD, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    struct rig *rig = RIG("command", PLAIN, "--", "cat");
    signal(SIGCHLD, SIG_DFL);
    signal(SIGUSR1, SIG_DFL);
    sigprocmask(SIG_SETMASK, &before, NULL);
    RIG_CHUNK(rig, "/proc/self/status");
    rig_run(rig);
    /* A child of a process with sanitizers may have more that is ignored, not less. */
    unsigned long long both = 1ULL << (SIGCHLD - 1) | 1ULL << (SIGUSR1 - 1);
    assert_int_equal(status_of(rig, "SigIgn:") & (both | 1ULL << (SIGPIPE - 1)), both);
    assert_int_equal(status_of(rig, "SigBlk:"), 1ULL << (SIGUSR2 - 1));
    rig_stop(rig);
}

static void limits_are_the_items_own(void **state)
{
    (void)state;
    char limit[64];
    snprintf(limit, sizeof limit, "%d:10:20", RLIMIT_NOFILE);
    struct rig *rig = RIG("command", PLAIN, "--rlimit", limit, SH("ulimit -Sn; ulimit -Hn"));
    RIG_CHUNK(rig, "");
    rig_run(rig);
    assert_string_equal(rig->results[0].out.bytes, "10\n20\n");
    rig_stop(rig);
}

static void assert_bad(const char *text, const char *const *arguments)
{
    struct rig *rig = rig_start(0, arguments);
    if (rig->bad.len == 0) {
        RIG_CHUNK(rig, "a", "b");
        rig_run(rig);
    }
    assert_string_equal(rig->bad.bytes, text);
    assert_false(rig->ended);
    rig_stop(rig);
}
#define BAD(text, ...) assert_bad(text, (const char *const[]){__VA_ARGS__, NULL})

static char folder[] = "/tmp/pmap-exec-test-XXXXXX";

static const char *make_file(const char *name, const char *text, mode_t mode)
{
    static char path[100];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
    return path;
}

static void a_program_that_cannot_be_run_is_told_once(void **state)
{
    (void)state;
    const char *kinds[] = {"command", "filter", "pipe"};
    for (int i = 0; i < 3; i++) {
        BAD("cannot run 'no-such-program': No such file or directory", kinds[i], PLAIN, "--",
            "no-such-program");
        BAD("cannot run '/etc': Permission denied", kinds[i], PLAIN, "--", "/etc");
        BAD("cannot run '/etc/passwd': Permission denied", kinds[i], PLAIN, "--", "/etc/passwd");
        BAD("cannot run '': No such file or directory", kinds[i], PLAIN, "--", "");
    }
    char text[200];
    const char *path = make_file("orphan", "#!/no/interpreter\n", 0700);
    snprintf(text, sizeof text, "cannot run '%s': the interpreter that it names does not exist", path);
    BAD(text, "command", PLAIN, "--", path);
    unlink(path);
}

static void a_program_that_varies_fails_with_its_item(void **state)
{
    (void)state;
    struct rig *rig = RIG("command", PLAIN, "--", "{}");
    RIG_CHUNK(rig, "no-such-program", "true", "/etc/passwd", "");
    rig_run(rig);
    assert_string_equal(rig->results[0].error.bytes,
                        "cannot run 'no-such-program': No such file or directory");
    assert_int_equal(rig->results[1].fails, 0);
    assert_string_equal(rig->results[2].error.bytes, "cannot run '/etc/passwd': Permission denied");
    assert_int_equal(rig->results[3].fails, 1);
    rig_stop(rig);
}

static void scripts_need_no_interpreters_name(void **state)
{
    (void)state;
    const char *path = make_file("script", "echo script: \"$@\"\n", 0700);
    struct rig *rig = RIG("command", PLAIN, "--", path, "a b");
    RIG_CHUNK(rig, "1", "2");
    rig_run(rig);
    assert_string_equal(rig->results[0].out.bytes, "script: a b 1\n");
    assert_string_equal(rig->results[1].out.bytes, "script: a b 2\n");
    rig_stop(rig);
    unlink(path);
}

static void a_program_is_found_again_when_it_has_moved(void **state)
{
    (void)state;
    char path[200];
    char old[4096];
    const char *before = getenv("PATH");
    snprintf(old, sizeof old, "%s", before ? before : "/usr/bin:/bin");
    snprintf(path, sizeof path, "%s:/usr/bin:/bin", folder);
    setenv("PATH", path, 1);
    char program[100];
    snprintf(program, sizeof program, "%s", make_file("tac", "#!/bin/sh\necho first\n", 0700));
    struct rig *rig = RIG("command", PLAIN, "--", "tac");
    setenv("PATH", old, 1);
    RIG_CHUNK(rig, "/dev/null");
    rig_run(rig);
    assert_string_equal(rig->results[0].out.bytes, "first\n");
    unlink(program);
    RIG_CHUNK(rig, "/dev/null");
    rig_run(rig);
    assert_int_equal(rig->bad.len, 0);
    assert_string_equal(rig->results[0].out.bytes, "");
    assert_int_equal(rig->results[0].fails, 0);
    rig_stop(rig);
}

static void arguments_may_be_long_but_not_too_long(void **state)
{
    (void)state;
    size_t sizes[] = {100 << 10, 200 << 10, 1};
    char *items[3];
    for (int i = 0; i < 3; i++) {
        items[i] = malloc(sizes[i]);
        assert_non_null(items[i]);
        memset(items[i], 'x', sizes[i]);
    }
    struct rig *rig = RIG("command", PLAIN, SH("echo ${#1}"));
    rig_chunk(rig, 3, (const char *const *)items, sizes);
    rig_run(rig);
    assert_string_equal(rig->results[0].out.bytes, "102400\n");
    assert_string_equal(rig->results[1].error.bytes, "cannot run 'sh': Argument list too long");
    assert_string_equal(rig->results[2].out.bytes, "1\n");
    for (int i = 0; i < 3; i++)
        free(items[i]);
    rig_stop(rig);
}

static void much_stderr(void **state)
{
    (void)state;
    struct rig *rig = RIG("command", PLAIN, SH("head -c 5000000 /dev/zero >&2; echo end >&2; echo $1"));
    RIG_CHUNK(rig, "a", "b");
    rig_run(rig);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rig->results[i].err.len, 5000004);
        assert_memory_equal(rig->results[i].err.bytes + 5000000, "end\n", 4);
    }
    assert_string_equal(rig->results[1].out.bytes, "b\n");
    assert_true(rig->fulls > 100);
    rig_stop(rig);
}

/* Resident set of a process, in KiB. */
static long resident(pid_t pid)
{
    char path[64], line[200];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    long kib = -1;
    while (kib < 0 && fgets(line, sizeof line, file))
        if (strncmp(line, "VmRSS:", 6) == 0)
            kib = strtol(line + 6, NULL, 10);
    fclose(file);
    return kib;
}

static void much_stdout_in_bounded_memory(void **state)
{
    (void)state;
    size_t size = 100 << 20;
    struct rig *rig = RIG("command", PLAIN, SH("head -c $1 /dev/zero; echo end"));
    char number[20];
    snprintf(number, sizeof number, "%zu", size);
    long before = resident(rig->pid);
    RIG_CHUNK(rig, "10", number, "5");
    rig_run(rig);
    assert_int_equal(rig->results[0].out.len, 14);
    assert_int_equal(rig->results[1].out.len, size + 4);
    assert_memory_equal(rig->results[1].out.bytes + size, "end\n", 4);
    assert_int_equal(rig->results[2].out.len, 9);
    assert_true(rig->fulls > 90);
    assert_true(resident(rig->pid) < before + 4096);
    rig_stop(rig);
}

static bool is_full(struct rig *rig)
{
    return rig->fulls > 0;
}

static void an_item_waits_while_there_is_no_room(void **state)
{
    (void)state;
    struct rig *rig = RIG("command", "--timeout", "1000", "--grace", "0", "--retries", "0", "--recycle", "0",
                          "--", "sh", "-c", "yes | head -c 3000000; echo done");
    rig->hold_full = true;
    RIG_CHUNK(rig, "x");
    assert_true(rig_until(rig, is_full, 20000));
    /* While it waits for us, its time stands still. */
    static bool (*const never)(struct rig *) = is_full;
    rig->fulls = 0;
    assert_false(rig_until(rig, never, 1500));
    assert_false(rig->ended);
    rig->hold_full = false;
    rig->bytes_taken = rig->notes_taken = 0;
    rig_send(rig, HOST_RESUME, 0);
    rig_run(rig);
    assert_int_equal(rig->results[0].out.len, 3000005);
    assert_int_equal(rig->results[0].timeouts, 0);
    rig_stop(rig);
}

static bool has_a_line(struct rig *rig)
{
    return rig->results[0].out.len >= 5;
}

static void live_lines_come_at_once(void **state)
{
    (void)state;
    struct rig *rig =
        RIG("command", PLAIN, "--live", SH("echo line; printf half; echo oops >&2; cat $1; echo"), "{}");
    char fifo[100];
    snprintf(fifo, sizeof fifo, "%s/fifo", folder);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    RIG_CHUNK(rig, fifo);
    assert_true(rig_until(rig, has_a_line, 20000));
    assert_string_equal(rig->results[0].out.bytes, "line\n");
    assert_false(rig->results[0].done);
    int fd = open(fifo, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    close(fd);
    rig_run(rig);
    assert_string_equal(rig->results[0].out.bytes, "line\nhalf\n");
    assert_string_equal(rig->results[0].err.bytes, "oops\n");
    unlink(fifo);
    rig_stop(rig);
}

/* Fails until it was run `$1` times. */
static const char nth_time[] = "echo x >> $2; n=$(wc -l < $2); echo out$n; echo err$n >&2; test $n -ge $1";

static void retries_leave_the_last_attempt(void **state)
{
    (void)state;
    char count[100];
    snprintf(count, sizeof count, "%s/count", folder);
    struct rig *rig = RIG("command", "--timeout", "0", "--grace", "0", "--retries", "2", "--recycle", "0",
                          SH(nth_time), "{}", count);
    const char *times[] = {"1", "3", "9"};
    const int attempts[] = {0, 3, 3};
    for (int i = 0; i < 3; i++) {
        rig_chunk(rig, 1, &times[i], NULL);
        rig_run(rig);
        char expected[20];
        snprintf(expected, sizeof expected, "out%d\n", attempts[i] ? 3 : 1);
        assert_string_equal(rig->results[0].out.bytes, expected);
        snprintf(expected, sizeof expected, "err%d\n", attempts[i] ? 3 : 1);
        assert_string_equal(rig->results[0].err.bytes, expected);
        assert_int_equal(rig->results[0].attempts, attempts[i]);
        assert_int_equal(rig->results[0].exit_code, i == 2);
        unlink(count);
    }
    rig_stop(rig);
}

static void a_large_attempt_is_kept_on_disk(void **state)
{
    (void)state;
    char count[100];
    snprintf(count, sizeof count, "%s/count", folder);
    assert_int_equal(setenv("TMPDIR", folder, 1), 0);
    char script[300];
    snprintf(script, sizeof script, "yes | head -c 5000000; yes | head -c 200000 >&2; %s", nth_time);
    struct rig *rig = RIG("command", "--timeout", "0", "--grace", "0", "--retries", "3", "--recycle", "0",
                          SH(script), "{}", count);
    unsetenv("TMPDIR");
    RIG_CHUNK(rig, "1", "3");
    rig_run(rig);
    assert_int_equal(rig->results[0].out.len, 5000005);
    assert_int_equal(rig->results[0].err.len, 200005);
    assert_string_equal(rig->results[0].out.bytes + 5000000, "out1\n");
    assert_int_equal(rig->results[1].out.len, 5000005);
    assert_string_equal(rig->results[1].out.bytes + 5000000, "out3\n");
    assert_string_equal(rig->results[1].err.bytes + 200000, "err3\n");
    assert_int_equal(rig->results[1].attempts, 2); /* the count goes on from the first item */
    unlink(count);
    rig_stop(rig);
}

static void an_attempt_that_cannot_be_kept_has_failed(void **state)
{
    (void)state;
    assert_int_equal(setenv("TMPDIR", "/no/such/folder", 1), 0);
    struct rig *rig = RIG("command", "--timeout", "0", "--grace", "0", "--retries", "1", "--recycle", "0",
                          SH("yes | head -c $1"), "{}");
    unsetenv("TMPDIR");
    RIG_CHUNK(rig, "10", "3000000");
    rig_run(rig);
    assert_int_equal(rig->results[0].out.len, 10);
    assert_int_equal(rig->results[0].attempts, 0);
    /* The last attempt need not be kept back. */
    assert_int_equal(rig->results[1].out.len, 3000000);
    assert_int_equal(rig->results[1].attempts, 2);
    assert_int_equal(rig->results[1].fails, 0);
    rig_stop(rig);
}

static void the_peak_is_the_items_own(void **state)
{
    (void)state;
    if (strcmp(PMAP_SANITIZED, "") != 0) {
        print_message("sanitizers make pmap-exec large\n");
        skip();
    }
    struct rig *rig = RIG("command", PLAIN, SH("head -c $1 /dev/zero; true"));
    /* Large results before it must not count. */
    RIG_CHUNK(rig, "30000000", "1", "1");
    rig_run(rig);
    for (int i = 0; i < 3; i++) {
        assert_in_range(rig->results[i].peak_bytes, 500 << 10, 8 << 20);
    }
    rig_stop(rig);
    rig = RIG("command", PLAIN, SH("x=$(head -c $1 /dev/zero | tr '\\0' x); echo ${#x}"));
    RIG_CHUNK(rig, "20000000");
    rig_run(rig);
    assert_true(rig->results[0].peak_bytes > 20000000);
    assert_true(rig->results[0].cpu_ns > 0);
    rig_stop(rig);
}

static void a_yield_ends_after_the_present_item(void **state)
{
    (void)state;
    char go[100];
    snprintf(go, sizeof go, "%s/go", folder);
    assert_int_equal(mkfifo(go, 0600), 0);
    struct rig *rig = RIG("command", PLAIN, "--", "cat", "{}");
    RIG_CHUNK(rig, go, go, go);
    int fd = open(go, O_WRONLY | O_CLOEXEC); /* waits until it runs */
    assert_true(fd >= 0);
    rig_send(rig, HOST_YIELD, 0);
    assert_int_equal(write(fd, "one", 3), 3);
    close(fd);
    rig_run(rig);
    assert_true(rig->results[0].done);
    assert_string_equal(rig->results[0].out.bytes, "one");
    assert_false(rig->results[1].done);
    /* For a chunk that is over it means nothing. */
    rig_send(rig, HOST_YIELD, 0);
    rig_send(rig, HOST_DROP, 0);
    RIG_CHUNK(rig, "/dev/null", "/dev/null");
    rig_run(rig);
    assert_true(rig->results[1].done);
    unlink(go);
    rig_stop(rig);
}

static void many_short_items(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    static const char *items[COUNT];
    for (int i = 0; i < COUNT; i++)
        items[i] = "x";
    struct rig *rig =
        rig_start(ARENA_PAGE, (const char *const[]){"command", PLAIN, "--", "echo", "{#}", NULL});
    rig_chunk(rig, COUNT, items, NULL);
    rig_run(rig);
    for (int i = 0; i < COUNT; i++) {
        char expected[20];
        snprintf(expected, sizeof expected, "%d\n", i + 1);
        assert_string_equal(rig->results[i].out.bytes, expected);
    }
    rig_stop(rig);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_become_arguments),
        cmocka_unit_test(fields_become_several_arguments),
        cmocka_unit_test(a_nul_without_fields_fails_the_item),
        cmocka_unit_test(the_environment_says_which_item_it_is),
        cmocka_unit_test(stdout_and_stderr_come_apart),
        cmocka_unit_test(a_signal_is_told),
        cmocka_unit_test(nothing_but_the_three_descriptors),
        cmocka_unit_test(signals_are_the_submitters),
        cmocka_unit_test(limits_are_the_items_own),
        cmocka_unit_test(a_program_that_cannot_be_run_is_told_once),
        cmocka_unit_test(a_program_that_varies_fails_with_its_item),
        cmocka_unit_test(scripts_need_no_interpreters_name),
        cmocka_unit_test(a_program_is_found_again_when_it_has_moved),
        cmocka_unit_test(arguments_may_be_long_but_not_too_long),
        cmocka_unit_test(much_stderr),
        cmocka_unit_test(much_stdout_in_bounded_memory),
        cmocka_unit_test(an_item_waits_while_there_is_no_room),
        cmocka_unit_test(live_lines_come_at_once),
        cmocka_unit_test(retries_leave_the_last_attempt),
        cmocka_unit_test(a_large_attempt_is_kept_on_disk),
        cmocka_unit_test(an_attempt_that_cannot_be_kept_has_failed),
        cmocka_unit_test(the_peak_is_the_items_own),
        cmocka_unit_test(a_yield_ends_after_the_present_item),
        cmocka_unit_test(many_short_items),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
