/*
 * The items of a job, from a reader: as they are, or put together from several of its records (-n), cut into
 * columns (-C), or the product of several lists of arguments. An item that is several arguments has a NUL
 * between them. Items that an earlier run has done are left out. Waits for nothing, as the reader.
 * Thread-safety: none; one owner.
 */
#ifndef PMAPC_ITEMS_H
#define PMAPC_ITEMS_H

#include "client/libpmap/pmap.h"
#include "client/pmapc/grow.h"
#include "client/pmapc/reader.h"

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The arguments behind one ':::'. */
struct item_list {
    char **arguments;
    size_t count;
};

struct items {
    struct reader *reader; /* borrowed */
    /* What is done to its records; at most one of these three, chosen after items_init. */
    unsigned group;                /* as many records are one item; 0: one is */
    const regex_t *columns;        /* what stands between columns; NULL: a record is one */
    const struct item_list *lists; /* items_product; NULL: none */
    size_t list_count;
    const struct pmap_range *done; /* indices that are left out, ascending */
    size_t done_count;

    uint64_t next;  /* the index of the next item, done or not */
    size_t done_at; /* ranges that lie wholly before it */
    struct grow item;
    unsigned gathered;               /* records in `item` */
    uint64_t product, product_total; /* items of the product handed out, and in all */
};

void items_init(struct items *items, struct reader *reader);
void items_free(struct items *items);

/* The items are the product of these lists, which must outlive it, instead of the reader's records. Returns 0
 * or -EOVERFLOW. */
int items_product(struct items *items, const struct item_list *lists, size_t count);

/*
 * Compiles a POSIX extended regular expression in which \t is a tab. Returns 0, or REG_… as regcomp(3).
 */
int items_compile(regex_t *columns, const char *expression);

/* The slow half of items_next. Not called directly. */
int items_next_made(struct items *items, const char **data, size_t *len);

/* As reader_next; also -ENOMEM, and -EILSEQ: a record that would be one argument of several has a NUL. */
static inline int items_next(struct items *items, const char **data, size_t *len)
{
    if (items->group > 0 || items->columns || items->lists || items->done_count > 0)
        return items_next_made(items, data, len);
    int rc = reader_next(items->reader, data, len);
    items->next += rc > 0;
    return rc;
}

/* The index of the item that was handed out last. */
static inline uint64_t items_index(const struct items *items)
{
    return items->next - 1;
}

/*
 * How many items there will be in all, without those left out; 0: nobody knows. bytes: of the input from its
 * beginning on, 0 where that is not known. *about: it is an estimate, by what the items so far were like.
 */
uint64_t items_expected(const struct items *items, uint64_t bytes, bool *about);

bool items_finished(const struct items *items);

/* Tells why no further item is to be had: what items_next or reader_fill has said. name: of the input.
 * Returns an exit status. */
int items_broke(const struct items *items, const char *name, int error);

#endif
