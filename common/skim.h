/*
 * A walk over MessagePack without building anything. The library allocates what an array or a map claims to
 * hold before it has seen it, so ten bytes could make it ask for gigabytes; what has passed this walk makes
 * no claim that is larger than itself. It also tells what nests too deep (the library calls that want of
 * memory) and types that are not expected (extensions, floats, and binary unless it is allowed).
 */
#ifndef PMAP_SKIM_H
#define PMAP_SKIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum skimmed {
    SKIM_FINE,  /* one object, and nothing behind it */
    SKIM_SHORT, /* its end is missing */
    SKIM_LONG,  /* something stands behind it */
    SKIM_DEEP,
    SKIM_TYPE,
};
enum { SKIM_NESTING_MAX = 8 };

/* nesting: how deep arrays and maps may stand in one another, 1 to SKIM_NESTING_MAX. Thread-safe. */
enum skimmed skim(const void *data, size_t size, unsigned nesting, bool binary);

#endif
