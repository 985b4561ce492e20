/* The skeleton's broker and its workers; see skeleton.h. */
#include "tests/bench/skeleton.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

/* Messages that the broker takes from one socket before it looks at the other. */
enum { BURST = 256 };

/*** Workers ***/

struct worker {
    void *context;        /* of a thread: the broker's */
    const char *endpoint; /* of the broker's */
    pthread_t thread;
    pid_t pid;  /* of a process */
    uint8_t id; /* the DEALER's routing id, one byte above 0: its place in the broker's array, and 1 */
};

/* Sends back each [client][payload] as it came; a message of one frame ends the worker. Returns NULL, or ""
 * on error. */
static void *worker_main(void *arg)
{
    struct worker *w = arg;
    void *socket = open_socket(w->context, ZMQ_DEALER);
    if (!socket) {
        return "";
    }
    bool ok = zmq_setsockopt(socket, ZMQ_ROUTING_ID, &w->id, 1) == 0 &&
              zmq_connect(socket, w->endpoint) == 0 && zmq_send(socket, "", 0, 0) == 0;
    zmq_msg_t client;
    zmq_msg_t payload;
    zmq_msg_init(&client);
    zmq_msg_init(&payload);
    while (ok && zmq_msg_recv(&client, socket, 0) >= 0) {
        if (!zmq_msg_more(&client)) {
            break;
        }
        ok = zmq_msg_recv(&payload, socket, 0) >= 0 && zmq_msg_send(&client, socket, ZMQ_SNDMORE) >= 0 &&
             zmq_msg_send(&payload, socket, 0) >= 0;
    }
    if (!ok) {
        failed("worker");
    }
    zmq_msg_close(&client);
    zmq_msg_close(&payload);
    zmq_close(socket);
    return ok ? NULL : "";
}

/* Forks a worker's process, from one without ZeroMQ. It connects as soon as somebody listens. */
static int start_process(struct worker *w)
{
    w->pid = fork_bound();
    if (w->pid == 0) {
        w->context = zmq_ctx_new();
        bool ok = w->context && !worker_main(w);
        zmq_ctx_term(w->context);
        _exit(!ok);
    }
    return w->pid < 0 ? (int)w->pid : 0;
}

static int start_thread(struct worker *w)
{
    errno = pthread_create(&w->thread, NULL, worker_main, w);
    return errno ? failed("pthread_create") : 0;
}

/* Waits for a worker that has been told to end. Returns 0 if it did well. */
static int join_worker(const struct worker *w)
{
    if (w->pid > 0) {
        int status = 0;
        return waitpid(w->pid, &status, 0) == w->pid && WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EIO;
    }
    void *answer = "";
    return pthread_join(w->thread, &answer) == 0 && !answer ? 0 : -EIO;
}

/*** Broker ***/

struct broker {
    void *front, *back; /* ROUTERs: of clients, and of workers */
    int workers, ahead;
    int room[MAX_WORKERS]; /* messages that the worker may still be given */
    int free;              /* the sum of room */
    int next;              /* the worker whose turn it is */
    bool stop;
};

/* Takes one message of the workers. Returns 1, 0 if there is none, or a negative errno. */
static int broker_take_result(struct broker *b)
{
    uint8_t id = 0;
    if (zmq_recv(b->back, &id, 1, ZMQ_DONTWAIT) < 0) {
        return errno == EAGAIN ? 0 : failed("recv from a worker");
    }
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    int rc = 1;
    if (id < 1 || id > b->workers) {
        errno = EPROTO;
        rc = failed("routing id of a worker");
    } else if (zmq_msg_recv(&frame, b->back, 0) < 0) {
        rc = failed("recv from a worker");
    } else if (!zmq_msg_more(&frame)) { /* its first words */
        b->room[id - 1] = b->ahead;
        b->free += b->ahead;
    } else if (zmq_msg_send(&frame, b->front, ZMQ_SNDMORE) < 0 || zmq_msg_recv(&frame, b->back, 0) < 0 ||
               zmq_msg_send(&frame, b->front, 0) < 0) {
        rc = failed("send to the client");
    } else {
        b->room[id - 1]++;
        b->free++;
    }
    zmq_msg_close(&frame);
    return rc;
}

/* Waits for the first words of each worker, so that a client has all of them from its first message on. */
static int broker_wait_for_workers(struct broker *b)
{
    int rc = 0;
    while (rc >= 0 && b->free < b->workers * b->ahead) {
        zmq_pollitem_t item = {.socket = b->back, .events = ZMQ_POLLIN};
        rc = zmq_poll(&item, 1, -1) < 0 ? failed("poll") : broker_take_result(b);
    }
    return rc < 0 ? rc : 0;
}

/* Gives one message of the client to the next worker with room; there is one. Returns as broker_take_result
 * does. */
static int broker_take_task(struct broker *b)
{
    zmq_msg_t client;
    zmq_msg_init(&client);
    if (zmq_msg_recv(&client, b->front, ZMQ_DONTWAIT) < 0) {
        return errno == EAGAIN ? 0 : failed("recv from the client");
    }
    zmq_msg_t payload;
    zmq_msg_init(&payload);
    int rc = 1;
    if (zmq_msg_recv(&payload, b->front, 0) < 0) {
        rc = failed("recv from the client");
    } else if (zmq_msg_size(&payload) == 0) {
        b->stop = true;
    } else {
        while (b->room[b->next] == 0) {
            b->next = (b->next + 1) % b->workers;
        }
        uint8_t id = (uint8_t)(b->next + 1);
        if (zmq_send(b->back, &id, 1, ZMQ_SNDMORE) < 0 || zmq_msg_send(&client, b->back, ZMQ_SNDMORE) < 0 ||
            zmq_msg_send(&payload, b->back, 0) < 0) {
            rc = failed("send to a worker");
        }
        b->room[b->next]--;
        b->free--;
        b->next = (b->next + 1) % b->workers;
    }
    zmq_msg_close(&client);
    zmq_msg_close(&payload);
    return rc;
}

/* Passes messages on until a client sends an empty one. */
static int broker_loop(struct broker *b)
{
    while (!b->stop) {
        zmq_pollitem_t items[] = {{.socket = b->back, .events = ZMQ_POLLIN},
                                  {.socket = b->front, .events = ZMQ_POLLIN}};
        if (zmq_poll(items, b->free > 0 ? 2 : 1, -1) < 0) {
            return failed("poll");
        }
        int rc = 1;
        for (int i = 0; i < BURST && rc > 0; i++) {
            rc = broker_take_result(b);
        }
        if (rc >= 0) {
            rc = 1;
            for (int i = 0; i < BURST && rc > 0 && b->free > 0 && !b->stop; i++) {
                rc = broker_take_task(b);
            }
        }
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

int broker_main(const char *endpoint, const char *pool, int ready_fd, const struct mode *mode,
                const struct options *options)
{
    struct broker b = {.workers = options->workers, .ahead = options->ahead};
    struct worker workers[MAX_WORKERS];
    int rc = 0;
    for (int i = 0; i < b.workers && rc == 0; i++) {
        workers[i] = (struct worker){.endpoint = pool, .id = (uint8_t)(i + 1)};
        rc = mode->processes ? start_process(&workers[i]) : 0;
    }
    void *context = rc == 0 ? zmq_ctx_new() : NULL;
    if (!context) {
        return failed("context");
    }
    b.front = open_socket(context, ZMQ_ROUTER);
    b.back = open_socket(context, ZMQ_ROUTER);
    if (!b.front || !b.back || zmq_bind(b.front, endpoint) < 0 || zmq_bind(b.back, pool) < 0) {
        return failed("bind");
    }
    for (int i = 0; i < b.workers && rc == 0 && !mode->processes; i++) {
        workers[i].context = context;
        rc = start_thread(&workers[i]);
    }
    rc = rc == 0 ? broker_wait_for_workers(&b) : rc;
    if (rc == 0 && write(ready_fd, "", 1) != 1) {
        rc = failed("write");
    }
    rc = rc == 0 ? broker_loop(&b) : rc;
    for (int i = 0; i < b.workers && rc == 0; i++) {
        if (zmq_send(b.back, &workers[i].id, 1, ZMQ_SNDMORE) < 0 || zmq_send(b.back, "", 0, 0) < 0) {
            rc = failed("send to a worker");
        } else {
            rc = join_worker(&workers[i]);
        }
    }
    if (rc == 0) {
        zmq_close(b.front);
        zmq_close(b.back);
        zmq_ctx_term(context);
    }
    return rc;
}
