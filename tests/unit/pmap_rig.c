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
