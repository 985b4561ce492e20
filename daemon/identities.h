/*
 * Identities: whom workers can be shared among. A client's is asked of the launcher, which looks at its
 * process and answers with the number of a context: the same uid, groups, limits and so on. Its crew in the
 * core has the identity as its cookie. Broker's thread only.
 */
#ifndef PMAPD_IDENTITIES_H
#define PMAPD_IDENTITIES_H

#include "daemon/clients.h"
#include "daemon/core/core.h"
#include "daemon/launcher/records.h"

#include <stdint.h>
#include <sys/queue.h>

struct broker;

/* It lives while a client or a worker is of it. */
struct identity {
    LIST_ENTRY(identity) link;
    uint32_t context; /* the launcher's number */
    uid_t uid;
    struct crew *crew;
    TAILQ_HEAD(, client) clients; /* of this identity that are connected */
    unsigned workers;             /* started, and not known to have ended */
    unsigned failures;            /* starts that failed, since the last one that did not */
    uint8_t *slots;               /* by number from 1 on: is it some worker's? */
    unsigned slot_count;          /* of `slots` */
};

struct identities {
    LIST_HEAD(, identity) list;
    TAILQ_HEAD(, client) asked;   /* clients whose identity was asked for */
    TAILQ_HEAD(, client) waiting; /* … or is to be, as soon as the launcher takes questions again */
};

void identities_init(struct identities *identities);
void identities_free(struct identities *identities);

/* Asks for the client's identity, unless that has been done; its session then gets a crew, or its jobs are
 * refused. */
void identities_ask(struct broker *broker, struct client *client);
/* Asks what could not be asked at once. Returns when to call again, or INT64_MAX. */
int64_t identities_tick(struct broker *broker, int64_t now_ns);
/* The launcher's answers to that. */
void identities_take(struct broker *broker, const struct record *record, int64_t now_ns);
void identities_refused(struct broker *broker, const struct record *record, int64_t now_ns);

/* The client is gone. */
void identities_client_gone(struct broker *broker, struct client *client);
/* One of its workers is no more. */
void identity_left(struct broker *broker, struct identity *identity);
/* Frees all of which nobody is any more. */
void identities_sweep(struct broker *broker);

/* The lowest number that no worker of this identity has; 0 when memory is short. */
unsigned identity_slot(struct identity *identity);

/*
 * Ends the open jobs that need processes: all of one client's, or of all clients of an identity (client
 * NULL).
 */
void identities_fail_jobs(struct broker *broker, const struct client *client, const struct identity *identity,
                          unsigned code, const char *text, int64_t now_ns);

#endif
