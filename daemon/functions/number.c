/*
 * Parsing and printing of numbers; see number.h. The common cases (short integers, reals of few digits) are
 * done here in exact arithmetic; what is not exact that way is left to libc's correctly rounding strtod and
 * printf, always in a form without a decimal point, whose character depends on the locale.
 */
#include "daemon/functions/number.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Significant digits that decide how a decimal is rounded: 767 for a double; what is behind can only break a
 * tie, for which one more digit that is not 0 does.
 */
enum { DIGITS_MAX = 800, EXPONENT_ROOM = 16 };

/* Beyond these powers of ten, whatever DIGITS_MAX digits there are, every decimal is infinite or 0. */
enum { EXPONENT_MAX = 2000 };

static const double power_of_ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                      1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
                            "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
                            "8081828384858687888990919293949596979899";

static bool is_digit(uint8_t c)
{
    return (unsigned)c - '0' < 10;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/*
 * The double nearest to digits * 10^exponent; digits: `count` characters, the first of them not '0'. The
 * array has room for EXPONENT_ROOM characters more, which are used.
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
            mantissa = mantissa * 10 + (uint64_t)(digits[i] - '0');
        if (mantissa <= UINT64_C(1) << DBL_MANT_DIG)
            return exponent < 0 ? (double)mantissa / power_of_ten[-exponent]
                                : (double)mantissa * power_of_ten[exponent];
    }
#endif
    if (exponent > EXPONENT_MAX)
        exponent = EXPONENT_MAX;
    if (exponent < -EXPONENT_MAX)
        exponent = -EXPONENT_MAX;
    snprintf(digits + count, EXPONENT_ROOM, "e%d", (int)exponent);
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
    char digits[DIGITS_MAX + 1 + EXPONENT_ROOM];
    size_t count = 0;
    int64_t exponent = 0, tail = 0;
    bool any = false, point = false, dropped = false;
    for (; p < end && (is_digit(*p) || (*p == '.' && !point)); p++) {
        if (*p == '.') {
            point = true;
            continue;
        }
        any = true;
        if (count == 0 && *p == '0') {
            exponent -= point;
        } else if (count < DIGITS_MAX) {
            digits[count++] = (char)*p;
            exponent -= point;
        } else {
            dropped |= *p != '0';
            exponent += !point;
        }
    }
    if (!any)
        return false;
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (!parse_exponent(&p, end, &tail))
            return false;
    }
    if (p != end)
        return false;
    if (dropped) {
        digits[count++] = '1';
        exponent--;
    }
    for (; count > 0 && digits[count - 1] == '0'; count--)
        exponent++;
    *out = real_of(digits, count, exponent + tail);
    return true;
}

static bool is_word(const uint8_t *p, const uint8_t *end, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(end - p) != len)
        return false;
    for (size_t i = 0; i < len; i++) {
        if ((p[i] | 0x20) != (uint8_t)word[i])
            return false;
    }
    return true;
}

/* What is no short integer; p: behind the sign. */
static int parse_long(const uint8_t *p, const uint8_t *end, bool negative, struct number *out)
{
    double real;
    if (is_word(p, end, "inf") || is_word(p, end, "infinity")) {
        real = INFINITY;
    } else if (is_word(p, end, "nan")) {
        real = NAN;
    } else {
        const uint8_t *digit = p;
        while (digit < end && is_digit(*digit))
            digit++;
        if (digit == end && p < end) {
            const unsigned __int128 limit = ((unsigned __int128)1 << 127) - !negative;
            unsigned __int128 value = 0;
            for (; p < end; p++) {
                unsigned units = (unsigned)(*p - '0');
                if (value > (limit - units) / 10)
                    return -ERANGE;
                value = value * 10 + units;
            }
            /* Negated as unsigned: the least integer has no positive counterpart. */
            *out = (struct number){.integer = (__int128)(negative ? -value : value)};
            return 0;
        }
        if (!parse_real(p, end, &real))
            return -EINVAL;
    }
    *out = (struct number){.is_real = true, .real = negative ? -real : real};
    return 0;
}

int number_parse(const uint8_t *text, size_t len, struct number *out)
{
    if (len > NUMBER_PARSE_MAX)
        return -EMSGSIZE;
    if (len == 0)
        return -EINVAL;
    const uint8_t *p = text, *end = text + len;
    while (p < end && is_space(*p))
        p++;
    while (end > p && is_space(end[-1]))
        end--;
    bool negative = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    if (p == end)
        return -EINVAL;
    int64_t value = 0;
    const uint8_t *digit = p;
    if (end - p <= 18) {
        for (; digit < end && is_digit(*digit); digit++)
            value = value * 10 + (*digit - '0');
    }
    if (digit != end)
        return parse_long(p, end, negative, out);
    out->is_real = false;
    out->integer = negative ? -value : value;
    return 0;
}

/* Writes value in front of `end`, at least `width` digits; returns where it begins. */
static uint8_t *print_backwards(uint64_t value, uint8_t *end, int width)
{
    uint8_t *stop = end - width;
    while (value >= 100) {
        end -= 2;
        memcpy(end, pairs + 2 * (value % 100), 2);
        value /= 100;
    }
    if (value >= 10) {
        end -= 2;
        memcpy(end, pairs + 2 * value, 2);
    } else if (value > 0 || end > stop) {
        *--end = (uint8_t)('0' + value);
    }
    while (end > stop)
        *--end = '0';
    return end;
}

size_t number_print_integer(__int128 integer, uint8_t *out)
{
    static const uint64_t split = UINT64_C(10000000000000000000); /* 10^19 */
    unsigned __int128 value = integer < 0 ? -(unsigned __int128)integer : (unsigned __int128)integer;
    uint8_t text[NUMBER_PRINT_MAX], *end = text + sizeof text, *p = end;
    for (; value >> 64 != 0; value /= split)
        p = print_backwards((uint64_t)(value % split), p, 19);
    p = print_backwards((uint64_t)value, p, p == end);
    if (integer < 0)
        *--p = '-';
    memcpy(out, p, (size_t)(end - p));
    return (size_t)(end - p);
}

/* A positive decimal: digits[0].digits[1]digits[2]... * 10^exponent. */
struct decimal {
    char digits[DBL_DECIMAL_DIG + EXPONENT_ROOM]; /* the room is real_of's */
    int count;
    int exponent;
};

/* The correctly rounded decimal of so many digits. */
static void decimal_exact(double real, int count, struct decimal *out)
{
    char text[40];
    snprintf(text, sizeof text, "%.*e", count - 1, real);
    out->digits[0] = text[0];
    out->count = 1;
    const char *p = text + 1;
    /* What stands between the first digit and the others is the locale's business. */
    for (; *p != 'e'; p++) {
        if (is_digit((uint8_t)*p))
            out->digits[out->count++] = *p;
    }
    out->exponent = (int)strtol(p + 1, NULL, 10);
}

/* Adds one in the last place. */
static void decimal_step(struct decimal *d)
{
    int i = d->count - 1;
    for (; i >= 0 && d->digits[i] == '9'; i--)
        d->digits[i] = '0';
    if (i >= 0) {
        d->digits[i]++;
    } else {
        d->digits[0] = '1'; /* 999 became 1000; the number of digits is kept */
        d->exponent++;
    }
}

/*
 * Rounds the 17 correct digits of `from` to fewer. They have been rounded once, so where what is cut off
 * looks like exactly half they do not tell which way to go: false.
 */
static bool decimal_shorten(const struct decimal *from, int count, struct decimal *out)
{
    int cut = from->digits[count] - '0', half = 5;
    for (int i = count + 1; i < from->count; i++) {
        cut = cut * 10 + (from->digits[i] - '0');
        half *= 10;
    }
    if (cut == half)
        return false;
    memcpy(out->digits, from->digits, (size_t)count);
    out->count = count;
    out->exponent = from->exponent;
    if (cut > half)
        decimal_step(out);
    return true;
}

static bool decimal_is(struct decimal *d, double real)
{
    return real_of(d->digits, (size_t)d->count, (int64_t)d->exponent - (d->count - 1)) == real;
}

/*
 * The shortest decimal of a real of everyday size that has few digits, without libc: false where it is not
 * one of at most 14 decimals and 15 digits. If there is such a decimal, the product below is less than half
 * away from its digits; and that the quotient of the two exact numbers is `real` proves that they are read as
 * `real`.
 */
static bool decimal_short(double real, struct decimal *out)
{
#if FLT_EVAL_METHOD == 0
    if (!(real >= 1e-5 && real < 1e15))
        return false;
    int places = 14;
    while (places > 0 && real >= power_of_ten[15 - places])
        places--;
    uint64_t digits = (uint64_t)(real * power_of_ten[places] + 0.5);
    if ((double)digits / power_of_ten[places] != real)
        return false;
    uint8_t text[20], *end = text + sizeof text, *p = print_backwards(digits, end, 1);
    out->count = (int)(end - p);
    memcpy(out->digits, p, (size_t)out->count);
    out->exponent = out->count - 1 - places;
    return true;
#else
    (void)real, (void)out;
    return false;
#endif
}

/* The shortest decimal that is read as `real` again, and of those the nearest; trailing zeros may be left. */
static void decimal_shortest(double real, struct decimal *out)
{
    int power;
    /*
     * Below a power of two the doubles are half as far apart as above it, so that the nearest decimal may be
     * read as the neighbour below and yet the next one as this double. Subnormals may be told by any number
     * of digits. Both are rare.
     */
    if (real < DBL_MIN || frexp(real, &power) == 0.5) {
        for (int count = 1; count < DBL_DECIMAL_DIG; count++) {
            decimal_exact(real, count, out);
            if (decimal_is(out, real))
                return;
            decimal_step(out);
            if (decimal_is(out, real))
                return;
        }
        decimal_exact(real, DBL_DECIMAL_DIG, out);
        return;
    }
    /* A decimal of up to 15 digits survives the way through a double, so if one fits, it is this one. */
    struct decimal full = {0};
    decimal_exact(real, DBL_DECIMAL_DIG, &full);
    for (int count = DBL_DIG; count < DBL_DECIMAL_DIG; count++) {
        if (!decimal_shorten(&full, count, out))
            decimal_exact(real, count, out);
        if (decimal_is(out, real))
            return;
    }
    *out = full;
}

static uint8_t *put(uint8_t *to, const char *text)
{
    while (*text)
        *to++ = (uint8_t)*text++;
    return to;
}

/* Writes a decimal as Python's repr does; returns behind its end. */
static uint8_t *print_decimal(const struct decimal *d, uint8_t *to)
{
    int count = d->count, exponent = d->exponent;
    while (count > 1 && d->digits[count - 1] == '0')
        count--;
    if (exponent < -4 || exponent >= 16) {
        *to++ = (uint8_t)d->digits[0];
        if (count > 1) {
            *to++ = '.';
            memcpy(to, d->digits + 1, (size_t)count - 1);
            to += count - 1;
        }
        *to++ = 'e';
        *to++ = exponent < 0 ? '-' : '+';
        uint8_t text[4], *end = text + sizeof text;
        uint8_t *p = print_backwards((uint64_t)abs(exponent), end, 2);
        memcpy(to, p, (size_t)(end - p));
        return to + (end - p);
    }
    if (exponent < 0) {
        put(to, "0.0000");
        to += 1 - exponent;
        memcpy(to, d->digits, (size_t)count);
        return to + count;
    }
    int whole = exponent + 1 < count ? exponent + 1 : count;
    memcpy(to, d->digits, (size_t)whole);
    memset(to + whole, '0', (size_t)(exponent + 1 - whole));
    to += exponent + 1;
    if (whole == count)
        return put(to, ".0");
    *to++ = '.';
    memcpy(to, d->digits + whole, (size_t)(count - whole));
    return to + (count - whole);
}

size_t number_print_real(double real, uint8_t *out)
{
    uint8_t *to = out;
    if (isnan(real))
        return (size_t)(put(to, "nan") - out);
    if (signbit(real)) {
        *to++ = '-';
        real = -real;
    }
    if (isinf(real))
        return (size_t)(put(to, "inf") - out);
    if (real < 1e15 && real == (double)(int64_t)real) {
        to += number_print_integer((int64_t)real, to);
        return (size_t)(put(to, ".0") - out);
    }
    struct decimal d = {0};
    if (!decimal_short(real, &d))
        decimal_shortest(real, &d);
    return (size_t)(print_decimal(&d, to) - out);
}
