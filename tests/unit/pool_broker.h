/*
 * The broker's side of the pool threads, played by a test: a ROUTER that gives out chunks and reads what
 * comes back. Whatever goes wrong, a time-out included, fails the test at hand.
 */
#ifndef TEST_POOL_BROKER_H
#define TEST_POOL_BROKER_H

#include "common/batch.h"
#include "common/protocol.h"
#include "daemon/pool.h"

#include <stdbool.h>
#include <stdint.h>
#include <zmq.h>

enum { FRAMES = 6 };

struct broker {
    void *context, *router;
    struct pool *pool;
    struct decoder *decoder;
    bool trace; /* chunks ask for SLOT */
};

/* A READY or WORKED; `batch` refers into the frames. */
struct worked_message {
    unsigned slot;
    struct message m;
    zmq_msg_t frame[FRAMES];
    size_t count, size; /* frames behind the header, bytes in them */
    struct batch batch;
};

/* Starts so many threads and waits until they are ready. */
void broker_start(struct broker *b, unsigned threads);
/* Stops them and frees all. */
void broker_stop(struct broker *b, unsigned threads);
/* Frees all but the pool, which has been joined. */
void broker_end(struct broker *b);

/* The next message of any thread; its results, where it has some, are checked for their form and size. */
void next_message(struct broker *b, struct worked_message *w);
/* The next message, which must be a WORKED of this thread and chunk. */
void next_worked(struct broker *b, unsigned slot, uint64_t chunk, struct worked_message *w);
/* The next message, which must end this chunk without results. */
void expect_nothing(struct broker *b, unsigned slot, uint64_t chunk);
void worked_release(struct worked_message *w);
/* Result `record` of the message is this text. */
void assert_result(const struct worked_message *w, uint32_t record, const char *text);

void send_frame(struct broker *b, const void *data, size_t size, bool more);
/* YIELD, RECALL or DROP. */
void send_order(struct broker *b, unsigned slot, enum message_type type, uint64_t chunk);
/* A chunk, or a piece of one. */
void send_records(struct broker *b, unsigned slot, uint64_t chunk, const char *function, bool more,
                  const uint8_t *lengths, uint32_t count, const void *bytes, size_t size);
/* A chunk of `count` times the same item. */
void send_repeated(struct broker *b, unsigned slot, uint64_t chunk, const char *function, const char *item,
                   uint32_t count);
/* A chunk of these items, NULL behind the last. */
void send_items(struct broker *b, unsigned slot, uint64_t chunk, const char *function,
                const char *const *items);

#endif
