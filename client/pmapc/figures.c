/*
 * How what pmapc lists is shown to people; see figures.h.
 */
#include "client/pmapc/figures.h"

#include "client/pmapc/tell.h"
#include "common/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

const char *figures_age(double seconds, char out[FIGURE_ROOM])
{
    if (!(seconds >= 99.95)) /* nor is it anything strange */
        return tell_duration(seconds, out);
    uint64_t whole = seconds < 1e15 ? (uint64_t)(seconds + 0.5) : (uint64_t)1e15;
    uint64_t minutes = whole / 60, hours = minutes / 60, days = hours / 24;
    if (days > 0)
        snprintf(out, FIGURE_ROOM, "%" PRIu64 "d%02uh", days, (unsigned)(hours % 24));
    else if (hours > 0)
        snprintf(out, FIGURE_ROOM, "%" PRIu64 "h%02um", hours, (unsigned)(minutes % 60));
    else
        snprintf(out, FIGURE_ROOM, "%" PRIu64 "m%02us", minutes, (unsigned)(whole % 60));
    return out;
}

const char *figures_bytes(uint64_t bytes, char out[FIGURE_ROOM])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t i = 0;
    while (value >= 1023.95 && i + 1 < sizeof units / sizeof units[0]) {
        value /= 1024;
        i++;
    }
    bool whole = value >= 99.95 || (unsigned)(value * 10 + 0.5) % 10 == 0;
    snprintf(out, FIGURE_ROOM, whole ? "%.0f %s" : "%.1f %s", value, units[i]);
    return out;
}

const char *figures_of(uint64_t count, const char *noun, char out[FIGURE_ROOM])
{
    char number[TELL_ROOM];
    snprintf(out, FIGURE_ROOM, "%s %s%s", tell_count((double)count, number), noun, count == 1 ? "" : "s");
    return out;
}

/*** Users ***/

struct user {
    uid_t uid;
    char name[FIGURE_ROOM];
};

const char *figures_user(uid_t uid)
{
    static struct user **users;
    static size_t count, capacity;
    for (size_t i = 0; i < count; i++) {
        if (users[i]->uid == uid)
            return users[i]->name;
    }
    if (count == capacity) {
        struct user **more = reallocarray(users, capacity != 0 ? 2 * capacity : 16, sizeof(struct user *));
        if (!more)
            return "?";
        users = more;
        capacity = capacity != 0 ? 2 * capacity : 16;
    }
    struct user *user = malloc(sizeof *user);
    if (!user)
        return "?";
    users[count++] = user;
    user->uid = uid;
    const struct passwd *entry = getpwuid(uid);
    if (entry && *entry->pw_name)
        figures_text(entry->pw_name, strlen(entry->pw_name), 0, user->name, sizeof user->name);
    else
        snprintf(user->name, sizeof user->name, "%u", (unsigned)uid);
    return user->name;
}

bool figures_uid(const char *name, uid_t *uid)
{
    const struct passwd *entry = getpwnam(name);
    if (entry) {
        *uid = entry->pw_uid;
        return true;
    }
    char *end;
    errno = 0;
    unsigned long number = strtoul(name, &end, 10);
    if (*name < '0' || *name > '9' || *end || errno != 0 || number >= UINT32_MAX)
        return false;
    *uid = (uid_t)number;
    return true;
}

/*** Texts ***/

/* Bytes of the character at text, 0 where it may not be shown. */
static size_t shown_length(const unsigned char *text, size_t len)
{
    if (*text < 0x80)
        return *text >= 0x20 && *text != 0x7f;
    size_t size = *text >= 0xf0 ? 4 : *text >= 0xe0 ? 3 : 2;
    bool control = *text == 0xc2 && len > 1 && text[1] < 0xa0; /* U+0080 to U+009F */
    return size <= len && !control && utf8_valid((const char *)text, size) ? size : 0;
}

static size_t count_characters(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

/* Cuts a text of more than `most` characters, the last three of which become "...". */
static void shorten(char *text, size_t most)
{
    if (most < 4 || count_characters(text) <= most)
        return;
    for (size_t left = most - 3;; text++) {
        if (((unsigned char)*text & 0xc0) != 0x80 && left-- == 0)
            break;
    }
    memcpy(text, "...", sizeof "..."); /* there were more than three characters */
}

const char *figures_text(const char *text, size_t len, size_t most, char *out, size_t room)
{
    size_t at = 0;
    for (size_t i = 0; i < len;) {
        size_t size = shown_length((const unsigned char *)text + i, len - i);
        size_t needed = size > 0 ? size : 1;
        if (at + needed >= room)
            break;
        if (size > 0)
            memcpy(out + at, text + i, size);
        else
            out[at] = '?';
        at += needed;
        i += needed;
    }
    out[at] = '\0';
    shorten(out, most);
    return out;
}

size_t figures_width(void)
{
    struct winsize size;
    bool known = isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;
    return known ? size.ws_col : 0;
}

/*** Tables ***/

static void add_cell(struct table *table, char *cell)
{
    if (cell && table->count == table->capacity) {
        size_t capacity = table->capacity != 0 ? 2 * table->capacity : 64;
        char **cells = reallocarray(table->cells, capacity, sizeof *cells);
        if (cells) {
            table->cells = cells;
            table->capacity = capacity;
        }
    }
    if (!cell || table->count == table->capacity) {
        free(cell);
        table->failed = true;
        return;
    }
    table->cells[table->count++] = cell;
}

void table_init(struct table *table, const char *sides, const char *const *titles)
{
    *table = (struct table){.columns = strlen(sides), .sides = sides};
    for (size_t i = 0; i < table->columns; i++)
        add_cell(table, strdup(titles[i]));
}

void table_cell(struct table *table, const char *format, ...)
{
    char *cell = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&cell, format, args) < 0)
        cell = NULL;
    va_end(args);
    add_cell(table, cell);
}

static void print_line(const struct table *table, size_t line, const size_t *widths, size_t width,
                       FILE *stream)
{
    size_t used = 0;
    for (size_t i = 0; i < table->columns; i++) {
        char *cell = table->cells[line * table->columns + i];
        bool last = i + 1 == table->columns, right = table->sides[i] == 'r';
        if (last && width > used)
            shorten(cell, width - used);
        int pad = (int)(widths[i] - count_characters(cell));
        if (right)
            fprintf(stream, "%*s%s", pad, "", cell);
        else
            fprintf(stream, "%s%*s", cell, last ? 0 : pad, "");
        fputs(last ? "\n" : "  ", stream);
        used += widths[i] + 2;
    }
}

void table_print(const struct table *table, size_t width, FILE *stream)
{
    size_t *widths = calloc(table->columns, sizeof *widths);
    if (table->failed || !widths) {
        tell("out of memory");
        free(widths);
        return;
    }
    for (size_t i = 0; i < table->count; i++) {
        size_t count = count_characters(table->cells[i]), *widest = &widths[i % table->columns];
        *widest = count > *widest ? count : *widest;
    }
    for (size_t line = 0; line < table->count / table->columns; line++)
        print_line(table, line, widths, width, stream);
    free(widths);
}

void table_free(struct table *table)
{
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i]);
    free(table->cells);
    *table = (struct table){.columns = 0};
}
