/* Worker processes: how they come and go; see processes.h. What they say is in serve.c. */
#include "daemon/processes.h"

#include "daemon/broker_state.h"
#include "daemon/callee.h"
#include "daemon/common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECOND_NS INT64_C(1000000000)

enum {
    READY_S = 30,      /* that a worker may take from START to READY */
    LEAVE_S = 5,       /* that it may take to leave when it was told to */
    DROP_S = 10,       /* … to have killed what it was told to give up, after the time that TERM has */
    FAILURES_MAX = 5,  /* starts in a row that may fail before the jobs that wait for them do */
    DRAIN_MOST = 4096, /* messages of workers that are taken before one that has ended is forgotten */
};
#define DOOR "inproc://door"

/*** Making and closing ***/

static int make_doorman(struct processes *p, void *context)
{
    const int none = 0;
    size_t size = sizeof p->door_fd;
    int events;
    size_t events_size = sizeof events;
    p->doorman = zmq_socket(context, ZMQ_PAIR);
    if (p->doorman == NULL || zmq_setsockopt(p->doorman, ZMQ_RCVHWM, &none, sizeof none) < 0 ||
        zmq_setsockopt(p->doorman, ZMQ_LINGER, &none, sizeof none) < 0 ||
        zmq_socket_monitor(p->socket, DOOR, ZMQ_EVENT_ACCEPTED) < 0 || zmq_connect(p->doorman, DOOR) < 0 ||
        zmq_getsockopt(p->doorman, ZMQ_FD, &p->door_fd, &size) < 0)
        return -errno;
    /* Only who has found the socket empty is woken when something comes. */
    if (zmq_getsockopt(p->doorman, ZMQ_EVENTS, &events, &events_size) < 0)
        return -errno;
    return 0;
}

int processes_init(struct processes *p, void *context, int launcher)
{
    const int yes = 1, none = 0, backlog = 4096, received = 64, handshake_ms = 10000;
    const int64_t largest = PROTOCOL_MESSAGE_MAX;
    size_t size = sizeof p->fd;
    memset(p, 0, sizeof *p);
    LIST_INIT(&p->list);
    identities_init(&p->identities);
    p->launcher = launcher;
    p->next_token = 1;
    /* The broker never waits for the launcher: what it cannot be told now it is told later. */
    if (fcntl(launcher, F_SETFL, O_NONBLOCK) < 0)
        return -errno;
    p->socket = zmq_socket(context, ZMQ_ROUTER);
    /* What is sent to a worker the core bounds; what it sends, its credit. */
    if (p->socket == NULL || zmq_setsockopt(p->socket, ZMQ_ROUTER_MANDATORY, &yes, sizeof yes) < 0 ||
        zmq_setsockopt(p->socket, ZMQ_LINGER, &none, sizeof none) < 0 ||
        zmq_setsockopt(p->socket, ZMQ_SNDHWM, &none, sizeof none) < 0 ||
        zmq_setsockopt(p->socket, ZMQ_RCVHWM, &received, sizeof received) < 0 ||
        zmq_setsockopt(p->socket, ZMQ_MAXMSGSIZE, &largest, sizeof largest) < 0 ||
        zmq_setsockopt(p->socket, ZMQ_BACKLOG, &backlog, sizeof backlog) < 0 ||
        zmq_setsockopt(p->socket, ZMQ_HANDSHAKE_IVL, &handshake_ms, sizeof handshake_ms) < 0 ||
        zmq_getsockopt(p->socket, ZMQ_FD, &p->fd, &size) < 0)
        return -errno;
    return make_doorman(p, context);
}

static void forget_process(struct processes *p, struct process *process)
{
    struct identity *identity = process->identity;
    identity->slots[process->slot] = 0;
    if (process->id_size > 0)
        HASH_DEL(p->by_id, process);
    LIST_REMOVE(process, link);
    free(process->told);
    free(process);
}

void processes_free(struct processes *p)
{
    struct process *process;
    while ((process = LIST_FIRST(&p->list)) != NULL)
        forget_process(p, process);
    identities_free(&p->identities);
    if (p->socket != NULL)
        zmq_socket_monitor(p->socket, NULL, 0);
    if (p->doorman != NULL)
        zmq_close(p->doorman);
    if (p->socket != NULL)
        zmq_close(p->socket);
    if (p->launcher >= 0)
        close(p->launcher);
}

/*** Starting ***/

uint32_t processes_token(struct processes *p)
{
    uint32_t token = p->next_token++;
    if (p->next_token == 0)
        p->next_token = 1;
    return token;
}

/* A worker that was asked for does not come, or has gone before it could do anything. */
static void start_failed(struct broker *broker, struct identity *identity, int error, const char *text,
                         int64_t now_ns)
{
    bool for_ever = error == EPERM || error == EACCES;
    core_start_failed(broker->core, identity->crew, now_ns);
    if (!for_ever && ++identity->failures < FAILURES_MAX)
        return;
    identity->failures = 0;
    identities_fail_jobs(broker, NULL, identity, for_ever ? PERR_REFUSED : PERR_LIMIT, text, now_ns);
}

void processes_start(struct broker *broker, struct identity *identity, int64_t now_ns)
{
    struct processes *p = &broker->processes;
    struct process *process = calloc(1, sizeof *process);
    unsigned slot = process != NULL ? identity_slot(identity) : 0;
    const struct client *client;
    int fd = -1;
    TAILQ_FOREACH (client, &identity->clients, identity_link) {
        fd = clients_descriptor(&broker->clients, client);
        if (fd >= 0)
            break;
    }
    struct record record = {.type = RECORD_START, .token = processes_token(p), .slot = slot};
    int rc = slot == 0 ? -ENOMEM : fd < 0 ? -ECONNRESET : record_send(p->launcher, &record, fd);
    if (fd >= 0)
        close(fd);
    if (rc < 0) {
        free(process);
        if (rc == -EAGAIN) /* the launcher has no room for the question: later */
            core_start_failed(broker->core, identity->crew, now_ns);
        else
            start_failed(broker, identity, -rc, "no worker process could be started", now_ns);
        return;
    }
    process->identity = identity;
    process->slot = slot;
    process->token = record.token;
    process->deadline_ns = now_ns + READY_S * SECOND_NS;
    identity->slots[slot] = 1;
    identity->workers++;
    LIST_INSERT_HEAD(&p->list, process, link);
}

static void listening(struct broker *broker, const struct record *record, int fd)
{
    struct processes *p = &broker->processes;
    const int none = -1;
    char endpoint[sizeof "ipc://" + RECORD_TEXT_MAX];
    memcpy(mempcpy(endpoint, "ipc://", 6), record->text, strlen(record->text) + 1);
    /* libzmq takes the descriptor over when it binds. */
    if (fd < 0 || zmq_setsockopt(p->socket, ZMQ_USE_FD, &fd, sizeof fd) < 0 ||
        zmq_bind(p->socket, endpoint) < 0) {
        log_error("cannot listen for the workers of uid %u: %s", (unsigned)record->uid, zmq_strerror(errno));
        if (fd >= 0)
            close(fd);
    }
    zmq_setsockopt(p->socket, ZMQ_USE_FD, &none, sizeof none);
}

static struct process *find_token(const struct processes *p, uint32_t token)
{
    struct process *process;
    LIST_FOREACH (process, &p->list, link) {
        if (process->token != 0 && process->token == token)
            break;
    }
    return process;
}

static struct process *find_number(const struct processes *p, uint32_t number)
{
    struct process *process;
    LIST_FOREACH (process, &p->list, link) {
        if (process->number != 0 && process->number == number)
            break;
    }
    return process;
}

/* Has the launcher kill it; again in a while where the launcher cannot be told now. */
static void kill_process(struct broker *broker, struct process *process, int64_t now_ns)
{
    struct record record = {.type = RECORD_KILL, .worker = process->number};
    process->leaving = true;
    process->deadline_ns = now_ns + SECOND_NS;
    if (process->number != 0)
        (void)record_send(broker->processes.launcher, &record, -1);
}

/* It is READY. */
static void come_up(struct broker *broker, struct process *process, const struct early *ready, int64_t now_ns)
{
    struct processes *p = &broker->processes;
    if (process->id_size != 0 || process->leaving)
        return;
    memcpy(process->id, ready->id, ready->id_size);
    process->id_size = ready->id_size;
    struct process *added = process;
    HASH_ADD_KEYPTR(hh, p->by_id, added->id, added->id_size, added);
    if (added->hh.tbl == NULL) { /* uthash's sign of no memory */
        process->id_size = 0;
        kill_process(broker, process, now_ns);
        core_start_failed(broker->core, process->identity->crew, now_ns);
        return;
    }
    if (core_worker_add(broker->core, process->identity->crew, process, now_ns, &process->worker) < 0) {
        process->worker = NULL;
        kill_process(broker, process, now_ns);
        core_start_failed(broker->core, process->identity->crew, now_ns);
        return;
    }
    process->identity->failures = 0;
}

/* Another user's never comes to anything: without a pid it is nobody that could be READY, and its end is a
 * start that failed. */
static void started(struct broker *broker, const struct record *record, int64_t now_ns)
{
    struct process *process = find_token(&broker->processes, record->token);
    if (process == NULL)
        return;
    process->token = 0;
    process->number = record->worker;
    process->uid = record->uid;
    if (record->uid == process->identity->uid) {
        process->pid = record->pid;
        struct early ready;
        if (processes_take(&broker->processes, process->number, process->uid, process->pid, &ready))
            come_up(broker, process, &ready, now_ns);
        return;
    }
    log_error("a worker for uid %u was started as uid %u", (unsigned)process->identity->uid,
              (unsigned)record->uid);
    kill_process(broker, process, now_ns);
    process->leaving = false;
}

static void refused(struct broker *broker, const struct record *record, int64_t now_ns)
{
    struct process *process = find_token(&broker->processes, record->token);
    if (process != NULL) {
        struct identity *identity = process->identity;
        forget_process(&broker->processes, process);
        start_failed(broker, identity, record->error, record->text, now_ns);
        identity_left(broker, identity);
        return;
    }
    identities_refused(broker, record, now_ns);
}

/*** Ending ***/

/* ", job 17": what it is at; nothing when it is at none. */
static void name_job(const struct process *process, char text[32])
{
    const struct job *job = process->worker != NULL ? core_worker_job(process->worker) : NULL;
    text[0] = '\0';
    if (job != NULL)
        snprintf(text, 32, ", job %" PRIu64, core_job_number(job));
}

void processes_stop(struct broker *broker, struct process *process, int64_t now_ns)
{
    struct message stop = {.type = MSG_STOP};
    process->worker = NULL;
    process->leaving = true;
    process->deadline_ns = now_ns + LEAVE_S * SECOND_NS;
    broker->look_workers = true;
    if (message_encode(&stop, &broker->header) == 0)
        (void)frames_send_header(broker->processes.socket, process->id, process->id_size, &broker->header,
                                 false);
}

void processes_breach(struct broker *broker, struct process *process, const char *why, int64_t now_ns)
{
    static struct log_limits limits = LOG_LIMITS(5, 30, 60);
    char job[32];
    name_job(process, job);
    log_limited_of(&limits, process->uid, LOG_NOTICE, "a worker of uid %u is killed%s: %s",
                   (unsigned)process->uid, job, why);
    if (process->worker != NULL)
        core_worker_gone(broker->core, process->worker, now_ns);
    process->worker = NULL;
    kill_process(broker, process, now_ns);
}

/* Whatever its user's items do, a worker does not end by itself: somebody has killed it. */
static void tell_death(const struct process *process, int status)
{
    static struct log_limits limits = LOG_LIMITS(5, 30, 60);
    char job[32];
    name_job(process, job);
    log_limited_of(&limits, process->uid, LOG_NOTICE, "a worker of uid %u has ended%s: %s %d",
                   (unsigned)process->uid, job, WIFSIGNALED(status) ? "killed by signal" : "status",
                   WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static void exited(struct broker *broker, const struct record *record, int64_t now_ns)
{
    struct processes *p = &broker->processes;
    struct process *process = find_number(p, record->worker);
    if (process == NULL)
        return;
    /* What it had sent before it ended counts, as far as it has come. */
    for (int i = 0; i < DRAIN_MOST && !broker->failed && frames_receive(p->socket, &broker->in) == 0; i++) {
        if (broker->in.count > 0)
            serve_process(broker, now_ns);
    }
    struct identity *identity = process->identity;
    struct worker *worker = process->worker;
    bool came = worker != NULL || process->leaving;
    if (worker != NULL)
        tell_death(process, record->status);
    forget_process(p, process);
    if (worker != NULL)
        core_worker_gone(broker->core, worker, now_ns);
    else if (!came)
        start_failed(
            broker, identity, ECHILD,
            "worker processes end as soon as they are started: are limits of memory or pids too low?",
            now_ns);
    identity_left(broker, identity);
}

void processes_launcher(struct broker *broker, int64_t now_ns)
{
    struct record record;
    int fd = -1, rc = -EAGAIN;
    while (!broker->failed && (rc = record_receive(broker->processes.launcher, 0, &record, &fd)) > 0) {
        switch (record.type) {
        case RECORD_CONTEXT:
            identities_take(broker, &record, now_ns);
            break;
        case RECORD_LISTENING:
            listening(broker, &record, fd);
            fd = -1;
            break;
        case RECORD_STARTED:
            started(broker, &record, now_ns);
            break;
        case RECORD_REFUSED:
            refused(broker, &record, now_ns);
            break;
        case RECORD_EXITED:
            exited(broker, &record, now_ns);
            break;
        case RECORD_RELOADED:
            reload_take(broker, &record, fd, now_ns);
            break;
        case RECORD_JUDGED:
            accounts_take(&broker->accounts, &record, now_ns);
            break;
        case RECORD_PONG:
            pulse_answered(broker, now_ns);
            break;
        default:
            break; /* a later version's */
        }
        if (fd >= 0)
            close(fd);
    }
    if (!broker->failed && rc != -EAGAIN) {
        log_error("pmap-launcher has gone: %s", rc < 0 ? strerror(-rc) : "end of file");
        broker->failed = true;
    }
}

/*** Time ***/

void processes_drop(struct process *process, int64_t grace_ns, int64_t now_ns)
{
    process->drop_by_ns = now_ns + grace_ns + DROP_S * SECOND_NS;
}

/* A worker that its user has stopped, say, would keep the slot for ever. Returns when to look again. */
static int64_t check_drop(struct broker *broker, struct process *process, int64_t now_ns)
{
    if (process->drop_by_ns == 0)
        return INT64_MAX;
    if (now_ns < process->drop_by_ns)
        return process->drop_by_ns;
    process->drop_by_ns = 0;
    if (core_worker_drops(process->worker))
        processes_breach(broker, process, "it does not give up what it was told to", now_ns);
    return process->worker != NULL ? INT64_MAX : process->deadline_ns;
}

int64_t processes_tick(struct broker *broker, int64_t now_ns)
{
    static struct log_limits limits = LOG_LIMITS(5, 30, 60);
    struct processes *p = &broker->processes;
    int64_t next_ns = processes_strangers(p, now_ns), asks_ns = identities_tick(broker, now_ns);
    next_ns = asks_ns < next_ns ? asks_ns : next_ns;
    struct process *process;
    LIST_FOREACH (process, &p->list, link) {
        if (process->worker != NULL) {
            int64_t due_ns = check_drop(broker, process, now_ns);
            next_ns = due_ns < next_ns ? due_ns : next_ns;
            continue;
        }
        if (process->deadline_ns <= now_ns) {
            if (!process->leaving)
                log_limited_of(&limits, process->uid, LOG_WARNING,
                               "a worker of uid %u did not come up in time", (unsigned)process->uid);
            bool was_leaving = process->leaving;
            kill_process(broker, process, now_ns);
            process->leaving =
                was_leaving; /* one that did not come counts as a start that failed when it ends */
        }
        if (process->deadline_ns < next_ns)
            next_ns = process->deadline_ns;
    }
    return next_ns;
}

/*** What is said ***/

struct process *processes_sender(struct broker *broker)
{
    struct process *process;
    HASH_FIND(hh, broker->processes.by_id, zmq_msg_data(&broker->in.id), zmq_msg_size(&broker->in.id),
              process);
    return process;
}

void processes_ready(struct broker *broker, uint32_t number, int64_t now_ns)
{
    struct processes *p = &broker->processes;
    struct early ready = {.number = number, .id_size = zmq_msg_size(&broker->in.id)};
    if (ready.id_size > sizeof ready.id || !clients_identity(&broker->in.part[0], &ready.uid, &ready.pid))
        return;
    memcpy(ready.id, zmq_msg_data(&broker->in.id),
           ready.id_size); /* what follows may receive other messages */
    if (find_number(p, number) == NULL)
        processes_launcher(broker, now_ns); /* the worker may have been faster than the news of it */
    struct process *process = find_number(p, number);
    if (process == NULL)
        processes_keep(p, &ready, now_ns); /* or the launcher has not had the time yet to tell it */
    else if (process->pid == ready.pid && process->uid == ready.uid)
        come_up(broker, process, &ready, now_ns);
}

int processes_tell(struct process *process, uint64_t job)
{
    for (size_t i = process->told_count; i > 0; i--) {
        if (process->told[i - 1] == job)
            return 1;
    }
    if (process->told_count == process->told_capacity) {
        size_t capacity = process->told_capacity != 0 ? 2 * process->told_capacity : 8;
        uint64_t *told = reallocarray(process->told, capacity, sizeof *told);
        if (told == NULL)
            return -ENOMEM;
        process->told = told;
        process->told_capacity = capacity;
    }
    process->told[process->told_count++] = job;
    return 0;
}

/* Takes the job from the list of those that it was told of. False: it was not. */
static bool untell(struct process *process, uint64_t job)
{
    for (size_t i = 0; i < process->told_count; i++) {
        if (process->told[i] == job) {
            process->told[i] = process->told[--process->told_count];
            return true;
        }
    }
    return false;
}

void processes_over(struct broker *broker, uint64_t job)
{
    struct message m = {.type = MSG_FORGET, .forget = {.job = job}};
    struct process *process;
    LIST_FOREACH (process, &broker->processes.list, link) {
        if (!untell(process, job) || process->leaving || message_encode(&m, &broker->header) < 0)
            continue;
        broker->look_workers = true;
        (void)frames_send_header(broker->processes.socket, process->id, process->id_size, &broker->header,
                                 false);
    }
    /* That may have been the last thing that somebody who has left had here. */
    identities_sweep(broker);
}
