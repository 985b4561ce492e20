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

enum link {
    LINK_UP,         /* there is a session, or there never was one yet */
    LINK_AWAY,       /* the daemon is lost; nothing is under way until try_ns */
    LINK_CONNECTING, /* somebody listens again, and ZeroMQ is connecting */
    LINK_GREETING,   /* HELLO is out, and behind WELCOME a PING: PONG says that the session is served */
};

struct pmap {
    void *context, *socket; /* ZeroMQ's; NULL before they were made, the socket also while the link is AWAY */
    int fd;                 /* pmap_fd: the socket's, or an epoll's with that and timer_fd in it */
    int socket_fd;          /* ZMQ_FD of the socket */
    int timer_fd;           /* says that the time has come for link_step, or for a job; -1: no reconnecting */
    char endpoint[ENDPOINT_MAX];
    bool own;         /* its folder must be this user's */
    uid_t folder_uid; /* whose it is */
    char *program;    /* as HELLO says it */
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
    /* Going on after a lost daemon; see link.c. */
    enum link link;
    int64_t reconnect_ns; /* how long a lost daemon is sought; 0: its loss is an error */
    int64_t up_ns;        /* since when the link is up */
    bool proved;          /* it has brought something of use since */
    bool leaving;         /* the daemon has refused a job because it is stopping */
    bool welcomed_anew;   /* in GREETING: WELCOME has come */
    int64_t lost_ns, until_ns, try_ns, attempt_until_ns;
    int64_t patience_ns; /* for the next attempt to connect */
    int attempt_error;   /* why the last attempt failed; 0: there was none */
    int64_t retry_ns;    /* when a job that was refused in passing is to be opened again; 0: none is */
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
 * large frames refer into their batch. Where the daemon is gone it is dropped, and pmap_step will say so.
 * Returns 0 or -ENOMEM (by pool_fail).
 */
int pool_send(pmap *pool, const struct message *m, const struct text *call, const struct slice *items);

/* Decodes r's header. Returns 0 or -EPROTO, -ENOMEM (by pool_fail). */
int pool_decode(pmap *pool, struct received *r, struct message *m);

/*** Beginning (connect.c) ***/

/* Is somebody at the endpoint, and may he be believed? Returns 0 or an error (by pool_fail). */
int pool_look(pmap *pool, int timeout_ms);
/* Makes pool->socket and what is of it. Returns 0 or an error (by pool_fail). */
int pool_make_socket(pmap *pool);
/* Closes it, where there is one. */
void pool_drop_socket(pmap *pool);
/* ZMQ_EVENTS of the socket. */
int pool_events(pmap *pool);
int pool_hello(pmap *pool);
/* Looks for a message: 1, and it is pool->spare; 0 when none has come yet; or, by pool_say, -ECONNRESET (the
 * connection has ended), -ETIMEDOUT (the time is over), or another error. */
int pool_hear(pmap *pool, int64_t deadline_ns);
/* Says so: -ETIMEDOUT. */
int pool_no_answer(pmap *pool);
/* The answer to HELLO: looks at who sent it and what it says. Returns 0 or an error (by pool_fail). */
int pool_welcome(pmap *pool, struct received *r);

/*** Losing the daemon, and going on (link.c) ***/

/*
 * The daemon is lost; `format`: how. Where it is to be sought, everything is made ready for that, the jobs
 * included; link_step is to follow. Returns 0, or the error by which the connection has ended, by pool_fail.
 */
int pool_lost(pmap *pool, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* While the link is not up: does what is due. Returns 0 or an error (by pool_fail). */
int link_step(pmap *pool);

/* A job is to be opened again at that time, if that is the next one. */
void link_retry(pmap *pool, int64_t at_ns);

/* Lets jobs that were refused in passing be opened again whose time has come. */
void link_retry_due(pmap *pool);

/* Waits for the descriptor. Returns 1 when there may be something, 0 when the time has passed, -EINTR or
 * another error. */
int pool_poll(pmap *pool, int64_t deadline_ns);

/* One step, a wait where it brought nothing, and another step. Returns 0, -ETIMEDOUT, -EINTR, or as
 * pmap_step. */
int pool_wait(pmap *pool, int64_t deadline_ns);

#endif
