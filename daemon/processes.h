/*
 * Worker processes, as the broker knows them: the launcher that starts and kills them, and the socket over
 * which they speak the worker protocol. What a worker may do is the core's
 * to say; who it is, the launcher's. A worker is no more trusted than a client: one that breaks the protocol
 * is killed, and only its own user is the worse for it. Broker's thread only.
 */
#ifndef PMAPD_PROCESSES_H
#define PMAPD_PROCESSES_H

#include "common/protocol.h"
#include "daemon/clients.h"
#include "daemon/core/core.h"
#include "daemon/identities.h"
#include "daemon/launcher/records.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

/* A worker, from START on. */
struct process {
    LIST_ENTRY(process) link;
    struct identity *identity;
    unsigned slot;
    uint32_t token;  /* of the START that has not been answered; 0 once it has */
    uint32_t number; /* the launcher's; 0 until then */
    pid_t pid;
    uid_t uid;
    unsigned connections;       /* that it has made: one is needed */
    uint8_t id[ROUTING_ID_MAX]; /* its routing id, from READY on */
    size_t id_size;
    struct worker *worker; /* the core's; NULL before READY, and when it is to leave */
    int64_t deadline_ns;   /* to be READY by, or to have left by; then it is killed */
    int64_t drop_by_ns;    /* to have dropped by what it was told to drop; 0: nothing */
    bool leaving;          /* STOP was sent, or it was killed: nothing that it says counts */
    uint64_t *told;        /* jobs that it has been told of */
    size_t told_count, told_capacity;
    UT_hash_handle hh; /* in by_id, from READY on */
};

/* A connection to the workers' socket of which it is not known yet whose it is. */
struct stranger {
    int fd;
    pid_t pid;
    uid_t uid;
    int64_t deadline_ns;
};
enum { STRANGERS_MAX = 256, STRANGERS_A_USER = 32 };

/* A READY that was faster than the news of its worker's start. */
struct early {
    uint8_t id[ROUTING_ID_MAX];
    size_t id_size;
    uint32_t number;
    pid_t pid;
    uid_t uid;
    int64_t deadline_ns;
};

struct broker;

struct processes {
    int launcher; /* the record socket; -1: there is none, and nothing can run in processes */
    void *socket; /* the ROUTER */
    int fd;
    void *doorman; /* the socket's monitor; door_fd becomes readable when somebody has come */
    int door_fd;
    struct identities identities;
    LIST_HEAD(, process) list;
    struct process *by_id;
    uint32_t next_token;
    struct stranger strangers[STRANGERS_MAX];
    unsigned stranger_count;
    struct early early[STRANGERS_MAX];
    unsigned early_count;
};

/* Makes the workers' socket. launcher: the record socket, taken over. What goes wrong is logged. 0 or a
 * negative errno. */
int processes_init(struct processes *p, void *context, int launcher);
/* Closes the sockets: the launcher then kills all workers. The core must have been freed. */
void processes_free(struct processes *p);

/* Reads what the launcher has to say. */
void processes_launcher(struct broker *broker, int64_t now_ns);
/* Looks at who has connected to the workers' socket; cuts whoever is no worker. */
void processes_door(struct broker *broker, int64_t now_ns);
/* Does what is due: workers that do not come, or do not leave. Returns when it must be called again, or
 * INT64_MAX. */
int64_t processes_tick(struct broker *broker, int64_t now_ns);
/* Lets in who has turned out to be a worker, cuts whose time is over. Returns when the next one's is. */
int64_t processes_strangers(struct processes *p, int64_t now_ns);
/* Keeps an early READY for as long as a stranger may stay; one for each routing id, and for a user no more
 * than he may have strangers. Its deadline is set here. */
void processes_keep(struct processes *p, const struct early *early, int64_t now_ns);
/* Takes the one of that number and process out. Returns false when there is none. */
bool processes_take(struct processes *p, uint32_t number, uid_t uid, pid_t pid, struct early *early);

/* A number for a question to the launcher, never 0. */
uint32_t processes_token(struct processes *p);

/* It was told to drop a chunk: it is killed if it does not do so. */
void processes_drop(struct process *process, int64_t grace_ns, int64_t now_ns);

/* ACTION_START, ACTION_STOP and ACTION_OVER. */
void processes_start(struct broker *broker, struct identity *identity, int64_t now_ns);
void processes_stop(struct broker *broker, struct process *process, int64_t now_ns);
void processes_over(struct broker *broker, uint64_t job);

/* The worker that a message in broker->in came from; NULL: nobody's, to be ignored. */
struct process *processes_sender(struct broker *broker);
/* READY. */
void processes_ready(struct broker *broker, uint32_t number, int64_t now_ns);
/* It has broken the protocol: it is killed, and what it had is run elsewhere. */
void processes_breach(struct broker *broker, struct process *process, const char *why, int64_t now_ns);

/* Has the worker been told of that job? If not, it counts as told from now on. Returns 1 (it had), 0 or
 * -ENOMEM. */
int processes_tell(struct process *process, uint64_t job);

#endif
