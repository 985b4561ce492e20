/*
 * What others do in the pool; see neighbours.h.
 */
#include "client/pmapc/neighbours.h"

#include "client/pmapc/connect.h"
#include "client/pmapc/query.h"
#include "common/clock.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <time.h>

enum { ANSWER_MS = 5000 };

int neighbours_look(pmap *pool, struct neighbours *out)
{
    const void *data = NULL;
    size_t size = 0, used = 0;
    *out = (struct neighbours){.known = false};
    int rc;
    while ((rc = pmap_query(pool, "status", ANSWER_MS, &data, &size)) == -EINTR)
        ;
    if (rc == -EINVAL || rc == -ETIMEDOUT)
        return 0;
    if (rc < 0)
        return connect_lost(pool, rc);
    msgpack_unpacked answer;
    msgpack_unpacked_init(&answer);
    if (msgpack_unpack_next(&answer, data, size, &used) == MSGPACK_UNPACK_SUCCESS) {
        const msgpack_object *status = &answer.data;
        if (query_field(status, "run_s") && query_field(status, "busy"))
            *out = (struct neighbours){.known = true,
                                       .run_s = query_real(status, "run_s"),
                                       .busy = (unsigned)query_number(status, "busy")};
    }
    msgpack_unpacked_destroy(&answer);
    out->now_ns = now_ns();
    return 0;
}

double neighbours_slots(const struct neighbours *before, const struct neighbours *after, double own_s)
{
    double elapsed_s = (double)(after->now_ns - before->now_ns) / 1e9;
    if (!before->known || !after->known || elapsed_s <= 0)
        return -1;
    double charged = (after->run_s - before->run_s - own_s) / elapsed_s;
    return fmax(fmax(charged, 0), fmin(before->busy, after->busy));
}
