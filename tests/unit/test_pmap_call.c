/*
 * Jobs of libpmap that run in processes: what OPEN carries, what notes make of a result, holding, aborting,
 * and going on with an earlier run. The daemon is a fake.
 */
#include "client/libpmap/pmap.h"

#include "common/batch.h"
#include "common/call.h"
#include "common/handover.h"
#include "common/protocol.h"
#include "tests/unit/fake.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { LONG_MS = 10000 };

static struct fake *fake;
static pmap *pool;

static void connect_to(fake_script *script)
{
    struct pmap_options options = {.connect_timeout_ms = LONG_MS, .program = "test_pmap_call"};
    fake = fake_start(script);
    assert_int_equal(pmap_connect(fake_endpoint(fake), &options, &pool), 0);
}

static int end(void **state)
{
    (void)state;
    pmap_disconnect(pool);
    pool = NULL;
    if (fake)
        fake_stop(fake);
    fake = NULL;
    return 0;
}

static void assert_says(const char *words)
{
    if (!strstr(pmap_error(pool), words))
        fail_msg("\"%s\" is not in \"%s\"", words, pmap_error(pool));
}

/*** What OPEN carries ***/

static struct {
    uint32_t kind;
    char function[64];
    struct job_options options;
    struct call call;
    int decoded;
    const char *why;
} seen;

/* What the daemon's thread has noted by then is the test's to look at once it has heard of it. */
static void end_of_job(struct fake *f, uint64_t ref)
{
    handover_give(&seen);
    fake_send(f, &(struct message){.type = MSG_DONE, .done = {.ref = ref}}, NULL, 0);
}

static void keep_open(struct fake *f)
{
    struct message m;
    if (!fake_welcome(f, 1, 1) || !fake_expect(f, MSG_OPEN, &m))
        return;
    seen.kind = m.open.kind;
    snprintf(seen.function, sizeof seen.function, "%.*s", (int)m.open.function.len, m.open.function.data);
    seen.options = m.open.options;
    struct bytes call = fake_frame(f, 1);
    seen.why = "";
    seen.decoded = call.size > 0 ? call_decode(call.data, call.size, &seen.call, &seen.why) : 1;
    end_of_job(f, m.open.ref);
    fake_silent(f);
}

/* Opens a job of no items and waits for its end, so that `seen` is set. */
static void open_and_end(const struct pmap_call *call, const struct pmap_job_options *options)
{
    pmap_job *job;
    pmap_result result;
    connect_to(keep_open);
    assert_int_equal(pmap_open_call(pool, call, options, &job), 0);
    assert_int_equal(pmap_end(job), 0);
    assert_int_equal(pmap_wait_take(job, LONG_MS, &result), PMAP_DONE);
    handover_take(&seen);
    pmap_close_job(job);
}

static void a_command_with_the_state_of_its_caller(void **state)
{
    (void)state;
    static const char *const argv[] = {"convert", "{}", "", "{.}.png", NULL};
    struct pmap_call call = {
        .kind = PMAP_COMMAND, .name = "convert …", .argv = argv, .fields = 1, .placeholder = "@"};
    struct pmap_job_options options = {.timeout_ms = 1500,
                                       .retries = 3,
                                       .halt = PMAP_HALT_NOW,
                                       .recycle = 7,
                                       .live = 1,
                                       .once = 1,
                                       .unordered = 1};
    char folder[] = "/tmp/pmap-call-XXXXXX";
    char before[4096];
    assert_non_null(mkdtemp(folder));
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(folder), 0);
    mode_t mask = umask(027);
    setenv("PMAP_TEST_CALL", "a=b c", 1);
    signal(SIGUSR2, SIG_IGN);
    open_and_end(&call, &options);
    signal(SIGUSR2, SIG_DFL);
    unsetenv("PMAP_TEST_CALL");
    assert_int_equal(umask(mask), 027); /* as it was */
    assert_int_equal(chdir(before), 0);
    assert_int_equal(rmdir(folder), 0);

    if (seen.decoded != 0)
        fail_msg("the call: %s", seen.why);
    assert_int_equal(seen.kind, KIND_COMMAND);
    assert_string_equal(seen.function, "convert …");
    assert_true(seen.options.timeout_ms == 1500 && seen.options.retries == 3 &&
                seen.options.halt == HALT_NOW && seen.options.recycle == 7 && seen.options.live &&
                seen.options.once && seen.options.unordered && !seen.options.isolate);
    assert_int_equal(seen.call.argc, 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(seen.call.argv[i], argv[i]);
    assert_string_equal(seen.call.cwd, folder);
    assert_int_equal(seen.call.umask, 027);
    assert_true(seen.call.fields && !seen.call.file && !seen.call.raw);
    assert_string_equal(seen.call.placeholder, "@");
    assert_true(seen.call.ignored & UINT64_C(1) << (SIGUSR2 - 1));
    bool found = false;
    for (size_t i = 0; i < seen.call.env_count; i++)
        found |= strcmp(seen.call.env[i], "PMAP_TEST_CALL=a=b c") == 0;
    assert_true(found);
    call_free(&seen.call);
}

static void builtins_have_a_call_only_when_isolated(void **state)
{
    (void)state;
    struct pmap_call call = {.name = "square"};
    open_and_end(&call, NULL);
    assert_int_equal(seen.decoded, 1); /* there was none */
    assert_int_equal(seen.kind, KIND_BUILTIN);
    end(NULL);
    open_and_end(&call, &(struct pmap_job_options){.isolate = 1});
    assert_int_equal(seen.decoded, 0);
    assert_true(seen.options.isolate && seen.call.argc == 0 && seen.call.cwd);
    call_free(&seen.call);
}

static void modules_and_python(void **state)
{
    (void)state;
    open_and_end(&(struct pmap_call){.kind = PMAP_MODULE,
                                     .name = "cube",
                                     .argv = (const char *const[]){"/lib/mine.so", NULL},
                                     .type = "i64",
                                     .raw = 1},
                 NULL);
    assert_int_equal(seen.decoded, 0);
    assert_true(seen.kind == KIND_MODULE && seen.call.raw);
    assert_string_equal(seen.function, "cube");
    assert_string_equal(seen.call.argv[0], "/lib/mine.so");
    assert_string_equal(seen.call.type, "i64");
    call_free(&seen.call);
    end(NULL);
    open_and_end(
        &(struct pmap_call){.kind = PMAP_PYTHON, .argv = (const char *const[]){"f.py:g", NULL}, .file = 1},
        NULL);
    assert_int_equal(seen.decoded, 0);
    assert_true(seen.kind == KIND_PYTHON && seen.call.file);
    assert_string_equal(seen.function, "f.py:g"); /* where there is no other name */
    call_free(&seen.call);
}

static void quiet(struct fake *f)
{
    if (fake_welcome(f, 1, 1))
        fake_silent(f);
}

static void refuses_what_makes_no_sense(void **state)
{
    (void)state;
    pmap_job *job = NULL;
    static const char *const argv[] = {"true", NULL}, *const none[] = {NULL};
    connect_to(quiet);
    assert_int_equal(pmap_open_call(pool, &(struct pmap_call){.kind = PMAP_COMMAND}, NULL, &job), -EINVAL);
    assert_says("program");
    assert_int_equal(pmap_open_call(pool, &(struct pmap_call){.kind = PMAP_PIPE, .argv = none}, NULL, &job),
                     -EINVAL);
    assert_int_equal(pmap_open_call(pool, &(struct pmap_call){.name = "cube", .argv = argv}, NULL, &job),
                     -EINVAL);
    assert_int_equal(
        pmap_open_call(pool, &(struct pmap_call){.kind = (enum pmap_kind)6, .argv = argv}, NULL, &job),
        -EINVAL);
    assert_int_equal(pmap_open_call(pool, &(struct pmap_call){.kind = PMAP_MODULE, .argv = argv}, NULL, &job),
                     -EINVAL);
    struct pmap_call call = {.kind = PMAP_COMMAND, .argv = argv};
    assert_int_equal(pmap_open_call(pool, &call, &(struct pmap_job_options){.halt = 3}, &job), -EINVAL);
    assert_says("halt");
    static struct pmap_range done[5000];
    for (size_t i = 0; i < 5000; i++)
        done[i] = (struct pmap_range){2 * i, 2 * i + 1};
    struct pmap_job_options options = {.done = done, .done_count = 5000};
    assert_int_equal(pmap_open_call(pool, &call, &options, &job), -EINVAL);
    assert_says("done");
    options = (struct pmap_job_options){.done = (struct pmap_range[]){{4, 5}, {1, 2}}, .done_count = 2};
    assert_int_equal(pmap_open_call(pool, &call, &options, &job), -EINVAL);
    size_t size = PROTOCOL_CALL_MAX + 1;
    char *large = malloc(size + 1);
    assert_non_null(large);
    memset(large, 'x', size);
    large[size] = '\0';
    call.argv = (const char *const[]){"echo", large, NULL};
    assert_int_equal(pmap_open_call(pool, &call, NULL, &job), -E2BIG);
    assert_says("4 MiB");
    free(large);
    assert_null(job);
}

static void a_folder_that_is_gone(void **state)
{
    (void)state;
    char folder[] = "/tmp/pmap-call-XXXXXX", before[4096];
    pmap_job *job = NULL;
    connect_to(quiet);
    assert_non_null(mkdtemp(folder));
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(rmdir(folder), 0);
    struct pmap_call call = {.kind = PMAP_COMMAND, .argv = (const char *const[]){"true", NULL}};
    int rc = pmap_open_call(pool, &call, NULL, &job);
    assert_int_equal(chdir(before), 0);
    assert_int_equal(rc, -ENOENT);
    assert_says("gone");
}

/*** What notes make of results ***/

struct a_note {
    uint32_t record;
    uint16_t kind, code;
    const char *text;
    size_t len; /* 0: of a string */
};

/* RESULTS of `count` records of one byte each, 7 ns each, with these notes. */
static void send_results(struct fake *f, struct message *m, uint32_t count, const struct a_note *notes,
                         uint32_t note_count)
{
    uint8_t lengths[4 * 16], times[8 * 16], packed[NOTE_SIZE * 16];
    char bytes[16], texts[1024];
    size_t text_size = 0;
    for (uint32_t i = 0; i < count; i++) {
        store_u32(lengths + 4 * (size_t)i, 1);
        store_u64(times + 8 * (size_t)i, 7);
        bytes[i] = (char)('a' + i);
    }
    for (uint32_t i = 0; i < note_count; i++) {
        size_t len = notes[i].len ? notes[i].len : strlen(notes[i].text);
        struct note note = {notes[i].record, notes[i].kind, notes[i].code, (uint32_t)len};
        note_store(packed + (size_t)NOTE_SIZE * i, &note);
        memcpy(texts + text_size, notes[i].text, len);
        text_size += len;
    }
    m->type = MSG_RESULTS;
    const struct bytes frames[] = {{lengths, 4 * (size_t)count},
                                   {bytes, count},
                                   {times, 8 * (size_t)count},
                                   {packed, (size_t)NOTE_SIZE * note_count},
                                   {texts, text_size}};
    fake_send(f, m, frames, note_count > 0 ? 5 : 3);
}

static void eight_fates(struct fake *f)
{
    struct message m;
    if (!fake_welcome(f, 1, 1) || !fake_expect(f, MSG_OPEN, &m))
        return;
    uint64_t ref = m.open.ref;
    uint8_t usage[NOTE_USAGE_SIZE];
    usage_store(usage, &(struct usage){1700000000000000000U, 2000, 4096});
    const struct a_note notes[] = {
        {0, NOTE_STDERR, 0, "only a warning\n", 0},
        {0, NOTE_USAGE, 0, (const char *)usage, NOTE_USAGE_SIZE},
        {1, NOTE_STDERR, 0, "one ", 0},
        {1, NOTE_EXIT, 3, "", 0},
        {1, NOTE_STDERR, 0, "two", 0},
        {1, NOTE_REMARK, 0, "it buffers", 0},
        {1, NOTE_STDERR, 0, " three", 0},
        {2, NOTE_SIGNAL, SIGSEGV, "", 0},
        {3, NOTE_SIGNAL, SIGKILL, "out of memory", 0},
        {3, NOTE_ATTEMPTS, 4, "", 0},
        {4, NOTE_TIMEOUT, 0, "timed out after 2 s", 0},
        {4, NOTE_SIGNAL, SIGTERM, "", 0},
        {5, NOTE_CANCELLED, 0, "", 0},
        {6, NOTE_ERROR, 0, "no number", 0},
    };
    m = (struct message){.results = {.ref = ref}};
    send_results(f, &m, 8, notes, sizeof notes / sizeof notes[0]);
    end_of_job(f, ref);
    fake_silent(f);
}

static void take(pmap_job *job, uint64_t index, pmap_result *result)
{
    assert_int_equal(pmap_wait_take(job, LONG_MS, result), PMAP_RESULT);
    assert_int_equal(result->index, index);
}

static void assert_err(const pmap_result *result, const char *text)
{
    assert_int_equal(result->err_size, strlen(text));
    if (*text)
        assert_memory_equal(result->err, text, strlen(text));
}

static pmap_job *open_eight(const struct pmap_job_options *options)
{
    pmap_job *job;
    static const char *const argv[] = {"true", NULL};
    struct pmap_call call = {.kind = PMAP_COMMAND, .argv = argv};
    assert_int_equal(pmap_open_call(pool, &call, options, &job), 0);
    for (int i = 0; i < 8; i++)
        assert_int_equal(pmap_put(job, "x", 1), 0);
    assert_int_equal(pmap_end(job), 0);
    return job;
}

static void each_item_has_its_fate(void **state)
{
    (void)state;
    pmap_result r;
    connect_to(eight_fates);
    pmap_job *job = open_eight(NULL);
    take(job, 0, &r);
    assert_true(!r.failed && !r.error && r.attempts == 1 && !r.remark && r.exit_code == 0);
    assert_true(r.started_ns == 1700000000000000000U && r.cpu_ns == 2000 && r.peak_bytes == 4096);
    assert_err(&r, "only a warning\n");
    take(job, 1, &r);
    assert_true(r.failed && r.exit_code == 3 && r.signal == 0 && r.started_ns == 0);
    assert_string_equal(r.error, "exited with status 3");
    assert_string_equal(r.remark, "it buffers");
    assert_err(&r, "one two three");
    assert_memory_equal(r.data, "b", 1); /* what it wrote before */
    take(job, 2, &r);
    assert_true(r.failed && r.signal == SIGSEGV && r.exit_code == 0 && !r.remark);
    assert_string_equal(r.error, "killed by SIGSEGV");
    assert_err(&r, "");
    take(job, 3, &r);
    assert_true(r.failed && r.signal == SIGKILL && r.attempts == 4);
    assert_string_equal(r.error, "killed by SIGKILL (out of memory)");
    take(job, 4, &r);
    assert_true(r.failed && r.timed_out && r.signal == SIGTERM);
    assert_string_equal(r.error, "timed out after 2 s");
    take(job, 5, &r);
    assert_true(r.failed && r.cancelled && !r.timed_out);
    assert_string_equal(r.error, "cancelled");
    take(job, 6, &r);
    assert_true(r.failed && !r.cancelled);
    assert_string_equal(r.error, "no number");
    take(job, 7, &r);
    assert_true(!r.failed && !r.error && r.attempts == 1 && r.time_ns == 7);
    assert_int_equal(pmap_wait_take(job, LONG_MS, &r), PMAP_DONE);
    struct pmap_report report;
    pmap_get_report(job, &report);
    assert_int_equal(report.item_count, 8);
}

static void in_pieces(struct fake *f)
{
    struct message m;
    if (!fake_welcome(f, 1, 1) || !fake_expect(f, MSG_OPEN, &m))
        return;
    uint64_t ref = m.open.ref;
    static const struct a_note first[] = {{0, NOTE_STDERR, 0, "early", 0}, {0, NOTE_EXIT, 9, "", 0}};
    static const struct a_note last[] = {{0, NOTE_STDERR, 0, "late", 0}, {0, NOTE_ATTEMPTS, 2, "", 0}};
    m = (struct message){.results = {.ref = ref, .more = true}};
    send_results(f, &m, 1, first, 2);
    send_results(f, &m, 1, NULL, 0);
    m.results.more = false;
    send_results(f, &m, 1, last, 2);
    m.results.first = 1;
    send_results(f, &m, 7, NULL, 0);
    end_of_job(f, ref);
    fake_silent(f);
}

static void notes_of_pieces_go_together(void **state)
{
    (void)state;
    pmap_result r;
    connect_to(in_pieces);
    pmap_job *job = open_eight(NULL);
    take(job, 0, &r);
    assert_true(r.more && !r.failed && !r.error && r.exit_code == 0);
    assert_err(&r, "early");
    take(job, 0, &r);
    assert_true(r.more && !r.failed);
    assert_err(&r, "");
    take(job, 0, &r);
    assert_true(!r.more && r.failed && r.exit_code == 9 && r.attempts == 2 && r.time_ns == 21);
    assert_string_equal(r.error, "exited with status 9");
    assert_err(&r, "late");
    for (uint64_t i = 1; i < 8; i++) {
        take(job, i, &r);
        assert_true(!r.failed && r.err_size == 0 && r.attempts == 1);
    }
    assert_int_equal(pmap_wait_take(job, LONG_MS, &r), PMAP_DONE);
}

/*** HOLD and ABORT ***/

static atomic_int holds; /* those that said so, less those that said to go on */

static void count_holds(struct fake *f)
{
    struct message m;
    if (!fake_welcome(f, 1, 1))
        return;
    while (fake_receive(f, &m)) {
        if (m.type == MSG_HOLD)
            atomic_fetch_add(&holds, m.hold.paused ? 1 : -1);
        if (m.type == MSG_PING)
            fake_send(f, &(struct message){.type = MSG_PONG, .ping.token = m.ping.token}, NULL, 0);
    }
}

static void a_job_is_held(void **state)
{
    (void)state;
    pmap_job *job;
    connect_to(count_holds);
    atomic_store(&holds, 0);
    assert_int_equal(pmap_open(pool, "square", NULL, &job), 0);
    assert_int_equal(pmap_hold(job, 1), 0);
    assert_true(pmap_ping(pool, LONG_MS) >= 0);
    assert_int_equal(atomic_load(&holds), 0); /* the daemon does not know of the job yet */
    assert_int_equal(pmap_put(job, "1", 1), 0);
    assert_int_equal(pmap_flush(job), 0);
    assert_true(pmap_ping(pool, LONG_MS) >= 0);
    assert_int_equal(atomic_load(&holds), 1);
    assert_int_equal(pmap_hold(job, 0), 0);
    assert_true(pmap_ping(pool, LONG_MS) >= 0);
    assert_int_equal(atomic_load(&holds), 0);
}

static void answer_aborts(struct fake *f)
{
    struct message m;
    if (!fake_welcome(f, 1, 1))
        return;
    while (fake_receive(f, &m)) {
        if (m.type != MSG_ABORT)
            continue;
        static const uint8_t empty_map[] = {0x80};
        struct message yes = {.type = MSG_ANSWER, .answer.ref = m.abort.ref};
        struct message no = {
            .type = MSG_ERROR,
            .error = {.has_ref = true, .ref = m.abort.ref, .code = PERR_NO_JOB, .text = text_of("no job 8")}};
        if (m.abort.job == 7)
            fake_send(f, &yes, (struct bytes[]){{empty_map, 1}}, 1);
        else if (m.abort.job == 8)
            fake_send(f, &no, NULL, 0);
    }
}

static void a_job_is_aborted_by_its_number(void **state)
{
    (void)state;
    connect_to(answer_aborts);
    assert_int_equal(pmap_abort(pool, 7, LONG_MS), 0);
    assert_int_equal(pmap_abort(pool, 8, LONG_MS), -ENOENT);
    assert_says("no job 8");
    assert_int_equal(pmap_abort(pool, 9, 50), -ETIMEDOUT);
}

/*** Going on with an earlier run ***/

static struct {
    uint64_t first, ranges[8];
    uint32_t count;
    bool end;
} opened;

/* Expects 0, 1, 3, 4 and 6 to be done, and items 2, 5 and 7. */
static void what_is_left(struct fake *f)
{
    struct message m;
    if (!fake_welcome(f, 1, 1) || !fake_expect(f, MSG_OPEN, &m))
        return;
    uint64_t ref = m.open.ref, index = m.open.first;
    opened.first = m.open.first;
    opened.count = m.open.done_count;
    opened.end = m.open.end;
    for (uint32_t i = 0; i < m.open.done_count && i < 4; i++) {
        opened.ranges[2 * (size_t)i] = m.open.done[i].from;
        opened.ranges[2 * (size_t)i + 1] = m.open.done[i].to;
    }
    fake_opened(f, ref, 1000);
    m = (struct message){.results = {.ref = ref, .first = index}};
    fake_result(f, &m, "two", NULL);
    struct message items;
    for (uint64_t next = 5; next <= 7; next += 2) {
        if (!fake_expect(f, MSG_ITEMS, &items) || items.items.first != next)
            return;
        m.results.first = next;
        fake_result(f, &m, "more", NULL);
    }
    if (!fake_expect(f, MSG_END, &items) || items.end.total != 8)
        return;
    end_of_job(f, ref);
    fake_silent(f);
}

static void done_items_are_left_out(bool unordered)
{
    static const struct pmap_range done[] = {{0, 2}, {3, 4}, {4, 5}, {6, 7}, {100, 200}};
    struct pmap_job_options options = {.done = done, .done_count = 5, .unordered = unordered};
    pmap_job *job;
    pmap_result r;
    connect_to(what_is_left);
    assert_int_equal(pmap_open(pool, "square", &options, &job), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pmap_put(job, "x", 1), 0);
    assert_int_equal(pmap_end(job), 0);
    take(job, 2, &r);
    take(job, 5, &r);
    take(job, 7, &r);
    assert_int_equal(pmap_wait_take(job, LONG_MS, &r), PMAP_DONE);
    handover_take(&seen);
    assert_int_equal(opened.first, 2);
    assert_int_equal(opened.count, 3);
    static const uint64_t expected[] = {3, 5, 6, 7, 100, 200};
    assert_memory_equal(opened.ranges, expected, sizeof expected);
    assert_false(opened.end);
    struct pmap_report report;
    pmap_get_report(job, &report);
    assert_int_equal(report.item_count, 3);
}

static void done_items_in_order(void **state)
{
    (void)state;
    done_items_are_left_out(false);
}

static void done_items_unordered(void **state)
{
    (void)state;
    done_items_are_left_out(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_command_with_the_state_of_its_caller, end),
        cmocka_unit_test_teardown(builtins_have_a_call_only_when_isolated, end),
        cmocka_unit_test_teardown(modules_and_python, end),
        cmocka_unit_test_teardown(refuses_what_makes_no_sense, end),
        cmocka_unit_test_teardown(a_folder_that_is_gone, end),
        cmocka_unit_test_teardown(each_item_has_its_fate, end),
        cmocka_unit_test_teardown(notes_of_pieces_go_together, end),
        cmocka_unit_test_teardown(a_job_is_held, end),
        cmocka_unit_test_teardown(a_job_is_aborted_by_its_number, end),
        cmocka_unit_test_teardown(done_items_in_order, end),
        cmocka_unit_test_teardown(done_items_unordered, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
