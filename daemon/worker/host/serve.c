/*
 * What all kinds of functions share, and the loop over those that see one item at a time; see serve.h. In the
 * loop the clock is read once an item: the end of one is the beginning of the next.
 */
#include "daemon/worker/host/serve.h"

#include "common/protocol.h"

#include <errno.h>
#include <string.h>

/* A buffer that is kept between items has at most so many bytes. */
enum { KEEP_MAX = 1 << 20 };

uint64_t serve_limit(const struct serve *s)
{
    uint64_t left = s->recycle - s->served;
    return s->recycle > 0 && left < s->channel.count ? left : s->channel.count;
}

uint64_t serve_attempts(const struct serve *s, uint64_t i)
{
    return i == 0 ? s->channel.arena->attempts : 0;
}

int serve_result(struct serve *s, const uint8_t *result, size_t len, const char *error, uint64_t tries,
                 int64_t took_ns)
{
    struct channel *c = &s->channel;
    int rc = error ? channel_note(c, NOTE_ERROR, 0, error, strlen(error)) : channel_put(c, result, len);
    if (rc == 0 && tries > 1)
        rc = channel_note(c, NOTE_ATTEMPTS, tries < UINT16_MAX ? (uint16_t)tries : UINT16_MAX, "", 0);
    if (rc < 0)
        return rc;
    channel_done(c, took_ns);
    s->served++;
    return 0;
}

void serve_shrink(struct out *out)
{
    out->len = 0;
    if (out->capacity > KEEP_MAX)
        out_free(out);
}

/* One item, as often as it takes. *now: in, when it begins; out, when the next one may. Returns 0 or
 * -ECANCELED. */
static int serve_item(struct serve *s, struct item_function *f, const uint8_t *item, size_t len, int64_t *now)
{
    struct channel *c = &s->channel;
    uint64_t tries = serve_attempts(s, c->done);
    enum function_result result;
    int64_t began, end = *now;
    do {
        began = end;
        s->out.len = 0;
        channel_begin(c, c->done, 1, began);
        result = f->map(f, item, len, &s->out);
        end = channel_now();
        tries++;
    } while (result == FUNCTION_FAILED && tries <= s->retries && !channel_unwanted(c));
    if (result == FUNCTION_CANCELLED || channel_unwanted(c))
        return -ECANCELED;
    int rc = serve_result(s, s->out.data, s->out.len, result == FUNCTION_FAILED ? f->error : NULL, tries,
                          end - began);
    *now = channel_after(c, end);
    serve_shrink(&s->out);
    return rc;
}

void serve_items(struct serve *s, struct item_function *f)
{
    struct channel *c = &s->channel;
    const uint8_t *item = c->items;
    uint64_t limit = serve_limit(s);
    int64_t now = channel_now();
    for (uint64_t i = 0; i < limit && !c->yielded && !channel_unwanted(c); i++) {
        size_t len = c->lengths[i];
        if (serve_item(s, f, item, len, &now) < 0)
            break;
        item += len;
        if (channel_due(c, now))
            channel_look(c, now);
    }
}
