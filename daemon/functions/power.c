/*
 * square and cube: integers exactly, as long as the result fits in 128 bits; reals as doubles.
 */
#include "daemon/functions/builtin.h"
#include "daemon/functions/number.h"

#include <errno.h>

static enum function_result too_large(struct function_context *context, const char *what, const uint8_t *item,
                                      size_t len)
{
    char quoted[BUILTIN_QUOTE_MAX];
    builtin_quote(item, len, quoted);
    return builtin_fail(context, "the %s of %s does not fit in 128 bits", what, quoted);
}

static bool power_of(__int128 x, int exponent, __int128 *out)
{
    __int128 square;
    if (x == (int32_t)x) {
        int64_t small = (int64_t)x * (int64_t)x;
        *out = exponent == 2 ? (__int128)small : (__int128)small * x;
        return true;
    }
    return !__builtin_mul_overflow(x, x, &square) &&
           !__builtin_mul_overflow(square, exponent == 2 ? (__int128)1 : x, out);
}

static inline enum function_result power(struct function_context *context, const uint8_t *item, size_t len,
                                         struct out *out, int exponent, const char *what)
{
    struct number x;
    int rc = number_parse(item, len, &x);
    if (rc == 0 && !x.is_real && !power_of(x.integer, exponent, &x.integer))
        rc = -ERANGE;
    if (rc == -ERANGE)
        return too_large(context, what, item, len);
    if (rc < 0)
        return builtin_not_a_number(context, rc, item, len);
    uint8_t *to = out_reserve(out, NUMBER_PRINT_MAX);
    if (!to)
        return builtin_no_memory(context);
    if (x.is_real)
        out->len += number_print_real(exponent == 2 ? x.real * x.real : x.real * x.real * x.real, to);
    else
        out->len += number_print_integer(x.integer, to);
    return FUNCTION_OK;
}

enum function_result builtin_square(struct function_context *context, const uint8_t *item, size_t len,
                                    struct out *out)
{
    return power(context, item, len, out, 2, "square");
}

enum function_result builtin_cube(struct function_context *context, const uint8_t *item, size_t len,
                                  struct out *out)
{
    return power(context, item, len, out, 3, "cube");
}
