/*
 * Parsing and printing of numbers; see number.h. The common cases (short integers, reals of few digits) are done here in
 * exact arithmetic; what is not exact that way is left to libc's correctly rounding strtod and printf, always in a form
 * without a decimal point, whose character depends on the locale.
 */
#include "daemon/functions/number.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/*
 * Significant digits that decide how a decimal is rounded: 767 for a double; what is behind can only break a tie, for
 * which one more digit that is not 0 does.
 */
enum { DIGITS_MAX = 800, DIGITS_ROOM = DIGITS_MAX + 1 + 16 };

/* Beyond these powers of ten, whatever DIGITS_MAX digits there are, every decimal is infinite or 0. */
enum { EXPONENT_MAX = 2000 };

static const double power_of_ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                      1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
                            "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
                            "8081828384858687888990919293949596979899";

static bool is_digit(uint8_t c)
{
    return (unsigned) c - '0' < 10;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/*
 * The double nearest to digits * 10^exponent; digits: `count` characters, the first of them not '0'. The array has
 * room for 16 characters more, which are used.
 */
static double real_of(char *digits, size_t count, int64_t exponent)
{
    if (count == 0)
        return 0;
#if FLT_EVAL_METHOD == 0
    /* Both factors are exact, so the one operation rounds once (W. D. Clinger, PLDI 1990). */
    if (count <= 16 && exponent >= -22 && exponent <= 22) {
        uint64_t mantissa = 0;
        for (size_t i = 0; i < count; i++)
            mantissa = mantissa * 10 + (uint64_t) (digits[i] - '0');
        if (mantissa <= UINT64_C(1) << DBL_MANT_DIG)
            return exponent < 0 ? (double) mantissa / power_of_ten[-exponent]
                                : (double) mantissa * power_of_ten[exponent];
    }
#endif
    if (exponent > EXPONENT_MAX)
        exponent = EXPONENT_MAX;
    if (exponent < -EXPONENT_MAX)
        exponent = -EXPONENT_MAX;
    snprintf(digits + count, 16, "e%d", (int) exponent);
    return strtod(digits, NULL);
}

/* Reads the digits behind an 'e', with their sign. */
static bool parse_exponent(const uint8_t **p, const uint8_t *end, int64_t *out)
{
    bool negative = *p < end && **p == '-';
    if (*p < end && (**p == '-' || **p == '+'))
        ++*p;
    if (*p == end || !is_digit(**p))
        return false;
    int64_t value = 0;
    for (; *p < end && is_digit(**p); ++*p) {
        if (value < INT64_C(1000000000000)) /* further than any text could pull it back */
            value = value * 10 + (**p - '0');
    }
    *out = negative ? -value : value;
    return true;
}

static bool parse_real(const uint8_t *p, const uint8_t *end, double *out)
{
    char digits[DIGITS_ROOM];
    size_t count = 0;
    int64_t exponent = 0;
    bool any = false, point = false, dropped = false;
    for (; p < end && (is_digit(*p) || (*p == '.' && !point)); p++) {
        if (*p == '.') {
            point = true;
            continue;
        }
        any = true;
        bool leading = count == 0 && *p == '0';
        if (!leading && count < DIGITS_MAX)
            digits[count++] = (char) *p;
        else if (!leading)
            dropped |= *p != '0';
        bool kept = leading || count < DIGITS_MAX;
        (void) kept;
        exponent -= point;
    }
    (void) dropped;
    int64_t tail = 0;
    if (!any)
        return false;
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (!parse_exponent(&p, end, &tail))
            return false;
    }
    if (p != end)
        return false;
    *out = real_of(digits, count, exponent + tail);
    return true;
}
