/*
 * A GNU make jobserver for an item: whoever of its processes wants to run one more beside itself takes a byte
 * from one pipe, and puts it into another when it has done with it. The bytes are slots lent by the daemon.
 *
 * There are two pipes, because make reads at once what it has just put back, so that nobody else would ever
 * get hold of a byte: what comes back comes to us, and is given out again unless it is called back. Both are
 * the item's own, so whatever its processes do to them, all is as before when they are gone.
 */
#ifndef PMAP_JOBSERVER_H
#define PMAP_JOBSERVER_H

#include "daemon/worker/exec/link.h"

#include <stdbool.h>

/* Where a process of the item's has its ends: above those that scripts use. */
enum { JOBSERVER_IN = 20, JOBSERVER_OUT = 21 };

struct jobserver {
    bool wanted;  /* the job's commands are to have one */
    bool open;    /* the present item has: */
    int give;     /* where we put bytes in */
    int left;     /* where we get back those that nobody has taken */
    int returned; /* where we get those that come back */
    int in, out;  /* the item's ends, to be JOBSERVER_IN and JOBSERVER_OUT of its process */
};

/* What is to be in the environment of an item's process. */
enum { JOBSERVER_SETTINGS = 2 };
/* Fills in strings to be freed, NAME=VALUE. Returns 0 or -ENOMEM. */
int jobserver_environment(char *settings[JOBSERVER_SETTINGS]);

/* Makes pipes for an item, and puts what is lent into them. Returns 0 or a negative errno. */
int jobserver_open(struct jobserver *js, struct link *link);
/* Takes what has come back; gives out what may be, or gets hold of what is called back. Never blocks. */
void jobserver_step(struct jobserver *js, struct link *link);
/* The item's processes are gone: nobody has any of it. */
void jobserver_close(struct jobserver *js, struct link *link);

#endif
