/*
 * What a job's `waits` (PROTOCOL.md, ANSWER) means, in a word. Pure and thread-safe.
 */
#ifndef PMAPC_WAITS_H
#define PMAPC_WAITS_H

#include <stdbool.h>

/* "running", or what keeps a job from that, in at most 11 letters. running: it uses a slot. */
const char *waits_word(const char *waits, bool running);

#endif
