/* The broker's life and its loop; see broker.h. Messages are in serve.c, actions in act.c. */
#include "common/clock.h"
#include "daemon/broker_state.h"
#include "daemon/common/log.h"
#include "daemon/service.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    CLIENT_TURN = 64, /* messages of clients, and of pool threads, that are taken before anything goes out */
    WORKER_TURN = 256,
    UNREAD_MESSAGES = 64, /* that libzmq keeps for a client; then its results stay in the core */
    STALLED_MS = 100, /* a stalled client is looked at this often, although libzmq wakes us when it reads */
    BUSY_TURNS = 64,  /* turns without a look at signals and connections, while messages keep coming */
    LEAVE_MS = 100, /* between hiding the sockets and leaving: whoever was just connecting shows up by then */
    LINGER_MS = 1000,
};

int64_t broker_now(void)
{
    return now_ns();
}

static void set_option(void *socket, int option, int value)
{
    zmq_setsockopt(socket, option, &value, sizeof value);
}

/* Listens at the i-th endpoint. libzmq closes the descriptor that it has been given, and removes nothing. */
static int bind_one(struct broker *broker, size_t i)
{
    const char *endpoint = broker->options.config->endpoints[i];
    int fd = fcntl(broker->options.listening[i].fd, F_DUPFD_CLOEXEC, 0);
    int rc = fd < 0 ? -errno : 0;
    if (rc == 0) {
        set_option(broker->clients_socket, ZMQ_USE_FD, fd);
        rc = zmq_bind(broker->clients_socket, endpoint) < 0 ? -errno : 0;
        set_option(broker->clients_socket, ZMQ_USE_FD, -1);
        if (rc < 0)
            close(fd);
    }
    if (rc < 0)
        log_error("cannot listen at %s: %s", endpoint, zmq_strerror(-rc));
    return rc;
}

static int make_clients_socket(struct broker *broker)
{
    void *socket = broker->clients_socket = zmq_socket(broker->context, ZMQ_ROUTER);
    if (socket == NULL)
        return -errno;
    set_option(socket, ZMQ_ROUTER_MANDATORY, 1);
    set_option(socket, ZMQ_LINGER, LINGER_MS);
    set_option(socket, ZMQ_SNDHWM, UNREAD_MESSAGES);
    set_option(socket, ZMQ_RCVHWM, 32);
    set_option(socket, ZMQ_HANDSHAKE_IVL, 5000);
    int64_t largest = PROTOCOL_CALL_MAX;
    zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &largest, sizeof largest);
    int rc = monitor_start(broker->context, socket, broker->options.config, &broker->monitor);
    if (rc < 0) {
        log_error("cannot watch connections: %s", zmq_strerror(-rc));
        return rc;
    }
    clients_init(&broker->clients, broker->options.config, broker->options.private_pool, broker->monitor);
    for (size_t i = 0; rc == 0 && broker->options.config->endpoints[i] != NULL; i++)
        rc = bind_one(broker, i);
    return rc;
}

static int make_pool(struct broker *broker)
{
    void *socket = broker->pool_socket = zmq_socket(broker->context, ZMQ_ROUTER);
    if (socket == NULL)
        return -errno;
    set_option(socket, ZMQ_ROUTER_MANDATORY, 1);
    set_option(socket, ZMQ_LINGER, 0);
    set_option(socket, ZMQ_SNDHWM, 0);
    set_option(socket, ZMQ_RCVHWM, 0);
    broker->workers = calloc(broker->threads_most, sizeof *broker->workers);
    if (broker->workers == NULL)
        return -ENOMEM;
    if (zmq_bind(socket, POOL_ENDPOINT) < 0)
        return -errno;
    int rc = pool_start(broker->context, broker->options.slots, broker->threads_most, &broker->pool);
    if (rc < 0)
        log_error("cannot start %u pool threads: %s", broker->options.slots, zmq_strerror(-rc));
    return rc;
}

struct core_config broker_core_config(const struct broker *broker)
{
    const struct config *from = broker->options.config;
    struct core_config config = {
        .slots = broker->options.slots,
        .chunk_target_ns = from->chunk_target_ns,
        .queued_bytes = from->queued_bytes,
        .guarantee_max = (uint32_t)from->guarantee_max,
    };
    if (from->guarantee)
        config.guarantee_after_ns = from->guarantee_after_ns > 0 ? from->guarantee_after_ns : 1;
    return config;
}

int broker_new(const struct broker_options *options, struct broker **out)
{
    struct broker *broker = calloc(1, sizeof *broker);
    if (broker == NULL)
        return -ENOMEM;
    broker->options = *options;
    broker->started_ns = broker->idle_since_ns = broker_now();
    broker->processes.launcher = options->launcher;
    accounts_init(&broker->accounts, options->launcher, greet_answer, broker);
    frames_init(&broker->in);
    wire_init(&broker->header);
    struct core_config config = broker_core_config(broker);
    broker->threads_most = 2 * CONFIG_SLOTS_MAX; /* another configuration may want them */
    broker->threads_started = options->slots;
    int rc = getrandom(&broker->instance, sizeof broker->instance, 0) == sizeof broker->instance ? 0 : -errno;
    broker->instance &= PROTOCOL_COUNT_MAX;
    broker->core = core_new(&config);
    broker->decoder = decoder_new();
    broker->context = zmq_ctx_new();
    if (rc == 0 && (broker->core == NULL || broker->decoder == NULL || broker->context == NULL))
        rc = -ENOMEM;
    if (rc == 0) {
        zmq_ctx_set(broker->context, ZMQ_BLOCKY, 0);
        zmq_ctx_set(broker->context, ZMQ_MAX_SOCKETS, (int)broker->threads_most + 16);
        /* Without this a small queued message keeps its whole receive buffer of 8 KiB. The number is
         * ZMQ_ZERO_COPY_RECV, which zmq.h keeps among its drafts although every build accepts it. */
        zmq_ctx_set(broker->context, 10, 0);
        rc = make_clients_socket(broker);
    }
    if (rc == 0)
        rc = make_pool(broker);
    if (rc == 0)
        rc = processes_init(&broker->processes, broker->context, options->launcher);
    if (rc < 0) {
        log_error("cannot start: %s", zmq_strerror(-rc));
        broker_free(broker);
        return rc;
    }
    *out = broker;
    return 0;
}

void broker_free(struct broker *broker)
{
    if (broker == NULL)
        return;
    core_free(broker->core);
    frames_close(&broker->in);
    monitor_stop(broker->monitor, broker->clients_socket);
    if (broker->context != NULL)
        zmq_ctx_shutdown(broker->context);
    pool_join(broker->pool);
    processes_free(&broker->processes);
    callees_free(&broker->callees);
    accounts_free(&broker->accounts);
    clients_free(&broker->clients);
    if (broker->clients_socket != NULL)
        zmq_close(broker->clients_socket);
    if (broker->pool_socket != NULL)
        zmq_close(broker->pool_socket);
    while (broker->context != NULL && zmq_ctx_term(broker->context) < 0 && errno == EINTR)
        ;
    decoder_free(broker->decoder);
    wire_free(&broker->header);
    config_free(broker->reload.config);
    free(broker->reload.config);
    free(broker->merge);
    free(broker->workers);
    free(broker);
}

/*** Idle exit ***/

static const char *socket_path(const struct broker *broker, size_t i)
{
    const char *endpoint = broker->options.config->endpoints[i];
    return endpoint != NULL ? endpoint_path(endpoint) : NULL;
}

/*
 * The sockets' files get another name, so that nobody new finds them, and back, unless another one has come
 * there meanwhile. One that we were given is left alone and no longer listened at: who comes waits in its
 * queue for the next daemon.
 */
static void hide_sockets(struct broker *broker, bool hide)
{
    const char *path;
    for (size_t i = 0; (path = socket_path(broker, i)) != NULL; i++) {
        const struct listening *socket = &broker->options.listening[i];
        char hidden[PATH_MAX];
        if (socket->file < 0) {
            if (!hide)
                (void)bind_one(broker, i);
            else if (zmq_unbind(broker->clients_socket, broker->options.config->endpoints[i]) < 0)
                log_warning("cannot leave %s: %s", path, zmq_strerror(errno));
            continue;
        }
        if (!listen_has_file(socket))
            continue;
        snprintf(hidden, sizeof hidden, "%s.leaving", path);
        if (hide ? rename(path, hidden) == 0
                 : renameat2(AT_FDCWD, hidden, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
            continue;
        log_warning("cannot rename %s: %s", hide ? path : hidden, strerror(errno));
        if (!hide)
            (void)unlink(hidden);
    }
}

static void remove_sockets(const struct broker *broker, bool hidden)
{
    const char *path;
    for (size_t i = 0; (path = socket_path(broker, i)) != NULL; i++) {
        char name[PATH_MAX];
        if (!listen_has_file(&broker->options.listening[i]))
            continue; /* what is there is whose who gave it, or has put it there */
        snprintf(name, sizeof name, "%s%s", path, hidden ? ".leaving" : "");
        (void)unlink(name); /* a daemon that has given up its privileges may not; the next one replaces it */
    }
}

static bool is_idle(const struct broker *broker)
{
    if (monitor_connections(broker->monitor) != 0 || broker->clients.count != 0)
        return false;
    struct core_counts counts;
    core_counts(broker->core, &counts);
    return counts.orphans == 0;
}

/*
 * Nobody has been here for long: hides the sockets, and leaves unless somebody turns out to have been
 * connecting just then. Returns true when the daemon may end.
 */
static bool leave(struct broker *broker)
{
    hide_sockets(broker, true);
    int64_t until = broker_now() + LEAVE_MS * INT64_C(1000000);
    zmq_pollitem_t item = {.socket = NULL, .fd = monitor_fd(broker->monitor), .events = ZMQ_POLLIN};
    while (broker_now() < until) {
        zmq_poll(&item, 1, LEAVE_MS / 4);
        clients_watch(&broker->clients, serve_gone, broker);
    }
    if (is_idle(broker)) {
        remove_sockets(broker, true);
        return true;
    }
    hide_sockets(broker, false);
    broker->idle_since_ns = INT64_MAX;
    return false;
}

/* Where none of the sockets has a file any more, nobody new can come. */
static bool can_be_found(const struct broker *broker)
{
    const struct listening *socket = broker->options.listening;
    while (socket->fd >= 0 && socket->file >= 0 && !listen_has_file(socket))
        socket++;
    return socket->fd >= 0;
}

/* Returns when idleness is to be looked at again. */
static int64_t check_idle(struct broker *broker, int64_t now_ns)
{
    int64_t patience = broker->options.idle_exit_ns;
    if (patience == 0 || broker->stopping)
        return INT64_MAX;
    if (!is_idle(broker)) {
        broker->idle_since_ns = INT64_MAX;
        return INT64_MAX; /* the monitor wakes us when the last one leaves */
    }
    if (broker->idle_since_ns == INT64_MAX)
        broker->idle_since_ns = now_ns;
    return can_be_found(broker) ? broker->idle_since_ns + patience : now_ns;
}

/*** Stopping ***/

static void read_signals(struct broker *broker, int64_t now_ns)
{
    struct signalfd_siginfo info;
    while (read(broker->options.signal_fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGHUP && !broker->options.private_pool) {
            reload_begin(broker);
            continue;
        }
        drain_begin(broker, strsignal((int)info.ssi_signo), now_ns);
    }
}

static void stop_pool(struct broker *broker)
{
    struct message stop = {.type = MSG_STOP};
    if (message_encode(&stop, &broker->header) < 0)
        return;
    for (unsigned i = 0; i < broker->threads_most; i++) {
        const struct pool_worker *worker = &broker->workers[i];
        if (worker->worker != NULL)
            (void)frames_send_header(broker->pool_socket, worker->id, worker->id_size, &broker->header,
                                     false);
    }
}

/*** The loop ***/

/* Takes up to `most` messages; returns whether there may be more. */
static bool take(struct broker *broker, void *socket, int most, void (*serve)(struct broker *, int64_t))
{
    for (int i = 0; i < most && !broker->failed; i++) {
        if (frames_receive(socket, &broker->in) < 0)
            return false;
        if (broker->in.count > 0)
            serve(broker, broker_now());
    }
    return true;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* How long to sleep, in ms, rounded up; -1: until something happens. */
static int sleep_ms(int64_t until_ns, int64_t now_ns)
{
    if (until_ns == INT64_MAX)
        return -1;
    int64_t ms = until_ns <= now_ns ? 0 : (until_ns - now_ns + 999999) / 1000000;
    return ms < INT_MAX ? (int)ms : INT_MAX;
}

static int socket_fd(void *socket)
{
    int fd = -1;
    size_t size = sizeof fd;
    zmq_getsockopt(socket, ZMQ_FD, &fd, &size);
    return fd;
}

/* Waits, unless there is something to be looked at, and takes what is beside the messages. */
static void wake(struct broker *broker, int64_t due_ns, int64_t now_ns)
{
    enum { POOL, CLIENTS, WORKERS, DOOR, LAUNCHER, MONITOR, SIGNALS, ITEMS };
    struct pollfd items[ITEMS] = {
        [POOL] = {.fd = broker->pool_fd, .events = POLLIN},
        [CLIENTS] = {.fd = broker->clients_fd, .events = POLLIN},
        [WORKERS] = {.fd = broker->processes.fd, .events = POLLIN},
        [DOOR] = {.fd = broker->processes.door_fd, .events = POLLIN},
        [LAUNCHER] = {.fd = broker->processes.launcher, .events = POLLIN},
        [MONITOR] = {.fd = monitor_fd(broker->monitor), .events = POLLIN},
        [SIGNALS] = {.fd = broker->options.signal_fd, .events = POLLIN},
    };
    bool busy = broker->look_pool || broker->look_clients || broker->look_workers;
    if (busy && broker->turns_busy++ < BUSY_TURNS)
        return;
    broker->turns_busy = 0;
    if (poll(items, ITEMS, busy ? 0 : sleep_ms(due_ns, now_ns)) < 0) {
        if (errno != EINTR) {
            log_error("waiting failed: %s", strerror(errno));
            broker->failed = true;
        }
        return;
    }
    broker->look_pool |= items[POOL].revents != 0;
    broker->look_clients |= items[CLIENTS].revents != 0 || !TAILQ_EMPTY(&broker->clients.stalled);
    broker->look_workers |= items[WORKERS].revents != 0;
    if (items[SIGNALS].revents != 0)
        read_signals(broker, broker_now());
    if (items[DOOR].revents != 0)
        processes_door(broker, broker_now());
    if (items[LAUNCHER].revents != 0)
        processes_launcher(broker, broker_now());
    if (items[MONITOR].revents != 0)
        clients_watch(&broker->clients, serve_gone, broker);
}

/* Receives what has come and does what that makes due. */
static void turn(struct broker *broker)
{
    if (broker->look_pool)
        broker->look_pool = take(broker, broker->pool_socket, WORKER_TURN, serve_worker);
    if (broker->look_workers)
        broker->look_workers = take(broker, broker->processes.socket, WORKER_TURN, serve_process);
    if (broker->look_clients) {
        act_retry(broker);
        broker->look_clients = take(broker, broker->clients_socket, CLIENT_TURN, serve_client);
        /* Who looks for messages takes notice of room as well: then nothing wakes us for that any more. */
        if (!TAILQ_EMPTY(&broker->clients.stalled) && act_retry(broker))
            broker->look_clients = true;
    }
    int64_t now_ns = broker_now();
    core_mark(broker->core, now_ns);
    core_tick(broker->core, now_ns);
    act(broker, now_ns); /* what it sends has its socket looked at anew */
}

int broker_run(struct broker *broker)
{
    broker->pool_fd = socket_fd(broker->pool_socket);
    broker->clients_fd = socket_fd(broker->clients_socket);
    broker->idle_since_ns = broker_now(); /* nobody could have come before */
    core_mark(broker->core, broker->idle_since_ns);
    pulse_start(broker, broker->idle_since_ns);
    broker->look_pool = broker->look_clients = broker->look_workers = true;
    while (!broker->failed) {
        int64_t now_ns = broker_now();
        int64_t due_ns = earlier(core_deadline(broker->core), clients_cut(&broker->clients, now_ns));
        due_ns = earlier(due_ns, processes_tick(broker, now_ns));
        due_ns = earlier(due_ns, pulse_tick(broker, now_ns));
        due_ns = earlier(due_ns, accounts_tick(&broker->accounts, now_ns));
        due_ns = earlier(due_ns, rest_tick(broker, now_ns));
        int64_t idle_ns = check_idle(broker, now_ns);
        if (idle_ns <= now_ns && leave(broker)) {
            service_stopping("idle");
            if (can_be_found(broker))
                log_info("stopping: idle for %lld s", (long long)(broker->options.idle_exit_ns / 1000000000));
            else
                log_info("stopping: idle, and nobody can find it");
            stop_pool(broker);
            return 0;
        }
        if (broker->stopping) {
            int64_t again_ns = drain_tick(broker, now_ns);
            if (again_ns == 0)
                break;
            due_ns = earlier(due_ns, again_ns);
        }
        if (!TAILQ_EMPTY(&broker->clients.stalled))
            due_ns = earlier(due_ns, now_ns + STALLED_MS * INT64_C(1000000));
        wake(broker, earlier(due_ns, idle_ns), now_ns);
        turn(broker);
    }
    stop_pool(broker);
    remove_sockets(broker, false);
    return broker->failed ? 1 : 0;
}
