/*
 * How an item is shown as what is run with it, in --dry-run and the job log: the command line that the worker
 * makes of it (template.h), quoted for a shell; or a function's name with the item behind it. Thread-safety:
 * none; one owner. Never tells.
 */
#ifndef PMAPC_SHOWN_H
#define PMAPC_SHOWN_H

#include "client/libpmap/pmap.h"
#include "client/pmapc/grow.h"
#include "common/template.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct shown {
    const char *name;          /* what the item is put behind; NULL: it is shown alone */
    struct template *template; /* of a command; else NULL */
    const char *const *argv;   /* of a pipe, which is shown without its items; else NULL */
    struct arguments arguments;
};

/*
 * How the items of this call are shown; call and name must outlive it. name: of the function, for people.
 * shell: each item is a command line by itself. Returns 0 or -ENOMEM.
 */
int shown_init(struct shown *shown, const struct pmap_call *call, const char *name, bool shell);
void shown_free(struct shown *shown);

/* Adds what an item is shown as; number: the item's, from 1. Returns false when memory was short. */
bool shown_add(struct shown *shown, const char *item, size_t len, uint64_t number, struct grow *out);

#endif
