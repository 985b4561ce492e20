/*
 * The table of the builtins, how a name is looked up in it, and the buffer into which they write.
 */
#include "daemon/functions/functions.h"

#include "daemon/functions/builtin.h"

#include <stdlib.h>
#include <string.h>

/* expected_ns: measured on an idle 2.5 GHz core, with the pool thread's share of an item; only the order of
 * magnitude counts. */
static const struct function table[] = {
    {"echo", "the item as it is", builtin_echo, 20},
    {"square", "the square of a number", builtin_square, 40},
    {"cube", "the cube of a number", builtin_cube, 40},
    {"upper", "the item with a to z as A to Z", builtin_upper, 30},
    {"length", "the number of bytes in the item", builtin_length, 30},
    {"sha256", "the SHA-256 digest of the item, in hexadecimal", builtin_sha256, 300},
    {"sleep", "the item, after sleeping for so many seconds", builtin_sleep, 0},
    {"burn", "the item, after using so many microseconds of CPU time", builtin_burn, 0},
};

enum { TABLE_COUNT = sizeof table / sizeof table[0], NAME_MAX_LEN = 16, DISTANCE_MAX = 2 };

const struct function *function_table(size_t *count)
{
    *count = TABLE_COUNT;
    return table;
}

const struct function *function_find(const char *name, size_t len)
{
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        if (strlen(table[i].name) == len && memcmp(table[i].name, name, len) == 0)
            return &table[i];
    }
    return NULL;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/*
 * Damerau-Levenshtein distance, in the form that edits no part twice (optimal string alignment). Both lengths
 * are at most NAME_MAX_LEN.
 */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t d[NAME_MAX_LEN + 1][NAME_MAX_LEN + 1];
    for (size_t i = 0; i <= a_len; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= b_len; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        for (size_t j = 1; j <= b_len; j++) {
            bool differ = lower(a[i - 1]) != lower(b[j - 1]);
            d[i][j] = least(d[i - 1][j - 1] + differ, least(d[i - 1][j], d[i][j - 1]) + 1);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]))
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
        }
    }
    return d[a_len][b_len];
}

size_t function_distance(const char *name, size_t len, const char *other, size_t other_len)
{
    if (len > NAME_MAX_LEN || other_len > NAME_MAX_LEN)
        return SIZE_MAX;
    size_t longer = len > other_len ? len : other_len;
    size_t away = distance(name, len, other, other_len);
    return away <= DISTANCE_MAX && away <= (longer + 2) / 3 ? away : SIZE_MAX;
}

const char *function_suggest(const char *name, size_t len)
{
    const char *best = NULL;
    size_t nearest = SIZE_MAX;
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        size_t away = function_distance(name, len, table[i].name, strlen(table[i].name));
        if (away < nearest) {
            best = table[i].name;
            nearest = away;
        }
    }
    return best;
}

uint8_t *out_grow(struct out *out, size_t more)
{
    if (more >= SIZE_MAX / 2 - out->len)
        return NULL;
    /* Doubled, so that appending costs the same however much is there; one byte more, as out_reserve wants.
     */
    size_t capacity = out->capacity < 256 ? 256 : out->capacity * 2;
    if (capacity <= out->len + more)
        capacity = out->len + more + 1;
    uint8_t *data = realloc(out->data, capacity);
    if (!data)
        return NULL;
    out->data = data;
    out->capacity = capacity;
    return data + out->len;
}

void out_free(struct out *out)
{
    if (!out)
        return;
    free(out->data);
    *out = (struct out){0};
}
