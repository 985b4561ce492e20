/*
 * Ctrl-C and SIGTERM while a job runs: the first lets it be cancelled in good order, the second ends pmapc at
 * once, and so does a second that passes. There is one set of handlers in a program, hence the globals behind
 * this.
 */
#ifndef PMAPC_INTERRUPT_H
#define PMAPC_INTERRUPT_H

#include <poll.h>
#include <stdbool.h>

/*
 * Ctrl-Z, too, is noted: what runs for this program is to be held before it stops.
 */
bool interrupt_stop_pending(void);

/* After it: stops this program as if nothing had caught the signal; returns when it is continued. */
void interrupt_stop(void);

/* From here on signals are noted instead of ending the program. One that was inherited as ignored stays so.
 */
void interrupt_install(void);

/* Has a signal come? */
bool interrupt_pending(void);

/* poll(2), but a signal that has come (Ctrl-Z too), even just before, makes it return at once with -EINTR.
 * timeout_ms: -1 is none. Returns the number of ready descriptors, or a negative errno. */
int interrupt_poll(struct pollfd *fds, unsigned count, int timeout_ms);

/* After a signal: ends by SIGTERM if it was that, else returns STATUS_INTERRUPTED. */
int interrupt_status(void);

#endif
