/*
 * The pool's threads: a gate through which they start together, and what each of them does: take messages,
 * run the chunks in the order of their arrival, look at the socket now and then between items and while a
 * builtin waits.
 */
#include "daemon/pool.h"

#include "common/batch.h"
#include "common/clock.h"
#include "common/handover.h"
#include "common/protocol.h"
#include "daemon/functions/functions.h"
#include "daemon/worked.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>
#include <zmq.h>

enum {
    LOOK_NS = 100000,     /* between items the socket is looked at no more often */
    TELL_NS = 10000000,   /* results do not wait longer for more of them */
    CPU_WORTH_NS = 20000, /* work shorter than this counts as CPU time without asking for it, a system call */
    CPU_STALE_NS = 500000, /* a reading of the CPU time older than this is no start for a new chunk */
    ROUTING_ID_SIZE = 5,
};

/* A chunk that this thread holds. */
struct chunk {
    TAILQ_ENTRY(chunk) link;
    uint64_t id;
    const struct function *function; /* NULL: no such builtin */
    zmq_msg_t lengths, bytes;        /* the frames as they came, unless there are pieces */
    struct out pieces;               /* a large item, put together */
    bool in_pieces, whole;           /* whole: the last piece has come */
    bool lost;                       /* memory was short for putting it together */
    bool yielded, dropped;           /* asked for while it was running */
    bool trace;                      /* where its items are run, and when, is to be told */
};
TAILQ_HEAD(chunk_list, chunk);

struct runner {
    struct pool *pool;
    pthread_t thread;
    unsigned slot;
    void *socket;
    int fd; /* becomes readable, edge-triggered, when something has come to the socket */
    struct decoder *decoder;
    zmq_msg_t frame[PROTOCOL_FRAMES_MAX];
    struct chunk_list held, unused; /* held: in order of arrival, the running one first */
    struct chunk *running;
    uint64_t refused; /* the chunk whose pieces are not taken because memory was short; 0: none, as ids start
                         at 1 */
    bool stop;
    const struct function *function; /* the last one looked up */
    struct function_context context;
    struct worked worked;
    int64_t look_ns;              /* when to look at the socket again */
    int64_t told_ns;              /* when the running chunk began or was last told of */
    int64_t item_ns;              /* when its present item began, which is when the last one ended */
    int64_t cpu_ns, cpu_asked_ns; /* the thread's CPU time when it was last asked for, and when that was */
};

struct pool {
    pthread_mutex_t lock; /* guards gate */
    pthread_cond_t moved;
    enum { GATE_SHUT, GATE_OPEN, GATE_CANCELLED } gate;
    void *context;
    unsigned count, most; /* threads that run, and that may */
    struct runner runners[];
};

/*** Telling ***/

/* What the running chunk has taken since it was last told of, into *run_ns and *cpu_ns; the next such time
 * starts now. */
static void account(struct runner *r, int64_t now, int64_t *run_ns, int64_t *cpu_ns)
{
    int64_t run = now - r->told_ns, cpu = run;
    r->told_ns = now;
    if (run > CPU_WORTH_NS) {
        int64_t reading = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        if (reading - r->cpu_ns < run)
            cpu = reading - r->cpu_ns;
        r->cpu_ns = reading;
        r->cpu_asked_ns = now;
    }
    *run_ns = run;
    *cpu_ns = cpu;
}

/* Tells what the running chunk has so far. A socket that fails ends the thread: its context is being shut
 * down. */
static void tell(struct runner *r, bool last, bool within, int64_t now)
{
    int64_t run_ns, cpu_ns;
    account(r, now, &run_ns, &cpu_ns);
    r->worked.slot = r->running->trace ? (uint16_t)(r->slot + 1) : 0;
    r->worked.ended_ns = r->item_ns;
    if (worked_tell(&r->worked, r->running->id, last, within, run_ns, cpu_ns) < 0)
        r->stop = true;
}

/* Gives a chunk back of which nothing (more) is told. */
static void hand_back(struct runner *r, uint64_t chunk, int64_t run_ns, int64_t cpu_ns)
{
    if (worked_tell_nothing(&r->worked, chunk, run_ns, cpu_ns) < 0)
        r->stop = true;
}

/*** Messages ***/

static struct chunk *chunk_new(struct runner *r)
{
    struct chunk *c = TAILQ_FIRST(&r->unused);
    if (c) {
        TAILQ_REMOVE(&r->unused, c, link);
    } else if (!(c = malloc(sizeof *c))) {
        return NULL;
    }
    *c = (struct chunk){0};
    zmq_msg_init(&c->lengths);
    zmq_msg_init(&c->bytes);
    TAILQ_INSERT_TAIL(&r->held, c, link);
    return c;
}

/* Takes a chunk out of those held; its memory is kept for the next one. */
static void chunk_end(struct runner *r, struct chunk *c)
{
    TAILQ_REMOVE(&r->held, c, link);
    zmq_msg_close(&c->lengths);
    zmq_msg_close(&c->bytes);
    out_free(&c->pieces);
    TAILQ_INSERT_HEAD(&r->unused, c, link);
}

/* Most chunks in a row are of one function, so the last one found is tried first. */
static const struct function *find_function(struct runner *r, struct text name)
{
    if (!r->function || !text_is(name, r->function->name))
        r->function = function_find(name.data, name.len);
    return r->function;
}

static void add_piece(struct chunk *c, zmq_msg_t *bytes)
{
    size_t size = zmq_msg_size(bytes);
    uint8_t *to = c->lost || c->pieces.len + size > PROTOCOL_ITEM_MAX ? NULL : out_reserve(&c->pieces, size);
    if (!to) {
        c->lost = true;
        out_free(&c->pieces);
        return;
    }
    memcpy(to, zmq_msg_data(bytes), size);
    c->pieces.len += size;
}

/* The pieces of an item come one behind the other, so only the newest chunk can be one that still misses
 * some. */
static void take_chunk(struct runner *r, const struct message *m)
{
    struct chunk *c = TAILQ_LAST(&r->held, chunk_list);
    if (m->chunk.chunk == r->refused)
        return;
    if (!c || c->whole || c->id != m->chunk.chunk) {
        if (!(c = chunk_new(r))) {
            r->refused = m->chunk.chunk;
            hand_back(r, m->chunk.chunk, 0, 0);
            return;
        }
        c->id = m->chunk.chunk;
        c->trace = m->chunk.trace;
        c->function = find_function(r, m->chunk.function);
        c->in_pieces = m->chunk.more;
    }
    c->whole = !m->chunk.more;
    if (c->in_pieces) {
        add_piece(c, &r->frame[2]);
    } else {
        zmq_msg_move(&c->lengths, &r->frame[1]);
        zmq_msg_move(&c->bytes, &r->frame[2]);
    }
}

/* YIELD, RECALL or DROP of a chunk that may have ended meanwhile. */
static void take_back(struct runner *r, enum message_type type, uint64_t id)
{
    struct chunk *c;
    TAILQ_FOREACH (c, &r->held, link) {
        if (c->id == id)
            break;
    }
    if (!c)
        return;
    if (c != r->running) {
        chunk_end(r, c);
        hand_back(r, id, 0, 0);
    } else if (type == MSG_YIELD) {
        c->yielded = true;
    } else if (type == MSG_DROP) {
        c->dropped = true;
    }
}

/* Takes one message off the socket and does what it says. False when there is none, or no socket any more. */
static bool take_message(struct runner *r, int flags)
{
    size_t count = 0;
    zmq_msg_t *frame;
    do {
        frame = &r->frame[count < PROTOCOL_FRAMES_MAX ? count : PROTOCOL_FRAMES_MAX - 1];
        if (zmq_msg_recv(frame, r->socket, flags) < 0) {
            if (errno == EINTR)
                continue;
            r->stop = r->stop || errno != EAGAIN;
            return false;
        }
        handover_take(zmq_msg_data(frame));
        count++;
    } while (zmq_msg_more(frame));

    struct message m;
    const char *why;
    /* Only the broker, of this same process, can be at the other end: what is malformed is nothing to answer.
     */
    if (message_decode(r->decoder, zmq_msg_data(&r->frame[0]), zmq_msg_size(&r->frame[0]), count, TO_WORKER,
                       &m, &why) < 0)
        return true;
    switch (m.type) {
    case MSG_CHUNK:
        take_chunk(r, &m);
        break;
    case MSG_YIELD:
    case MSG_RECALL:
    case MSG_DROP:
        take_back(r, m.type, m.chunk_id.chunk);
        break;
    case MSG_STOP:
        r->stop = true;
        break;
    default:
        break;
    }
    return true;
}

/* Takes all that has come. */
static void look(struct runner *r, int64_t now)
{
    while (!r->stop && take_message(r, ZMQ_DONTWAIT))
        ;
    r->look_ns = now + LOOK_NS;
}

/*** Running ***/

/* Waits until something has come to the socket, at most to until_ns. The socket must have been looked at to
 * its end. */
static void wait_for_message(struct runner *r, int64_t until_ns, int64_t now)
{
    struct pollfd item = {.fd = r->fd, .events = POLLIN};
    int64_t left_ns = until_ns - now;
    struct timespec left = {.tv_sec = left_ns / 1000000000, .tv_nsec = left_ns % 1000000000};
    ppoll(&item, 1, &left, NULL);
}

/* function_context.cancelled: while a builtin waits, results of the items before it go out in time. */
static bool cancelled(void *cookie, int64_t timeout_ns)
{
    struct runner *r = cookie;
    int64_t now = now_ns();
    int64_t until_ns = timeout_ns < INT64_MAX - now ? now + timeout_ns : INT64_MAX;
    for (;;) {
        look(r, now);
        if (r->stop || r->running->dropped)
            return true;
        int64_t wake_ns = until_ns;
        if (r->worked.count > 0) {
            if (now - r->told_ns >= TELL_NS) {
                tell(r, false, true, now);
                continue;
            }
            if (r->told_ns + TELL_NS < wake_ns)
                wake_ns = r->told_ns + TELL_NS;
        }
        if (now >= until_ns)
            return false;
        wait_for_message(r, wake_ns, now);
        now = now_ns();
    }
}

static enum function_result run_item(struct runner *r, const struct chunk *c, const uint8_t *item, size_t len)
{
    if (c->function && !c->lost)
        return c->function->map(&r->context, item, len, &r->worked.out);
    snprintf(r->context.error, sizeof r->context.error, "%s", c->lost ? "out of memory" : "unknown function");
    return FUNCTION_FAILED;
}

/* Runs the items until the last one, or one after which the chunk is to end. Returns the time. */
static int64_t run_items(struct runner *r, struct chunk *c, int64_t now)
{
    size_t count = c->in_pieces ? 1 : zmq_msg_size(&c->lengths) / 4;
    const uint8_t *lengths = zmq_msg_data(&c->lengths);
    const uint8_t *item = c->in_pieces ? c->pieces.data : zmq_msg_data(&c->bytes);
    size_t left = c->in_pieces ? c->pieces.len : zmq_msg_size(&c->bytes);
    r->item_ns = now;
    for (size_t i = 0; i < count; i++) {
        size_t len = c->in_pieces ? left : load_u32(lengths + i * 4);
        if (len > left)
            break; /* lengths that do not add up: what has none of its own is handed back */
        enum function_result result = run_item(r, c, item, len);
        int64_t end = now_ns();
        if (r->stop || c->dropped)
            return end;
        worked_add(&r->worked, result, r->context.error, end - now);
        r->item_ns = now = end;
        item += len;
        left -= len;
        if (now >= r->look_ns)
            look(r, now);
        if (r->stop || c->dropped || c->yielded)
            break;
        if (i + 1 < count && (worked_full(&r->worked) || now - r->told_ns >= TELL_NS)) {
            tell(r, false, false, now);
            r->item_ns = now = now_ns(); /* a message's time is the chunk's, not the next item's */
        }
    }
    return now;
}

static void run_chunk(struct runner *r, struct chunk *c)
{
    int64_t now = now_ns();
    r->running = c;
    r->told_ns = now;
    if (now - r->cpu_asked_ns > CPU_STALE_NS) {
        r->cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        r->cpu_asked_ns = now;
    }
    now = run_items(r, c, now);
    if (c->dropped && !r->stop) {
        int64_t run_ns, cpu_ns;
        worked_clear(&r->worked); /* nobody wants them */
        account(r, now, &run_ns, &cpu_ns);
        hand_back(r, c->id, run_ns, cpu_ns);
    } else if (!r->stop) {
        tell(r, true, false, now);
    }
    r->running = NULL;
    chunk_end(r, c);
}

static void say_ready(struct runner *r)
{
    struct message m = {.type = MSG_READY, .ready = {.slot = r->slot}};
    struct wire wire;
    wire_init(&wire);
    int rc = message_encode(&m, &wire);
    while (rc == 0 && zmq_send(r->socket, wire.data, wire.size, 0) < 0) {
        if (errno != EINTR)
            rc = -errno;
    }
    wire_free(&wire);
    if (rc < 0)
        r->stop = true;
}

/*** Starting and ending ***/

static void free_chunks(struct chunk_list *list)
{
    struct chunk *c;
    while ((c = TAILQ_FIRST(list))) {
        TAILQ_REMOVE(list, c, link);
        free(c);
    }
}

static void runner_close(struct runner *r)
{
    while (!TAILQ_EMPTY(&r->held))
        chunk_end(r, TAILQ_FIRST(&r->held));
    free_chunks(&r->unused);
    for (size_t i = 0; i < PROTOCOL_FRAMES_MAX; i++)
        zmq_msg_close(&r->frame[i]);
    worked_free(&r->worked);
    decoder_free(r->decoder);
    zmq_close(r->socket);
}

static int open_socket(struct runner *r, void *context)
{
    const int none = 0;
    uint8_t id[ROUTING_ID_SIZE] = {'T'};
    size_t fd_size = sizeof r->fd;
    store_u32(id + 1, r->slot);
    if (!(r->socket = zmq_socket(context, ZMQ_DEALER)))
        return -errno;
    /* No marks: how much a thread is given, and may answer, the broker's core decides. */
    if (zmq_setsockopt(r->socket, ZMQ_ROUTING_ID, id, sizeof id) < 0 ||
        zmq_setsockopt(r->socket, ZMQ_SNDHWM, &none, sizeof none) < 0 ||
        zmq_setsockopt(r->socket, ZMQ_RCVHWM, &none, sizeof none) < 0 ||
        zmq_setsockopt(r->socket, ZMQ_LINGER, &none, sizeof none) < 0 ||
        zmq_connect(r->socket, POOL_ENDPOINT) < 0 ||
        zmq_getsockopt(r->socket, ZMQ_FD, &r->fd, &fd_size) < 0) {
        int rc = -errno;
        zmq_close(r->socket);
        return rc;
    }
    return 0;
}

/* Everything that can fail happens here, in the starter's thread; the runner's thread then takes the socket
 * over. */
static int runner_open(struct runner *r, void *context, struct pool *pool, unsigned slot)
{
    *r = (struct runner){.pool = pool, .slot = slot};
    r->context.cancelled = cancelled;
    r->context.cookie = r;
    TAILQ_INIT(&r->held);
    TAILQ_INIT(&r->unused);
    int rc = open_socket(r, context);
    if (rc < 0)
        return rc;
    r->decoder = decoder_new();
    if (!r->decoder || worked_init(&r->worked, r->socket) < 0) {
        decoder_free(r->decoder);
        zmq_close(r->socket);
        return -ENOMEM;
    }
    for (size_t i = 0; i < PROTOCOL_FRAMES_MAX; i++)
        zmq_msg_init(&r->frame[i]);
    return 0;
}

/* Waits until all threads are there, or one could not be made. True: go. */
static bool pass_gate(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    while (pool->gate == GATE_SHUT)
        pthread_cond_wait(&pool->moved, &pool->lock);
    bool go = pool->gate == GATE_OPEN;
    pthread_mutex_unlock(&pool->lock);
    return go;
}

static void move_gate(struct pool *pool, bool go)
{
    pthread_mutex_lock(&pool->lock);
    pool->gate = go ? GATE_OPEN : GATE_CANCELLED;
    pthread_cond_broadcast(&pool->moved);
    pthread_mutex_unlock(&pool->lock);
}

static void *runner_main(void *arg)
{
    struct runner *r = arg;
    char name[16];
    snprintf(name, sizeof name, "pool-%u", r->slot);
    pthread_setname_np(pthread_self(), name); /* another's would take a file of /proc */
    if (pass_gate(r->pool))
        say_ready(r);
    else
        r->stop = true;
    while (!r->stop) {
        struct chunk *c = TAILQ_FIRST(&r->held);
        if (c && c->whole)
            run_chunk(r, c);
        else
            take_message(r, 0);
    }
    runner_close(r);
    return NULL;
}

int pool_add(struct pool *pool)
{
    unsigned slot = pool->count;
    if (slot == pool->most)
        return -ENOSPC;
    struct runner *r = &pool->runners[slot];
    int rc = runner_open(r, pool->context, pool, slot);
    if (rc < 0)
        return rc;
    rc = pthread_create(&r->thread, NULL, runner_main, r);
    if (rc != 0) {
        runner_close(r);
        return -rc;
    }
    pool->count++;
    return 0;
}

int pool_start(void *context, unsigned threads, unsigned most, struct pool **pool)
{
    struct pool *p = calloc(1, sizeof *p + most * sizeof p->runners[0]);
    int rc = 0;
    if (!p)
        return -ENOMEM;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->moved, NULL);
    p->context = context;
    p->most = most;
    while (p->count < threads && rc == 0)
        rc = pool_add(p);
    move_gate(p, rc == 0);
    if (rc < 0) {
        pool_join(p);
        return rc;
    }
    *pool = p;
    return 0;
}

void pool_join(struct pool *pool)
{
    if (!pool)
        return;
    for (unsigned i = 0; i < pool->count; i++)
        pthread_join(pool->runners[i].thread, NULL);
    pthread_cond_destroy(&pool->moved);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
