/*
 * How what pmapc lists is shown to people: durations, sizes, users, texts that come from elsewhere, and
 * tables of them. Not thread-safe.
 */
#ifndef PMAPC_FIGURES_H
#define PMAPC_FIGURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

enum { FIGURE_ROOM = 40 };

/* A time that may be long: "85 us", "12.3 s", "3m12s", "2h05m", "4d03h". A size: "812 B", "64 MiB". Return
 * out. */
const char *figures_age(double seconds, char out[FIGURE_ROOM]);
const char *figures_bytes(uint64_t bytes, char out[FIGURE_ROOM]);

/* "1 item", "2 items": the count, as tell_count shows it, and `noun`, with an s where it is not 1. */
const char *figures_of(uint64_t count, const char *noun, char out[FIGURE_ROOM]);

/* The user's name, or the number where there is none. Looked up once; good for the program's life. */
const char *figures_user(uid_t uid);

/* The uid of a name, or of a number. False: there is no such user. */
bool figures_uid(const char *name, uid_t *uid);

/*
 * A text as a terminal may be given it: what is no printable character, or not UTF-8, becomes '?'. At most
 * `most` characters of it, the last ones "..." where it is longer (0: all of it). Returns out, which is cut
 * at room, of at least 4 bytes.
 */
const char *figures_text(const char *text, size_t len, size_t most, char *out, size_t room);

/* Columns of the terminal that stdout is, 0 where it is none. */
size_t figures_width(void);

/*** Tables ***/

struct table {
    size_t columns;
    const char *sides; /* for each column 'l' or 'r': where its text stands */
    char **cells;      /* line by line, the first of them the titles */
    size_t count, capacity;
    bool failed; /* memory was short: something is missing */
};

/* An empty one with these titles, of which `sides` says how many there are; both are borrowed. */
void table_init(struct table *table, const char *sides, const char *const *titles);

/* The next cell, from left to right. Its text must be fit for a terminal, as figures_text makes it. */
void table_cell(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints it, each column as wide as it must be. width: where lines are cut, in the last column (0: nowhere).
 */
void table_print(const struct table *table, size_t width, FILE *stream);
void table_free(struct table *table);

#endif
