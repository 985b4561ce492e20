/* See flow_world.h. */
#include "tests/unit/flow_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

uint64_t seed_now, random_state;

_Noreturn void broken(void)
{
    fail();
    abort(); /* fail() jumps */
}

/* splitmix64: what is random, and the content of items and results. */
uint64_t hash_of(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

uint32_t below(uint32_t n)
{
    return (uint32_t)(hash_of(random_state++) % n);
}

struct packet *packet_new(struct packets *to, enum message_type type)
{
    struct packet *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->type = type;
    STAILQ_INSERT_TAIL(to, p, link);
    return p;
}

void packet_free(struct packet *p)
{
    batch_unref(p->batch);
    free(p->done);
    free(p);
}

struct packet *packet_take(struct packets *from)
{
    struct packet *p = STAILQ_FIRST(from);
    STAILQ_REMOVE_HEAD(from, link);
    return p;
}

void packets_drop(struct packets *packets)
{
    while (!STAILQ_EMPTY(packets))
        packet_free(packet_take(packets));
}

size_t item_size(const struct world *w, uint64_t i)
{
    if (i == w->large_one)
        return 2 * PIECE + 77;
    uint64_t h = hash_of(seed_now * 1000 + i);
    return h % 10 == 0 ? 0 : h % 17 == 0 ? h / 100 % 900 : h / 100 % 40;
}

uint8_t item_byte(uint64_t i, size_t at)
{
    return (uint8_t)(i * 31 + at * 7 + at / 256);
}

size_t result_size(uint64_t i)
{
    uint64_t h = hash_of(seed_now * 2000 + i);
    return h % 19 == 0 ? h / 100 % 5000 : h / 100 % 30;
}

uint8_t result_byte(uint64_t i, size_t at)
{
    return (uint8_t)(i * 17 + at * 3 + at / 256);
}

uint64_t item_cost(const struct world *w, uint64_t i)
{
    size_t size = item_size(w, i);
    return size + RECORD_COST * (size > PIECE ? (size + PIECE - 1) / PIECE : 1);
}
