/*
 * What every subcommand needs to read its options with getopt_long(3): strict numbers, and errors that name
 * the option and suggest what may have been meant. Tells the user itself; returns exit statuses.
 */
#ifndef PMAPC_OPTIONS_H
#define PMAPC_OPTIONS_H

#include <getopt.h>
#include <stdint.h>

/* Makes getopt_long start anew, silently: its own messages have another prefix and no suggestions. */
void options_begin(void);

/*
 * Tells what is wrong with the option that getopt_long has just answered with '?' or ':' (the option string
 * must begin with ':', after an optional '+'). command: the subcommand's name, NULL for the global options.
 * Returns STATUS_USAGE.
 */
int options_bad(int got, char **argv, const char *command, const struct option *longs);

/* Tells that a subcommand which takes no argument was given one. Returns STATUS_USAGE. */
int options_extra(const char *command, const char *argument);

/*
 * A whole decimal number from min to max: an optional sign and digits, nothing else.
 * Returns 0, or STATUS_USAGE having told, with the option's name, what is wrong.
 */
int options_number(const char *option, const char *text, int64_t min, int64_t max, int64_t *out);

/* A number of seconds, whole or with a fraction, from 0 to max. Returns as options_number. */
int options_seconds(const char *option, const char *text, double max, double *out);

/*
 * One byte: a character, or \n \t \r \0 \\ \xHH (\ and three octal digits are not known: \0 is NUL).
 * Returns as options_number.
 */
int options_byte(const char *option, const char *text, unsigned char *out);

/*
 * The name that was most probably meant, or NULL: the i-th of them is name(i, cookie), NULL after the last.
 * Near is a Damerau-Levenshtein distance of at most 2 and at most a third of the longer name, rounded up.
 */
const char *options_suggest(const char *given, const char *(*name)(unsigned i, const void *cookie),
                            const void *cookie);

#endif
