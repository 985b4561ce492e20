/* Virtual time of one contender; see share.h. */
#include "daemon/core/share.h"

#include <string.h>

void share_init(struct share *s, uint32_t weight)
{
    memset(s, 0, sizeof *s);
    s->weight = weight != 0 ? weight : 1;
}

void share_advance(struct share *s, int64_t now_ns)
{
    int64_t passed_ns = (int64_t)s->running * (now_ns - s->since_ns);
    s->used_ns += passed_ns;
    s->vtime += (double)passed_ns / s->weight;
    s->since_ns = now_ns;
}

int64_t share_used(const struct share *s, int64_t now_ns)
{
    return s->used_ns + (int64_t)s->running * (now_ns - s->since_ns);
}

double share_key(const struct share *s, int64_t now_ns)
{
    return s->vtime +
           ((double)s->running * (double)(now_ns - s->since_ns) + (double)s->committed_ns) / s->weight;
}

void share_wake(struct share *s, double present, int64_t now_ns)
{
    share_advance(s, now_ns);
    double behind = present - share_key(s, now_ns);
    if (behind > 0)
        s->vtime += behind;
}

void share_commit(struct share *s, int64_t expected_ns)
{
    s->committed_ns += expected_ns;
}

void share_start(struct share *s, int64_t now_ns)
{
    share_advance(s, now_ns);
    s->running++;
}

void share_stop(struct share *s, int64_t correction_ns, int64_t now_ns)
{
    share_advance(s, now_ns);
    s->running--;
    s->vtime += (double)correction_ns / s->weight;
}
