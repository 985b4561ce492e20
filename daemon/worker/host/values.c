/*
 * The values of typed arrays; see values.h.
 */
#include "daemon/worker/host/values.h"

#include "daemon/functions/number.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)VALUE_PRINT_MAX >= (int)NUMBER_PRINT_MAX, "values are printed as numbers");

/* type, its C type, least and greatest value */
#define INTEGERS(X)                                                                                          \
    X(PMAP_I8, int8_t, INT8_MIN, INT8_MAX)                                                                   \
    X(PMAP_I16, int16_t, INT16_MIN, INT16_MAX)                                                               \
    X(PMAP_I32, int32_t, INT32_MIN, INT32_MAX)                                                               \
    X(PMAP_I64, int64_t, INT64_MIN, INT64_MAX)                                                               \
    X(PMAP_U8, uint8_t, 0, UINT8_MAX)                                                                        \
    X(PMAP_U16, uint16_t, 0, UINT16_MAX)                                                                     \
    X(PMAP_U32, uint32_t, 0, UINT32_MAX)                                                                     \
    X(PMAP_U64, uint64_t, 0, UINT64_MAX)

static const struct {
    const char *name;
    size_t size;
} types[] = {
    [PMAP_I8] = {"i8", 1},   [PMAP_I16] = {"i16", 2}, [PMAP_I32] = {"i32", 4}, [PMAP_I64] = {"i64", 8},
    [PMAP_U8] = {"u8", 1},   [PMAP_U16] = {"u16", 2}, [PMAP_U32] = {"u32", 4}, [PMAP_U64] = {"u64", 8},
    [PMAP_F32] = {"f32", 4}, [PMAP_F64] = {"f64", 8},
};
enum { TYPE_COUNT = sizeof types / sizeof types[0] };

enum pmap_type value_type(const char *name)
{
    for (unsigned i = 0; i < TYPE_COUNT; i++) {
        if (types[i].name && strcmp(types[i].name, name) == 0)
            return (enum pmap_type)i;
    }
    return PMAP_BYTES;
}

const char *value_name(enum pmap_type type)
{
    return (unsigned)type < TYPE_COUNT ? types[type].name : NULL;
}

size_t value_size(enum pmap_type type)
{
    return (unsigned)type < TYPE_COUNT ? types[type].size : 0;
}

/* A whole number that needs more than 128 bits is a real of many digits: the same text with a point behind
 * it. */
static int parse_huge(const uint8_t *text, size_t len, struct number *number, struct out *scratch)
{
    scratch->len = 0;
    uint8_t *copy = out_reserve(scratch, len + 1);
    if (!copy)
        return -ENOMEM;
    while (len > 0 && (text[len - 1] < '0' || text[len - 1] > '9'))
        len--; /* white space, as it was taken for a number */
    memcpy(copy, text, len);
    copy[len] = '.';
    return number_parse(copy, len + 1, number);
}

int value_parse(enum pmap_type type, const uint8_t *text, size_t len, void *to, struct out *scratch)
{
    struct number number;
    bool real = type == PMAP_F32 || type == PMAP_F64;
    int rc = number_parse(text, len, &number);
    if (rc == -ERANGE && real)
        rc = parse_huge(text, len, &number, scratch);
    if (rc < 0)
        return rc == -ENOMEM ? rc : -EINVAL;
    if (!real && number.is_real)
        return -EINVAL;
    double x = number.is_real ? number.real : (double)number.integer;
    switch (type) {
#define X(name, c_type, least, most)                                                                         \
    case name:                                                                                               \
        if (number.integer < (least) || number.integer > (__int128)(most))                                   \
            return -EINVAL;                                                                                  \
        *(c_type *)to = (c_type)number.integer;                                                              \
        return 0;
        INTEGERS(X)
#undef X
    case PMAP_F32:
        *(float *)to = (float)x;
        return 0;
    case PMAP_F64:
        *(double *)to = x;
        return 0;
    default:
        return -EINVAL;
    }
}

/*
 * A float's shortest decimal is found among those of 6 to 9 digits (a subnormal's may have fewer); as a
 * double it is printed with the same digits, since a double keeps 15. The texts between are libc's own, both
 * ways, so the locale does not matter.
 */
static size_t print_float(float x, uint8_t *to)
{
    char text[24];
    double shortest = x;
    if (isfinite(x)) {
        for (int digits = fabsf(x) < FLT_MIN ? 1 : FLT_DIG; digits <= FLT_DECIMAL_DIG; digits++) {
            snprintf(text, sizeof text, "%.*e", digits - 1, (double)x);
            if (strtof(text, NULL) == x)
                break;
        }
        shortest = strtod(text, NULL);
    }
    return number_print_real(shortest, to);
}

size_t value_print(enum pmap_type type, const void *from, uint8_t *to)
{
    switch (type) {
#define X(name, c_type, least, most)                                                                         \
    case name:                                                                                               \
        return number_print_integer(*(const c_type *)from, to);
        INTEGERS(X)
#undef X
    case PMAP_F32:
        return print_float(*(const float *)from, to);
    case PMAP_F64:
        return number_print_real(*(const double *)from, to);
    default:
        return 0;
    }
}
