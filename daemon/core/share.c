/* Virtual time of one contender; see share.h. */
#include "daemon/core/share.h"

#include <string.h>

void share_init(struct share *s, uint32_t weight, uint32_t number)
{
    memset(s, 0, sizeof *s);
    s->weight = weight != 0 ? weight : 1;
    s->number = number;
}

/* Slot time since since_ns. */
static int64_t passed_ns(const struct share *s, int64_t now_ns)
{
    return (int64_t)s->running * (now_ns - s->since_ns);
}

void share_advance(struct share *s, int64_t now_ns)
{
    int64_t used_ns = passed_ns(s, now_ns);
    s->used_ns += used_ns;
    s->vtime += (double)used_ns / s->weight;
    s->ahead_ns = used_ns < s->ahead_ns ? s->ahead_ns - used_ns : 0;
    s->since_ns = now_ns;
}

int64_t share_used(const struct share *s, int64_t now_ns)
{
    return s->used_ns + passed_ns(s, now_ns);
}

double share_key(const struct share *s, int64_t now_ns)
{
    int64_t used_ns = passed_ns(s, now_ns), counts_ns = used_ns > s->ahead_ns ? used_ns : s->ahead_ns;
    return s->vtime + (double)(counts_ns + s->committed_ns) / s->weight;
}

double share_kept_key(const struct share *s, int64_t now_ns)
{
    int64_t used_ns = passed_ns(s, now_ns), lead_ns = 0;
    if (used_ns > s->ahead_ns)
        lead_ns = used_ns / 8 < SHARE_LEAD_NS ? used_ns / 8 : SHARE_LEAD_NS;
    return share_key(s, now_ns) + (double)lead_ns / s->weight;
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

void share_start(struct share *s, int64_t expected_ns, int64_t now_ns)
{
    share_advance(s, now_ns);
    s->running++;
    s->ahead_ns += expected_ns;
}

/* What a chunk that ends leaves behind; running: without it. */
static void settle(struct share *s, uint32_t running, int64_t unused_ns, int64_t correction_ns)
{
    /* A chunk that took longer than expected has used up what the others have ahead: then it is all gone. */
    if (unused_ns > 0)
        s->ahead_ns = unused_ns < s->ahead_ns ? s->ahead_ns - unused_ns : 0;
    if (running == 0)
        s->ahead_ns = 0;
    if (correction_ns != 0)
        s->vtime += (double)correction_ns / s->weight;
}

void share_stop(struct share *s, int64_t unused_ns, int64_t correction_ns, int64_t now_ns)
{
    share_advance(s, now_ns);
    settle(s, --s->running, unused_ns, correction_ns);
}

void share_pass_on(struct share *s, int64_t unused_ns, int64_t correction_ns, int64_t expected_ns,
                   int64_t now_ns)
{
    share_advance(s, now_ns);
    settle(s, s->running - 1, unused_ns, correction_ns);
    s->ahead_ns += expected_ns;
}
