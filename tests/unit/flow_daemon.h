/*
 * The daemon of test_flow: a small model, which looks at all that it gets.
 */
#ifndef FLOW_DAEMON_H
#define FLOW_DAEMON_H

#include "tests/unit/flow_world.h"

/* Takes the next message that is on its way to it. */
void daemon_receive(struct world *w);
/* Sends some results, or the end; false: there is nothing to be sent now. */
bool daemon_answer(struct world *w);
bool daemon_done(struct world *w);
/* So many jobs came to it of one item that had been taken in part. */
extern unsigned alone_jobs;
/* It knows nothing any more. */
void daemon_reset(struct world *w);

#endif
