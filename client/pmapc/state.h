/*
 * How a job of the daemon's answer `jobs` stands, in few words and in seconds.
 */
#ifndef PMAPC_STATE_H
#define PMAPC_STATE_H

#include <msgpack.h>
#include <stdbool.h>

/* Is it told in full: one's own, or one may see everything? */
bool state_is_full(const msgpack_object *job);

/* "running", or what keeps it from that, in at most 11 letters. */
const char *state_word(const msgpack_object *job);

/*
 * How long the items that have come will take on so many slots, in seconds; negative: nobody knows. What runs
 * is taken for not begun.
 */
double state_remaining(const msgpack_object *job, double slots);

#endif
