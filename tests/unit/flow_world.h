/*
 * The world of test_flow: one job's flow and a daemon, messages between them, and what is random.
 */
#ifndef FLOW_WORLD_H
#define FLOW_WORLD_H

#include "client/libpmap/flow.h"
#include "common/batch.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

enum { ITEMS_MAX = 400, SKIPS_MAX = 30, PIECE = PROTOCOL_MESSAGE_MAX - 4, RESULT_PIECE = 700 };

/* Of the present history. */
extern uint64_t seed_now;

_Noreturn void broken(void);

#define CHECK(what)                                                                                          \
    do {                                                                                                     \
        if (!(what)) {                                                                                       \
            print_error("seed %llu: %s\n", (unsigned long long)seed_now, #what);                             \
            broken();                                                                                        \
        }                                                                                                    \
    } while (0)

/* What is random, and the content of items and results: a hash; a random number below n, of *random_state. */
uint64_t hash_of(uint64_t x);
extern uint64_t random_state;
uint32_t below(uint32_t n);

/* A message on its way. */
struct packet {
    STAILQ_ENTRY(packet) link;
    enum message_type type;
    uint64_t first, bytes;
    bool more, end;
    struct range *done;
    uint32_t done_count;
    struct batch *batch; /* of its own memory, as after the wire */
    struct flow_verdict verdict;
};
STAILQ_HEAD(packets, packet);

struct packet *packet_new(struct packets *to, enum message_type type);
void packet_free(struct packet *p);
struct packet *packet_take(struct packets *from);
void packets_drop(struct packets *packets);

enum item_state { ABSENT, HERE, ANSWERED };

struct world {
    /* What is to be */
    bool unordered;
    bool resumes_pieces; /* unordered: large results that were taken in part go on after a loss */
    uint32_t count;      /* items of the job */
    uint32_t large_one;  /* which item is large; ITEMS_MAX: none */
    size_t batch_size;
    uint64_t grant, window;
    struct range skips[SKIPS_MAX]; /* done by an earlier run; also behind the end */
    uint32_t skip_count;

    struct packets up, down; /* between the two */

    /* The client */
    struct flow *flow;
    struct packets inbox; /* results that came and were not taken wholly */
    uint32_t position;    /* in the first packet of `inbox` */
    bool blocked;         /* put said -EAGAIN and nothing has happened since */
    uint32_t losses;
    uint32_t alone; /* the item whose result was taken in part at the last loss, until that is done; `count`:
                       none */
    uint8_t taken[ITEMS_MAX];
    size_t have[ITEMS_MAX]; /* bytes of its result that were taken */

    /* The daemon */
    bool open, whole, end, done_sent;
    bool only;      /* the job is that of `alone` */
    bool in_answer; /* in the middle of a large result, of the item `answering` */
    uint32_t done_count;
    struct range *done;
    uint64_t expected, piece_at, answering;
    uint64_t next_answer; /* ordered */
    size_t answered;      /* bytes of the one that is being answered */
    enum item_state state[ITEMS_MAX];
    int64_t input_left, result_left;
    uint64_t returned; /* result credit that came back and made no message's worth yet */
    struct answer {
        uint64_t cost, input;
    } answers[100000]; /* what was sent: its cost, and the input credit that goes back for it */
    uint32_t answers_first, answers_count;
};

size_t item_size(const struct world *w, uint64_t i);
uint8_t item_byte(uint64_t i, size_t at);
size_t result_size(uint64_t i);
uint8_t result_byte(uint64_t i, size_t at);
uint64_t item_cost(const struct world *w, uint64_t i);

#endif
