/* See loss_rig.h. */
#include "tests/unit/loss_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct fake *start(fake_script *script, int reconnect_ms, pmap **pool)
{
    struct fake *fake = fake_start(script);
    struct pmap_options options = {.connect_timeout_ms = LONG_MS, .reconnect_ms = reconnect_ms};
    assert_int_equal(pmap_connect(fake_endpoint(fake), &options, pool), 0);
    return fake;
}

void stop(struct fake *fake, pmap *pool)
{
    pmap_disconnect(pool);
    fake_stop(fake);
}

pmap_job *open_job(pmap *pool, const struct pmap_job_options *options, const char *items, bool end)
{
    pmap_job *job;
    assert_int_equal(pmap_open(pool, "x", options, &job), 0);
    for (; *items; items++)
        assert_int_equal(pmap_put(job, items, 1), 0);
    assert_int_equal(end ? pmap_end(job) : pmap_flush(job), 0);
    return job;
}

void assert_result(pmap_job *job, uint64_t index, const char *text, int more, const char *error)
{
    pmap_result r = take_result(job, index, text, more);
    assert_int_equal(r.failed, error != NULL);
    if (error && !strstr(r.error, error))
        fail_msg("\"%s\" is not in \"%s\"", error, r.error);
}

void lose(struct fake *fake, pmap *pool)
{
    unsigned losses = pmap_get_info(pool)->losses;
    fake_go(fake);
    while (pmap_get_info(pool)->losses == losses)
        assert_int_equal(pmap_wait(pool, LONG_MS), 0);
}

void assert_end(pmap_job *job, enum pmap_taken end)
{
    pmap_result r;
    assert_int_equal(pmap_wait_take(job, LONG_MS, &r), end);
}

bool pong(struct fake *fake)
{
    struct message m;
    if (!fake_expect(fake, MSG_PING, &m))
        return false;
    fake_send(fake, &(struct message){.type = MSG_PONG, .ping.token = m.ping.token}, NULL, 0);
    return true;
}

void answer(struct fake *fake, uint64_t ref, uint64_t first, unsigned count, bool done)
{
    struct message m = {.results = {.ref = ref, .first = first}};
    for (unsigned i = 0; i < count; i++, m.results.first++) {
        char text[2] = {(char)('0' + (int)m.results.first), '\0'};
        m.results.has_done = done && i + 1 == count;
        m.results.done = (struct job_report){.job = 42, .items = count, .chunks = 3, .run_ns = 100};
        fake_result(fake, &m, text, NULL);
    }
}

bool opens(struct fake *fake, uint64_t first, const char *items, uint64_t *ref)
{
    struct message m;
    if (!fake_expect(fake, MSG_OPEN, &m))
        return false;
    struct bytes came = fake_frame(fake, 3);
    bool right = m.open.first == first && came.size == strlen(items) && m.open.end &&
                 memcmp(came.data, items, came.size) == 0;
    if (!right)
        fprintf(stderr, "OPEN from %d with '%.*s', not '%s'\n", (int)m.open.first, (int)came.size,
                (const char *)came.data, items);
    *ref = m.open.ref;
    return right;
}

void refuse(struct fake *fake, const uint64_t *ref, unsigned code)
{
    fake_send(fake,
              &(struct message){.type = MSG_ERROR,
                                .error = {.has_ref = ref != NULL, .ref = ref ? *ref : 0, .code = code}},
              NULL, 0);
}

bool another(struct fake *fake)
{
    if (!fake_wait(fake))
        return false;
    fake_die(fake);
    fake_rise(fake);
    return fake_welcome_back(fake);
}
