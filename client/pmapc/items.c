/*
 * The items of a job; see items.h.
 */
#include "client/pmapc/items.h"

#include "client/pmapc/pmapc.h"
#include "client/pmapc/tell.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

void items_init(struct items *items, struct reader *reader)
{
    *items = (struct items){.reader = reader};
}

void items_free(struct items *items)
{
    grow_free(&items->item);
}

int items_compile(regex_t *columns, const char *expression)
{
    struct grow text = {0};
    for (const char *p = expression; *p; p++) {
        if (p[0] == '\\' && p[1] == 't') {
            grow_byte(&text, '\t');
            p++;
        } else {
            grow_byte(&text, *p);
            if (p[0] == '\\' && p[1] != '\0')
                grow_byte(&text, *++p);
        }
    }
    grow_byte(&text, '\0');
    int rc = text.failed ? REG_ESPACE : regcomp(columns, text.data, REG_EXTENDED);
    grow_free(&text);
    return rc;
}

/*** What becomes of records ***/

static int give(struct items *items, const char **data, size_t *len)
{
    if (items->item.failed)
        return -ENOMEM;
    *data = items->item.data;
    *len = items->item.len;
    items->gathered = 0;
    return 1;
}

/* Several records are one item; the last one may have fewer. */
static int next_group(struct items *items, const char **data, size_t *len)
{
    const char *record;
    size_t size;
    int rc;
    while ((rc = reader_next(items->reader, &record, &size)) > 0) {
        if (size > 0 && memchr(record, '\0', size))
            return -EILSEQ;
        if (items->gathered == 0)
            grow_clear(&items->item);
        else
            grow_byte(&items->item, '\0');
        grow_add(&items->item, record, size);
        if (items->item.len > items->reader->item_max)
            return -EMSGSIZE;
        if (++items->gathered == items->group)
            return give(items, data, len);
    }
    if (rc == 0 && items->gathered > 0 && reader_finished(items->reader))
        return give(items, data, len);
    return rc;
}

static void add_column(struct items *items, const char *from, const char *to)
{
    /* White space around a column is dropped, as parallel does. */
    while (from < to && isspace((unsigned char)*from))
        from++;
    while (to > from && isspace((unsigned char)to[-1]))
        to--;
    if (items->gathered++ > 0)
        grow_byte(&items->item, '\0');
    grow_add(&items->item, from, (size_t)(to - from));
}

static int next_columns(struct items *items, const char **data, size_t *len)
{
    const char *record;
    size_t size;
    int rc = reader_next(items->reader, &record, &size);
    if (rc <= 0)
        return rc;
    if (size > 0 && memchr(record, '\0', size))
        return -EILSEQ;
    grow_clear(&items->item);
    size_t at = 0;
    for (;;) {
        regmatch_t match = {.rm_so = (regoff_t)at, .rm_eo = (regoff_t)size};
        int flags = REG_STARTEND | (at > 0 ? REG_NOTBOL : 0);
        bool found = regexec(items->columns, record, 1, &match, flags) == 0 && match.rm_eo > match.rm_so;
        add_column(items, record + at, record + (found ? (size_t)match.rm_so : size));
        if (!found)
            return give(items, data, len);
        at = (size_t)match.rm_eo;
    }
}

int items_product(struct items *items, const struct item_list *lists, size_t count)
{
    uint64_t total = 1;
    for (size_t i = 0; i < count; i++)
        if (__builtin_mul_overflow(total, (uint64_t)lists[i].count, &total))
            return -EOVERFLOW;
    items->lists = lists;
    items->list_count = count;
    items->product_total = total;
    return 0;
}

/* The last list varies fastest. */
static int next_product(struct items *items, const char **data, size_t *len)
{
    if (items->product == items->product_total)
        return 0;
    grow_clear(&items->item);
    uint64_t block = items->product_total, rest = items->product++;
    for (size_t i = 0; i < items->list_count; i++) {
        block /= items->lists[i].count;
        const char *argument = items->lists[i].arguments[rest / block];
        rest %= block;
        if (i > 0)
            grow_byte(&items->item, '\0');
        grow_add(&items->item, argument, strlen(argument));
    }
    return give(items, data, len);
}

static int next_any(struct items *items, const char **data, size_t *len)
{
    if (items->lists)
        return next_product(items, data, len);
    if (items->columns)
        return next_columns(items, data, len);
    if (items->group > 0)
        return next_group(items, data, len);
    return reader_next(items->reader, data, len);
}

int items_next_made(struct items *items, const char **data, size_t *len)
{
    for (;;) {
        int rc = next_any(items, data, len);
        if (rc <= 0)
            return rc;
        uint64_t index = items->next++;
        while (items->done_at < items->done_count && items->done[items->done_at].to <= index)
            items->done_at++;
        if (items->done_at == items->done_count || index < items->done[items->done_at].from)
            return 1;
    }
}

/* All items, those that are left out included. */
static uint64_t expected(const struct items *items, uint64_t bytes, bool *about)
{
    const struct reader *r = items->reader;
    *about = false;
    if (items->lists)
        return items->product_total;
    if (r->fd < 0)
        return items->group > 0 ? (r->argument_count + items->group - 1) / items->group : r->argument_count;
    uint64_t used = r->total - (r->end - r->start);
    if (items->next == 0 || used == 0 || used > bytes)
        return 0; /* also a file that has grown */
    *about = true;
    return items->next + (uint64_t)((double)(bytes - used) * ((double)items->next / (double)used) + 0.5);
}

uint64_t items_expected(const struct items *items, uint64_t bytes, bool *about)
{
    uint64_t all = expected(items, bytes, about), left_out = 0;
    for (size_t i = 0; i < items->done_count && items->done[i].from < all; i++)
        left_out += (items->done[i].to < all ? items->done[i].to : all) - items->done[i].from;
    return all - left_out;
}

bool items_finished(const struct items *items)
{
    if (items->lists)
        return items->product == items->product_total;
    return items->gathered == 0 && reader_finished(items->reader);
}

int items_broke(const struct items *items, const char *name, int error)
{
    if (error == -EMSGSIZE) {
        tell("item %" PRIu64 ": larger than %zu bytes", items->next + 1, items->reader->item_max);
        return STATUS_FAILED;
    }
    if (error == -EILSEQ) {
        tell("item %" PRIu64 ": an argument with a NUL byte in it", items->next + 1);
        return STATUS_FAILED;
    }
    tell("cannot read %s: %s", name, tell_errno(error));
    return STATUS_USAGE;
}
