/*
 * What pmapc scale has found out, in words, as a table, a plot, JSON and a picture.
 */
#ifndef PMAPC_SCALING_H
#define PMAPC_SCALING_H

#include "client/pmapc/amdahl.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct scaling {
    struct amdahl amdahl; /* filled; times are seconds a job */
    const char *function; /* for people */
    size_t items;
    uint64_t loops;       /* jobs in a run */
    unsigned runs;        /* of each point */
    const double *runs_s; /* their times, seconds a job: `runs` of the first point, of the second ... */
    unsigned slots;       /* of the pool */
    double others;        /* mean slots that others used meanwhile; below 0: not known */
};

/* Prints it for people, on stdout, and says on stderr what speaks against the figures, unless quiet. Returns
 * an exit status. */
int scaling_print(const struct scaling *scaling, bool quiet);

/* The same as an object. */
int scaling_print_json(const struct scaling *scaling);

/* A file for the picture, opened before anything is measured, so that what is wrong with it is told at once.
 */
struct scaling_file {
    const char *name; /* NULL: none */
    int fd;
    bool made; /* it was not there before */
};

/* name: borrowed; NULL: none is wanted. Returns 0, or STATUS_USAGE having told. */
int scaling_open(struct scaling_file *file, const char *name);

/* Puts the picture there, in place of what was. Returns an exit status, having told. */
int scaling_save(struct scaling_file *file, const struct scaling *scaling);

/* A file that was made and has nothing in it goes away again. */
void scaling_close(struct scaling_file *file);

#endif
