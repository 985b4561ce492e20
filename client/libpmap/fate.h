/*
 * What became of an item, over its result: put together from the notes that came with it, in all its pieces.
 * Pure; one thread at a time; never logs, never exits.
 */
#ifndef PMAP_FATE_H
#define PMAP_FATE_H

#include "common/protocol.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A buffer that is used again and again. */
struct fate_text {
    char *data;
    size_t size; /* of its memory */
};

struct fate {
    bool any;          /* a note came since fate_begin */
    bool failed;       /* one of a failing kind */
    const char *error; /* why, NUL-terminated, good until fate_begin; NULL unless failed */
    unsigned exit_code, signal;
    bool timed_out, cancelled;
    unsigned attempts; /* 0: the daemon did not say, so it was one */
    struct usage usage;
    bool placed;        /* it is known … */
    unsigned slot;      /* … in which slot it was made, from 1; 0: in none */
    uint64_t began_ns;  /* … and when it began, CLOCK_REALTIME */
    const char *remark; /* as error, whether failed or not; NULL: none */
    const void *err;    /* what came to stderr since fate_piece; good until then */
    size_t err_size;
    struct fate_text words, remarked, gathered; /* the memory of error, remark and err */
};

/* Makes it one of a new item; keeps its memory. */
void fate_begin(struct fate *fate);

/* The notes that come are of the item's next piece: what it wrote to stderr before has been taken. */
void fate_piece(struct fate *fate);

/* Adds a note and its text, which must stay until the next fate_piece. */
void fate_note(struct fate *fate, const struct note *note, const void *text);

/* Frees its memory. */
void fate_free(struct fate *fate);

#endif
