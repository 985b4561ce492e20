/* Writing items as lines to a process's stdin, as far as it takes them. */
#ifndef PMAP_FEED_H
#define PMAP_FEED_H

#include "daemon/worker/exec/arena.h"

#include <sys/types.h>

struct feed {
    const struct view *view;
    uint64_t item;   /* the next to be written, or written in part */
    uint64_t end;    /* behind the last that is to be written */
    uint64_t offset; /* of that item's beginning in the arena's items */
    uint64_t within; /* bytes of it that were written; its newline counts */
    bool lines;      /* leave out items that hold a newline */
    size_t portion;  /* how much is tried at once */
};

/* Does an item hold a newline? */
bool feed_splits(const struct view *view, uint64_t item, uint64_t offset);

static inline bool feed_over(const struct feed *f)
{
    return f->item >= f->end;
}

/*
 * Writes what goes. Returns the bytes written, or a negative errno of write: -EAGAIN, -EPIPE … f->item says
 * how far it has come; items that were left out are passed over.
 */
ssize_t feed_write(struct feed *f, int fd);

#endif
