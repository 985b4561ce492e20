/*
 * Items that are kept in memory; see kept.h.
 */
#include "client/pmapc/kept.h"

#include "client/pmapc/pmapc.h"
#include "client/pmapc/tell.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

enum { ROOM_FIRST = 1024 };

/* Returns 0 or -ENOMEM, -ENOSPC: that would be more than there may be. */
static int keep(struct kept *kept, const char *data, size_t len, size_t most)
{
    size_t used = kept->bytes.len + kept->count * sizeof *kept->ends;
    if (used > most || len + sizeof *kept->ends > most - used)
        return -ENOSPC;
    if (kept->count == kept->room) {
        size_t room = kept->room > 0 ? kept->room * 2 : ROOM_FIRST;
        size_t *ends = reallocarray(kept->ends, room, sizeof *ends);
        if (!ends)
            return -ENOMEM;
        kept->ends = ends;
        kept->room = room;
    }
    if (!grow_add(&kept->bytes, data, len))
        return -ENOMEM;
    kept->ends[kept->count++] = kept->bytes.len;
    return 0;
}

/* Keeps the items that are at hand. Returns 0, or what items_next or keep has said. */
static int keep_some(struct kept *kept, struct items *items, size_t most)
{
    const char *data;
    size_t len;
    int rc;
    while ((rc = items_next(items, &data, &len)) > 0) {
        rc = keep(kept, data, len, most);
        if (rc < 0)
            return rc;
    }
    return rc;
}

/* Waits for more. Returns 0 or a negative errno. */
static int fill(struct reader *reader)
{
    struct pollfd fd = {.fd = reader->fd, .events = POLLIN};
    int rc = reader_fill(reader);
    if (rc == -EAGAIN)
        poll(&fd, 1, -1);
    return rc == -EAGAIN || rc == -EINTR || rc > 0 ? 0 : rc;
}

int kept_read(struct kept *kept, struct work_input *input, size_t most, const char *command)
{
    int rc = keep_some(kept, &input->items, most);
    while (rc == 0 && !items_finished(&input->items)) {
        rc = fill(&input->reader);
        if (rc == 0)
            rc = keep_some(kept, &input->items, most);
    }
    if (rc == -ENOSPC) {
        tell("%s: the items are more than the %zu MiB that it keeps in memory (8 bytes more for each)",
             command, most >> 20);
        return STATUS_USAGE;
    }
    if (rc == -ENOMEM) {
        tell("out of memory");
        return STATUS_FAILED;
    }
    if (rc < 0)
        return items_broke(&input->items, input->name, rc);
    if (kept->count == 0) {
        tell("%s: there are no items (see 'pmapc %s --help')", command, command);
        return STATUS_USAGE;
    }
    return 0;
}

void kept_free(struct kept *kept)
{
    grow_free(&kept->bytes);
    free(kept->ends);
    *kept = (struct kept){.ends = NULL};
}
