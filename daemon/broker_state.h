/* The broker's inside, shared by its files: broker.c (the loop), serve.c (messages in), act.c (actions out)
 * and those that are named below. */
#ifndef PMAPD_BROKER_STATE_H
#define PMAPD_BROKER_STATE_H

#include "daemon/accounts.h"
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

/* See drain.c; all times are 0 until it begins. */
struct drain {
    bool at_once;       /* asked to stop for the second time … */
    bool hurries;       /* … and that has been heeded */
    bool told;          /* all clients were told */
    int64_t stop_by_ns; /* for what runs to have ended */
    int64_t kill_by_ns,
        leave_by_ns; /* once all were told: for what was given up to be dead, for clients to go */
    int64_t looked_ns;
};

/* See pulse.c. */
struct pulse {
    bool ready;               /* the launcher has answered once */
    bool asked;               /* it has not answered yet */
    bool answered;            /* it has since the last sign of life */
    bool late;                /* the sign of life waits for its answer */
    int64_t every_ns, due_ns; /* every_ns: between signs of life; 0: none are wanted */
};

/* See rest.c. */
struct rest {
    bool due;         /* something has run, or somebody come or gone, since the last rest */
    int64_t since_ns; /* when that was; INT64_MAX while something runs */
    size_t peers;     /* sessions and connections, as they were last */
};

/* See reload.c. */
struct reload {
    uint32_t token;        /* of the question under way; 0: none is */
    bool again;            /* it is to be asked once more */
    struct config *config; /* that was read again and is in force; NULL: none was */
};

struct broker {
    struct broker_options options; /* slots and config are what is in force now */
    void *context;
    void *clients_socket, *pool_socket;
    struct monitor *monitor;
    struct pool *pool;
    struct pool_worker *workers; /* by slot */
    unsigned threads_most;       /* that there is room for */
    unsigned threads_started;
    struct core *core;
    struct clients clients;
    struct processes processes;
    struct accounts accounts;
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
    struct pulse pulse;
    struct rest rest;
    bool stopping;
    struct drain drain;
    struct reload reload;
    bool failed; /* an invariant is broken or memory is out: stop now */
};

int64_t broker_now(void);

/* What the core is to go by, as the options have it now. */
struct core_config broker_core_config(const struct broker *broker);

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

/* Tells a client that the daemon stops, and ends its session. */
void serve_stop(struct broker *broker, struct client *client, int64_t now_ns);

/*** greet.c ***/

/* HELLO: answers it, at once or when it is known whether the client's account may be used. */
void greet_hello(struct broker *broker, struct client *client, const struct message *m, int64_t now_ns);

/* The answer: code 0, and the client is let in if nothing else is against it; or a PERR_ code and why. */
account_answer greet_answer;

/* WELCOME alone, for a client that has not had it. */
void greet_welcome(struct broker *broker, struct client *client);

/*** act.c ***/

/* Does what the core wants done, until it wants nothing. */
void act(struct broker *broker, int64_t now_ns);

/*
 * Answers a client with a message of one header, and `size` bytes at data as a second frame (NULL: none).
 * Returns 0, -EAGAIN (it does not read its answers) or -EHOSTUNREACH (it has gone).
 */
int act_answer(struct broker *broker, struct client *client, const struct message *message, const void *data,
               size_t size);

/* Tries anew for clients that did not read. Returns whether any has taken what was kept for it. */
bool act_retry(struct broker *broker);

/*** drain.c ***/

/* The daemon is to stop, for this reason; the second time: at once. */
void drain_begin(struct broker *broker, const char *why, int64_t now_ns);
/* Goes on with it. Returns when to look again, or 0 when the daemon may end. */
int64_t drain_tick(struct broker *broker, int64_t now_ns);

/*** pulse.c ***/

/* Asks the launcher for the first time. */
void pulse_start(struct broker *broker, int64_t now_ns);
/* Gives a sign of life where one is due. Returns when to call again, or INT64_MAX. */
int64_t pulse_tick(struct broker *broker, int64_t now_ns);
/* The launcher has answered. */
void pulse_answered(struct broker *broker, int64_t now_ns);

/* What runs goes on: the service manager is told that we are ready, again. */
void pulse_tell_ready(const struct broker *broker);

/*** rest.c ***/

/* Gives memory back a second after something has run, or somebody come or gone. Returns when to call again,
 * or INT64_MAX. */
int64_t rest_tick(struct broker *broker, int64_t now_ns);

/*** reload.c ***/

/* Has the configuration read again. */
void reload_begin(struct broker *broker);
/* What the launcher says to that; fd is the caller's. */
void reload_take(struct broker *broker, const struct record *record, int fd, int64_t now_ns);

/*** status.c ***/

/* Answers a query into memory from malloc. 0, -EINVAL (no such query) or -ENOMEM. */
int status_answer(struct broker *broker, const struct client *client, struct text what, int64_t now_ns,
                  char **data, size_t *size);

#endif
