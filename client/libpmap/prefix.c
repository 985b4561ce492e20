/*
 * A prefix's length and hash; see prefix.h.
 */
#include "client/libpmap/prefix.h"

#include "common/batch.h"

static uint64_t mix(uint64_t hash, uint64_t word)
{
    const uint64_t m = UINT64_C(0xc6a4a7935bd1e995);
    word *= m;
    word ^= word >> 47;
    word *= m;
    return (hash ^ word) * m;
}

void prefix_add(struct prefix *p, const void *data, size_t len)
{
    const uint8_t *from = data;
    unsigned used = p->size % 8;
    p->size += len;
    for (; len > 0 && used > 0; len--) {
        p->word |= (uint64_t)*from++ << (8 * used);
        used = (used + 1) % 8;
        if (used == 0) {
            p->hash = mix(p->hash, p->word);
            p->word = 0;
        }
    }
    for (; len >= 8; len -= 8, from += 8)
        p->hash = mix(p->hash, load_u64(from));
    for (; len > 0; len--)
        p->word |= (uint64_t)*from++ << (8 * used++);
}

bool prefix_equal(const struct prefix *a, const struct prefix *b)
{
    return a->size == b->size && a->hash == b->hash && a->word == b->word;
}
