/* The table of connected clients; see clients.h. */
#include "daemon/clients.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* How long a client that was told off may take to read it before its connection is cut. */
#define DOOMED_NS INT64_C(500000000)

enum {
    PAST_IDS = 4,
    /* Connections over the limit that may be there without a session: a client that looks whether somebody
     * listens has one for an instant. */
    UNGREETED = 8,
    /* What is kept for a client that does not read: its results stay in the core, but for one message; so
     * these are answers to its own questions. */
    UNSENT_MESSAGES = 1024,
    UNSENT_BYTES = 4 << 20,
};

struct peer {
    bool connected;
    struct client *client; /* NULL before its first message */
    struct peer_event who;
    /* The last routing ids that were clients on this descriptor (their hashes): what still comes from them is
     * late. */
    uint64_t past[PAST_IDS];
    unsigned past_next;
};

static uint64_t id_hash(const void *id, size_t size)
{
    const uint8_t *byte = id;
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a, draft-eastlake-fnv */
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ byte[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static bool is_past(const struct peer *peer, const void *id, size_t size)
{
    uint64_t hash = id_hash(id, size);
    for (size_t i = 0; i < PAST_IDS; i++) {
        if (peer->past[i] == hash)
            return true;
    }
    return false;
}

void clients_init(struct clients *c, const struct config *config, bool private_pool, struct monitor *monitor)
{
    memset(c, 0, sizeof *c);
    c->config = config;
    c->private_pool = private_pool;
    c->monitor = monitor;
    TAILQ_INIT(&c->doomed);
    TAILQ_INIT(&c->stalled);
}

bool clients_is_stalled(const struct client *client)
{
    return client->unsent_count > 0;
}

bool clients_keep(struct clients *c, struct client *client, struct kept_message *message)
{
    if (client->unsent_count >= UNSENT_MESSAGES || client->unsent_size + message->size > UNSENT_BYTES)
        return false;
    if (client->unsent_count++ == 0)
        TAILQ_INSERT_TAIL(&c->stalled, client, stalled_link);
    client->unsent_size += message->size;
    STAILQ_INSERT_TAIL(&client->unsent, message, link);
    return true;
}

static void drop_first(struct clients *c, struct client *client)
{
    struct kept_message *message = STAILQ_FIRST(&client->unsent);
    STAILQ_REMOVE_HEAD(&client->unsent, link);
    client->unsent_size -= message->size;
    if (--client->unsent_count == 0)
        TAILQ_REMOVE(&c->stalled, client, stalled_link);
    frames_drop_kept(message);
    free(message);
}

bool clients_send_kept(struct clients *c, struct client *client, void *socket)
{
    while (client->unsent_count > 0) {
        int rc = frames_send_kept(socket, client->id, client->id_size, STAILQ_FIRST(&client->unsent));
        if (rc == -EAGAIN)
            return false;
        drop_first(c, client);
    }
    return true;
}

static void forget(struct clients *c, struct client *client)
{
    while (client->unsent_count > 0)
        drop_first(c, client);
    if (client->doomed)
        TAILQ_REMOVE(&c->doomed, client, doomed_link);
    struct peer *peer = &c->peers[client->fd];
    if (peer->client == client) {
        peer->client = NULL;
        peer->past[peer->past_next++ % PAST_IDS] = id_hash(client->id, client->id_size);
    }
    HASH_DEL(c->table, client);
    c->count--;
    free(client);
}

void clients_free(struct clients *c)
{
    struct client *client, *next;
    HASH_ITER (hh, c->table, client, next)
        forget(c, client);
    free(c->peers);
    memset(c, 0, sizeof *c);
}

/* The entry of a descriptor, made when it is new; NULL when memory is short. */
static struct peer *peer_of(struct clients *c, int fd)
{
    if (fd < 0)
        return NULL;
    if ((size_t)fd >= c->peer_count) {
        size_t count = c->peer_count != 0 ? c->peer_count : 64;
        while (count <= (size_t)fd)
            count *= 2;
        struct peer *peers = reallocarray(c->peers, count, sizeof *peers);
        if (peers == NULL)
            return NULL;
        memset(peers + c->peer_count, 0, (count - c->peer_count) * sizeof *peers);
        c->peers = peers;
        c->peer_count = count;
    }
    return &c->peers[fd];
}

void clients_watch(struct clients *c, void (*gone)(void *cookie, struct client *client), void *cookie)
{
    struct peer_event event;
    while (monitor_next(c->monitor, &event)) {
        struct peer *peer = peer_of(c, event.fd);
        if (peer == NULL)
            continue; /* out of memory: such a client gets no answer */
        if (peer->client != NULL) {
            struct client *client = peer->client;
            gone(cookie, client);
            forget(c, client);
        }
        peer->connected = event.kind == PEER_CONNECTED;
        if (peer->connected)
            peer->who = event;
    }
}

/* One decimal number up to a ':' or the end; advances *text. */
static bool read_number(const char **text, char end, unsigned long *value)
{
    const char *at = *text;
    unsigned long v = 0;
    if (*at < '0' || *at > '9')
        return false;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (v > UINT32_MAX)
            return false;
        v = v * 10 + (unsigned long)(*at - '0');
    }
    if (*at != end)
        return false;
    *text = end != '\0' ? at + 1 : at;
    *value = v;
    return true;
}

/* "localhost:UID:GID:PID", as libzmq has it from SO_PEERCRED at accept: a client cannot fake it. */
bool clients_identity(zmq_msg_t *body, uid_t *uid, pid_t *pid)
{
    const char *text = zmq_msg_gets(body, "Peer-Address");
    static const char host[] = "localhost:";
    unsigned long u, g, p;
    if (text == NULL || strncmp(text, host, sizeof host - 1) != 0)
        return false;
    text += sizeof host - 1;
    if (!read_number(&text, ':', &u) || !read_number(&text, ':', &g) || !read_number(&text, '\0', &p))
        return false;
    if (u >= UINT32_MAX)
        return false;
    *uid = (uid_t)u;
    *pid = (pid_t)p;
    return true;
}

struct client *clients_sender(struct clients *c, struct frames *f, bool *first,
                              void (*gone)(void *cookie, struct client *client), void *cookie)
{
    struct client *client;
    size_t id_size = zmq_msg_size(&f->id);
    *first = false;
    HASH_FIND(hh, c->table, zmq_msg_data(&f->id), id_size, client);
    if (client != NULL)
        return client;

    /* The credentials are metadata of body frames only; a peer of an old ZMTP version has none, and is
     * nobody. */
    uid_t uid;
    pid_t pid;
    if (f->count == 0 || id_size > ROUTING_ID_MAX || !clients_identity(&f->part[0], &uid, &pid))
        return NULL;
    int fd = zmq_msg_get(&f->part[0], ZMQ_SRCFD);
    clients_watch(c, gone, cookie);
    struct peer *peer = peer_of(c, fd);
    if (peer == NULL || !peer->connected || peer->who.uid != uid || peer->who.pid != pid ||
        is_past(peer, zmq_msg_data(&f->id), id_size))
        return NULL; /* it has gone, and its descriptor may be another's by now */
    if (peer->client !=
        NULL) { /* made of the late words of a connection that had gone: the newer one is right */
        gone(cookie, peer->client);
        forget(c, peer->client);
    }

    client = calloc(1, sizeof *client);
    if (client == NULL)
        return NULL;
    STAILQ_INIT(&client->unsent);
    memcpy(client->id, zmq_msg_data(&f->id), id_size);
    client->id_size = id_size;
    client->fd = fd;
    client->uid = uid;
    memcpy(client->groups, peer->who.groups, sizeof client->groups);
    client->group_count = peer->who.group_count;
    struct client *added = client;
    HASH_ADD_KEYPTR(hh, c->table, added->id, added->id_size, added);
    if (added->hh.tbl == NULL) { /* uthash's sign of no memory */
        free(client);
        return NULL;
    }
    peer->client = client;
    c->count++;
    *first = true;
    return client;
}

void clients_say_limit(const struct clients *c, const struct client *client, const char *key, unsigned limit,
                       char *text, size_t text_size)
{
    const char *section =
        config_limit_section(c->config, client->uid, client->groups, client->group_count, key);
    if (c->private_pool)
        snprintf(text, text_size, "the most that a private pool allows (%s = %u)", key, limit);
    else
        snprintf(text, text_size, "the most that [%.80s] in pmapd's configuration allows (%s = %u)", section,
                 key, limit);
}

/* Why this user may not use the pool; NULL: it may. */
static const char *keeps_out(const struct clients *c, const struct client *client)
{
    if (c->private_pool)
        return client->uid == geteuid() ? NULL : "it is another user's own";
    return config_keeps_out(c->config, client->uid, client->groups, client->group_count);
}

void clients_configure(struct clients *c, const struct config *config)
{
    struct client *client, *next;
    c->config = config;
    HASH_ITER (hh, c->table, client, next) {
        client->kept_out = keeps_out(c, client);
        client->identity_refusal[0] = '\0';
    }
}

unsigned clients_admit(const struct clients *c, const struct client *client, unsigned sessions, char *text,
                       size_t text_size)
{
    const char *why = keeps_out(c, client);
    if (why != NULL) {
        snprintf(text, text_size, "uid %u may not use this pool: %s", (unsigned)client->uid, why);
        return PERR_REFUSED;
    }
    struct limits limits = clients_limits(c, client);
    unsigned allowed = (unsigned)limits.connections, room = monitor_most_of_one(c->monitor);
    unsigned limit = allowed < room ? allowed : room, open = c->peers[client->fd].who.connections;
    if (sessions < limit && open <= limit + UNGREETED)
        return 0;
    char whose[LIMIT_TEXT_MAX];
    if (limit == allowed)
        clients_say_limit(c, client, "connections", limit, whose, sizeof whose);
    else
        snprintf(whose, sizeof whose, "the most for one user by the descriptors that pmapd may open (%u)",
                 limit);
    snprintf(text, text_size, "uid %u has %u connections, %s: close some of them", (unsigned)client->uid,
             sessions >= limit ? sessions : open - 1, whose);
    return PERR_LIMIT;
}

void clients_doom(struct clients *c, struct client *client, int64_t now_ns)
{
    if (client->doomed)
        return;
    client->doomed = true;
    client->cut_ns = now_ns + DOOMED_NS;
    TAILQ_INSERT_TAIL(&c->doomed, client, doomed_link);
}

int clients_descriptor(const struct clients *c, const struct client *client)
{
    /*
     * The descriptor is still this connection's unless the kernel gave it to another peer meanwhile. libzmq's
     * thread may close it while we look: so we look at one that it does not have.
     */
    struct ucred cred;
    socklen_t size = sizeof cred;
    int fd = fcntl(client->fd, F_DUPFD_CLOEXEC, 0);
    if (fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) == 0 &&
        cred.pid == c->peers[client->fd].who.pid && cred.uid == client->uid)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

int64_t clients_cut(struct clients *c, int64_t now_ns)
{
    struct client *client;
    while ((client = TAILQ_FIRST(&c->doomed)) != NULL && client->cut_ns <= now_ns) {
        TAILQ_REMOVE(&c->doomed, client, doomed_link);
        int fd = clients_descriptor(c, client);
        if (fd >= 0) {
            shutdown(fd, SHUT_RDWR);
            close(fd);
        }
        client->cut_ns = now_ns + DOOMED_NS; /* should it live on, it is cut again */
        TAILQ_INSERT_TAIL(&c->doomed, client, doomed_link);
    }
    return client != NULL ? client->cut_ns : INT64_MAX;
}

struct limits clients_limits(const struct clients *c, const struct client *client)
{
    return config_limits(c->config, client->uid, client->groups, client->group_count);
}

struct owner_limits clients_owner_limits(const struct clients *c, const struct client *client)
{
    struct limits limits = clients_limits(c, client);
    return (struct owner_limits){
        .weight = (uint32_t)limits.weight,
        .slots = (uint32_t)limits.slots,
        .jobs = (uint32_t)limits.jobs,
        .queued_bytes = limits.queued_bytes,
    };
}

pid_t clients_pid(const struct clients *c, const struct client *client)
{
    return c->peers[client->fd].who.pid;
}

bool clients_is_admin(const struct clients *c, const struct client *client)
{
    return c->private_pool || config_is_admin(c->config, client->uid, client->groups, client->group_count);
}
