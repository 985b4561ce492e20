/*
 * A command with placeholders; see template.h.
 */
#include "client/pmapc/template.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What a placeholder says. */
struct mark {
    enum { MARK_NONE, MARK_ITEM, MARK_NUMBER, MARK_SLOT } kind;
    size_t len;     /* of its text */
    unsigned field; /* from 1; 0: all */
    enum { PART_ALL, PART_STEM, PART_BASE, PART_FOLDER, PART_BASE_STEM } part;
};

struct span {
    const char *data;
    size_t len;
};

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* The placeholder that `text` begins with; MARK_NONE where it begins with none. */
static struct mark mark_at(const struct template *t, const char *text)
{
    static const struct {
        const char *text;
        int part;
    } parts[] = {
        {"//}", PART_FOLDER}, {"/.}", PART_BASE_STEM}, {"/}", PART_BASE}, {".}", PART_STEM}, {"}", PART_ALL}};
    struct mark mark = {.kind = MARK_NONE};
    if (t->placeholder && *t->placeholder && starts(text, t->placeholder))
        return (struct mark){.kind = MARK_ITEM, .len = strlen(t->placeholder)};
    if (*text != '{')
        return mark;
    if (starts(text, "{#}") || starts(text, "{%}"))
        return (struct mark){.kind = text[1] == '#' ? MARK_NUMBER : MARK_SLOT, .len = 3};
    const char *p = text + 1;
    unsigned field = 0;
    while (*p >= '0' && *p <= '9' && field < 100000)
        field = field * 10 + (unsigned)(*p++ - '0');
    bool numbered = p > text + 1;
    if (numbered && field == 0)
        return mark;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (!starts(p, parts[i].text))
            continue;
        /* With -I, {} is a text like any other. */
        if (t->placeholder && !numbered && parts[i].part == PART_ALL)
            return mark;
        mark.kind = MARK_ITEM;
        mark.len = (size_t)(p - text) + strlen(parts[i].text);
        mark.field = field;
        mark.part = parts[i].part;
        return mark;
    }
    return mark;
}

/* The next argument of an item, from *at on; false when there is none. */
static bool next_field(const struct template *t, struct span item, size_t *at, struct span *field)
{
    if (*at > item.len)
        return false;
    const char *from = item.data + *at;
    const char *nul = t->fields && *at < item.len ? memchr(from, '\0', item.len - *at) : NULL;
    size_t len = nul ? (size_t)(nul - from) : item.len - *at;
    *field = (struct span){from, len};
    *at += len + 1;
    return true;
}

static struct span stem(struct span s)
{
    /* The extension begins at the last dot behind the last slash, which is not the first character there. */
    for (size_t i = s.len; i > 0 && s.data[i - 1] != '/'; i--)
        if (s.data[i - 1] == '.')
            return i > 1 && s.data[i - 2] != '/' ? (struct span){s.data, i - 1} : s;
    return s;
}

static struct span base(struct span s)
{
    const char *slash = memrchr(s.data, '/', s.len);
    size_t skip = slash ? (size_t)(slash + 1 - s.data) : 0;
    return (struct span){s.data + skip, s.len - skip};
}

static struct span folder(struct span s)
{
    const char *slash = memrchr(s.data, '/', s.len);
    if (!slash)
        return (struct span){".", 1};
    return slash == s.data ? (struct span){"/", 1} : (struct span){s.data, (size_t)(slash - s.data)};
}

static struct span part_of(struct span s, const struct mark *mark)
{
    if (s.len == 0) /* memrchr wants an object to look into */
        return mark->part == PART_FOLDER ? (struct span){".", 1} : s;
    switch (mark->part) {
    case PART_STEM:
        return stem(s);
    case PART_BASE:
        return base(s);
    case PART_FOLDER:
        return folder(s);
    case PART_BASE_STEM:
        return stem(base(s));
    default:
        return s;
    }
}

/* What a placeholder for the item stands for, as part of an argument. */
static void add_item(const struct template *t, const struct mark *mark, struct span item, struct grow *out)
{
    struct span field;
    size_t at = 0;
    for (unsigned i = 1; next_field(t, item, &at, &field); i++) {
        if (mark->field != 0 && mark->field != i)
            continue;
        if (mark->field == 0 && i > 1)
            grow_byte(out, ' ');
        field = part_of(field, mark);
        grow_add(out, field.data, field.len);
    }
}

bool template_quote(const char *text, size_t len, struct grow *out)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@%+=:,./-";
    bool needed = len == 0;
    for (size_t i = 0; i < len && !needed; i++)
        needed = text[i] == '\0' || !strchr(plain, text[i]);
    if (!needed)
        return grow_add(out, text, len);
    grow_byte(out, '\'');
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\'')
            grow_add(out, "'\\''", 4);
        else
            grow_byte(out, text[i]);
    }
    return grow_byte(out, '\'');
}

/* The item's arguments, each one by itself, changed as the placeholder says. */
static void show_fields(const struct template *t, const struct mark *mark, struct span item, struct grow *out)
{
    struct span field;
    size_t at = 0;
    for (bool first = true; next_field(t, item, &at, &field); first = false) {
        if (!first)
            grow_byte(out, ' ');
        field = part_of(field, mark);
        template_quote(field.data, field.len, out);
    }
}

/* One argument. Returns whether the item stands in it. */
static bool show_argument(const struct template *t, const char *argument, struct span item, uint64_t number,
                          struct grow *out)
{
    struct mark mark = mark_at(t, argument);
    if (mark.kind == MARK_ITEM && mark.field == 0 && argument[mark.len] == '\0') {
        show_fields(t, &mark, item, out);
        return true;
    }
    struct grow expanded = {0};
    bool has_item = false;
    while (*argument) {
        mark = mark_at(t, argument);
        char digits[24];
        switch (mark.kind) {
        case MARK_ITEM:
            has_item = true;
            add_item(t, &mark, item, &expanded);
            break;
        case MARK_NUMBER:
            snprintf(digits, sizeof digits, "%" PRIu64, number);
            grow_add(&expanded, digits, strlen(digits));
            break;
        default: /* a slot is shown by its placeholder */
            mark.len = mark.kind == MARK_NONE ? 1 : mark.len;
            grow_add(&expanded, argument, mark.len);
        }
        argument += mark.len;
    }
    template_quote(expanded.data, expanded.len, out);
    out->failed |= expanded.failed;
    grow_free(&expanded);
    return has_item;
}

bool template_show(const struct template *t, const char *item, size_t len, uint64_t number, struct grow *out)
{
    struct span span = {item, len};
    if (!t->argv)
        return grow_add(out, item, len);
    if (t->plain) {
        grow_add(out, t->argv[0], strlen(t->argv[0]));
        grow_byte(out, ' ');
        return grow_add(out, item, len);
    }
    bool has_item = false;
    for (size_t i = 0; t->argv[i]; i++) {
        if (i > 0)
            grow_byte(out, ' ');
        has_item |= show_argument(t, t->argv[i], span, number, out);
    }
    if (t->append && !has_item) {
        static const struct mark all = {.kind = MARK_ITEM, .len = 2};
        grow_byte(out, ' ');
        show_fields(t, &all, span, out);
    }
    return !out->failed;
}
