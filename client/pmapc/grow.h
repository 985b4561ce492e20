/*
 * Text that grows. A failure is kept until it is asked for, so that what puts a text together looks once.
 * Thread-safety: none; one owner.
 */
#ifndef PMAPC_GROW_H
#define PMAPC_GROW_H

#include <stdbool.h>
#include <stddef.h>

struct grow {
    char *data; /* not NUL-terminated, unless a NUL was added */
    size_t len, capacity;
    bool failed; /* memory was short: something is missing */
};

/* Zeroed is empty. Both return false when memory was short, now or before. */
bool grow_add(struct grow *g, const void *data, size_t len);
bool grow_byte(struct grow *g, char byte);

/* Adds what printf(3) makes of it, at most 500 bytes. Returns as above. */
bool grow_format(struct grow *g, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Empties it; the memory stays. */
void grow_clear(struct grow *g);
void grow_free(struct grow *g);

#endif
