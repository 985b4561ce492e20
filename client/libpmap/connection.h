/*
 * The inside of a pmap: its socket, what goes through it, and its errors. Of no use outside this folder.
 */
#ifndef PMAP_CONNECTION_H
#define PMAP_CONNECTION_H

#include "client/libpmap/pmap.h"
#include "client/libpmap/received.h"
#include "common/batch.h"
#include "common/endpoint.h"
#include "common/protocol.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

TAILQ_HEAD(job_list, pmap_job);

struct pmap {
    void *context, *socket; /* ZeroMQ's; NULL before they were made */
    int fd;                 /* ZMQ_FD of the socket */
    char endpoint[ENDPOINT_MAX];
    struct pmap_info info;
    bool welcomed;
    int error; /* that ended the connection, or 0 */
    bool lost; /* a message could not be sent: the daemon is gone, what it sent before may be there still */
    char text[1024]; /* pmap_error */
    char *software;  /* info.software */
    struct decoder *decoder;
    struct wire wire;
    struct received *spare; /* to receive into; or NULL */
    struct job_list jobs;
    struct pmap_job *last_found;
    uint64_t next_ref;             /* of jobs and queries */
    uint64_t ping_sent, ping_seen; /* tokens */
    uint64_t query_ref;            /* that is under way; 0: none */
    int query_error;
    bool has_answer;
    zmq_msg_t answer;
};

enum { NS_PER_MS = 1000000 };
int64_t clock_ns(void);
/* From now; INT64_MAX where timeout_ms is negative. */
int64_t deadline_after(int timeout_ms);

/* Sets the text of pmap_error, cleared of control characters. Returns `error`. */
int pool_say(pmap *pool, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The same, and the connection has ended by it. */
int pool_fail(pmap *pool, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The errno for an ERROR of the daemon's that is about the session. */
int pool_errno(uint32_t code);

/*
 * Sends a message: its header, for OPEN the call (NULL: an empty one), and the items where there are any;
 * large frames refer into their batch. Where the daemon is gone it is dropped, and pool_step will say so.
 * Returns 0 or -ENOMEM (by pool_fail).
 */
int pool_send(pmap *pool, const struct message *m, const struct text *call, const struct slice *items);

/* Decodes r's header. Returns 0 or -EPROTO, -ENOMEM (by pool_fail). */
int pool_decode(pmap *pool, struct received *r, struct message *m);

/* pmap_step; *seen: whether anything was received. */
int pool_step(pmap *pool, bool *seen);

/* Waits for the descriptor. Returns 1 when there may be something, 0 when the time has passed, -EINTR or
 * another error. */
int pool_poll(pmap *pool, int64_t deadline_ns);

/* One step, a wait where it brought nothing, and another step. Returns 0, -ETIMEDOUT, -EINTR, or as
 * pmap_step. */
int pool_wait(pmap *pool, int64_t deadline_ns);

#endif
