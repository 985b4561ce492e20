/* The lasting process of a filter: its start, its end, and what is left of it. Not what is said to it. */
#ifndef PMAP_LASTING_H
#define PMAP_LASTING_H

#include "daemon/worker/exec/run.h"

struct lasting {
    struct process process;
    bool alive;           /* it was started and not ended by lasting_end yet */
    struct reaped reaped; /* reaped.ended: it is dead, but its pipes may hold something */
    enum tree_left left;
    uint64_t cpu_base; /* its CPU time when the present chunk began */
};

/* Prepares for filters of this job. As a kind's start. */
int lasting_init(struct job *job);

/* Starts it, with pipes for stdin, stdout and stderr. Returns as run_start. */
int lasting_start(struct lasting *l, struct job *job, char why[NOTE_TEXT]);

/* Takes what SIGCHLD may have brought. */
void lasting_signals(struct lasting *l, struct job *job);

/*
 * Ends it and all that came of it. signal: what it gets first, or 0; grace_ns: how long it then has.
 * Returns whether it came to its end before it was killed.
 */
bool lasting_end(struct lasting *l, struct job *job, int signal, int64_t grace_ns);

/* Ends it by closing its stdin, and by killing it if that is not enough. Returns as lasting_end. */
bool lasting_goodbye(struct lasting *l, struct job *job);

/* Its own process has ended: ends what came of it. */
void lasting_end_rest(struct lasting *l, struct job *job);

/* Adds the CPU time that it took since the present chunk began. */
void lasting_charge(struct lasting *l, struct job *job);

/* At the end of the job, when the worker has gone or needs no answer. As a kind's stop. */
void lasting_stop(struct lasting *l, struct job *job);

#endif
