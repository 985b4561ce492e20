/*
 * What the broker and the launcher say to each other: records of one fixed size over a SOCK_SEQPACKET pair,
 * in the byte order of the machine that both run on. A record may carry one descriptor (SCM_RIGHTS). The
 * launcher believes nothing in a record but what it asks for: whose process it starts, it reads from the
 * client's socket that comes along.
 *
 *   broker → launcher                          launcher → broker
 *   IDENTIFY token, + a client's connection    CONTEXT token, context, uid; or REFUSED token, error, text
 *   START token, slot, + a client's connection STARTED token, worker, pid, uid, context; or REFUSED
 *   KILL worker                                EXITED worker, status
 *   PING token                                 PONG token
 *   RELOAD token                               RELOADED token, error, + a file: see below
 *   ACCOUNT token, uid                         JUDGED token, uid, error, text
 *                                              LISTENING uid, text (a path), + a listening socket
 *
 * LISTENING comes before an owner's first STARTED, and again when somebody removed the path: the new socket
 * is to be used in place of the old. EXITED comes once for each STARTED, whatever ended the worker, and all
 * that came of it is killed. A client's connection is the accepted end of a connection to a named stream
 * socket.
 *
 * RELOAD is for the system's daemon, and one at a time. By RELOADED the launcher goes by the configuration
 * that is in the file (daemon/common/config_pack.h); or, with an error, by the old one, and in the file is a
 * line for people.
 *
 * ACCOUNT is for the system's daemon, too: may this user use the pool today, by the rules that a login has?
 * At most ACCOUNT_QUESTIONS_MAX are without an answer at a time. Each has its answer within ACCOUNT_ANSWER_S.
 *
 * A context is an identity that workers can be shared within: uid, gid, groups, hard limits, niceness and the
 * CPUs that may be used, all as the kernel has them of the submitting process. The launcher numbers contexts
 * and workers from 1 and never uses a number again. Either side that reads an end of file, or a record that
 * does not fit, ends: the launcher having killed every worker and all that came of it.
 */
#ifndef PMAPD_RECORDS_H
#define PMAPD_RECORDS_H

#include <stdint.h>

enum record_type {
    RECORD_IDENTIFY = 1,
    RECORD_START = 2,
    RECORD_KILL = 3,
    RECORD_PING = 4,
    RECORD_RELOAD = 5,
    RECORD_ACCOUNT = 6,
    RECORD_CONTEXT = 16,
    RECORD_LISTENING = 17,
    RECORD_STARTED = 18,
    RECORD_REFUSED = 19,
    RECORD_EXITED = 20,
    RECORD_PONG = 21,
    RECORD_RELOADED = 22,
    RECORD_JUDGED = 23,
};

enum {
    RECORD_TEXT_MAX = 216,
    ACCOUNT_QUESTIONS_MAX = 64,
    ACCOUNT_ANSWER_S = 4, /* less than a client waits for its WELCOME */
};

struct record {
    uint32_t type;   /* enum record_type */
    uint32_t token;  /* the broker's: a reply has its request's */
    uint32_t worker; /* the launcher's number of a worker */
    uint32_t slot;   /* START: shown to items as PMAP_SLOT and {%}, at least 1 */
    uint32_t context;
    uint32_t uid;
    int32_t pid;
    int32_t status;  /* EXITED: as from waitpid(2) */
    int32_t error;   /* REFUSED: a positive errno; EPERM and EACCES are for ever, others may pass; RELOADED,
                        JUDGED: likewise, or 0 */
    uint32_t unused; /* 0 */
    char text[RECORD_TEXT_MAX]; /* NUL-terminated: REFUSED, JUDGED: why, for the client; LISTENING: the
                                   socket's path */
};
_Static_assert(sizeof(struct record) == 256, "a record has one fixed size");

/*
 * Sends a record, with a descriptor unless fd is -1. Blocks while the other side does not read.
 * Returns 0 or a negative errno (-EPIPE: the other side has gone).
 */
int record_send(int socket, const struct record *record, int fd);

/*
 * Receives the next record; *fd is its descriptor (close-on-exec, the caller's to close) or -1. flags: as for
 * recvmsg(2). Returns 1, 0 (the other side has gone), -EAGAIN, -EPROTO (not a record), or another negative
 * errno.
 */
int record_receive(int socket, int flags, struct record *record, int *fd);

#endif
