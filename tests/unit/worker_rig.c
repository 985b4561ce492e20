/* The daemon's side of a pmap-worker in tests; see worker_rig.h. */
#include "tests/unit/worker_rig.h"

#include "common/batch.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include <cmocka.h>

enum { LIMIT_MS = 20000, NUMBER = 7, SLOT = 3 };

char rig_failure[4096];
static pid_t running; /* a worker; 0: none */

static void nap(void)
{
    const struct timespec t = {.tv_nsec = 2000000};
    nanosleep(&t, NULL);
}

/*** The program ***/

static void copy_file(const char *from, const char *to)
{
    char block[65536];
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    assert_true(in >= 0 && out >= 0);
    for (ssize_t n; (n = read(in, block, sizeof block)) != 0;) {
        assert_true(n > 0);
        assert_int_equal(write(out, block, (size_t)n), n);
    }
    close(in);
    close(out);
}

static const char *const hosts[] = {"pmap-exec", "pmap-host", "python3"};

static void make_folder(struct rig *rig)
{
    char path[128];
    snprintf(rig->folder, sizeof rig->folder, "/tmp/pmap-test-worker-XXXXXX");
    assert_non_null(mkdtemp(rig->folder));
    snprintf(path, sizeof path, "%s/pmap-worker", rig->folder);
    copy_file(PMAP_WORKER, path);
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        snprintf(path, sizeof path, "%s/%s", rig->folder, hosts[i]);
        assert_int_equal(symlink(WORKER_HOST, path), 0);
    }
}

static void remove_folder(const struct rig *rig)
{
    static const char *const files[] = {"pmap-worker", "pmap-exec", "pmap-host", "python3", "socket"};
    char path[128];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", rig->folder, files[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(rig->folder), 0); /* so nothing else is left in it */
}

static void start_worker(struct rig *rig, const char *endpoint)
{
    char path[128], number[16], slot[16];
    snprintf(path, sizeof path, "%s/pmap-worker", rig->folder);
    snprintf(number, sizeof number, "%d", NUMBER);
    snprintf(slot, sizeof slot, "%d", SLOT);
    rig->worker = fork();
    assert_true(rig->worker >= 0);
    if (rig->worker == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO); /* stderr stays: sanitizers report there */
        close(null);
        umask(077);
        if (chdir("/") == 0)
            execl(path, path, endpoint, number, slot, (char *)NULL);
        _exit(127);
    }
    running = rig->worker;
}

static void receive_id(struct rig *rig)
{
    int n = zmq_recv(rig->router, rig->id, sizeof rig->id, 0);
    if (n < 0)
        fail_msg("no message within %d ms: %s", LIMIT_MS, zmq_strerror(errno));
    rig->id_size = (size_t)n;
}

void rig_start(struct rig *rig)
{
    const int limit = LIMIT_MS, none = 0;
    char endpoint[128];
    memset(rig, 0, sizeof *rig);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    make_folder(rig);
    rig->context = zmq_ctx_new();
    rig->router = zmq_socket(rig->context, ZMQ_ROUTER);
    rig->decoder = decoder_new();
    assert_int_equal(zmq_setsockopt(rig->router, ZMQ_RCVTIMEO, &limit, sizeof limit), 0);
    assert_int_equal(zmq_setsockopt(rig->router, ZMQ_LINGER, &none, sizeof none), 0);
    assert_int_equal(zmq_setsockopt(rig->router, ZMQ_SNDHWM, &none, sizeof none), 0);
    assert_int_equal(zmq_setsockopt(rig->router, ZMQ_RCVHWM, &none, sizeof none), 0);
    snprintf(endpoint, sizeof endpoint, "ipc://%s/socket", rig->folder);
    assert_int_equal(zmq_bind(rig->router, endpoint), 0);
    start_worker(rig, endpoint);
    uint8_t header[64];
    struct message m;
    const char *why;
    receive_id(rig);
    int n = zmq_recv(rig->router, header, sizeof header, 0);
    assert_true(n > 0);
    assert_int_equal(message_decode(rig->decoder, header, (size_t)n, 1, FROM_WORKER, &m, &why), 0);
    assert_int_equal(m.type, MSG_READY);
    assert_int_equal(m.ready.slot, NUMBER);
}

/* No process is left, within some time. */
static void nobody_left(void)
{
    for (int i = 0; i < LIMIT_MS / 2; i++) {
        if (waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD)
            return;
        nap();
    }
    fail_msg("processes are left");
}

int rig_tear_down(void **state)
{
    (void)state;
    if (running > 0)
        kill(running, SIGKILL);
    running = 0;
    for (int i = 0; i < LIMIT_MS / 2 && waitpid(-1, NULL, WNOHANG) >= 0; i++)
        nap();
    return 0;
}

static int wait_worker(struct rig *rig)
{
    int status;
    for (int i = 0; i < LIMIT_MS / 2; i++) {
        if (waitpid(rig->worker, &status, WNOHANG) == rig->worker) {
            running = 0;
            return status;
        }
        nap();
    }
    fail_msg("the worker does not go");
    return -1;
}

static void close_rig(struct rig *rig)
{
    if (rig->router)
        zmq_close(rig->router);
    zmq_ctx_term(rig->context);
    decoder_free(rig->decoder);
    remove_folder(rig);
}

void rig_gone(struct rig *rig, int status)
{
    int got = wait_worker(rig);
    if (status >= 0) {
        assert_true(WIFEXITED(got));
        assert_int_equal(WEXITSTATUS(got), status);
    }
    nobody_left();
    close_rig(rig);
}

/*** Out ***/

void rig_send(struct rig *rig, const void *data, size_t size, bool more)
{
    assert_int_equal(zmq_send(rig->router, data, size, more ? ZMQ_SNDMORE : 0), (int)size);
}

static void send_header(struct rig *rig, const struct message *m, bool more)
{
    struct wire wire;
    wire_init(&wire);
    assert_int_equal(message_encode(m, &wire), 0);
    rig_send(rig, rig->id, rig->id_size, true);
    rig_send(rig, wire.data, wire.size, more);
    wire_free(&wire);
}

void rig_stop(struct rig *rig)
{
    const struct message m = {.type = MSG_STOP};
    send_header(rig, &m, false);
    rig_gone(rig, 0);
}

void rig_call(struct rig *rig, struct call *call, const char *argument)
{
    char path[128], folder[128];
    call_init(call);
    snprintf(path, sizeof path, "PATH=/nowhere:%s", rig->folder);
    snprintf(folder, sizeof folder, "TMPDIR=%s", rig->folder);
    const char *const argv[] = {argument};
    const char *const env[] = {path, folder, "OWN=mine", "NOTIFY_SOCKET=/run/secret"};
    assert_int_equal(call_set_argv(call, argv, 1), 0);
    call->cwd = strdup("/");
    call->env = calloc(5, sizeof *call->env);
    for (size_t i = 0; i < 4; i++)
        call->env[i] = strdup(env[i]);
    call->env_count = 4;
    call->umask = 027;
}

void rig_job(struct rig *rig, uint64_t job, enum function_kind kind, const struct job_options *options,
             const struct call *call, uint64_t spool)
{
    static const struct job_options none;
    struct message m = {.type = MSG_JOB,
                        .job = {.job = job,
                                .kind = kind,
                                .function = text_of("function"),
                                .options = options ? *options : none,
                                .kill_grace_ns = 200000000,
                                .spool = spool}};
    void *data = NULL;
    size_t size = 0;
    if (call)
        assert_int_equal(call_encode(call, &data, &size), 0);
    send_header(rig, &m, true);
    rig_send(rig, data ? data : "", size, false);
    free(data);
}

void rig_plain_job(struct rig *rig, uint64_t job, enum function_kind kind, const struct job_options *options)
{
    struct call call;
    rig_call(rig, &call, "argument");
    rig_job(rig, job, kind, options, &call, UINT64_C(1) << 30);
    call_free(&call);
}

void rig_records(struct rig *rig, uint64_t chunk, uint64_t job, uint64_t credit, bool more,
                 const uint32_t *lengths, uint32_t count, const void *bytes, size_t size)
{
    struct message m = {.type = MSG_CHUNK,
                        .chunk = {.chunk = chunk,
                                  .job = job,
                                  .first = 100,
                                  .function = text_of("function"),
                                  .more = more,
                                  .credit = credit,
                                  .trace = rig->trace}};
    uint8_t *frame = calloc(count + 1, 4);
    for (uint32_t i = 0; i < count; i++)
        store_u32(frame + 4 * (size_t)i, lengths[i]);
    send_header(rig, &m, true);
    rig_send(rig, frame, 4 * (size_t)count, true);
    rig_send(rig, bytes, size, false);
    free(frame);
}

void rig_chunk(struct rig *rig, uint64_t chunk, uint64_t job, uint64_t credit, const char *const *items)
{
    uint32_t lengths[64], count = 0;
    char bytes[8192];
    size_t size = 0;
    for (; items[count]; count++) {
        lengths[count] = (uint32_t)strlen(items[count]);
        memcpy(bytes + size, items[count], lengths[count]);
        size += lengths[count];
    }
    rig_records(rig, chunk, job, credit, false, lengths, count, bytes, size);
}

void rig_order(struct rig *rig, enum message_type type, uint64_t chunk, uint64_t value)
{
    struct message m = {.type = type};
    if (type == MSG_GRANT) {
        m.grant.chunk = chunk;
        m.grant.bytes = value;
    } else {
        m.chunk_id.chunk = chunk;
        m.chunk_id.grace_ns = (int64_t)value;
    }
    send_header(rig, &m, false);
}

void rig_lend(struct rig *rig, uint64_t chunk, uint64_t lent, uint64_t back)
{
    struct message m = {.type = MSG_LEND, .lend = {.chunk = chunk, .lent = lent, .back = back}};
    send_header(rig, &m, false);
}

void rig_open_gate(struct rig *rig, uint64_t chunk)
{
    rig_lend(rig, chunk, 1, 0);
}

void rig_until_parked(struct rig *rig, uint64_t chunk, struct outcome *o)
{
    assert_int_equal(rig_take(rig, chunk, o, chunk, o), MSG_WORKED);
    assert_int_equal(o->count, 1);
    rig_open_gate(rig, chunk);
    while (!o->parked)
        rig_take(rig, chunk, o, chunk, o);
    assert_int_equal(o->count, 1);
}

void rig_grant_head(struct rig *rig, uint64_t chunk, uint64_t bytes)
{
    struct message m = {.type = MSG_GRANT, .grant = {.chunk = chunk, .bytes = bytes, .head = true}};
    send_header(rig, &m, false);
}

void rig_forget(struct rig *rig, uint64_t job)
{
    const struct message m = {.type = MSG_FORGET, .forget = {.job = job}};
    send_header(rig, &m, false);
}

/*** In ***/

struct outcome *outcome_new(void)
{
    struct outcome *o = calloc(1, sizeof *o);
    assert_non_null(o);
    return o;
}

void outcome_free(struct outcome *o)
{
    for (uint32_t i = 0; i < o->count + o->begun; i++) {
        free(o->item[i].bytes);
        free(o->item[i].text);
        free(o->item[i].printed);
    }
    free(o);
}

/* Memory grows in powers of two, so that a large result is not copied with each of its pieces. */
static size_t room_for(size_t len)
{
    size_t room = 16;
    while (room <= len)
        room *= 2;
    return room;
}

static char *append(char *to, size_t *len, const void *data, size_t size)
{
    if (!to || room_for(*len + size) != room_for(*len))
        to = realloc(to, room_for(*len + size));
    assert_non_null(to);
    memcpy(to + *len, data, size);
    *len += size;
    to[*len] = '\0';
    return to;
}

static void add_note(struct result *r, struct note note, const uint8_t *text)
{
    size_t len = 0;
    if (note.kind == NOTE_STDERR) {
        r->printed = append(r->printed, &r->printed_len, text, note.text_len);
    } else if (note.kind == NOTE_ATTEMPTS) {
        r->attempts = note.code;
    } else if (note.kind == NOTE_SLOT) {
        assert_false(r->placed);
        r->placed = true;
        r->slot = note.code;
        r->began_ns = load_u64(text);
    } else if (note_fails(note.kind) > 0) {
        assert_int_equal(r->kind, 0); /* fails once */
        r->kind = note.kind;
        r->code = note.code;
        free(r->text);
        r->text = append(NULL, &len, text, note.text_len);
    }
}

static void add_records(struct outcome *o, const struct batch *b)
{
    const uint8_t *bytes = b->bytes, *text = b->note_text;
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        assert_true(o->count < sizeof o->item / sizeof *o->item);
        struct result *r = &o->item[o->count];
        uint32_t len = batch_length(b, i);
        size_t zero = 0;
        r->bytes = append(r->bytes, &r->len, bytes, len);
        r->text = r->text ? r->text : append(NULL, &zero, "", 0);
        r->printed = r->printed ? r->printed : append(NULL, &zero, "", 0);
        r->ns += load_u64(b->times + 8 * (size_t)i);
        for (; n < b->note_count; n++) {
            struct note note = note_load(b->notes + NOTE_SIZE * (size_t)n);
            if (note.record != i)
                break;
            add_note(r, note, text);
            text += note.text_len;
        }
        bytes += len;
        o->begun = b->more;
        o->count += !b->more;
    }
    o->pieces += b->more;
    o->cost += batch_cost(b);
}

static void keep(struct batch *batch)
{
    (void)batch;
}

static void take_worked(struct outcome *o, const struct message *m, const void *const *data,
                        const size_t *size, size_t frames)
{
    assert_false(o->ended);
    if (frames > 0) {
        struct batch batch;
        assert_int_equal(results_init(&batch, data, size, frames, m->worked.more, keep), 0);
        add_records(o, &batch);
    } else {
        assert_true(m->worked.last);
    }
    o->messages++;
    o->ended = m->worked.last;
    o->run_ns += m->worked.run_ns;
    o->cpu_ns += m->worked.cpu_ns;
}

enum message_type rig_take(struct rig *rig, uint64_t chunk, struct outcome *o, uint64_t other,
                           struct outcome *other_o)
{
    zmq_msg_t frame[8];
    const void *data[8];
    size_t size[8], count = 0;
    struct message m;
    const char *why;
    receive_id(rig);
    for (bool more = true; more; count++) {
        assert_true(count < 8);
        zmq_msg_init(&frame[count]);
        assert_true(zmq_msg_recv(&frame[count], rig->router, 0) >= 0);
        more = zmq_msg_more(&frame[count]);
        data[count] = zmq_msg_data(&frame[count]);
        size[count] = zmq_msg_size(&frame[count]);
    }
    if (message_decode(rig->decoder, data[0], size[0], count, FROM_WORKER, &m, &why) < 0)
        fail_msg("malformed message: %s", why);
    if (m.type == MSG_WORKED) {
        assert_true(m.worked.chunk == chunk || m.worked.chunk == other);
        take_worked(m.worked.chunk == chunk ? o : other_o, &m, data + 1, size + 1, count - 1);
    } else if (m.type == MSG_PARKED) {
        assert_true(m.parked.chunk == chunk || m.parked.chunk == other);
        struct outcome *of = m.parked.chunk == chunk ? o : other_o;
        assert_false(of->parked);
        of->parked = true;
        of->parked_count = m.parked.count;
    } else if (m.type == MSG_RETURNED) {
        assert_int_equal(m.returned.chunk, chunk);
        assert_true(m.returned.tokens > o->returned && !o->ended && !o->parked);
        o->returned = m.returned.tokens;
    } else {
        assert_int_equal(m.type, MSG_FAILED);
        assert_true(m.failed.text.len < sizeof rig_failure);
        memcpy(rig_failure, m.failed.text.data, m.failed.text.len);
        rig_failure[m.failed.text.len] = '\0';
    }
    enum message_type type = m.type;
    for (size_t i = 0; i < count; i++)
        zmq_msg_close(&frame[i]);
    return type;
}

void rig_until_end(struct rig *rig, uint64_t chunk, struct outcome *o)
{
    bool was_parked = o->parked;
    while (!o->ended && o->parked == was_parked)
        rig_take(rig, chunk, o, chunk, o);
}

struct outcome *rig_run(struct rig *rig, uint64_t chunk, uint64_t job, const char *const *items)
{
    struct outcome *o = outcome_new();
    rig_chunk(rig, chunk, job, unlimited, items);
    rig_until_end(rig, chunk, o);
    return o;
}

bool rig_silent(struct rig *rig, int ms)
{
    zmq_pollitem_t item = {.socket = rig->router, .events = ZMQ_POLLIN};
    return zmq_poll(&item, 1, ms) == 0;
}

void assert_item(const struct outcome *o, uint32_t i, const char *bytes)
{
    assert_true(i < o->count);
    assert_int_equal(o->item[i].kind, 0);
    assert_string_equal(o->item[i].bytes, bytes);
}
