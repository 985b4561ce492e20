/*
 * Items that are kept in memory, all of them, to be mapped again and again. Thread-safety: none; one owner.
 */
#ifndef PMAPC_KEPT_H
#define PMAPC_KEPT_H

#include "client/pmapc/grow.h"
#include "client/pmapc/work.h"

#include <stddef.h>

struct kept {
    struct grow bytes; /* the items, one behind the other */
    size_t *ends;      /* of each in them */
    size_t count, room;
};

/*
 * Reads all that the input brings, waiting for it. most: bytes that they may be together, each costing 8
 * more. *kept must be zeroed, and is to be freed in any case. Returns 0, or an exit status having told:
 * STATUS_USAGE (more than that, none at all, or the input cannot be read), STATUS_FAILED (an item is too
 * large, or memory was short). command: for messages.
 */
int kept_read(struct kept *kept, struct work_input *input, size_t most, const char *command);
void kept_free(struct kept *kept);

/* The item of that index, below count. */
static inline const char *kept_item(const struct kept *kept, size_t index, size_t *len)
{
    size_t start = index > 0 ? kept->ends[index - 1] : 0;
    *len = kept->ends[index] - start;
    return kept->bytes.data + start;
}

#endif
