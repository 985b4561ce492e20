/*
 * The values of pmapd.conf(5) that are numbers: sizes, times, counts and yes/no, from text and back to text
 * for a message. Strict: no sign, no fraction, nothing after the unit. Pure, thread-safe.
 */
#ifndef PMAPD_UNITS_H
#define PMAPD_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All return 0, -EINVAL (not of this form; for a time also: no unit) or -ERANGE (does not fit), *out
 * untouched then. */

/* "64M": bytes, or K, M, G for powers of 1024. */
int units_size(const char *text, uint64_t *out);

/* "100ms": a number and one of us, ms, s, m, h, in nanoseconds. */
int units_time(const char *text, int64_t *out);

/* "12": a decimal number. */
int units_count(const char *text, uint64_t *out);

/* "yes" or "no". */
int units_bool(const char *text, bool *out);

/* Room for what the two below write. */
enum { UNITS_TEXT_MAX = 32 };

/* The value in the largest unit that needs no fraction, as units_size and units_time read it. Return out. */
const char *units_size_text(uint64_t bytes, char out[UNITS_TEXT_MAX]);
const char *units_time_text(int64_t ns, char out[UNITS_TEXT_MAX]);

#endif
