/* Placeholders and the arguments made of them; see template.h. */
#include "common/template.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Linux takes at most 6 MiB of arguments and environment, whatever the limits. */
enum { ARGUMENTS_MAX = 8 << 20 };
/* What a struct arguments may keep from one item to the next. */
enum { ARGUMENTS_KEPT = 64 << 10 };

enum piece_kind { PIECE_TEXT, PIECE_ITEM, PIECE_NUMBER, PIECE_SLOT };
enum {
    FORM_BASE = 1,   /* without folders */
    FORM_FOLDER = 2, /* the folder only */
    FORM_BARE = 4,   /* without extension */
};
struct piece {
    enum piece_kind kind;
    unsigned form;    /* ITEM */
    int position;     /* ITEM: 0: all fields; else one, from 1, or from the end */
    const char *text; /* TEXT */
    size_t len;
};
struct pattern {
    const char *whole;   /* as it was given, where no placeholder is in it; else NULL */
    size_t first, count; /* of its pieces */
};

struct template
{
    struct pattern *patterns;
    size_t argc;
    struct piece *pieces;
    bool fields;
    bool append;
};

/* The form between the position and the closing brace, or -1. */
static int form_of(const char *s, size_t len)
{
    static const struct {
        const char *name;
        int form;
    } forms[] = {
        {"", 0}, {".", FORM_BARE}, {"/", FORM_BASE}, {"//", FORM_FOLDER}, {"/.", FORM_BASE | FORM_BARE}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (strlen(forms[i].name) == len && memcmp(forms[i].name, s, len) == 0)
            return forms[i].form;
    return -1;
}

/* Reads what is between two braces. Returns false where it is nothing of ours. */
static bool piece_read(const char *s, size_t len, bool braces_are_item, struct piece *piece)
{
    if (len == 1 && (*s == '#' || *s == '%')) {
        *piece = (struct piece){.kind = *s == '#' ? PIECE_NUMBER : PIECE_SLOT};
        return true;
    }
    if (len == 0 && !braces_are_item)
        return false;
    bool last = len > 0 && *s == '-';
    size_t at = last;
    int position = 0;
    while (at < len && s[at] >= '0' && s[at] <= '9' && position < INT_MAX / 10 - 1)
        position = 10 * position + (s[at++] - '0');
    bool none = at == last;
    if (none ? last : position == 0) /* {-} and {0} are none */
        return false;
    int form = form_of(s + at, len - at);
    if (form < 0)
        return false;
    *piece =
        (struct piece){.kind = PIECE_ITEM, .form = (unsigned)form, .position = last ? -position : position};
    return true;
}

/*
 * Finds the first placeholder in `s`: what it is, and how many bytes it takes (0: there is none). *before is
 * what stands before it.
 */
static size_t placeholder_find(const char *s, const char *placeholder, struct piece *piece, size_t *before)
{
    size_t own = strlen(placeholder);
    bool braces = strcmp(placeholder, "{}") == 0;
    for (const char *at = s; own > 0 && *at; at++) {
        *before = (size_t)(at - s);
        if (strncmp(at, placeholder, own) == 0) {
            *piece = (struct piece){.kind = PIECE_ITEM};
            return own;
        }
        const char *close = *at == '{' ? strchr(at, '}') : NULL;
        if (close && piece_read(at + 1, (size_t)(close - at - 1), braces, piece))
            return (size_t)(close - at + 1);
    }
    *before = strlen(s);
    return 0;
}

/* Takes one argument to pieces; counts them only where `pieces` is NULL. */
static size_t pattern_read(const char *s, const char *placeholder, struct piece *pieces, bool *any)
{
    size_t count = 0;
    for (;;) {
        struct piece piece;
        size_t before;
        size_t len = placeholder_find(s, placeholder, &piece, &before);
        if (before > 0 || (len == 0 && count == 0)) {
            if (pieces)
                pieces[count] = (struct piece){.kind = PIECE_TEXT, .text = s, .len = before};
            count++;
        }
        if (len == 0)
            return count;
        if (pieces)
            pieces[count] = piece;
        count++;
        *any = true;
        s += before + len;
    }
}

struct template *template_new(char *const *argv, size_t argc, const char *placeholder, bool fields)
{
    if (!placeholder)
        placeholder = "{}";
    struct template *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->argc = argc;
    t->fields = fields;
    t->patterns = calloc(argc, sizeof *t->patterns);
    size_t pieces = 0;
    bool any = false;
    for (size_t i = 0; i < argc; i++)
        pieces += pattern_read(argv[i], placeholder, NULL, &any);
    t->pieces = calloc(pieces, sizeof *t->pieces);
    if (!t->patterns || !t->pieces) {
        template_free(t);
        return NULL;
    }
    t->append = !any;
    size_t at = 0;
    for (size_t i = 0; i < argc; i++) {
        bool varies = false;
        size_t count = pattern_read(argv[i], placeholder, t->pieces + at, &varies);
        t->patterns[i] = (struct pattern){.whole = varies ? NULL : argv[i], .first = at, .count = count};
        at += count;
    }
    return t;
}

void template_free(struct template *t)
{
    if (!t)
        return;
    free(t->patterns);
    free(t->pieces);
    free(t);
}

bool template_varies(const struct template *t)
{
    return !t->patterns[0].whole;
}

void arguments_free(struct arguments *a)
{
    free(a->bytes);
    free(a->list);
    free(a->pointers);
    *a = (struct arguments){0};
}

/* Makes an array large enough for `count` elements. */
static int grow(void **array, size_t *size, size_t count, size_t element)
{
    if (count <= *size)
        return 0;
    size_t larger = *size < 32 ? 32 : *size;
    while (larger < count)
        larger *= 2;
    void *p = realloc(*array, larger * element);
    if (!p)
        return -ENOMEM;
    *array = p;
    *size = larger;
    return 0;
}

static int put(struct arguments *a, const void *data, size_t len)
{
    if (len > ARGUMENTS_MAX - a->bytes_used)
        return -E2BIG;
    int rc = grow((void **)&a->bytes, &a->bytes_size, a->bytes_used + len, 1);
    if (rc < 0)
        return rc;
    if (len > 0)
        memcpy(a->bytes + a->bytes_used, data, len);
    a->bytes_used += len;
    return 0;
}

static int argument_begin(struct arguments *a, const char *fixed)
{
    int rc = grow((void **)&a->list, &a->list_size, a->argc + 1, sizeof *a->list);
    if (rc < 0)
        return rc;
    a->list[a->argc++] = (struct argument){.fixed = fixed, .offset = a->bytes_used};
    return 0;
}

static int argument_end(struct arguments *a)
{
    return put(a, "", 1);
}

/* The folder of a path as dirname(1) has it. Returns its length in `s`; 0: it is ".". */
static size_t folder_len(const char *s, size_t len)
{
    while (len > 1 && s[len - 1] == '/')
        len--;
    while (len > 0 && s[len - 1] != '/')
        len--;
    while (len > 1 && s[len - 1] == '/')
        len--;
    return len;
}

/* One field in one of its forms. */
static int put_form(struct arguments *a, const char *s, size_t len, unsigned form)
{
    if (form & FORM_FOLDER) {
        size_t folder = folder_len(s, len);
        return folder > 0 ? put(a, s, folder) : put(a, ".", 1);
    }
    const char *slash = len > 0 ? memrchr(s, '/', len) : NULL;
    size_t base = slash ? (size_t)(slash - s) + 1 : 0;
    if (form & FORM_BARE) {
        const char *dot = len > base ? memrchr(s + base, '.', len - base) : NULL;
        if (dot)
            len = (size_t)(dot - s);
    }
    if (form & FORM_BASE) {
        s += base;
        len -= base;
    }
    return put(a, s, len);
}

/* The fields of an item, one after the other: `rest` is what is left, NULL behind the last. */
struct fields {
    const char *rest;
    size_t rest_len;
};

static bool field_next(struct fields *f, bool several, const char **field, size_t *len)
{
    if (!f->rest)
        return false;
    const char *nul = several && f->rest_len > 0 ? memchr(f->rest, 0, f->rest_len) : NULL;
    *field = f->rest;
    *len = nul ? (size_t)(nul - f->rest) : f->rest_len;
    f->rest = nul ? nul + 1 : NULL;
    f->rest_len -= *len + (nul != NULL);
    return true;
}

struct source {
    const char *item;
    size_t len;
    uint64_t number, slot;
    bool fields;
};

/* The field of a position, in its form; nothing where there is no such field. */
static int put_field(struct arguments *a, const struct source *source, const struct piece *piece)
{
    struct fields f = {source->item, source->len};
    const char *field;
    size_t len;
    int position = piece->position;
    if (position < 0) {
        int count = 0;
        while (field_next(&f, source->fields, &field, &len))
            count++;
        position += count + 1;
        f = (struct fields){source->item, source->len};
    }
    for (int i = 1; field_next(&f, source->fields, &field, &len); i++)
        if (i == position)
            return put_form(a, field, len, piece->form);
    return 0;
}

/* All fields, joined with a space, or as arguments of their own. */
static int put_fields(struct arguments *a, const struct source *source, unsigned form, bool apart)
{
    struct fields f = {source->item, source->len};
    const char *field;
    size_t len;
    int rc = 0;
    for (bool first = true; rc == 0 && field_next(&f, source->fields, &field, &len); first = false) {
        if (apart)
            rc = argument_begin(a, NULL);
        else if (!first)
            rc = put(a, " ", 1);
        if (rc == 0)
            rc = put_form(a, field, len, form);
        if (rc == 0 && apart)
            rc = argument_end(a);
    }
    return rc;
}

static int put_piece(struct arguments *a, const struct source *source, const struct piece *piece)
{
    char number[24];
    switch (piece->kind) {
    case PIECE_TEXT:
        return put(a, piece->text, piece->len);
    case PIECE_ITEM:
        return piece->position ? put_field(a, source, piece) : put_fields(a, source, piece->form, false);
    case PIECE_SLOT:
        if (source->slot == 0)
            return put(a, "{%}", 3);
        break;
    case PIECE_NUMBER:
        break;
    }
    int len = snprintf(number, sizeof number, "%llu",
                       (unsigned long long)(piece->kind == PIECE_NUMBER ? source->number : source->slot));
    return put(a, number, (size_t)len);
}

static int put_pattern(struct arguments *a, const struct source *source, const struct template *t,
                       const struct pattern *pattern)
{
    if (pattern->whole)
        return argument_begin(a, pattern->whole);
    const struct piece *piece = t->pieces + pattern->first;
    if (pattern->count == 1 && piece->kind == PIECE_ITEM && piece->position == 0)
        return put_fields(a, source, piece->form, true);
    int rc = argument_begin(a, NULL);
    for (size_t i = 0; rc == 0 && i < pattern->count; i++)
        rc = put_piece(a, source, piece + i);
    return rc < 0 ? rc : argument_end(a);
}

int template_fill(const struct template *t, const uint8_t *item, size_t len, uint64_t number, uint64_t slot,
                  struct arguments *a)
{
    if (!t->fields && len > 0 && memchr(item, 0, len))
        return -EINVAL;
    if (a->bytes_size > ARGUMENTS_KEPT)
        arguments_free(a);
    struct source source = {(const char *)item, len, number, slot, t->fields};
    a->argc = a->bytes_used = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < t->argc; i++)
        rc = put_pattern(a, &source, t, &t->patterns[i]);
    if (rc == 0 && t->append)
        rc = put_fields(a, &source, 0, true);
    if (rc == 0)
        rc = grow((void **)&a->pointers, &a->pointers_size, a->argc + 2, sizeof *a->pointers);
    if (rc < 0)
        return rc;
    a->pointers[0] = NULL;
    a->argv = a->pointers + 1;
    for (size_t i = 0; i < a->argc; i++)
        a->argv[i] = a->list[i].fixed ? (char *)a->list[i].fixed : a->bytes + a->list[i].offset;
    a->argv[a->argc] = NULL;
    return 0;
}
