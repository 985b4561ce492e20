/*
 * A prefix: how many bytes of something have gone by, and a hash of them that does not depend on how they
 * were cut. It is how a resumed large result is recognised as the one that was begun. MurmurHash64A's mixing
 * (Austin Appleby, public domain), fed as a stream; against accidents, not against an adversary. Pure.
 */
#ifndef PMAP_PREFIX_H
#define PMAP_PREFIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prefix {
    uint64_t size; /* bytes so far */
    uint64_t hash; /* of all whole words */
    uint64_t word; /* the bytes after them, the first one lowest */
};

/* All zeroes is the empty prefix. */
void prefix_add(struct prefix *p, const void *data, size_t len);
bool prefix_equal(const struct prefix *a, const struct prefix *b);

#endif
