/*
 * Input as items: splits what a descriptor brings, or hands out arguments, without copying an item or
 * allocating for it. Waits for nothing by itself: reader_next looks at what is there, reader_fill does one
 * read(2), and the caller, who polls, decides when. Memory: one buffer, which grows only for an item that
 * does not fit. Thread-safety: none; one owner.
 */
#ifndef PMAPC_READER_H
#define PMAPC_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reader {
    int fd; /* borrowed; -1: the items are arguments */
    unsigned char delimiter;
    bool ended;      /* read(2) has said that there is no more */
    size_t item_max; /* bytes of an item */
    size_t room;     /* of the buffer, when nothing large is in it */
    char *buffer;    /* NULL until the first fill */
    size_t capacity;
    size_t start, end; /* of the bytes that have been read and not handed out */
    uint64_t total;    /* bytes that have been read, ever */
    size_t scanned;    /* no delimiter lies in [start, scanned) */
    char **arguments;
    size_t argument_count, argument_next;
};

/* Reads from fd, which stays the caller's. room: bytes to read at once (0: the default, 256 KiB). */
void reader_init(struct reader *r, int fd, unsigned char delimiter, size_t item_max, size_t room);

/* The items are these strings, which must outlive the reader. */
void reader_init_arguments(struct reader *r, char **arguments, size_t count, size_t item_max);

/* Frees the buffer; not the descriptor. */
void reader_free(struct reader *r);

/*
 * The next item: *data and *len, without its delimiter, good until the next reader_fill. It counts as handed
 * out. What stands behind the last delimiter is an item unless it is empty. Returns 1; 0 when there is none
 * for now (reader_finished tells whether reader_fill may bring one); -EMSGSIZE when the next item is longer
 * than item_max (again at each call: there is no way past it).
 */
int reader_next(struct reader *r, const char **data, size_t *len);

/* No item is left and none will come. */
bool reader_finished(const struct reader *r);

/*
 * One read(2). Only to be called after reader_next returned 0.
 * Returns 1 when something came, 0 at the end of the input, -EAGAIN (nothing there, descriptor does not
 * block), -EINTR, -ENOMEM, or another error of read(2).
 */
int reader_fill(struct reader *r);

#endif
