/*
 * Reading options: numbers, bytes, errors and suggestions; see options.h.
 */
#include "client/pmapc/options.h"

#include "client/pmapc/pmapc.h"
#include "client/pmapc/tell.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void options_begin(void)
{
    optind = 0;
    opterr = 0;
}

enum { NAME_MAX_LEN = 40 };

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Damerau-Levenshtein distance (optimal string alignment) of two short names. */
static unsigned distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    unsigned row[3][NAME_MAX_LEN + 1];
    unsigned *before = row[0], *above = row[1], *now = row[2];
    for (size_t j = 0; j <= b_len; j++)
        above[j] = (unsigned)j;
    for (size_t i = 1; i <= a_len; i++) {
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            unsigned change = tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]);
            now[j] = least(least(above[j] + 1, now[j - 1] + 1), above[j - 1] + change);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], before[j - 2] + 1);
        }
        unsigned *free_row = before;
        before = above;
        above = now;
        now = free_row;
    }
    return above[b_len];
}

const char *options_suggest(const char *given, const char *(*name)(unsigned i, const void *cookie),
                            const void *cookie)
{
    size_t len = strcspn(given, "=");
    if (len == 0 || len > NAME_MAX_LEN)
        return NULL;
    const char *best = NULL;
    unsigned best_distance = 3;
    const char *candidate;
    for (unsigned i = 0; (candidate = name(i, cookie)); i++) {
        size_t candidate_len = strlen(candidate);
        if (candidate_len > NAME_MAX_LEN)
            continue;
        size_t longer = len > candidate_len ? len : candidate_len;
        unsigned d = distance(given, len, candidate, candidate_len);
        if (d < best_distance && d <= (longer + 2) / 3) {
            best = candidate;
            best_distance = d;
        }
    }
    return best;
}

static const char *option_name(unsigned i, const void *cookie)
{
    return ((const struct option *)cookie)[i].name;
}

/* A message, and where to read more. */
static void tell_usage(const char *command, const char *what)
{
    if (command)
        tell("%s: %s (see 'pmapc %s --help')", command, what, command);
    else
        tell("%s (see 'pmapc --help')", what);
}

/* Is it one of main's options, given behind the subcommand? */
static bool is_global(const char *name, size_t len)
{
    static const char *const globals[] = {"endpoint", "no-autostart"};
    for (size_t i = 0; i < sizeof globals / sizeof globals[0]; i++) {
        if (strlen(globals[i]) == len && memcmp(globals[i], name, len) == 0)
            return true;
    }
    return false;
}

static void bad_long(const char *given, char *what, size_t room, const char *command,
                     const struct option *longs)
{
    const char *name = given + 2;
    int len = (int)strcspn(name, "=");
    const struct option *exact = NULL;
    unsigned beginnings = 0;
    for (const struct option *o = longs; o->name; o++) {
        if (strncmp(o->name, name, (size_t)len) == 0) {
            beginnings++;
            if (o->name[len] == '\0')
                exact = o;
        }
    }
    const char *near = options_suggest(name, option_name, longs);
    if (exact || beginnings == 1)
        snprintf(what, room, "option '--%.*s' takes no value", len, name);
    else if (beginnings > 1)
        snprintf(what, room, "option '--%.*s' is ambiguous", len, name);
    else if (command && is_global(name, (size_t)len))
        snprintf(what, room, "option '--%.*s' stands before the command '%s'", len, name, command);
    else if (near)
        snprintf(what, room, "unknown option '--%.*s'; did you mean '--%s'?", len, name, near);
    else
        snprintf(what, room, "unknown option '--%.*s'", len, name);
}

int options_bad(int got, char **argv, const char *command, const struct option *longs)
{
    /* getopt_long leaves optind behind a bad long option, but at or behind a cluster with a bad short one. */
    const char *given = optind > 0 ? argv[optind - 1] : "";
    bool is_long = strncmp(given, "--", 2) == 0;
    char what[512];
    if (got == ':') {
        if (is_long)
            snprintf(what, sizeof what, "option '%s' needs a value", given);
        else
            snprintf(what, sizeof what, "option '-%c' needs a value", optopt);
    } else if (is_long && (optopt == 0 || !isprint(optopt) || given[2] != '\0')) {
        bad_long(given, what, sizeof what, command, longs);
    } else if (command && optopt == 'e') {
        snprintf(what, sizeof what, "option '-e' stands before the command '%s'", command);
    } else {
        snprintf(what, sizeof what, isprint(optopt) ? "unknown option '-%c'" : "unknown option '-\\x%02x'",
                 optopt);
    }
    tell_usage(command, what);
    return STATUS_USAGE;
}

int options_extra(const char *command, const char *argument)
{
    char what[512];
    snprintf(what, sizeof what, "unexpected argument '%s'", argument);
    tell_usage(command, what);
    return STATUS_USAGE;
}

int options_number(const char *option, const char *text, int64_t min, int64_t max, int64_t *out)
{
    const char *digits = text + (*text == '-' || *text == '+');
    if (*digits == '\0' || digits[strspn(digits, "0123456789")] != '\0') {
        tell("%s: '%s' is not a whole number", option, text);
        return STATUS_USAGE;
    }
    errno = 0;
    long long value = strtoll(text, NULL, 10);
    if (errno == ERANGE || value < min || value > max) {
        tell("%s: %s is out of range (%" PRId64 " to %" PRId64 ")", option, text, min, max);
        return STATUS_USAGE;
    }
    *out = value;
    return 0;
}

int options_seconds(const char *option, const char *text, double max, double *out)
{
    /* By hand as far as the form goes: strtod also takes "inf", "0x1p3" and the locale's comma. */
    size_t whole = strspn(text, "0123456789");
    size_t fraction = text[whole] == '.' ? strspn(text + whole + 1, "0123456789") : 0;
    const char *end = text + whole + (text[whole] == '.' ? 1 + fraction : 0);
    if (whole + fraction == 0 || *end != '\0') {
        tell("%s: '%s' is not a number of seconds", option, text);
        return STATUS_USAGE;
    }
    double value = strtod(text, NULL);
    if (!(value <= max)) {
        tell("%s: %s is out of range (0 to %g)", option, text, max);
        return STATUS_USAGE;
    }
    *out = value;
    return 0;
}

/* The value of an escape's text behind its backslash; -1 when there is none. */
static int escape_value(const char *text)
{
    static const char letters[] = "ntr0\\", values[] = "\n\t\r\0\\";
    const char *letter = strchr(letters, text[0]);
    if (letter && *letter && text[1] == '\0')
        return (unsigned char)values[letter - letters];
    size_t digits = text[0] == 'x' ? strspn(text + 1, "0123456789abcdefABCDEF") : 0;
    if (digits < 1 || digits > 2 || text[1 + digits] != '\0')
        return -1;
    return (int)strtol(text + 1, NULL, 16);
}

int options_byte(const char *option, const char *text, unsigned char *out)
{
    if (text[0] != '\0' && text[1] == '\0') {
        *out = (unsigned char)text[0];
        return 0;
    }
    int value = text[0] == '\\' ? escape_value(text + 1) : -1;
    if (value < 0) {
        tell("%s: '%s' is not one character (one byte), nor one of \\n \\t \\r \\0 \\\\ \\xHH", option, text);
        return STATUS_USAGE;
    }
    *out = (unsigned char)value;
    return 0;
}
