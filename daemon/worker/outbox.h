/*
 * What of a chunk's results cannot go to the daemon yet, in order: a little in memory, the rest in a file
 * without a name in the user's folder for such things. Belongs to the chunk; the disk that all outboxes of
 * this worker take is counted together.
 */
#ifndef PMAP_OUTBOX_H
#define PMAP_OUTBOX_H

#include "daemon/worker/parcel.h"

/* Bytes that are in files, of all outboxes. */
struct spool {
    uint64_t used;
};

struct outbox_memory {
    uint8_t *data;
    size_t at, end, room; /* [at, end) is waiting */
};

struct outbox {
    struct outbox_memory head, tail; /* before and behind what is in the file */
    int fd;                          /* 0: none */
    uint64_t file_at, file_end;      /* [file_at, file_end) is waiting */
    uint64_t file_kept;              /* where what the file still takes of the disk begins */
};

bool outbox_empty(const struct outbox *o);

/*
 * Puts a parcel behind the others. folder: where the file is to be; limit: bytes that spool->used must not
 * exceed. Returns 0; -EDQUOT (the limit), -ENOSPC or another negative errno: the parcel was not kept.
 */
int outbox_put(struct outbox *o, struct spool *spool, uint64_t limit, const char *folder,
               const struct parcel *parcel);

/* Puts a small parcel behind the others, in memory, whatever has become of the file. Returns 0 or -ENOMEM. */
int outbox_put_small(struct outbox *o, const struct parcel *parcel);

/* The first parcel, which stays there and is good until the next call. Returns 1, 0 when it is empty, or a
 * negative errno. `space` holds what comes from a file, as malloc made it. */
int outbox_first(struct outbox *o, struct outbox_memory *space, struct parcel *parcel);
/* Is that first parcel the only one? */
bool outbox_is_only(const struct outbox *o, const struct parcel *parcel);
/* Takes the first parcel, as outbox_first told it, out. */
void outbox_shift(struct outbox *o, struct spool *spool, const struct parcel *parcel);

void outbox_free(struct outbox *o, struct spool *spool);

#endif
