/*
 * What the builtins share among themselves and with their table: their entry points, and how they refuse an
 * item. Users of the builtins include functions.h instead.
 */
#ifndef PMAP_BUILTIN_H
#define PMAP_BUILTIN_H

#include "daemon/functions/functions.h"

function_map builtin_echo, builtin_square, builtin_cube, builtin_upper, builtin_length, builtin_sha256,
    builtin_sleep, builtin_burn;

/* Large items are worked on in pieces of so many bytes, cancellation being asked for in between: a few ms at
 * worst. */
enum { BUILTIN_PIECE = 1 << 20 };

/* Sets context->error (cut where it is too long) and returns FUNCTION_FAILED. */
enum function_result builtin_fail(struct function_context *context, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The same for the one shortage that every builtin may meet. */
enum function_result builtin_no_memory(struct function_context *context);

/*
 * The function whose result has as many bytes as the item: `map` makes them, piece by piece. Returns what the
 * function returns.
 */
enum function_result
builtin_bytes(struct function_context *context, const uint8_t *item, size_t len, struct out *out,
              void (*map)(uint8_t *restrict to, const uint8_t *restrict from, size_t len));

/* A quoted text, at its longest: two quotes, the text, dots, NUL. */
enum { BUILTIN_QUOTE_TEXT = 48, BUILTIN_QUOTE_MAX = BUILTIN_QUOTE_TEXT + 6 };

/*
 * Writes the item as 'text' for an error message: one line that is safe on a terminal. Control characters and
 * what is not UTF-8 are escaped, a long text is cut and ends in dots.
 */
void builtin_quote(const uint8_t *item, size_t len, char out[BUILTIN_QUOTE_MAX]);

/* Has the worker been told to give the item up? */
static inline bool builtin_cancelled(const struct function_context *context)
{
    return context->cancelled && context->cancelled(context->cookie, 0);
}

/* Fails the item for what number_parse returned for it, -EINVAL or -EMSGSIZE. */
enum function_result builtin_not_a_number(struct function_context *context, int rc, const uint8_t *item,
                                          size_t len);

#define BUILTIN_DURATION_MAX_NS INT64_C(1000000000000000000)

/*
 * Reads the item as a duration of so many units ("seconds") of unit_ns: any number, at most 1e9 s.
 * Returns FUNCTION_OK, or FUNCTION_FAILED with context->error set.
 */
enum function_result builtin_duration(struct function_context *context, const uint8_t *item, size_t len,
                                      const char *unit, int64_t unit_ns, int64_t *duration_ns);

#endif
