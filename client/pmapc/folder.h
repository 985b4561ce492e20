/*
 * --results: a folder an item, named by its number, with a file for what it gave and one for its stderr.
 */
#ifndef PMAPC_FOLDER_H
#define PMAPC_FOLDER_H

#include "client/libpmap/pmap.h"

#include <stdbool.h>

struct folder {
    const char *name; /* borrowed */
    int fd;           /* -1: none */
    bool verbatim;    /* what the items give is a command's stdout; else a result */
    int out, err;     /* files of the item that is coming in pieces; -1: none is */
};

/* Makes it where it is not there, and opens it. Returns 0, or STATUS_USAGE having told. */
int folder_open(struct folder *folder, const char *name, bool verbatim);

/* Writes a result, or a piece of one. Returns 0, or a negative errno having told. */
int folder_put(struct folder *folder, const struct pmap_result *result);

void folder_close(struct folder *folder);

#endif
