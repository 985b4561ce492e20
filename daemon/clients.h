/*
 * Clients: who is connected to the ROUTER, by routing id and by descriptor, and what the kernel says of them.
 * A client is admitted here (allow and deny, limits on connections), told off here, and let go here when the
 * monitor says so. Broker's thread only.
 */
#ifndef PMAPD_CLIENTS_H
#define PMAPD_CLIENTS_H

#include "daemon/common/config.h"
#include "daemon/core/core.h"
#include "daemon/frames.h"
#include "daemon/launcher/records.h"
#include "daemon/monitor.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

/* Short of memory, uthash says so instead of ending the process. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

enum { ROUTING_ID_MAX = 255 };

struct client {
    uint8_t id[ROUTING_ID_MAX]; /* its routing id, the key of the table */
    size_t id_size;
    int fd;
    uid_t uid;
    gid_t groups[PEER_GROUPS_MAX];
    size_t group_count;
    uint32_t version;        /* of the protocol, in this session; from HELLO on */
    struct session *session; /* NULL until HELLO, and again once it is doomed */
    struct account
        *account; /* its HELLO waits for what is to be said of that (accounts.h); NULL: it does not */
    TAILQ_ENTRY(client) account_link;
    const char *kept_out; /* why it may open no more jobs, since the configuration is another; NULL: it may */
    int64_t read_ns;      /* when it last gave back credit for results, or had something running when the
                             daemon was about to stop */
    bool doomed;          /* has been told why; its messages are ignored, and it is cut at cut_ns */
    int64_t cut_ns;
    TAILQ_ENTRY(client) doomed_link;
    /* It does not read: what could not be sent to it, in order. Its session is blocked, and it is in
     * `stalled`, until that has gone out. */
    STAILQ_HEAD(, kept_message) unsent;
    size_t unsent_count, unsent_size;
    TAILQ_ENTRY(client) stalled_link;
    /* What its jobs need that run in processes; see processes.h. */
    struct identity *identity; /* NULL: not known */
    TAILQ_ENTRY(client) identity_link;
    uint32_t identity_token;                /* of the question under way; 0: none is */
    bool identity_waits;                    /* to be asked for when the launcher takes questions again */
    char identity_refusal[RECORD_TEXT_MAX]; /* why there can be none; "": nobody said so */
    UT_hash_handle hh;
};

struct account;
struct identity;
struct peer; /* one descriptor: private to clients.c */

struct clients {
    const struct config *config;
    bool private_pool;
    struct monitor *monitor; /* borrowed */
    struct client *table;
    struct peer *peers; /* by descriptor */
    size_t peer_count;
    TAILQ_HEAD(doomed_list, client) doomed; /* in the order of cut_ns */
    TAILQ_HEAD(, client) stalled;
    size_t count;
};

/* Makes *c empty. */
void clients_init(struct clients *c, const struct config *config, bool private_pool, struct monitor *monitor);

/* Another configuration holds. What was refused by the old one may be asked for again, and who is kept out by
 * the new one keeps only what it has. */
void clients_configure(struct clients *c, const struct config *config);

/* Frees the table; sessions must have been closed. */
void clients_free(struct clients *c);

/*
 * Takes the monitor's events. gone(cookie, client) is called for each client that has left, just before it is
 * freed.
 */
void clients_watch(struct clients *c, void (*gone)(void *cookie, struct client *client), void *cookie);

/*
 * The sender of a message: found, or made at its first one.
 * Returns NULL when it is nobody any more (gone before its message was read) or memory is short: the message
 * is to be ignored. *first: it is its first message.
 */
struct client *clients_sender(struct clients *c, struct frames *f, bool *first,
                              void (*gone)(void *cookie, struct client *client), void *cookie);

/* Room for what clients_say_limit says. */
enum { LIMIT_TEXT_MAX = 200 };

/* "the most that [user alice] in pmapd's configuration allows (jobs = 10)": where this client's limit of
 * `key` is set, and what it is. */
void clients_say_limit(const struct clients *c, const struct client *client, const char *key, unsigned limit,
                       char *text, size_t text_size);

/*
 * May this client have a session, when its uid has so many? 0, or a PERR_ code with one line for it in text.
 */
unsigned clients_admit(const struct clients *c, const struct client *client, unsigned sessions, char *text,
                       size_t text_size);

/* Its messages are ignored from now on, and its connection is cut a little later, so that it can read why. */
void clients_doom(struct clients *c, struct client *client, int64_t now_ns);

/* Cuts those whose time has come. Returns when it must be called again, INT64_MAX for never. */
int64_t clients_cut(struct clients *c, int64_t now_ns);

/*
 * It does not read: keeps a message for it, which is from malloc and taken over.
 * Returns false, with nothing taken over, when so much is kept for it already that it should be dropped
 * instead.
 */
bool clients_keep(struct clients *c, struct client *client, struct kept_message *message);

/* Sends what is kept for it as far as possible. Returns true when nothing is left: it reads again, or has
 * gone. */
bool clients_send_kept(struct clients *c, struct client *client, void *socket);

/* Is something kept for it? What else is to be sent then has to wait behind that. */
bool clients_is_stalled(const struct client *client);

/*
 * Its connection, as a descriptor of the caller's own (to be closed): libzmq's may become another client's at
 * any time. -1: it is not this client's any more, or there is no room for one.
 */
int clients_descriptor(const struct clients *c, const struct client *client);

/* What "Peer-Address" says of the sender of a message. False: nothing that can be trusted. */
bool clients_identity(zmq_msg_t *body, uid_t *uid, pid_t *pid);

/* What this client's owner may have; and as the core has it. */
struct limits clients_limits(const struct clients *c, const struct client *client);
struct owner_limits clients_owner_limits(const struct clients *c, const struct client *client);

/* Its process's number, as its connection had it when it was made. */
pid_t clients_pid(const struct clients *c, const struct client *client);

bool clients_is_admin(const struct clients *c, const struct client *client);

#endif
