/*
 * Text that grows; see grow.h.
 */
#include "client/pmapc/grow.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CAPACITY_FIRST = 256, FORMAT_ROOM = 501 };

static bool make_room(struct grow *g, size_t len)
{
    if (len <= g->capacity - g->len)
        return true;
    size_t capacity = g->capacity > 0 ? g->capacity : CAPACITY_FIRST;
    while (capacity - g->len < len && capacity <= SIZE_MAX / 2)
        capacity *= 2;
    char *data = capacity - g->len >= len ? realloc(g->data, capacity) : NULL;
    if (!data) {
        g->failed = true;
        return false;
    }
    g->data = data;
    g->capacity = capacity;
    return true;
}

bool grow_add(struct grow *g, const void *data, size_t len)
{
    if (!make_room(g, len))
        return false;
    if (len > 0)
        memcpy(g->data + g->len, data, len);
    g->len += len;
    return !g->failed;
}

bool grow_byte(struct grow *g, char byte)
{
    return grow_add(g, &byte, 1);
}

bool grow_format(struct grow *g, const char *format, ...)
{
    char text[FORMAT_ROOM];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return grow_add(g, text, strlen(text));
}

void grow_clear(struct grow *g)
{
    g->len = 0;
    g->failed = false;
}

void grow_free(struct grow *g)
{
    free(g->data);
    *g = (struct grow){0};
}
