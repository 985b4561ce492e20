/*
 * The builtins: functions that the daemon brings along, run by pool threads (and, with --isolate, by a worker
 * process). One file each, one table here. A builtin sees one item at a time and appends what it answers to
 * the caller's buffer; it knows nothing of jobs, chunks or ZeroMQ.
 */
#ifndef PMAP_FUNCTIONS_H
#define PMAP_FUNCTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a builtin writes: a growing buffer that its caller owns and that already holds the answers of earlier
 * items. */
struct out {
    uint8_t *data;
    size_t len;      /* bytes in use */
    size_t capacity; /* bytes allocated */
};

/* The slow half of out_reserve: enlarges the buffer. Not called directly. */
uint8_t *out_grow(struct out *out, size_t more);

/*
 * Makes room for `more` bytes behind out->len.
 * Returns where to write them (the caller then adds what it wrote to out->len), or NULL when memory is short;
 * the buffer is then as it was. Inline, because it is asked for each item and nearly always has the room.
 */
static inline uint8_t *out_reserve(struct out *out, size_t more)
{
    /* Strictly less, so that an empty buffer gets its memory even for no bytes: NULL means a shortage and
     * nothing else. */
    return more < out->capacity - out->len ? out->data + out->len : out_grow(out, more);
}

/* Frees the buffer's memory and makes it an empty buffer. NULL is accepted. */
void out_free(struct out *out);

/* The text of one failed item, as the user will read it behind "pmapc: item 17: ". */
#define FUNCTION_ERROR_MAX 200

/*
 * What a builtin may ask of the worker that runs it. Thread-confined: one for each worker.
 */
struct function_context {
    /*
     * Waits up to timeout_ns (0: only asks; at most INT64_MAX) and returns true as soon as the item is to be
     * given up, false when the time has passed. A builtin that takes time calls it at least every 10 ms or
     * so. NULL: never.
     */
    bool (*cancelled)(void *cookie, int64_t timeout_ns);
    void *cookie;
    char error[FUNCTION_ERROR_MAX]; /* set with FUNCTION_FAILED: one line, NUL-terminated */
};

enum function_result {
    FUNCTION_OK = 0,
    FUNCTION_FAILED = 1,    /* this item cannot be mapped; context->error says why */
    FUNCTION_CANCELLED = 2, /* context->cancelled() said so; nothing was appended */
};

/*
 * Maps one item.
 * item: `len` bytes of any content, not NUL-terminated; item may be NULL where len is 0.
 * Appends the result to out, and nothing unless it returns FUNCTION_OK.
 */
typedef enum function_result function_map(struct function_context *context, const uint8_t *item, size_t len,
                                          struct out *out);

struct function {
    const char *name;
    const char *summary; /* one line for `pmapc functions` */
    function_map *map;
    /*
     * About what one short item takes, in ns, so that the first chunk of a job need not be a guess; 0 where
     * the item itself decides (sleep, burn), and the chunker has to measure first.
     */
    int64_t expected_ns;
};

/* The table, in the order in which it is shown; `count` entries. Constant for the life of the program. */
const struct function *function_table(size_t *count);

/* The builtin of that name (`len` bytes), or NULL. */
const struct function *function_find(const char *name, size_t len);

/*
 * The name in the table that a user most probably meant by `name` (`len` bytes), or NULL when none is near
 * (Damerau-Levenshtein distance of more than 2, or of more than a third of the longer name's length, rounded
 * up; upper and lower case count as the same). Of names equally near it is the first in the table.
 */
const char *function_suggest(const char *name, size_t len);

/*
 * How far `other` is from the name that was given, if a user may have meant it, by the same rule; else
 * SIZE_MAX.
 */
size_t function_distance(const char *name, size_t len, const char *other, size_t other_len);

#endif
