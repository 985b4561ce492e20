/*
 * Where and when results were made, as libpmap tells it of a job with `trace`. The daemon is a fake.
 */
#include "client/libpmap/pmap.h"

#include "common/batch.h"
#include "common/protocol.h"
#include "tests/unit/fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { LONG_MS = 10000, NS = 7 };

static struct fake *fake;
static pmap *pool;

static int end(void **state)
{
    (void)state;
    pmap_disconnect(pool);
    fake_stop(fake);
    return 0;
}

/* A message of `count` results of one byte, NS each; slots[i]: the note SLOT of record i, -1 for none; each
 * says 1000 × its slot as the beginning. usage: that of record 1 in ns, 0 for none. */
static void send_results(struct fake *f, struct message *m, uint32_t count, const int *slots, uint64_t usage)
{
    uint8_t lengths[4 * 8], times[8 * 8], notes[NOTE_SIZE * 16], texts[256];
    size_t text_size = 0, note_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        store_u32(lengths + 4 * (size_t)i, 1);
        store_u64(times + 8 * (size_t)i, NS);
        if (slots[i] >= 0) {
            struct note note = {i, NOTE_SLOT, (uint16_t)slots[i], NOTE_SLOT_SIZE};
            note_store(notes + NOTE_SIZE * note_count++, &note);
            store_u64(texts + text_size, 1000 * (uint64_t)slots[i]);
            text_size += NOTE_SLOT_SIZE;
        }
        if (i == 1 && usage > 0) {
            struct note note = {i, NOTE_USAGE, 0, NOTE_USAGE_SIZE};
            note_store(notes + NOTE_SIZE * note_count++, &note);
            usage_store(texts + text_size, &(struct usage){usage, 1, 2});
            text_size += NOTE_USAGE_SIZE;
        }
    }
    m->type = MSG_RESULTS;
    const struct bytes frames[] = {{lengths, 4 * (size_t)count},
                                   {"abcdefgh", count},
                                   {times, 8 * (size_t)count},
                                   {notes, NOTE_SIZE * note_count},
                                   {texts, text_size}};
    fake_send(f, m, frames, note_count > 0 ? 5 : 3);
    m->results.first += m->results.more ? 0 : count;
}

static void script(struct fake *f)
{
    struct message m;
    if (!fake_welcome(f, 1, 1) || !fake_expect(f, MSG_OPEN, &m))
        return;
    bool traced = m.open.options.trace;
    m = (struct message){.results = {.ref = m.open.ref}};
    send_results(f, &m, 5, (const int[]){2, -1, -1, 3, 0}, 5000);
    send_results(f, &m, 1, (const int[]){-1}, 0); /* of a daemon that says nothing */
    m.results.more = true;
    send_results(f, &m, 1, (const int[]){-1}, 0);
    m.results.more = false;
    send_results(f, &m, 1, (const int[]){traced ? 4 : -1}, 0);
    m.type = MSG_DONE;
    m.done.done = (struct job_report){.job = 1, .items = 7};
    fake_send(f, &m, NULL, 0);
    fake_silent(f);
}

static pmap_job *open_seven(int trace)
{
    const struct pmap_options options = {.connect_timeout_ms = LONG_MS};
    const struct pmap_job_options job_options = {.trace = trace};
    pmap_job *job;
    fake = fake_start(script);
    assert_int_equal(pmap_connect(fake_endpoint(fake), &options, &pool), 0);
    assert_int_equal(pmap_open(pool, "echo", &job_options, &job), 0);
    for (int i = 0; i < 7; i++)
        assert_int_equal(pmap_put(job, "x", 1), 0);
    assert_int_equal(pmap_end(job), 0);
    return job;
}

static void take(pmap_job *job, uint64_t index, unsigned slot, uint64_t started_ns)
{
    pmap_result result;
    do
        assert_int_equal(pmap_wait_take(job, LONG_MS, &result), PMAP_RESULT);
    while (result.more);
    assert_int_equal(result.index, index);
    assert_int_equal(result.slot, slot);
    assert_int_equal(result.started_ns, started_ns);
}

static void each_has_its_place(void **state)
{
    (void)state;
    pmap_result result;
    pmap_job *job = open_seven(1);
    take(job, 0, 2, 2000);
    take(job, 1, 2, 5000); /* its usage knows better */
    take(job, 2, 2, 5000 + NS);
    take(job, 3, 3, 3000);
    take(job, 4, 0, 0);
    take(job, 5, 0, 0);
    take(job, 6, 4, 4000); /* in pieces */
    assert_int_equal(pmap_wait_take(job, LONG_MS, &result), PMAP_DONE);
}

static void nobody_has_asked(void **state)
{
    (void)state;
    pmap_job *job = open_seven(0);
    take(job, 0, 0, 0);
    take(job, 1, 0, 5000);
    take(job, 2, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(each_has_its_place, end),
        cmocka_unit_test_teardown(nobody_has_asked, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
