/*
 * What the tests of the codec share: messages with every field set, a comparison, and a decoding that checks
 * what every decoding must keep to.
 */
#ifndef PMAP_TEST_MESSAGES_H
#define PMAP_TEST_MESSAGES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/protocol.h"

struct type {
    const char *name;
    enum message_type type;
    unsigned from; /* enum sender, or-ed */
    size_t least, most;
};
enum {
#define X(name, code, from, least, most) TYPE_##name,
    MESSAGE_TYPES(X)
#undef X
        TYPES
};
extern const struct type types[TYPES];

/* One of those who may send it. */
enum sender a_sender(const struct type *type);

uint64_t next_random(uint64_t *seed);

/* Values of fields: all the least, all the greatest, or any. */
enum how { LEAST, MOST, RANDOM };

struct maker {
    enum how how;
    uint64_t seed;
    char text[PROTOCOL_STRING_MAX];
    struct range ranges[64];
};

/* A message with every field set. Its texts and ranges are the maker's, good until the next one. */
struct message make(struct maker *k, enum message_type type);

bool same(const struct message *a, const struct message *b);

struct fixture {
    struct decoder *decoder;
    struct wire wire, again; /* again: a message that was decoded, encoded anew */
    struct maker maker;
    const char *why;
    uint64_t fuzzed; /* the seed of the random header under test, 0 outside that test */
};

#define FUZZ_SEED                                                                                            \
    UINT64_C(0x706d6170) /* of the first random header, the next ones count up; printed on failure */

int set_up(void **state);
int tear_down(void **state);

/*
 * Decodes a copy of exactly that size, so that a sanitizer sees each byte that is read past its end. What
 * decodes must be valid: it can be encoded, and that decodes to the same. What does not must leave the
 * message as it was and say why.
 */
int decode(struct fixture *x, const void *data, size_t size, size_t frames, enum sender from);

/* Makes a message of that type and encodes it into x->wire. */
void encode(struct fixture *x, enum message_type type, enum how how);

#endif
