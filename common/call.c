/* The call: taken from this process, encoded and decoded; see call.h. */
#include "common/call.h"

#include <errno.h>
#include <fcntl.h>
#include <msgpack.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/protocol.h"
#include "common/skim.h"
#include "common/smallfile.h"

/* The map, in it the limits, in them each one. */
enum { NESTING_MAX = 3 };

extern char **environ;

void call_init(struct call *call)
{
    memset(call, 0, sizeof *call);
}

static void free_strings(char ***strings, size_t *count)
{
    for (size_t i = 0; i < *count; i++)
        free((*strings)[i]);
    free(*strings);
    *strings = NULL;
    *count = 0;
}

void call_free(struct call *call)
{
    if (!call)
        return;
    free_strings(&call->argv, &call->argc);
    free_strings(&call->env, &call->env_count);
    free(call->cwd);
    free(call->placeholder);
    free(call->type);
    call_init(call);
}

/*** Taking ***/

static int copy_strings(const char *const *from, size_t count, char ***strings, size_t *out_count)
{
    char **copy = calloc(count + 1, sizeof *copy);
    if (!copy)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        if (!(copy[i] = strdup(from[i]))) {
            free_strings(&copy, &i);
            return -ENOMEM;
        }
    }
    free_strings(strings, out_count);
    *strings = copy;
    *out_count = count;
    return 0;
}

int call_set_argv(struct call *call, const char *const *argv, size_t argc)
{
    return copy_strings(argv, argc, &call->argv, &call->argc);
}

/* Only what looks like NAME=VALUE: an environment may hold anything. */
static int capture_environment(struct call *call)
{
    size_t all = 0, count = 0;
    while (environ && environ[all])
        all++;
    const char **kept = calloc(all + 1, sizeof *kept);
    if (!kept)
        return -ENOMEM;
    for (size_t i = 0; i < all; i++) {
        if (strchr(environ[i], '='))
            kept[count++] = environ[i];
    }
    int rc = copy_strings(kept, count, &call->env, &call->env_count);
    free(kept);
    return rc;
}

/* The number behind `key` at the beginning of a line of /proc/PID/status. Returns whether it is there. */
static bool status_number(const char *status, const char *key, int base, uint64_t *number)
{
    const char *line = smallfile_line(status, key);
    if (!line)
        return false;
    char *end;
    *number = strtoull(line, &end, base);
    return *end == '\n';
}

/*
 * What is ignored, and the umask: read from /proc, which takes 9 µs where a sigaction(2) for each of 64
 * signals takes 68, and needs no umask(2) that other threads could notice. Returns false where that is not
 * to be had.
 */
static bool capture_status(struct call *call)
{
    char text[4096];
    uint64_t mask, ignored;
    if (smallfile_read(AT_FDCWD, "/proc/self/status", text, sizeof text) <= 0)
        return false;
    if (!status_number(text, "Umask:", 8, &mask) || !status_number(text, "SigIgn:", 16, &ignored))
        return false;
    call->umask = (uint32_t)mask;
    call->ignored = ignored;
    return true;
}

/* The same, asked of the kernel one by one. */
static void capture_each(struct call *call)
{
    mode_t mask = umask(022);
    umask(mask);
    call->umask = mask;
    for (int n = 1; n <= 64; n++) {
        struct sigaction action;
        if (sigaction(n, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
            call->ignored |= UINT64_C(1) << (n - 1);
    }
}

static void capture_blocked(struct call *call)
{
    sigset_t blocked;
    if (sigprocmask(SIG_BLOCK, NULL, &blocked) < 0)
        return;
    for (int n = 1; n <= 64; n++) {
        if (sigismember(&blocked, n) == 1)
            call->blocked |= UINT64_C(1) << (n - 1);
    }
}

static void capture_cpus(struct call *call)
{
    cpu_set_t *set = CPU_ALLOC(8 * (size_t)CALL_CPUS_MAX);
    size_t size = CPU_ALLOC_SIZE(8 * (size_t)CALL_CPUS_MAX);
    if (!set)
        return; /* as the worker's */
    CPU_ZERO_S(size, set);
    if (sched_getaffinity(0, size, set) == 0) {
        int left = CPU_COUNT_S(size, set);
        for (size_t i = 0; left > 0; i++) {
            if (CPU_ISSET_S(i, size, set)) {
                left--;
                call->cpus[i / 8] |= (uint8_t)(1U << i % 8);
                call->cpus_size = i / 8 + 1;
            }
        }
    }
    CPU_FREE(set);
}

static void capture_limits(struct call *call)
{
    call->rlimit_count = 0;
    for (unsigned resource = 0; resource < RLIM_NLIMITS; resource++) {
        struct rlimit limit;
        if (getrlimit((int)resource, &limit) < 0)
            continue;
        call->rlimits[call->rlimit_count++] = (struct call_rlimit){
            .resource = resource,
            .soft = limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur,
            .hard = limit.rlim_max == RLIM_INFINITY ? UINT64_MAX : limit.rlim_max,
        };
    }
}

int call_capture(struct call *call)
{
    int rc = capture_environment(call);
    if (rc < 0)
        return rc;
    if (!capture_status(call))
        capture_each(call);
    capture_blocked(call);
    errno = 0;
    int nice = getpriority(PRIO_PROCESS, 0);
    call->nice = errno == 0 ? nice : 0;
    capture_cpus(call);
    capture_limits(call);
    char *cwd = getcwd(NULL, 0);
    if (!cwd)
        return -errno;
    free(call->cwd);
    call->cwd = cwd;
    if (cwd[0] != '/') /* "(unreachable)…": getcwd(3) */
        return -ENOENT;
    return 0;
}

/*** Encoding ***/

static int pack_key(msgpack_packer *pk, const char *key)
{
    return msgpack_pack_str_with_body(pk, key, strlen(key));
}

static int pack_bytes(msgpack_packer *pk, const void *data, size_t size)
{
    return msgpack_pack_bin_with_body(pk, data, size);
}

static int pack_string(msgpack_packer *pk, const char *key, const char *string)
{
    return pack_key(pk, key) < 0 ? -1 : pack_bytes(pk, string, strlen(string));
}

static int pack_strings(msgpack_packer *pk, const char *key, char *const *strings, size_t count)
{
    int rc = pack_key(pk, key) < 0 ? -1 : msgpack_pack_array(pk, count);
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = pack_bytes(pk, strings[i], strlen(strings[i]));
    return rc;
}

static int pack_limits(msgpack_packer *pk, const struct call *call)
{
    int rc = pack_key(pk, "rlimits") < 0 ? -1 : msgpack_pack_array(pk, call->rlimit_count);
    for (size_t i = 0; i < call->rlimit_count && rc == 0; i++) {
        const struct call_rlimit *limit = &call->rlimits[i];
        rc |= msgpack_pack_array(pk, 3);
        rc |= msgpack_pack_uint32(pk, limit->resource);
        rc |= msgpack_pack_uint64(pk, limit->soft);
        rc |= msgpack_pack_uint64(pk, limit->hard);
    }
    return rc;
}

static int pack_flag(msgpack_packer *pk, const char *key)
{
    return pack_key(pk, key) < 0 ? -1 : msgpack_pack_true(pk);
}

int call_encode(const struct call *call, void **data, size_t *size)
{
    msgpack_sbuffer buffer;
    msgpack_packer pk;
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&pk, &buffer, msgpack_sbuffer_write);
    size_t entries = 7 + (call->cwd != NULL) + (call->cpus_size > 0) + call->fields + call->file + call->raw +
                     (call->placeholder != NULL) + (call->type != NULL);
    int rc = msgpack_pack_map(&pk, entries);
    rc |= pack_strings(&pk, "argv", call->argv, call->argc);
    rc |= pack_strings(&pk, "env", call->env, call->env_count);
    rc |= pack_key(&pk, "umask") | msgpack_pack_uint32(&pk, call->umask);
    rc |= pack_key(&pk, "nice") | msgpack_pack_int32(&pk, call->nice);
    rc |= pack_limits(&pk, call);
    rc |= pack_key(&pk, "ignored") | msgpack_pack_uint64(&pk, call->ignored);
    rc |= pack_key(&pk, "blocked") | msgpack_pack_uint64(&pk, call->blocked);
    if (call->cwd)
        rc |= pack_string(&pk, "cwd", call->cwd);
    if (call->cpus_size > 0)
        rc |= pack_key(&pk, "cpus") | pack_bytes(&pk, call->cpus, call->cpus_size);
    if (call->fields)
        rc |= pack_flag(&pk, "fields");
    if (call->file)
        rc |= pack_flag(&pk, "file");
    if (call->raw)
        rc |= pack_flag(&pk, "raw");
    if (call->placeholder)
        rc |= pack_string(&pk, "placeholder", call->placeholder);
    if (call->type)
        rc |= pack_string(&pk, "type", call->type);
    if (rc != 0 || buffer.size > PROTOCOL_CALL_MAX) {
        msgpack_sbuffer_destroy(&buffer);
        return rc != 0 ? -ENOMEM : -EMSGSIZE;
    }
    *size = buffer.size;
    *data = msgpack_sbuffer_release(&buffer);
    return 0;
}

/*** Decoding ***/

static int bad(const char **why, const char *text)
{
    *why = text;
    return -EPROTO;
}

static int read_string(const msgpack_object *o, char **out, const char **why)
{
    if (o->type != MSGPACK_OBJECT_BIN || memchr(o->via.bin.ptr, 0, o->via.bin.size))
        return bad(why, "call: a string must be binary, without a NUL");
    char *copy = strndup(o->via.bin.ptr, o->via.bin.size);
    if (!copy)
        return -ENOMEM;
    *out = copy;
    return 0;
}

static int read_strings(const msgpack_object *o, char ***strings, size_t *count, const char **why)
{
    if (o->type != MSGPACK_OBJECT_ARRAY)
        return bad(why, "call: strings must be an array");
    *strings = calloc((size_t)o->via.array.size + 1, sizeof **strings);
    if (!*strings)
        return -ENOMEM;
    for (; *count < o->via.array.size; ++*count) {
        int rc = read_string(&o->via.array.ptr[*count], &(*strings)[*count], why);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int read_number(const msgpack_object *o, uint64_t max, uint64_t *out, const char **why)
{
    if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER || o->via.u64 > max)
        return bad(why, "call: a number is missing or out of range");
    *out = o->via.u64;
    return 0;
}

static int read_nice(const msgpack_object *o, int32_t *out, const char **why)
{
    bool number = o->type == MSGPACK_OBJECT_POSITIVE_INTEGER || o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER;
    if (!number || o->via.i64 < -20 || o->via.i64 > 19)
        return bad(why, "call: the niceness is out of range");
    *out = (int32_t)o->via.i64;
    return 0;
}

static int read_cpus(const msgpack_object *o, struct call *call, const char **why)
{
    if (o->type != MSGPACK_OBJECT_BIN || o->via.bin.size == 0 || o->via.bin.size > CALL_CPUS_MAX)
        return bad(why, "call: the mask of CPUs is malformed");
    memcpy(call->cpus, o->via.bin.ptr, o->via.bin.size);
    call->cpus_size = o->via.bin.size;
    return 0;
}

static int read_limits(const msgpack_object *o, struct call *call, const char **why)
{
    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size > CALL_RLIMITS_MAX)
        return bad(why, "call: limits must be an array");
    for (; call->rlimit_count < o->via.array.size; call->rlimit_count++) {
        const msgpack_object *entry = &o->via.array.ptr[call->rlimit_count];
        struct call_rlimit *limit = &call->rlimits[call->rlimit_count];
        uint64_t resource;
        if (entry->type != MSGPACK_OBJECT_ARRAY || entry->via.array.size != 3)
            return bad(why, "call: a limit is [resource, soft, hard]");
        int rc = read_number(&entry->via.array.ptr[0], UINT32_MAX, &resource, why);
        if (rc == 0)
            rc = read_number(&entry->via.array.ptr[1], UINT64_MAX, &limit->soft, why);
        if (rc == 0)
            rc = read_number(&entry->via.array.ptr[2], UINT64_MAX, &limit->hard, why);
        if (rc < 0)
            return rc;
        limit->resource = (uint32_t)resource;
    }
    return 0;
}

static int read_flag(const msgpack_object *o, bool *out, const char **why)
{
    if (o->type != MSGPACK_OBJECT_BOOLEAN)
        return bad(why, "call: a flag must be true or false");
    *out = o->via.boolean;
    return 0;
}

static int read_environment(const msgpack_object *o, struct call *call, const char **why)
{
    int rc = read_strings(o, &call->env, &call->env_count, why);
    for (size_t i = 0; rc == 0 && i < call->env_count; i++) {
        if (!strchr(call->env[i], '='))
            return bad(why, "call: an environment variable has no '='");
    }
    return rc;
}

static int read_cwd(const msgpack_object *o, struct call *call, const char **why)
{
    int rc = read_string(o, &call->cwd, why);
    return rc == 0 && call->cwd[0] != '/' ? bad(why, "call: the working directory is not absolute") : rc;
}

static int read_umask(const msgpack_object *o, struct call *call, const char **why)
{
    uint64_t mask;
    int rc = read_number(o, 0777, &mask, why);
    if (rc == 0)
        call->umask = (uint32_t)mask;
    return rc;
}

#define KEYS(X)                                                                                              \
    X(argv, read_strings(o, &call->argv, &call->argc, why))                                                  \
    X(env, read_environment(o, call, why))                                                                   \
    X(cwd, read_cwd(o, call, why))                                                                           \
    X(umask, read_umask(o, call, why))                                                                       \
    X(nice, read_nice(o, &call->nice, why))                                                                  \
    X(cpus, read_cpus(o, call, why))                                                                         \
    X(rlimits, read_limits(o, call, why))                                                                    \
    X(ignored, read_number(o, UINT64_MAX, &call->ignored, why))                                              \
    X(blocked, read_number(o, UINT64_MAX, &call->blocked, why))                                              \
    X(fields, read_flag(o, &call->fields, why))                                                              \
    X(file, read_flag(o, &call->file, why))                                                                  \
    X(raw, read_flag(o, &call->raw, why))                                                                    \
    X(placeholder, read_string(o, &call->placeholder, why))                                                  \
    X(type, read_string(o, &call->type, why))

enum {
#define X(name, read) KEY_##name,
    KEYS(X)
#undef X
        KEY_COUNT
};

static int read_entry(unsigned key, const msgpack_object *o, struct call *call, const char **why)
{
    switch (key) {
#define X(name, read)                                                                                        \
    case KEY_##name:                                                                                         \
        return read;
        KEYS(X)
#undef X
    }
    return bad(why, "call: unknown key");
}

static unsigned find_key(const msgpack_object *o)
{
    static const char *const names[] = {
#define X(name, read) #name,
        KEYS(X)
#undef X
    };
    unsigned key = 0;
    if (o->type != MSGPACK_OBJECT_STR)
        return KEY_COUNT;
    while (key < KEY_COUNT && !text_is((struct text){o->via.str.ptr, o->via.str.size}, names[key]))
        key++;
    return key;
}

static int read_map(const msgpack_object *o, struct call *call, const char **why)
{
    unsigned seen = 0;
    if (o->type != MSGPACK_OBJECT_MAP)
        return bad(why, "call: not a map");
    for (uint32_t i = 0; i < o->via.map.size; i++) {
        unsigned key = find_key(&o->via.map.ptr[i].key);
        if (key == KEY_COUNT || seen & 1U << key)
            return bad(why, key == KEY_COUNT ? "call: unknown key" : "call: a key comes twice");
        seen |= 1U << key;
        int rc = read_entry(key, &o->via.map.ptr[i].val, call, why);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int call_decode(const void *data, size_t size, struct call *out, const char **why)
{
    msgpack_zone zone;
    msgpack_object o;
    size_t used = 0;
    struct call call;
    call_init(&call);
    if (size == 0 || size > PROTOCOL_CALL_MAX)
        return bad(why, "call: missing or too large");
    if (skim(data, size, NESTING_MAX, true) != SKIM_FINE)
        return bad(why, "call: not MessagePack");
    if (!msgpack_zone_init(&zone, 8192))
        return -ENOMEM;
    msgpack_unpack_return unpacked = msgpack_unpack(data, size, &used, &zone, &o);
    int rc = 0;
    if (unpacked == MSGPACK_UNPACK_NOMEM_ERROR)
        rc = -ENOMEM;
    else if (unpacked != MSGPACK_UNPACK_SUCCESS || used != size)
        rc = bad(why, "call: not MessagePack");
    else
        rc = read_map(&o, &call, why);
    msgpack_zone_destroy(&zone);
    if (rc < 0) {
        call_free(&call);
        return rc;
    }
    *out = call;
    return 0;
}
