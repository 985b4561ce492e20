/*
 * A daemon that says what a test wants it to say: a ROUTER in a thread of its own that runs a script. For
 * tests of libpmap against daemons that refuse, break the protocol or go away.
 */
#ifndef PMAP_TESTS_FAKE_H
#define PMAP_TESTS_FAKE_H

#include "common/protocol.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zmq.h>

struct fake;
typedef void fake_script(struct fake *fake);

/* A frame to be sent. */
struct bytes {
    const void *data;
    size_t size;
};

/* Starts a daemon that runs `script` and then waits for fake_stop. */
struct fake *fake_start(fake_script *script);
/* Ends it, as a daemon that dies would: its socket closes. */
void fake_stop(struct fake *fake);
const char *fake_endpoint(const struct fake *fake);

/*** For scripts ***/

/* The next message of any client; false when the test is over. It is good until the next call. */
bool fake_receive(struct fake *fake, struct message *m);
/* The next message that is of this type; what comes before is dropped. */
bool fake_expect(struct fake *fake, enum message_type type, struct message *m);
/* Frame `i` of the message that came last, the header being 0; size 0 when there is none. */
struct bytes fake_frame(const struct fake *fake, unsigned i);
/* Sends to the client of the message that came last. */
void fake_send(struct fake *fake, const struct message *m, const struct bytes *frames, unsigned count);
/* The same with a header that is given as it is. */
void fake_send_raw(struct fake *fake, struct bytes header, const struct bytes *frames, unsigned count);
/* Receives HELLO, answers with WELCOME of these versions. */
bool fake_welcome(struct fake *fake, uint32_t min, uint32_t max);
/* Receives, and says nothing, until the test is over. */
void fake_silent(struct fake *fake);
/* OPENED, as job 42. */
void fake_opened(struct fake *fake, uint64_t ref, uint64_t credit);
/* RESULTS with the fields of *m and one result `text` that took 5 ns; with an error where `error` is not
 * NULL. */
void fake_result(struct fake *fake, struct message *m, const char *text, const char *error);
/* Ends the daemon now, within its script, which must then return or let another one rise. */
void fake_die(struct fake *fake);
/* And another one comes up at its endpoint. */
void fake_rise(struct fake *fake);
/* fake_welcome to a client that has lost a daemon, and the PONG that it waits for then. */
bool fake_welcome_back(struct fake *fake);
/* Waits until the test calls fake_go (or has ended: false). */
bool fake_wait(struct fake *fake);
void fake_go(struct fake *fake);

#endif
