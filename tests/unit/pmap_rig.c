/* See pmap_rig.h. */
#include "tests/unit/pmap_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

int connect_to(const char *endpoint, int timeout_ms, pmap **pool)
{
    struct pmap_options options = {.connect_timeout_ms = timeout_ms, .program = "test_pmap"};
    return pmap_connect(endpoint, &options, pool);
}

void assert_says(const pmap *pool, const char *words)
{
    if (!strstr(pmap_error(pool), words))
        fail_msg("\"%s\" is not in \"%s\"", words, pmap_error(pool));
}

pmap_result take_result(pmap_job *job, uint64_t index, const char *text, int more)
{
    pmap_result r;
    assert_int_equal(pmap_wait_take(job, LONG_MS, &r), PMAP_RESULT);
    assert_int_equal(r.index, index);
    assert_int_equal(r.size, strlen(text));
    assert_memory_equal(r.data, text, r.size);
    assert_int_equal(r.more, more);
    return r;
}

struct job_report report_of(uint64_t items, uint64_t failed)
{
    return (struct job_report){.job = 42,
                               .items = items,
                               .failed = failed,
                               .chunks = 4,
                               .slots = 2,
                               .queue_ns = 10,
                               .run_ns = 20,
                               .cpu_ns = 15,
                               .bytes_in = 6,
                               .bytes_out = 7};
}
