/*
 * The environment of users' processes: ours, without what is set here, and with PMAP_SLOT and, for processes
 * of one item or chunk, PMAP_SEQ.
 */
#ifndef PMAP_ENVIRONMENT_H
#define PMAP_ENVIRONMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct environment {
    char **list; /* NULL-terminated */
    char number[32], slot[32];
};

/*
 * set: `count` strings NAME=VALUE, which must outlive it, as must our own environment. numbered: with
 * PMAP_SEQ. Returns 0 or -ENOMEM.
 */
int environment_init(struct environment *e, char *const *set, size_t count, bool numbered);
void environment_number(struct environment *e, uint64_t number, uint64_t slot);
void environment_free(struct environment *e);

#endif
