/*
 * The bare ZeroMQ skeleton of pmapd's shape, the yardstick of the benchmarks: a client's DEALER over ipc to a
 * broker's ROUTER, over inproc to pool threads (or over ipc to worker processes) and back, frames passed on
 * as they are. No protocol, accounts, order or limits: what pmapd costs above this is its own. Every mode
 * prints one line of JSON.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

enum {
    MAX_WORKERS = 64,
    MAX_COUNT = 100 * 1000 * 1000,
    LARGE = 64 * 1024, /* bytes of a message of rate64k */
    BURST = 256        /* messages that the broker takes from one socket before it looks at the other */
};

struct options {
    int64_t count; /* messages to time; 0: the mode's own number */
    int workers;   /* 0: the mode's own number */
    int ahead;     /* messages outstanding at a worker */
    int window;    /* messages outstanding at the client; 0: the mode's own number */
    int limit_s;   /* a run that takes longer is killed, and has failed */
};

struct mode {
    const char *name;
    int (*run)(void *socket, const struct mode *mode, const struct options *options);
    size_t bytes; /* of a message */
    int64_t count;
    int workers, window;
    bool processes; /* the workers are processes, over ipc, and not threads of the broker's, over inproc */
};

/* What is in front of every message: an answer that is not one of ours is noticed. */
struct stamp {
    uint64_t number;
    uint64_t check; /* ~number */
};

static int64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Says on stderr which call of libzmq or of the system failed, by errno, which it returns negated. */
static int failed(const char *what)
{
    int error = errno;
    fprintf(stderr, "skeleton: %s: %s\n", what, zmq_strerror(error));
    return error > 0 ? -error : -EIO;
}

/* A socket without high-water marks: the windows bound what is in flight. NULL on failure, which has been
 * told. */
static void *open_socket(void *context, int type)
{
    int zero = 0;
    int one = 1;
    void *socket = zmq_socket(context, type);
    if (!socket || zmq_setsockopt(socket, ZMQ_SNDHWM, &zero, sizeof zero) < 0 ||
        zmq_setsockopt(socket, ZMQ_RCVHWM, &zero, sizeof zero) < 0 ||
        zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof zero) < 0 ||
        (type == ZMQ_ROUTER && zmq_setsockopt(socket, ZMQ_ROUTER_MANDATORY, &one, sizeof one) < 0)) {
        failed("socket");
        if (socket) {
            zmq_close(socket);
        }
        return NULL;
    }
    return socket;
}

/*
 * Forks a process that dies with this one. Returns its pid, 0 in the child, or a negative errno. The child
 * keeps the parent's signals blocked: it is the parent that answers them, by KILL.
 */
static pid_t fork_bound(void)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        return failed("fork");
    }
    if (pid == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)) {
        _exit(1);
    }
    return pid;
}

/* ---- Workers ---- */

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

/* ---- Broker ---- */

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

/*
 * The broker's process: binds, starts the workers, waits until all are there, writes a byte to ready_fd,
 * passes messages on. On an error it returns with its workers still running: they end with this process.
 */
static int broker_main(const char *endpoint, const char *pool, int ready_fd, const struct mode *mode,
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

/* ---- Client ---- */

static int send_stamped(void *socket, uint8_t *buffer, size_t bytes, uint64_t number)
{
    struct stamp stamp = {.number = number, .check = ~number};
    memcpy(buffer, &stamp, sizeof stamp);
    return zmq_send(socket, buffer, bytes, 0) < 0 ? failed("send") : 0;
}

/* Takes one answer. Returns 0 with its number, -EAGAIN with ZMQ_DONTWAIT in flags and none there, or an
 * error. */
static int recv_stamped(void *socket, uint8_t *buffer, size_t bytes, int flags, uint64_t *number)
{
    int got = zmq_recv(socket, buffer, bytes, flags);
    if (got < 0) {
        return errno == EAGAIN ? -EAGAIN : failed("recv");
    }
    struct stamp stamp;
    memcpy(&stamp, buffer, sizeof stamp);
    if ((size_t)got != bytes || stamp.check != ~stamp.number) {
        fputs("skeleton: an answer is not what was sent\n", stderr);
        return -EBADMSG;
    }
    *number = stamp.number;
    return 0;
}

static int compare_ns(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Round trips, one message in flight; the first tenth (and at least ten) is not counted. */
static int run_latency(void *socket, const struct mode *mode, const struct options *options)
{
    int64_t warm_up = options->count / 10 > 10 ? options->count / 10 : 10;
    int64_t *times = calloc((size_t)options->count, sizeof *times);
    uint8_t *buffer = calloc(1, mode->bytes);
    int rc = times && buffer ? 0 : -ENOMEM;
    for (int64_t i = 0; rc == 0 && i < warm_up + options->count; i++) {
        uint64_t number = 0;
        int64_t start = now_ns();
        if ((rc = send_stamped(socket, buffer, mode->bytes, (uint64_t)i)) == 0 &&
            (rc = recv_stamped(socket, buffer, mode->bytes, 0, &number)) == 0) {
            if (number != (uint64_t)i) {
                rc = -EBADMSG;
            } else if (i >= warm_up) {
                times[i - warm_up] = now_ns() - start;
            }
        }
    }
    if (rc == 0) {
        qsort(times, (size_t)options->count, sizeof *times, compare_ns);
        int64_t median_ns = times[options->count / 2];
        int64_t p99_ns = times[options->count * 99 / 100];
        printf("{\"mode\": \"%s\", \"rounds\": %" PRId64
               ", \"workers\": %d, \"median_us\": %.2f, \"p99_us\": %.2f}\n",
               mode->name, options->count, options->workers, (double)median_ns / 1e3, (double)p99_ns / 1e3);
    }
    free(times);
    free(buffer);
    return rc;
}

/* Messages pipelined: the window is filled up again whenever all that has come is taken. */
static int run_rate(void *socket, const struct mode *mode, const struct options *options)
{
    uint8_t *buffer = calloc(1, mode->bytes);
    if (!buffer) {
        return -ENOMEM;
    }
    int64_t sent = 0;
    int64_t taken = 0;
    uint64_t sum = 0;
    int rc = 0;
    int64_t start = now_ns();
    while (rc == 0 && taken < options->count) {
        while (rc == 0 && sent < options->count && sent - taken < options->window) {
            rc = send_stamped(socket, buffer, mode->bytes, (uint64_t)sent++);
        }
        for (int flags = 0; rc == 0 && taken < sent; flags = ZMQ_DONTWAIT) {
            uint64_t number = 0;
            if ((rc = recv_stamped(socket, buffer, mode->bytes, flags, &number)) == 0) {
                sum += number;
                taken++;
            }
        }
        rc = rc == -EAGAIN ? 0 : rc;
    }
    double seconds = (double)(now_ns() - start) / 1e9;
    free(buffer);
    if (rc < 0) {
        return rc;
    }
    uint64_t count = (uint64_t)options->count;
    if (sum != count * (count - 1) / 2) {
        fputs("skeleton: an answer came twice\n", stderr);
        return -EBADMSG;
    }
    printf("{\"mode\": \"%s\", \"messages\": %" PRIu64
           ", \"workers\": %d, \"per_s\": %.0f, \"mb_per_s\": %.1f}\n",
           mode->name, count, options->workers, (double)count / seconds,
           (double)count * (double)mode->bytes / seconds / 1e6);
    return 0;
}

/* The client's process: waits for the broker's byte (none: it has failed), runs the mode, tells the broker to
 * stop. */
static int client_main(const char *endpoint, int ready_fd, const struct mode *mode,
                       const struct options *options)
{
    char byte;
    if (read(ready_fd, &byte, 1) != 1) {
        return -EIO;
    }
    void *context = zmq_ctx_new();
    void *socket = context ? open_socket(context, ZMQ_DEALER) : NULL;
    if (!socket || zmq_connect(socket, endpoint) < 0) {
        return failed("connect");
    }
    int rc = mode->run(socket, mode, options);
    if (rc == 0) {
        int linger_ms = 5000; /* the last message must arrive */
        zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
        rc = zmq_send(socket, "", 0, 0) < 0 ? failed("send") : 0;
        zmq_close(socket);
        zmq_ctx_term(context);
    }
    return rc;
}

/* ---- The process above both: no ZeroMQ in it, so that every mode forks from a clean process ---- */

static const struct mode modes[] = {
    {"latency", run_latency, 16, 20000, 1, 1, false},
    {"rate", run_rate, 16, 1000000, 2, 1000, false},
    {"rate64k", run_rate, LARGE, 20000, 2, 64, false},
    {"latency-process", run_latency, 16, 20000, 1, 1, true},
    {"rate-process", run_rate, 16, 1000000, 2, 1000, true},
};

/* Waits for both children until the limit, kills what is left as soon as one has failed. Returns 0 if both
 * did well. */
static int wait_for_both(pid_t pids[2], int limit_s, const sigset_t *signals)
{
    int64_t deadline_ns = now_ns() + (int64_t)limit_s * 1000000000;
    int rc = 0;
    int left = 2;
    while (left > 0) {
        int status = 0;
        pid_t pid = waitpid(-1, &status, rc < 0 ? 0 : WNOHANG);
        if (pid > 0) {
            left--;
            pids[pid == pids[0] ? 0 : 1] = 0;
            if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
                rc = rc < 0 ? rc : -EIO;
            }
        } else if (pid == 0) {
            int64_t wait_ns = deadline_ns - now_ns();
            struct timespec ts = {.tv_sec = wait_ns / 1000000000, .tv_nsec = wait_ns % 1000000000};
            int got = wait_ns > 0 ? sigtimedwait(signals, NULL, &ts) : -1;
            if (got == SIGINT || got == SIGTERM) {
                rc = -EINTR;
            } else if (wait_ns <= 0) {
                fputs("skeleton: took longer than its limit\n", stderr);
                rc = -ETIME;
            }
        } else if (errno != EINTR) {
            return failed("waitpid");
        }
        for (int i = 0; i < 2 && rc < 0; i++) {
            if (pids[i] > 0) {
                kill(pids[i], SIGKILL);
            }
        }
    }
    return rc;
}

/* Runs one mode in a broker's and a client's process of their own. */
static int run_mode(const struct mode *mode, struct options options, const sigset_t *signals)
{
    options.count = options.count ? options.count : mode->count;
    options.workers = options.workers ? options.workers : mode->workers;
    options.window = options.window ? options.window : mode->window;
    char folder[] = "/tmp/skeleton-XXXXXX";
    int ready[2] = {-1, -1};
    if (!mkdtemp(folder)) {
        return failed("mkdtemp");
    }
    char endpoint[sizeof folder + 16];
    char pool[sizeof endpoint] = "inproc://pool";
    snprintf(endpoint, sizeof endpoint, "ipc://%s/sock", folder);
    if (mode->processes) {
        snprintf(pool, sizeof pool, "ipc://%s/pool", folder);
    }
    int rc = pipe(ready) < 0 ? failed("pipe") : 0;
    pid_t pids[2] = {0, 0};
    if (rc == 0 && (pids[0] = fork_bound()) == 0) {
        close(ready[0]);
        _exit(broker_main(endpoint, pool, ready[1], mode, &options) < 0);
    }
    if (rc == 0 && pids[0] > 0 && (pids[1] = fork_bound()) == 0) {
        close(ready[1]);
        rc = client_main(endpoint, ready[0], mode, &options);
        _exit(rc < 0 || fflush(stdout) != 0);
    }
    close(ready[0]);
    close(ready[1]);
    if (rc == 0 && pids[0] > 0 && pids[1] > 0) {
        rc = wait_for_both(pids, options.limit_s, signals);
    } else {
        rc = -EIO;
        if (pids[0] > 0) {
            kill(pids[0], SIGKILL);
            waitpid(pids[0], NULL, 0);
        }
    }
    unlink(endpoint + strlen("ipc://"));
    if (mode->processes) {
        unlink(pool + strlen("ipc://"));
    }
    rmdir(folder);
    return rc;
}

static int usage(void)
{
    fputs("usage: skeleton [-n MESSAGES] [-w WORKERS] [-a AHEAD_OF_A_WORKER] [-W CLIENTS_WINDOW] [-t "
          "SECONDS]\n"
          "                latency|rate|rate64k|latency-process|rate-process...\n",
          stderr);
    return 2;
}

/* Reads a whole number from 1 to max. Returns 0, or -EINVAL. */
static int parse_number(const char *text, int64_t max, int64_t *value)
{
    char *end = NULL;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno || end == text || *end || number < 1 || number > max) {
        return -EINVAL;
    }
    *value = number;
    return 0;
}

int main(int argc, char **argv)
{
    struct options options = {.ahead = 16, .limit_s = 120};
    int letter;
    while ((letter = getopt(argc, argv, "n:w:a:W:t:")) != -1) {
        int64_t max = letter == 'n' ? MAX_COUNT : letter == 'w' ? MAX_WORKERS : 100000;
        int64_t value = 0;
        if (letter == '?' || parse_number(optarg, max, &value) < 0) {
            return usage();
        }
        switch (letter) {
        case 'n':
            options.count = value;
            break;
        case 'w':
            options.workers = (int)value;
            break;
        case 'a':
            options.ahead = (int)value;
            break;
        case 'W':
            options.window = (int)value;
            break;
        default:
            options.limit_s = (int)value;
        }
    }
    if (optind == argc) {
        return usage();
    }
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    for (int i = optind; i < argc; i++) {
        const struct mode *mode = NULL;
        for (size_t m = 0; m < sizeof modes / sizeof modes[0]; m++) {
            mode = strcmp(argv[i], modes[m].name) == 0 ? &modes[m] : mode;
        }
        if (!mode) {
            return usage();
        }
        if (run_mode(mode, options, &signals) < 0) {
            return 1;
        }
    }
    return 0;
}
