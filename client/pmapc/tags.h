/*
 * The items whose results have not come, kept for --tag. As many as are under way, which the daemon's credit
 * bounds.
 */
#ifndef PMAPC_TAGS_H
#define PMAPC_TAGS_H

#include <stddef.h>
#include <stdint.h>

struct tag;
struct tags {
    struct tag *all; /* a hash by index */
};

/* Keeps a copy of an item. Returns 0 or -ENOMEM. */
int tags_add(struct tags *tags, uint64_t index, const void *data, size_t len);

/* The item of that index, good until it is removed, or NULL. */
const void *tags_find(const struct tags *tags, uint64_t index, size_t *len);

void tags_remove(struct tags *tags, uint64_t index);
void tags_free(struct tags *tags);

#endif
