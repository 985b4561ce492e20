/*
 * The values of typed arrays: their names, and their texts. Thread-safe.
 */
#ifndef PMAP_HOST_VALUES_H
#define PMAP_HOST_VALUES_H

#include "common/pmap_module.h"
#include "daemon/functions/functions.h"

#include <stddef.h>
#include <stdint.h>

/* The type of that name ("i64"), or PMAP_BYTES. */
enum pmap_type value_type(const char *name);

/* "i64"; NULL where there is no such type. */
const char *value_name(enum pmap_type type);

/* Of one value, in bytes; 0 for PMAP_BYTES. */
size_t value_size(enum pmap_type type);

/* The names of all types, for a message. */
#define VALUE_NAMES "i8, i16, i32, i64, u8, u16, u32, u64, f32, f64"

/* The longest text of a value. */
enum { VALUE_PRINT_MAX = 40 };

/*
 * Reads `len` bytes of decimal text, white space around it allowed, into the value at `to`. Integers must
 * fit; a real that is too large is infinite, as for the builtins. scratch: memory that may be used, of the
 * caller's. Returns 0, -EINVAL (not one of this type) or -ENOMEM.
 */
int value_parse(enum pmap_type type, const uint8_t *text, size_t len, void *to, struct out *scratch);

/* Writes the value as text, reals as Python's repr; returns the bytes written (at most VALUE_PRINT_MAX; no
 * NUL). */
size_t value_print(enum pmap_type type, const void *from, uint8_t *to);

#endif
