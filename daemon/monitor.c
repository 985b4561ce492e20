/*
 * The monitor: reads what libzmq says of the clients' connections, counts them per uid, cuts those over the
 * cap and keeps events for the broker. Two threads read the monitor's socket, one at a time under the lock:
 * the monitor's own, so that it is read whatever the broker does, and the broker's in monitor_next, so that
 * it never knows less than libzmq has said. See monitor.h for what follows from that.
 */
#include "daemon/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

/* An event on its way to the broker. */
struct told {
    STAILQ_ENTRY(told) link;
    struct peer_event event;
};
STAILQ_HEAD(told_list, told);

/* What libzmq said of a descriptor. */
struct said {
    int fd;
    bool accepted; /* else: disconnected */
};

/* The connection on a descriptor; its place in the table is the descriptor. */
struct connection {
    enum { CONNECTION_NONE, CONNECTION_OPEN, CONNECTION_CUT } state;
    uid_t uid;
    unsigned ends;     /* "disconnected" that was said of this descriptor and is not looked at yet */
    struct told *gone; /* its last event, made with its first so that memory cannot be short for it */
};

/* A uid with open connections. */
struct owner {
    uid_t uid;
    unsigned connections, cap;
    bool stale; /* cap is to be looked up anew */
};

struct monitor {
    unsigned most; /* connections of all uids together */
    void *pair;    /* libzmq's events come out here */
    int pair_fd;   /* readable, edge-triggered, when something has come to `pair` */
    int stop_fd;   /* eventfd: the thread is to end */
    int event_fd;  /* eventfd, written when `told` ceases to be empty */
    pthread_t thread;
    /*
     * Guards all between here and `taken`, the pair included (ZeroMQ wants a full fence between threads,
     * which it is). Held for as long as libzmq has events waiting: microseconds, a millisecond in a flood.
     */
    pthread_mutex_t lock;
    const struct config *config;
    struct connection *table; /* by descriptor */
    size_t table_size;
    struct owner *owners; /* ascending by uid */
    size_t owner_count, owner_room;
    struct said *said; /* taken off the pair, not looked at yet: a ring of said_room places */
    size_t said_first, said_count, said_room;
    struct told_list told;
    bool signalled;         /* event_fd is readable */
    struct told_list taken; /* the broker's alone */
    atomic_uint connections;
    atomic_ulong cuts;
};

/*** What libzmq says ***/

/* Makes room in the table for this descriptor. False when memory is short. */
static bool table_reach(struct monitor *m, int fd)
{
    size_t need = (size_t)fd + 1;
    if (need <= m->table_size)
        return true;
    size_t size = m->table_size ? m->table_size : 64;
    while (size < need)
        size *= 2;
    struct connection *table = realloc(m->table, size * sizeof *table);
    if (!table)
        return false;
    memset(table + m->table_size, 0, (size - m->table_size) * sizeof *table);
    m->table = table;
    m->table_size = size;
    return true;
}

/* Place i of what was said, 0 the oldest. */
static struct said *said_at(struct monitor *m, size_t i)
{
    size_t place = m->said_first + i;
    return &m->said[place < m->said_room ? place : place - m->said_room];
}

static bool said_reserve(struct monitor *m)
{
    if (m->said_count < m->said_room)
        return true;
    size_t room = m->said_room ? m->said_room * 2 : 64;
    struct said *said = malloc(room * sizeof *said);
    if (!said)
        return false;
    for (size_t i = 0; i < m->said_count; i++)
        said[i] = *said_at(m, i);
    free(m->said);
    m->said = said;
    m->said_first = 0;
    m->said_room = room;
    return true;
}

/* Takes one event off the pair. Returns 0, -EAGAIN when there is none, -ENOMSG for one of no interest,
 * -ETERM. */
static int take_event(struct monitor *m, struct said *said)
{
    zmq_msg_t frame;
    uint8_t head[6] = {0};
    bool first = true, more = true;
    zmq_msg_init(&frame);
    while (more) {
        if (zmq_msg_recv(&frame, m->pair, ZMQ_DONTWAIT) < 0) {
            if (errno == EINTR)
                continue;
            int rc = -errno;
            zmq_msg_close(&frame);
            return rc;
        }
        if (first && zmq_msg_size(&frame) == sizeof head)
            memcpy(head, zmq_msg_data(&frame), sizeof head);
        first = false;
        more = zmq_msg_more(&frame);
    }
    zmq_msg_close(&frame);
    uint16_t kind; /* both in the machine's own order */
    int32_t value;
    memcpy(&kind, head, sizeof kind);
    memcpy(&value, head + sizeof kind, sizeof value);
    if ((kind != ZMQ_EVENT_ACCEPTED && kind != ZMQ_EVENT_DISCONNECTED) || value < 0)
        return -ENOMSG;
    *said = (struct said){.fd = value, .accepted = kind == ZMQ_EVENT_ACCEPTED};
    return 0;
}

/*
 * Takes everything off the pair. libzmq says "disconnected" before it closes a descriptor: so when a
 * descriptor has been looked at, and this then finds no end of it, what was seen belonged to the connection
 * in question. Returns 0 or -ETERM.
 */
static int take_events(struct monitor *m)
{
    for (;;) {
        struct said said = {0};
        int rc = take_event(m, &said);
        if (rc == -ENOMSG)
            continue;
        if (rc < 0)
            return rc == -EAGAIN ? 0 : rc;
        if (!table_reach(m, said.fd) || !said_reserve(m)) {
            /* Nothing can be kept of it. A connection nobody knows of may not stay; an end of one is made up
             * for later. */
            if (said.accepted)
                shutdown(said.fd, SHUT_RDWR);
            continue;
        }
        *said_at(m, m->said_count++) = said;
        m->table[said.fd].ends += !said.accepted;
    }
}

/*** Counting ***/

/* The place of this uid in the list, or where it belongs. */
static size_t owner_place(const struct monitor *m, uid_t uid)
{
    size_t low = 0, high = m->owner_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (m->owners[middle].uid < uid)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* May this owner have one more connection? Of what the others leave it may take half: so those that flood
 * leave room for who comes with a few, however many they are. */
static bool may_connect(const struct monitor *m, const struct owner *owner)
{
    unsigned others = atomic_load(&m->connections) - owner->connections;
    unsigned left = m->most > others ? m->most - others : 0;
    return owner->connections < owner->cap && owner->connections < (left + 1) / 2;
}

/* Connections over which this peer's owner is cut. */
static unsigned look_cap_up(const struct monitor *m, const struct peer_event *peer)
{
    struct limits limits = config_limits(m->config, peer->uid, peer->groups, peer->group_count);
    return limits.connections > 0 ? 2 * (unsigned)limits.connections : 0;
}

/* The owner of a new connection, or NULL when memory is short. Limits are looked up once while it has
 * connections, and again after a change. */
static struct owner *owner_get(struct monitor *m, const struct peer_event *peer)
{
    size_t place = owner_place(m, peer->uid);
    if (place < m->owner_count && m->owners[place].uid == peer->uid) {
        struct owner *known = &m->owners[place];
        if (known->stale)
            known->cap = look_cap_up(m, peer);
        known->stale = false;
        return known;
    }
    if (m->owner_count == m->owner_room) {
        size_t room = m->owner_room ? m->owner_room * 2 : 16;
        struct owner *owners = realloc(m->owners, room * sizeof *owners);
        if (!owners)
            return NULL;
        m->owners = owners;
        m->owner_room = room;
    }
    memmove(&m->owners[place + 1], &m->owners[place], (m->owner_count - place) * sizeof m->owners[0]);
    m->owners[place] = (struct owner){.uid = peer->uid, .cap = look_cap_up(m, peer)};
    m->owner_count++;
    return &m->owners[place];
}

/* Forgets an owner that has no connections. */
static void owner_drop_unused(struct monitor *m, uid_t uid)
{
    size_t place = owner_place(m, uid);
    if (place == m->owner_count || m->owners[place].uid != uid || m->owners[place].connections > 0)
        return;
    m->owner_count--;
    memmove(&m->owners[place], &m->owners[place + 1], (m->owner_count - place) * sizeof m->owners[0]);
}

/* Who is at the other end. False when the kernel does not say. */
static bool read_peer(int fd, struct peer_event *peer)
{
    struct ucred who;
    socklen_t size = sizeof who;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0 || size != sizeof who)
        return false;
    peer->fd = fd;
    peer->pid = who.pid;
    peer->uid = who.uid;
    peer->groups[0] = who.gid;
    peer->group_count = 1;
    /* Too many for the array: the kernel then writes none, so ask with room for the most that it knows. */
    gid_t few[PEER_GROUPS_MAX], *groups = few;
    size = sizeof few;
    int rc = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, few, &size);
    if (rc < 0 && errno == ERANGE && (groups = malloc(size)))
        rc = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size);
    for (size_t i = 0; rc == 0 && i < size / sizeof *groups && peer->group_count < PEER_GROUPS_MAX; i++)
        peer->groups[peer->group_count++] = groups[i];
    if (groups != few)
        free(groups);
    return true;
}

/*** Telling the broker ***/

static void tell(struct monitor *m, struct told *told)
{
    STAILQ_INSERT_TAIL(&m->told, told, link);
    if (!m->signalled) {
        const uint64_t one = 1;
        m->signalled = write(m->event_fd, &one, sizeof one) == sizeof one;
    }
}

/* The connection on this descriptor is gone. */
static void connection_end(struct monitor *m, int fd)
{
    struct connection *c = &m->table[fd];
    if (c->state == CONNECTION_OPEN) {
        m->owners[owner_place(m, c->uid)].connections--;
        owner_drop_unused(m, c->uid);
        atomic_fetch_sub(&m->connections, 1);
        tell(m, c->gone);
        c->gone = NULL;
    }
    c->state = CONNECTION_NONE;
}

/*
 * Cuts a connection: libzmq notices and closes it. Through a descriptor of our own, so that it cannot be
 * another's that came to the same number meanwhile; where there is none to be had, cutting is all the more
 * urgent.
 */
static void cut(struct monitor *m, int fd)
{
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    take_events(m);
    if (m->table[fd].ends == 0)
        shutdown(own >= 0 ? own : fd, SHUT_RDWR);
    if (own >= 0)
        close(own);
    m->table[fd].state = CONNECTION_CUT;
}

/* A connection whose credentials are known to be its own. False when memory is short. */
static bool connection_open(struct monitor *m, struct owner *owner, const struct peer_event *peer)
{
    struct told *connected = malloc(sizeof *connected), *gone = malloc(sizeof *gone);
    if (!connected || !gone) {
        free(connected);
        free(gone);
        return false;
    }
    owner->connections++;
    connected->event = *peer;
    connected->event.kind = PEER_CONNECTED;
    connected->event.connections = owner->connections;
    gone->event = (struct peer_event){.kind = PEER_GONE, .fd = peer->fd};
    m->table[peer->fd].state = CONNECTION_OPEN;
    m->table[peer->fd].uid = peer->uid;
    m->table[peer->fd].gone = gone;
    atomic_fetch_add(&m->connections, 1);
    tell(m, connected);
    return true;
}

static void connection_accepted(struct monitor *m, int fd)
{
    struct peer_event peer = {0};
    connection_end(m, fd); /* where memory was short for its end */
    bool known = read_peer(fd, &peer);
    take_events(m);
    if (m->table[fd].ends > 0)
        return; /* it is gone, and what was read may be another's */
    struct owner *owner = known ? owner_get(m, &peer) : NULL;
    bool over = owner && !may_connect(m, owner);
    if (over)
        atomic_fetch_add(&m->cuts, 1);
    if (!owner || over || !connection_open(m, owner, &peer))
        cut(m, fd);
    if (known)
        owner_drop_unused(m, peer.uid);
}

/* Takes and looks at everything that libzmq has said. With the lock held. Returns 0 or -ETERM. */
static int catch_up(struct monitor *m)
{
    int rc = take_events(m);
    while (m->said_count > 0) {
        struct said said = *said_at(m, 0);
        m->said_first = m->said_first + 1 < m->said_room ? m->said_first + 1 : 0;
        m->said_count--;
        if (said.accepted) {
            connection_accepted(m, said.fd);
        } else {
            m->table[said.fd].ends--;
            connection_end(m, said.fd);
        }
    }
    return rc;
}

/*** The thread, and the broker's side ***/

static void *monitor_main(void *arg)
{
    struct monitor *m = arg;
    pthread_setname_np(pthread_self(), "monitor"); /* another's would take a file of /proc */
    for (;;) {
        struct pollfd items[] = {{.fd = m->pair_fd, .events = POLLIN}, {.fd = m->stop_fd, .events = POLLIN}};
        pthread_mutex_lock(&m->lock);
        int rc = catch_up(m);
        pthread_mutex_unlock(&m->lock);
        if (rc < 0)
            return NULL; /* the context is being shut down */
        /* The pair has been read to its end, so its descriptor becomes readable with the next event. */
        while (poll(items, 2, -1) < 0 && errno == EINTR)
            ;
        if (items[1].revents)
            return NULL;
    }
}

int monitor_fd(const struct monitor *monitor)
{
    return monitor->event_fd;
}

bool monitor_next(struct monitor *monitor, struct peer_event *event)
{
    struct told *told = STAILQ_FIRST(&monitor->taken);
    if (!told) {
        pthread_mutex_lock(&monitor->lock);
        catch_up(monitor);
        STAILQ_CONCAT(&monitor->taken, &monitor->told);
        told = STAILQ_FIRST(&monitor->taken);
        uint64_t count;
        if (!told && monitor->signalled && read(monitor->event_fd, &count, sizeof count) == sizeof count)
            monitor->signalled = false;
        pthread_mutex_unlock(&monitor->lock);
    }
    if (!told)
        return false;
    STAILQ_REMOVE_HEAD(&monitor->taken, link);
    *event = told->event;
    free(told);
    return true;
}

void monitor_configure(struct monitor *monitor, const struct config *config)
{
    pthread_mutex_lock(&monitor->lock);
    monitor->config = config;
    for (size_t i = 0; i < monitor->owner_count; i++)
        monitor->owners[i].stale = true;
    pthread_mutex_unlock(&monitor->lock);
}

unsigned monitor_most_of_one(const struct monitor *monitor)
{
    return monitor->most / 4;
}

unsigned monitor_connections(const struct monitor *monitor)
{
    return atomic_load(&monitor->connections);
}

unsigned long monitor_cuts(const struct monitor *monitor)
{
    return atomic_load(&monitor->cuts);
}

static void free_told(struct told_list *list)
{
    struct told *told;
    while ((told = STAILQ_FIRST(list))) {
        STAILQ_REMOVE_HEAD(list, link);
        free(told);
    }
}

static void monitor_free(struct monitor *m)
{
    if (m->pair)
        zmq_close(m->pair);
    if (m->stop_fd >= 0)
        close(m->stop_fd);
    if (m->event_fd >= 0)
        close(m->event_fd);
    for (size_t i = 0; i < m->table_size; i++)
        free(m->table[i].gone);
    free_told(&m->told);
    free_told(&m->taken);
    free(m->table);
    free(m->owners);
    free(m->said);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

/* Connects the pair to the router's events. */
static int watch(struct monitor *m, void *context, void *router)
{
    const int none = 0, least = 1;
    size_t size = sizeof m->pair_fd;
    char endpoint[48];
    snprintf(endpoint, sizeof endpoint, "inproc://monitor-%p", (void *)m);
    /*
     * A mark on the receiving side makes libzmq's I/O thread wait, with every client, once 1000 (its own
     * side's) and this many events are not read. That is wanted: it is only so far behind when it accepts
     * faster than we get the CPU to cut, and otherwise a flood ends in libzmq's abort when descriptors run
     * out. We read whatever happens.
     */
    if (!(m->pair = zmq_socket(context, ZMQ_PAIR)) ||
        zmq_setsockopt(m->pair, ZMQ_RCVHWM, &least, sizeof least) < 0 ||
        zmq_setsockopt(m->pair, ZMQ_LINGER, &none, sizeof none) < 0 ||
        zmq_socket_monitor(router, endpoint, ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED) < 0)
        return -errno;
    if (zmq_connect(m->pair, endpoint) < 0 || zmq_getsockopt(m->pair, ZMQ_FD, &m->pair_fd, &size) < 0) {
        int rc = -errno;
        zmq_socket_monitor(router, NULL, 0);
        return rc;
    }
    return 0;
}

/*
 * libzmq aborts the process when it accepts a connection and has no descriptor for it, so some are kept free:
 * for the daemon's own, and for what is accepted until it is cut.
 */
static unsigned most_connections(void)
{
    enum { RESERVE = 48 };
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > INT_MAX)
        return INT_MAX;
    return limit.rlim_cur > 2UL * RESERVE ? (unsigned)limit.rlim_cur - RESERVE : RESERVE;
}

int monitor_start(void *context, void *router, const struct config *config, struct monitor **monitor)
{
    struct monitor *m = calloc(1, sizeof *m);
    if (!m)
        return -ENOMEM;
    m->config = config;
    m->most = most_connections();
    pthread_mutex_init(&m->lock, NULL);
    STAILQ_INIT(&m->told);
    STAILQ_INIT(&m->taken);
    m->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    m->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = m->stop_fd < 0 || m->event_fd < 0 ? -errno : watch(m, context, router);
    if (rc == 0) {
        rc = -pthread_create(&m->thread, NULL, monitor_main, m);
        if (rc < 0)
            zmq_socket_monitor(router, NULL, 0);
    }
    if (rc < 0) {
        monitor_free(m);
        return rc;
    }
    *monitor = m;
    return 0;
}

void monitor_stop(struct monitor *monitor, void *router)
{
    const uint64_t one = 1;
    if (!monitor)
        return;
    zmq_socket_monitor(router, NULL, 0); /* while the thread still reads, or libzmq might wait for it */
    while (write(monitor->stop_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
    pthread_join(monitor->thread, NULL);
    monitor_free(monitor);
}
