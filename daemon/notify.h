/*
 * Messages to a service manager, as sd_notify(3) sends them; but that one waits while the manager does not
 * read, and whoever serves must not. What the manager has no room for is kept, in order, and sent again. For
 * one thread.
 */
#ifndef PMAPD_NOTIFY_H
#define PMAPD_NOTIFY_H

#include <stdbool.h>

enum {
    NOTIFY_TEXT_MAX = 256, /* with its NUL: what is longer is cut */
    NOTIFY_KEPT_MAX = 16,  /* that are kept at most: the oldest goes */
};

/*
 * Sends these lines, without a newline at their end, to where $NOTIFY_SOCKET says, as one message; nowhere if
 * it says nothing, or nobody is there. Never blocks.
 */
void notify_send(const char *text);

/* Sends what has been kept. Returns whether all has been sent. */
bool notify_flush(void);

#endif
