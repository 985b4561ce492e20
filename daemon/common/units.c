/*
 * Sizes, times, counts and yes/no from text. What range a key allows is told by the table in config.c.
 */
#include "daemon/common/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct unit {
    const char *name;
    uint64_t factor;
};

/* Largest first: the text of a value takes the first that divides it. */
static const struct unit size_units[] = {{"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}, {"", 1}};
static const struct unit time_units[] = {
    {"h", 3600000000000}, {"m", 60000000000}, {"s", 1000000000}, {"ms", 1000000}, {"us", 1000}};

enum {
    SIZE_UNITS = sizeof(size_units) / sizeof(size_units[0]),
    TIME_UNITS = sizeof(time_units) / sizeof(time_units[0]),
};

/* Reads digits, then exactly one of the units. */
static int parse(const char *text, const struct unit *units, size_t unit_count, uint64_t *out)
{
    uint64_t value = 0;
    bool overflow = false;
    const char *p = text;

    for (; *p >= '0' && *p <= '9'; p++) {
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, *p - '0', &value))
            overflow = true;
    }
    if (p == text)
        return -EINVAL;
    for (size_t i = 0; i < unit_count; i++) {
        if (strcmp(p, units[i].name) != 0)
            continue;
        if (overflow || __builtin_mul_overflow(value, units[i].factor, &value))
            return -ERANGE;
        *out = value;
        return 0;
    }
    return -EINVAL;
}

int units_size(const char *text, uint64_t *out)
{
    return parse(text, size_units, SIZE_UNITS, out);
}

int units_time(const char *text, int64_t *out)
{
    uint64_t ns;
    int rc = parse(text, time_units, TIME_UNITS, &ns);

    if (rc < 0)
        return rc;
    if (ns > INT64_MAX)
        return -ERANGE;
    *out = (int64_t)ns;
    return 0;
}

int units_count(const char *text, uint64_t *out)
{
    static const struct unit none = {"", 1};

    return parse(text, &none, 1, out);
}

int units_bool(const char *text, bool *out)
{
    if (strcmp(text, "yes") != 0 && strcmp(text, "no") != 0)
        return -EINVAL;
    *out = text[0] == 'y';
    return 0;
}

/* The first unit that divides value, or the smallest. */
static const char *format(uint64_t value, const struct unit *units, size_t unit_count,
                          char out[UNITS_TEXT_MAX])
{
    size_t i = 0;

    while (i + 1 < unit_count && (value == 0 || value % units[i].factor != 0))
        i++;
    snprintf(out, UNITS_TEXT_MAX, "%" PRIu64 "%s", value / units[i].factor, units[i].name);
    return out;
}

const char *units_size_text(uint64_t bytes, char out[UNITS_TEXT_MAX])
{
    return format(bytes, size_units, SIZE_UNITS, out);
}

const char *units_time_text(int64_t ns, char out[UNITS_TEXT_MAX])
{
    return format((uint64_t)ns, time_units, TIME_UNITS, out);
}
