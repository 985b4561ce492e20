/*
 * Asking whether accounts may be used. PAM and name services may take their time, or hang: so a child asks,
 * and is killed when its time is over. What the broker hears of it is the caller's to send.
 */
#ifndef PMAPD_ASKING_H
#define PMAPD_ASKING_H

#include "daemon/launcher/records.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct question {
    pid_t pid;
    uint32_t token;
    uid_t uid;
    int pipe;         /* what the child tells */
    int64_t until_ns; /* when it is to be killed */
};

/* Those that are under way, the oldest first. */
struct asking {
    struct question questions[ACCOUNT_QUESTIONS_MAX];
    size_t count;
};

/* Forks a child that asks about this user. There must be room. Returns 0 or a negative errno. */
int asking_start(struct asking *asking, uid_t uid, uint32_t token, int64_t now_ns);

/* The one whose child has this pid, or NULL. Good until the next call. */
struct question *asking_of_pid(struct asking *asking, pid_t pid);

/* Its child has been waited for: forgets it. In *answer what the broker is to be told. */
void asking_end(struct asking *asking, struct question *question, struct record *answer);

/* A child whose time is over, which gets the same again to die; 0: there is none. */
pid_t asking_overdue(struct asking *asking, int64_t now_ns);

/* When the next one's time is over; INT64_MAX: there is none. */
int64_t asking_deadline(const struct asking *asking);

/* Forgets them all, whatever their children do. */
void asking_clear(struct asking *asking);

#endif
