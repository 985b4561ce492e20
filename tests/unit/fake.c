/*
 * A daemon that says what a test wants; see fake.h.
 */
#include "tests/unit/fake.h"

#include "common/batch.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fake {
    char folder[64], endpoint[96];
    void *context, *socket;
    pthread_t thread;
    fake_script *script;
    sem_t go;
    atomic_bool over;
    struct decoder *decoder;
    struct wire wire;
    zmq_msg_t frame[PROTOCOL_FRAMES_MAX];
    unsigned count; /* of frames */
    uint8_t client[255];
    size_t client_size;
};

static void must(bool what, const char *words)
{
    if (!what) {
        fprintf(stderr, "the fake daemon: %s: %s\n", words, zmq_strerror(zmq_errno()));
        abort();
    }
}

static void *run(void *arg)
{
    struct fake *fake = arg;
    fake->script(fake);
    return NULL;
}

static void listen_there(struct fake *fake)
{
    fake->context = zmq_ctx_new();
    fake->socket = zmq_socket(fake->context, ZMQ_ROUTER);
    int zero = 0, tick_ms = 20;
    zmq_setsockopt(fake->socket, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(fake->socket, ZMQ_SNDHWM, &zero, sizeof zero);
    zmq_setsockopt(fake->socket, ZMQ_RCVHWM, &zero, sizeof zero);
    /* So that it notices the end of its test. */
    zmq_setsockopt(fake->socket, ZMQ_RCVTIMEO, &tick_ms, sizeof tick_ms);
    must(zmq_bind(fake->socket, fake->endpoint) == 0, "bind");
}

struct fake *fake_start(fake_script *script)
{
    struct fake *fake = calloc(1, sizeof *fake);
    must(fake != NULL, "memory");
    snprintf(fake->folder, sizeof fake->folder, "/tmp/pmap-fake-XXXXXX");
    must(mkdtemp(fake->folder) != NULL, "folder");
    snprintf(fake->endpoint, sizeof fake->endpoint, "ipc://%s/sock", fake->folder);
    listen_there(fake);
    fake->script = script;
    fake->decoder = decoder_new();
    wire_init(&fake->wire);
    sem_init(&fake->go, 0, 0);
    must(pthread_create(&fake->thread, NULL, run, fake) == 0, "thread");
    return fake;
}

static void clear(struct fake *fake)
{
    for (unsigned i = 0; i < fake->count; i++)
        zmq_msg_close(&fake->frame[i]);
    fake->count = 0;
}

void fake_die(struct fake *fake)
{
    clear(fake);
    if (fake->socket)
        zmq_close(fake->socket);
    fake->socket = NULL;
    if (fake->context)
        zmq_ctx_term(fake->context);
    fake->context = NULL;
}

void fake_rise(struct fake *fake)
{
    listen_there(fake);
}

void fake_stop(struct fake *fake)
{
    atomic_store(&fake->over, true);
    sem_post(&fake->go);
    pthread_join(fake->thread, NULL);
    fake_die(fake);
    unlink(strchr(fake->endpoint, '/') + 2);
    rmdir(fake->folder);
    decoder_free(fake->decoder);
    wire_free(&fake->wire);
    sem_destroy(&fake->go);
    free(fake);
}

const char *fake_endpoint(const struct fake *fake)
{
    return fake->endpoint;
}

bool fake_wait(struct fake *fake)
{
    while (sem_wait(&fake->go) < 0)
        ;
    return !atomic_load(&fake->over);
}

void fake_go(struct fake *fake)
{
    sem_post(&fake->go);
}

bool fake_receive(struct fake *fake, struct message *m)
{
    clear(fake);
    int size;
    while ((size = zmq_recv(fake->socket, fake->client, sizeof fake->client, 0)) < 0) {
        must(zmq_errno() == EAGAIN || zmq_errno() == EINTR, "receive");
        if (atomic_load(&fake->over))
            return false;
    }
    fake->client_size = (size_t)size;
    do {
        must(fake->count < PROTOCOL_FRAMES_MAX, "too many frames");
        zmq_msg_init(&fake->frame[fake->count]);
        must(zmq_msg_recv(&fake->frame[fake->count], fake->socket, 0) >= 0, "receive");
    } while (zmq_msg_more(&fake->frame[fake->count++]));
    const char *why = "";
    int rc = message_decode(fake->decoder, zmq_msg_data(&fake->frame[0]), zmq_msg_size(&fake->frame[0]),
                            fake->count, FROM_CLIENT, m, &why);
    if (rc < 0)
        fprintf(stderr, "the fake daemon: a bad message: %s\n", why);
    must(rc == 0, "decode");
    return true;
}

bool fake_expect(struct fake *fake, enum message_type type, struct message *m)
{
    do {
        if (!fake_receive(fake, m))
            return false;
    } while (m->type != type);
    return true;
}

struct bytes fake_frame(const struct fake *fake, unsigned i)
{
    if (i >= fake->count)
        return (struct bytes){NULL, 0};
    zmq_msg_t *frame = (zmq_msg_t *)&fake->frame[i];
    return (struct bytes){zmq_msg_data(frame), zmq_msg_size(frame)};
}

void fake_send_raw(struct fake *fake, struct bytes header, const struct bytes *frames, unsigned count)
{
    zmq_send(fake->socket, fake->client, fake->client_size, ZMQ_SNDMORE);
    zmq_send(fake->socket, header.data, header.size, count > 0 ? ZMQ_SNDMORE : 0);
    for (unsigned i = 0; i < count; i++)
        zmq_send(fake->socket, frames[i].data, frames[i].size, i + 1 < count ? ZMQ_SNDMORE : 0);
}

void fake_send(struct fake *fake, const struct message *m, const struct bytes *frames, unsigned count)
{
    must(message_encode(m, &fake->wire) == 0, "encode");
    fake_send_raw(fake, (struct bytes){fake->wire.data, fake->wire.size}, frames, count);
}

bool fake_welcome(struct fake *fake, uint32_t min, uint32_t max)
{
    struct message m;
    if (!fake_expect(fake, MSG_HELLO, &m))
        return false;
    m = (struct message){.type = MSG_WELCOME,
                         .welcome = {.magic = text_of(PROTOCOL_MAGIC),
                                     .min = min,
                                     .max = max,
                                     .software = text_of("fake 1"),
                                     .instance = 77,
                                     .slots = 3,
                                     .max_message = PROTOCOL_MESSAGE_MAX,
                                     .max_item = PROTOCOL_ITEM_MAX}};
    fake_send(fake, &m, NULL, 0);
    return true;
}

bool fake_welcome_back(struct fake *fake)
{
    struct message m;
    if (!fake_welcome(fake, 1, 1) || !fake_expect(fake, MSG_PING, &m))
        return false;
    fake_send(fake, &(struct message){.type = MSG_PONG, .ping.token = m.ping.token}, NULL, 0);
    return true;
}

void fake_opened(struct fake *fake, uint64_t ref, uint64_t credit)
{
    fake_send(fake,
              &(struct message){.type = MSG_OPENED, .opened = {.ref = ref, .job = 42, .credit = credit}},
              NULL, 0);
}

void fake_result(struct fake *fake, struct message *m, const char *text, const char *error)
{
    uint8_t length[4], time[8], note[NOTE_SIZE];
    store_u32(length, (uint32_t)strlen(text));
    store_u64(time, 5);
    struct note n = {.kind = NOTE_ERROR, .text_len = error ? (uint32_t)strlen(error) : 0};
    note_store(note, &n);
    m->type = MSG_RESULTS;
    const struct bytes frames[] = {
        {length, 4}, {text, strlen(text)}, {time, 8}, {note, NOTE_SIZE}, {error, n.text_len}};
    fake_send(fake, m, frames, error ? 5 : 3);
}

void fake_silent(struct fake *fake)
{
    struct message m;
    while (fake_receive(fake, &m))
        ;
}
