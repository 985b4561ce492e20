/* The broker's inside, shared by broker.c (the loop), serve.c (messages in), act.c (actions out) and
 * status.c. */
#ifndef PMAPD_BROKER_STATE_H
#define PMAPD_BROKER_STATE_H

#include "daemon/broker.h"
#include "daemon/callee.h"
#include "daemon/clients.h"
#include "daemon/core/core.h"
#include "daemon/frames.h"
#include "daemon/monitor.h"
#include "daemon/pool.h"
#include "daemon/processes.h"

/* A pool thread, as the broker knows it. */
struct pool_worker {
    uint8_t id[ROUTING_ID_MAX];
    size_t id_size;
    struct worker *worker; /* NULL until READY */
};

struct broker {
    struct broker_options options;
    void *context;
    void *clients_socket, *pool_socket;
    struct monitor *monitor;
    struct pool *pool;
    struct pool_worker *workers; /* by slot */
    unsigned threads_most;       /* the slots, and those of the guarantee */
    struct core *core;
    struct clients clients;
    struct processes processes;
    struct callees callees;
    struct decoder *decoder;
    struct frames in;
    struct wire header;
    /*
     * The sockets' descriptors are edge-triggered, and sending may use up an edge too: a socket has to be
     * read until it has nothing after its descriptor was readable and after each send, before the broker may
     * sleep.
     */
    bool look_clients, look_pool, look_workers;
    int clients_fd, pool_fd;
    int turns_busy; /* since signals and connections were last looked at */
    uint8_t *merge; /* where the results of several chunks are put together */
    size_t merge_capacity;
    uint64_t instance;
    int64_t started_ns;
    int64_t idle_since_ns; /* INT64_MAX while somebody is connected or something runs */
    bool stopping;
    int64_t stop_by_ns, farewell_by_ns;
    bool failed; /* an invariant is broken or memory is out: stop now */
};

int64_t broker_now(void);

/*** serve.c ***/

/* Handles the message in broker->in, from a client; from a pool thread. */
void serve_client(struct broker *broker, int64_t now_ns);
void serve_worker(struct broker *broker, int64_t now_ns);
/* … from a worker process. */
void serve_process(struct broker *broker, int64_t now_ns);

/* The job ends with this error, of which its client is told. */
void serve_fail(struct broker *broker, struct job *job, unsigned code, const char *text, int64_t now_ns);

/* The client is no more, or is to be treated so: its session ends. */
void serve_gone(void *broker, struct client *client);

/* Tells a client why its session ends, ends it, and has its connection cut a little later. */
void serve_refuse(struct broker *broker, struct client *client, unsigned code, const char *text,
                  int64_t now_ns);

/* Tells everybody that the daemon stops, and ends all sessions. */
void serve_stop(struct broker *broker, int64_t now_ns);

/*** act.c ***/

/* Does what the core wants done, until it wants nothing. */
void act(struct broker *broker, int64_t now_ns);

/*
 * Answers a client with a message of one header, and `size` bytes at data as a second frame (NULL: none).
 * Returns 0, -EAGAIN (it does not read its answers) or -EHOSTUNREACH (it has gone).
 */
int act_answer(struct broker *broker, struct client *client, const struct message *message, const void *data,
               size_t size);

/* Tries anew for clients that did not read. */
void act_retry(struct broker *broker);

/*** status.c ***/

/* Answers a query into memory from malloc. 0, -EINVAL (no such query) or -ENOMEM. */
int status_answer(struct broker *broker, const struct client *client, struct text what, int64_t now_ns,
                  char **data, size_t *size);

#endif
