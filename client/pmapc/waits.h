/*
 * What a job's `waits` (PROTOCOL.md, ANSWER) means, in a word and in a sentence. Pure; not thread-safe, as
 * figures.h.
 */
#ifndef PMAPC_WAITS_H
#define PMAPC_WAITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "running", or what keeps a job from that, in at most 11 letters. running: it uses a slot. */
const char *waits_word(const char *waits, bool running);

/* What the daemon says of a job and its pool; see there. */
struct waits_facts {
    const char *waits;
    uint64_t items, finished,
        queued;              /* that have come; of them, those that are done, and that no worker has */
    uint64_t running, slots; /* in use by it; that it could use at most */
    uint64_t client;         /* its process's number; 0: unknown */
    uint64_t ahead;          /* jobs of its owner's that wait for slots and have a higher priority */
    uint64_t pool, busy;     /* slots */
    uint64_t cap;            /* slots that its owner may have; 0: unknown */
    const char *user;        /* its owner */
};

enum { WAITS_SENTENCE_ROOM = 400 };

/* Why it does not go on faster, in a sentence or two. False, and an empty text, for what only a later daemon
 * knows. */
bool waits_sentence(const struct waits_facts *facts, char *out, size_t room);

#endif
