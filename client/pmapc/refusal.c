/*
 * A job that could not be opened, or that the daemon has ended; see refusal.h.
 */
#include "client/pmapc/refusal.h"

#include "client/pmapc/pmapc.h"
#include "client/pmapc/tell.h"
#include "common/protocol.h"

#include <errno.h>
#include <stdbool.h>

int refusal_open(const pmap *pool, const char *name, int error)
{
    tell("%s: %s", name, *pmap_error(pool) ? pmap_error(pool) : tell_errno(error));
    bool own = error == -EINVAL || error == -ENOENT || error == -E2BIG;
    return own ? STATUS_USAGE : STATUS_NO_POOL;
}

int refusal_job(const pmap_job *job)
{
    unsigned code = 0;
    const char *why = pmap_job_error(job, &code);
    tell("%s", why && *why ? why : protocol_error_text(code));
    switch (code) {
    case PERR_FUNCTION:
    case PERR_OPTION:
        return STATUS_USAGE;
    case PERR_REFUSED:
    case PERR_LIMIT:
        return STATUS_REFUSED;
    default:
        return STATUS_NO_POOL;
    }
}
