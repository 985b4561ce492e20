/*
 * The launcher's loop; see serve.h. One thread, which never waits for anything but poll(2): a look-up that
 * hangs, a broker that does not read, a tree of processes that will not die hold up nothing else.
 */
#include "daemon/launcher/serve.h"

#include "common/clock.h"
#include "daemon/common/log.h"
#include "daemon/launcher/asking.h"
#include "daemon/launcher/limiting.h"
#include "daemon/launcher/outbox.h"
#include "daemon/launcher/reading.h"
#include "daemon/launcher/records.h"
#include "daemon/launcher/tree.h"
#include "daemon/launcher/workers.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    RECORDS_A_TURN = 64,
    SWEEP_MS = 2, /* between two looks for strays, while they die; longer and longer if none does */
    SWEEP_MOST_MS = 1000,
    RETRY_SEND_MS = 20,
    NUMBERS_A_START = 16, /* that are passed over at most */
    ROOM_FOR_ONE = 2,     /* records that a request brings at most: LISTENING and its answer */
};

struct launcher {
    const struct launcher_options *options;
    struct contexts contexts;
    struct workers workers;
    struct outbox outbox;
    struct reading reading;
    struct asking asking;
    struct limiting limiting;
    struct config *config; /* that was read again; NULL: none was */
    bool ending;           /* all are being killed */
    int64_t sweep_ns;      /* when to look for strays; INT64_MAX: there are none */
    int sweep_ms;
    struct pollfd *items;
    size_t item_room;
};

static const int64_t MS = 1000000;
static const int64_t END_PATIENCE_NS = 30 * INT64_C(1000000000); /* for what was killed to be dead */

static bool has_groups(const struct launcher *l)
{
    return l->options->groups->users >= 0;
}

/* Records that we owe the broker whatever it asks from now on. */
static size_t owed(const struct launcher *l)
{
    return l->workers.starting_count + (l->reading.pid > 0) + l->asking.count;
}

/*** Answers ***/

/* error: a negative errno. */
static void refuse(struct launcher *l, uint32_t token, int error, const char *text)
{
    struct record answer = {.type = RECORD_REFUSED, .token = token, .error = -error};
    snprintf(answer.text, sizeof answer.text, "%s", text);
    outbox_put(&l->outbox, &answer, -1);
}

/* The context of whoever is behind the descriptor. Returns 0; otherwise it has been refused. */
static int find_context(struct launcher *l, const struct record *request, int fd, struct context **context)
{
    char text[RECORD_TEXT_MAX] = "";
    struct identity identity = {0};
    int rc = fd < 0 ? -EBADF : peer_read(l->options->policy, fd, &identity, text);
    if (fd < 0)
        snprintf(text, sizeof text, "no client's connection came with the request");
    if (rc == 0 && (rc = contexts_get(&l->contexts, &identity, context)) < 0)
        snprintf(text, sizeof text, "the launcher is out of room for contexts: %s", strerror(-rc));
    if (rc < 0)
        refuse(l, request->token, rc, text);
    return rc;
}

static void identify(struct launcher *l, const struct record *request, int fd)
{
    struct context *context;
    if (find_context(l, request, fd, &context) < 0)
        return;
    const struct record answer = {.type = RECORD_CONTEXT,
                                  .token = request->token,
                                  .context = context->number,
                                  .uid = context->identity.uid};
    outbox_put(&l->outbox, &answer, -1);
}

/* The owner's socket; told to the broker when it is new. */
static int prepare_socket(struct launcher *l, uid_t uid, const struct owner_socket **s)
{
    static struct log_limits limits = LOG_LIMITS(5, 30, 60);
    int fd;
    int rc = sockets_get(l->options->sockets, uid, s, &fd);
    if (rc < 0) {
        log_limited_of(&limits, uid, LOG_ERR, "cannot make the workers' socket of uid %u: %s", (unsigned)uid,
                       strerror(-rc));
    } else if (fd >= 0) {
        struct record listening = {.type = RECORD_LISTENING, .uid = uid};
        snprintf(listening.text, sizeof listening.text, "%s", (*s)->path);
        outbox_put(&l->outbox, &listening, fd);
    }
    return rc;
}

/* With the socket made and, where there are control groups, the worker's. Returns 0 or a negative errno. */
static int start_in(struct launcher *l, const struct record *request, struct context *context, int group)
{
    const struct owner_socket *s = NULL;
    struct worker *worker;
    int rc = prepare_socket(l, context->identity.uid, &s);
    if (rc < 0)
        return rc;
    struct start way = {.program = l->options->worker,
                        .socket = s->path,
                        .slot = request->slot,
                        .identity = &context->identity,
                        .group = group,
                        .private_pool = l->options->policy->config == NULL};
    return workers_start(&l->workers, context, &way, request->token, now_ns(), &worker);
}

/* The group of the next worker. Where a process that does not die is still in one of this number, from before
 * we were started, another number has to do. */
static int add_group(struct launcher *l, uid_t uid, uint32_t *number, int *group)
{
    int rc = -EBUSY;
    for (int i = 0; rc == -EBUSY && i < NUMBERS_A_START; i++) {
        *number = workers_next(&l->workers);
        rc = cgroups_add(l->options->groups, uid, *number, group);
        if (rc == -EBUSY)
            workers_skip(&l->workers);
    }
    return rc;
}

/* The same in a group of its own. Returns 0, or a negative errno and why in text. */
static int start_in_group(struct launcher *l, const struct record *request, struct context *context,
                          char *text)
{
    struct cgroups *groups = l->options->groups;
    const struct identity *who = &context->identity;
    struct limits limits;
    uint32_t number = 0;
    int group = -1, rc = policy_limits(l->options->policy, who, &limits);
    if (rc == 0)
        rc = add_group(l, who->uid, &number, &group);
    if (rc < 0) {
        snprintf(text, RECORD_TEXT_MAX, "cannot make a control group: %s", strerror(-rc));
        return rc;
    }
    rc = cgroups_widen_limits(groups, who->uid, &limits);
    l->limiting.again = true; /* if it is under way */
    if (rc < 0)
        snprintf(text, RECORD_TEXT_MAX, "cannot set the limits of a control group: %s", strerror(-rc));
    else if ((rc = start_in(l, request, context, group)) == -EAGAIN && limits.pids > 0)
        snprintf(text, RECORD_TEXT_MAX,
                 "cannot start a worker process: you may have %d processes and threads here (pids)",
                 limits.pids);
    close(group);
    if (rc < 0) {
        cgroups_end(groups, who->uid, number);
        l->sweep_ns = 0;
    }
    return rc;
}

static void start(struct launcher *l, const struct record *request, int fd)
{
    char text[RECORD_TEXT_MAX] = "";
    struct context *context;
    if (find_context(l, request, fd, &context) < 0)
        return;
    int rc = workers_may_start(&l->workers, context->identity.uid, now_ns(), text);
    if (rc == 0)
        rc = has_groups(l) ? start_in_group(l, request, context, text) : start_in(l, request, context, -1);
    if (rc < 0 && text[0] == '\0')
        snprintf(text, sizeof text, "cannot start a worker process: %s", strerror(-rc));
    if (rc < 0)
        refuse(l, request->token, rc, text);
}

/* What a starting child told; or one that is dead now, before it started for all that we know. */
static void hear(struct launcher *l, struct worker *worker, bool dead)
{
    static struct log_limits limits = LOG_LIMITS(5, 30, 60);
    char text[RECORD_TEXT_MAX];
    int rc = workers_hear(&l->workers, worker, dead, now_ns(), text);
    if (rc > 0) {
        const struct record started = {.type = RECORD_STARTED,
                                       .token = worker->token,
                                       .worker = worker->number,
                                       .pid = worker->pid,
                                       .uid = worker->uid,
                                       .context = worker->context->number};
        outbox_put(&l->outbox, &started, -1);
    } else if (rc < 0) {
        if (!l->ending)
            log_limited_of(&limits, worker->uid, LOG_WARNING, "no worker for uid %u: %s",
                           (unsigned)worker->uid, text);
        refuse(l, worker->token, rc, text);
    }
}

/* Says what has ended, as far as there is room for it. */
static void report_ended(struct launcher *l)
{
    struct worker *worker;
    while ((worker = TAILQ_FIRST(&l->workers.ended)) && outbox_room(&l->outbox) > owed(l)) {
        const struct record exited = {.type = RECORD_EXITED,
                                      .worker = worker->number,
                                      .pid = worker->pid,
                                      .uid = worker->uid,
                                      .status = worker->exit_status};
        outbox_put(&l->outbox, &exited, -1);
        workers_forget(&l->workers, worker);
    }
}

/*** The configuration ***/

/* Returns 0, or -EPROTO: the broker must not ask. */
static int reload(struct launcher *l, uint32_t token)
{
    if (!l->options->policy->config || l->reading.pid > 0)
        return -EPROTO;
    int rc = reading_start(&l->reading, l->options->config_path, token);
    if (rc < 0) {
        const struct record answer = {.type = RECORD_RELOADED, .token = token, .error = -rc};
        outbox_put(&l->outbox, &answer, -1);
    }
    return 0;
}

/*
 * Groups get their new limits at once: the broker's, and owners' not only with their next worker. Of all that
 * an owner's contexts give, the largest; but whoever was here with other groups once, and has no worker of
 * these any more, does not count.
 */
static void apply_limits(struct launcher *l)
{
    size_t count = 0;
    struct wish *wishes = has_groups(l) ? calloc(l->contexts.count + 1, sizeof *wishes) : NULL;
    if (!wishes && has_groups(l))
        log_error("cannot change limits: %s", strerror(ENOMEM));
    if (!wishes || l->ending)
        return free(wishes);
    for (size_t i = 0; i < l->contexts.count; i++) {
        const struct context *context = l->contexts.list[i];
        struct limits limits;
        if (context->workers > 0 && policy_limits(l->options->policy, &context->identity, &limits) == 0)
            limiting_wish(wishes, &count, context->identity.uid, &limits);
    }
    limiting_start(&l->limiting, l->options->groups, wishes, count, l->config->queued_bytes);
    free(wishes);
}

/* The child that has read it has ended. */
static void reloaded(struct launcher *l, int status)
{
    struct config *fresh = calloc(1, sizeof *fresh);
    int rc = reading_end(&l->reading, status, fresh);
    const struct record answer = {.type = RECORD_RELOADED, .token = l->reading.token, .error = -rc};
    outbox_put(&l->outbox, &answer, l->reading.fd);
    if (rc < 0) {
        free(fresh);
        return;
    }
    l->options->policy->config = fresh;
    config_free(l->config);
    free(l->config);
    l->config = fresh;
    apply_limits(l);
}

/*** Accounts ***/

/* Returns 0, or -EPROTO: the broker must not ask, or not so much. */
static int ask_account(struct launcher *l, const struct record *request)
{
    if (!l->options->policy->config || l->asking.count == ACCOUNT_QUESTIONS_MAX)
        return -EPROTO;
    int rc = asking_start(&l->asking, request->uid, request->token, now_ns());
    if (rc < 0) {
        struct record answer = {
            .type = RECORD_JUDGED, .token = request->token, .uid = request->uid, .error = -rc};
        snprintf(answer.text, sizeof answer.text, "nobody can be asked about your account: %s",
                 strerror(-rc));
        outbox_put(&l->outbox, &answer, -1);
    }
    return 0;
}

/* The child that has asked has ended. */
static void judged(struct launcher *l, struct question *question)
{
    struct record answer;
    asking_end(&l->asking, question, &answer);
    outbox_put(&l->outbox, &answer, -1);
}

/*** Deaths ***/

/* Is it no stray? */
static bool is_ours(void *arg, pid_t pid)
{
    struct launcher *l = arg;
    return pid == l->reading.pid || pid == l->limiting.pid || asking_of_pid(&l->asking, pid) != NULL ||
           workers_of_pid(&l->workers, pid) != NULL;
}

static bool is_none(void *arg, pid_t pid)
{
    (void)arg;
    (void)pid;
    return false;
}

/*
 * At one stroke where it has a group. What a program with more privileges has moved out of that is still
 * below the worker, and comes to us as a stray.
 */
static void kill_worker(struct launcher *l, const struct worker *worker)
{
    if (!has_groups(l) || cgroups_kill(l->options->groups, worker->uid, worker->number) < 0)
        tree_kill(worker->pid);
    else
        kill(worker->pid,
             SIGKILL); /* it may not have moved there yet; not waited for, its number is its own */
}

/* Kills what dead workers have left, for one look at it. */
static void sweep(struct launcher *l)
{
    static struct log_limit limit = LOG_LIMIT(1, 60);
    int left = tree_kill_strays(is_ours, l);
    bool emptied = !has_groups(l) || cgroups_sweep(l->options->groups) == 0;
    l->sweep_ns = left == 0 && emptied ? INT64_MAX : now_ns() + l->sweep_ms * MS;
    l->sweep_ms = l->sweep_ms < SWEEP_MOST_MS ? 2 * l->sweep_ms : SWEEP_MOST_MS;
    if (left < 0)
        log_limited(&limit, LOG_ERR, "cannot see all that workers have left behind: %s", strerror(-left));
}

/* Waits for all children that have ended. Returns whether there are others. */
static bool reap(struct launcher *l)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct worker *worker = workers_of_pid(&l->workers, pid);
        struct question *question = asking_of_pid(&l->asking, pid);
        if (pid == l->reading.pid)
            reloaded(l, status);
        else if (pid == l->limiting.pid && limiting_end(&l->limiting, l->options->groups, status))
            apply_limits(l);
        else if (question)
            judged(l, question);
        l->sweep_ns = 0;
        l->sweep_ms = SWEEP_MS;
        if (!worker)
            continue; /* a stray */
        if (worker->state == WORKER_STARTING)
            hear(l, worker, true);
        if (has_groups(l))
            cgroups_end(l->options->groups, worker->uid, worker->number);
        workers_ended(&l->workers, worker, status);
    }
    return pid == 0;
}

/* Kills those that do not come to their program, or to an answer; what is to be said of them follows from
 * their death. */
static void give_up_waiting(struct launcher *l)
{
    int64_t now = now_ns();
    struct worker *worker;
    pid_t asking;
    while ((worker = workers_overdue(&l->workers, now)))
        kill_worker(l, worker);
    while ((asking = asking_overdue(&l->asking, now)) > 0)
        tree_kill(asking);
}

static void clear_signals(int fd)
{
    struct signalfd_siginfo info[8];
    while (read(fd, info, sizeof info) > 0)
        ;
}

/*** Requests ***/

static int handle(struct launcher *l, const struct record *request, int fd)
{
    const struct record pong = {.type = RECORD_PONG, .token = request->token};
    struct worker *worker;
    switch (request->type) {
    case RECORD_PING:
        outbox_put(&l->outbox, &pong, -1);
        return 0;
    case RECORD_RELOAD:
        return reload(l, request->token);
    case RECORD_ACCOUNT:
        return ask_account(l, request);
    case RECORD_IDENTIFY:
        identify(l, request, fd);
        return 0;
    case RECORD_START:
        start(l, request, fd);
        return 0;
    case RECORD_KILL:
        /* One that is not there has ended meanwhile: the broker will read that. */
        if ((worker = workers_find(&l->workers, request->worker)))
            kill_worker(l, worker);
        return 0;
    default:
        return -EPROTO;
    }
}

/* May another request be taken? Its answers, and those that starts still owe, must have their places. */
static bool has_room(const struct launcher *l)
{
    return outbox_room(&l->outbox) >= owed(l) + ROOM_FOR_ONE;
}

/* Takes requests, for a while. Returns 0, -EPIPE (the broker has gone) or what is wrong with it. */
static int take_requests(struct launcher *l)
{
    for (int i = 0; i < RECORDS_A_TURN && has_room(l); i++) {
        struct record request;
        int fd = -1;
        int rc = record_receive(l->options->socket, MSG_DONTWAIT, &request, &fd);
        if (rc == -EAGAIN)
            return 0;
        if (rc <= 0)
            return rc == 0 ? -EPIPE : rc;
        rc = handle(l, &request, fd);
        if (fd >= 0)
            close(fd);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/*** The loop ***/

/* All that is waited for. Returns how many, or -ENOMEM. */
static int fill_items(struct launcher *l, bool unsent)
{
    size_t need = 2 + l->workers.starting_count, n = 0;
    if (need > l->item_room) {
        struct pollfd *items = realloc(l->items, 2 * need * sizeof *items);
        if (!items)
            return -ENOMEM;
        l->items = items;
        l->item_room = 2 * need;
    }
    short events = (short)((has_room(l) ? POLLIN : 0) | (unsent ? POLLOUT : 0));
    l->items[n++] = (struct pollfd){.fd = l->options->socket, .events = events};
    l->items[n++] = (struct pollfd){.fd = l->options->signal_fd, .events = POLLIN};
    struct worker *worker;
    TAILQ_FOREACH (worker, &l->workers.starting, link)
        l->items[n++] = (struct pollfd){.fd = worker->pipe, .events = POLLIN};
    return (int)n;
}

/* What the children tell that are in items: the list is as it was when they were filled. */
static void hear_all(struct launcher *l)
{
    struct worker *worker = TAILQ_FIRST(&l->workers.starting), *next;
    for (size_t i = 2; worker; worker = next, i++) {
        next = TAILQ_NEXT(worker, link);
        if (l->items[i].revents)
            hear(l, worker, false);
    }
}

/* Until the next thing is due, in ms; -1: nothing is. */
static int timeout_ms(const struct launcher *l, bool unsent)
{
    const struct worker *first = TAILQ_FIRST(&l->workers.starting);
    int64_t due = l->sweep_ns, now = now_ns(), asking = asking_deadline(&l->asking);
    if (asking < due)
        due = asking;
    if (first && first->until_ns < due)
        due = first->until_ns;
    if (unsent && due > now + RETRY_SEND_MS * MS)
        due = now + RETRY_SEND_MS * MS;
    return due == INT64_MAX ? -1 : due <= now ? 0 : (int)((due - now) / MS) + 1;
}

/* Sends, waits, and does what there is to do. Returns 0, -EPIPE (the broker has gone), or what is wrong. */
static int turn(struct launcher *l)
{
    report_ended(l);
    int rc = outbox_flush(&l->outbox);
    if (rc < 0 && rc != -EAGAIN)
        return rc;
    int count = fill_items(l, rc == -EAGAIN);
    if (count < 0)
        return count;
    if (poll(l->items, (nfds_t)count, timeout_ms(l, rc == -EAGAIN)) < 0)
        return errno == EINTR ? 0 : -errno;
    hear_all(l);
    if (l->items[1].revents) {
        clear_signals(l->options->signal_fd);
        reap(l);
    }
    give_up_waiting(l);
    if (now_ns() >= l->sweep_ns)
        sweep(l);
    /* What it may still have sent: to start, which is over, or to kill, which happens to all. */
    if (l->items[0].revents & (POLLHUP | POLLERR))
        return -EPIPE;
    return l->items[0].revents & POLLIN ? take_requests(l) : 0;
}

/* Kills all that is below us, until it is dead. */
static void kill_all(struct launcher *l)
{
    int64_t end = now_ns() + END_PATIENCE_NS;
    int left = 0;
    l->ending = true;
    /* Ours that we may not kill (a private pool's programs with more privileges) are not waited for. */
    for (int quiet = 0; quiet < 2 && now_ns() < end;) {
        if (has_groups(l))
            cgroups_kill_all(l->options->groups);
        left = tree_kill_strays(is_none, NULL);
        struct pollfd item = {.fd = l->options->signal_fd, .events = POLLIN};
        if (left != 0)
            poll(&item, 1, SWEEP_MS);
        clear_signals(l->options->signal_fd);
        if (!reap(l))
            return;
        quiet = left == 0 ? quiet + 1 : 0;
    }
    if (left != 0)
        log_error("processes of users are left that were killed and do not die");
}

int launcher_serve(const struct launcher_options *options)
{
    struct launcher *l = calloc(1, sizeof *l);
    int rc = l ? 0 : -ENOMEM;
    if (l) {
        l->options = options;
        l->outbox.socket = options->socket;
        l->sweep_ns = INT64_MAX;
        l->sweep_ms = SWEEP_MS;
        workers_init(&l->workers);
        while (rc == 0)
            rc = turn(l);
        kill_all(l);
        outbox_clear(&l->outbox);
        asking_clear(&l->asking);
        workers_free(&l->workers);
        contexts_free(&l->contexts);
        config_free(l->config);
        free(l->config);
        free(l->items);
        free(l);
    }
    if (rc == -EPIPE)
        return 0;
    log_error("ending: %s", rc == -EPROTO ? "the broker sent what is no record" : strerror(-rc));
    return rc;
}
