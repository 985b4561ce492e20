/*
 * Items kept for --tag; see tags.h.
 */
#include "client/pmapc/tags.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* uthash would end the program when memory is short. */
#define HASH_NONFATAL_OOM            1
#define uthash_nonfatal_oom(element) ((element)->lost = 1)
#include <uthash.h>

struct tag {
    uint64_t index;
    UT_hash_handle hh;
    size_t len;
    int lost; /* could not be put into the hash */
    char data[];
};

int tags_add(struct tags *tags, uint64_t index, const void *data, size_t len)
{
    struct tag *tag = malloc(sizeof *tag + len);
    if (!tag)
        return -ENOMEM;
    tag->index = index;
    tag->len = len;
    tag->lost = 0;
    if (len > 0)
        memcpy(tag->data, data, len);
    HASH_ADD(hh, tags->all, index, sizeof tag->index, tag);
    if (tag->lost) {
        free(tag);
        return -ENOMEM;
    }
    return 0;
}

static struct tag *find(const struct tags *tags, uint64_t index)
{
    struct tag *tag;
    HASH_FIND(hh, tags->all, &index, sizeof index, tag);
    return tag;
}

const void *tags_find(const struct tags *tags, uint64_t index, size_t *len)
{
    const struct tag *tag = find(tags, index);
    if (!tag)
        return NULL;
    *len = tag->len;
    return tag->data;
}

void tags_remove(struct tags *tags, uint64_t index)
{
    struct tag *tag = find(tags, index);
    if (tag) {
        HASH_DEL(tags->all, tag);
        free(tag);
    }
}

void tags_free(struct tags *tags)
{
    /* The links from one to the next are the elements' own and outlive the table. */
    struct tag *tag = tags->all;
    HASH_CLEAR(hh, tags->all);
    while (tag) {
        struct tag *next = tag->hh.next;
        free(tag);
        tag = next;
    }
}
