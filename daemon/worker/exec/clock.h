/* Times in ns, and waiting until one. */
#ifndef PMAP_EXEC_CLOCK_H
#define PMAP_EXEC_CLOCK_H

#include "common/clock.h"

#include <poll.h>

enum { NS_PER_MS = 1000000 };
#define NEVER_NS INT64_MAX

static inline int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* poll(2) until then at the latest. Where nothing has come, or a signal has, it says so of each. */
static inline void poll_until(struct pollfd *polled, nfds_t count, int64_t until_ns)
{
    struct timespec timeout, *limit = NULL;
    if (until_ns != NEVER_NS) {
        int64_t now = now_ns(), left_ns = until_ns > now ? until_ns - now : 0;
        timeout = (struct timespec){left_ns / 1000000000, left_ns % 1000000000};
        limit = &timeout;
    }
    if (ppoll(polled, count, limit, NULL) <= 0)
        for (nfds_t i = 0; i < count; i++)
            polled[i].revents = 0;
}

#endif
