/*
 * Hostile and broken peers against the real pmapd: whatever they do, they are told why or cut, and everybody
 * else is served as before by the same process. `hostile PMAPD [NAME…]`: all attacks, or those whose names
 * begin so. One line of TAP an attack. `hostile --role ROLE ENDPOINT` is a peer in a process of its own.
 */
#include "tests/cli/hostile.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

bool complain(struct arena *a, const char *format, ...)
{
    va_list args;
    if (a->why[0] != '\0')
        return false; /* the first reason is the one */
    va_start(args, format);
    vsnprintf(a->why, sizeof a->why, format, args);
    va_end(args);
    return false;
}

int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

void pause_briefly(void)
{
    const struct timespec pause = {.tv_nsec = 3000000};
    nanosleep(&pause, NULL);
}

uint64_t next_random(uint64_t *seed)
{
    /* splitmix64 */
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/*** The arena ***/

static bool arena_open(struct arena *a)
{
    a->why[0] = '\0';
    a->attack = "start";
    a->context = zmq_ctx_new();
    if (a->context == NULL)
        return complain(a, "no ZeroMQ context");
    zmq_ctx_set(a->context, ZMQ_BLOCKY, 0);
    zmq_ctx_set(a->context, ZMQ_MAX_SOCKETS, 2000);
    return daemon_start(a, &a->daemon, 0) && (a->witness = peer_new(a)) != NULL;
}

static void arena_close(struct arena *a)
{
    for (size_t i = 0; i < a->dropped_count; i++)
        peer_free(a->dropped[i]);
    a->dropped_count = 0;
    peer_free(a->witness);
    a->witness = NULL;
    daemon_kill(&a->daemon);
    if (a->context != NULL)
        zmq_ctx_destroy(a->context);
    a->context = NULL;
}

static bool run_breach(struct arena *a, const struct attack *attack)
{
    struct peer *p = attack->stranger ? peer_connect(a, &a->daemon, NULL, 0) : peer_new(a);
    if (p == NULL)
        return false;
    if (!attack->breach(p)) {
        peer_free(p);
        return complain(a, "the breach could not be committed");
    }
    return peer_refused(p, PERR_PROTOCOL, attack->words);
}

static bool run_attack(struct arena *a, const struct attack *attack)
{
    a->why[0] = '\0';
    a->attack = attack->name;
    bool ok = attack->run != NULL ? attack->run(a) : run_breach(a, attack);
    ok = ok && arena_check(a);
    /* Those who must be cut are waited for together: it takes half a second. */
    if (ok && (attack->run != NULL || a->dropped_count >= DROPPED_MOST))
        ok = arena_settle(a);
    return ok;
}

/* After a failure the daemon is a new one, so that the next attacks say something too. */
static bool report(struct arena *a, bool ok, unsigned number, int64_t began_ms)
{
    long rss_kb = daemon_rss_kb(&a->daemon);
    printf("%s %u - %s # %lld ms, daemon %ld kB\n", ok ? "ok" : "not ok", number, a->attack,
           (long long)(now_ms() - began_ms), rss_kb);
    if (!ok) {
        printf("# %s\n", a->why);
        daemon_print_log(&a->daemon);
        arena_close(a);
    }
    fflush(stdout);
    return ok || arena_open(a);
}

static bool is_wanted(const struct attack *attack, char **names, int count)
{
    for (int i = 0; i < count; i++) {
        if (strncmp(attack->name, names[i], strlen(names[i])) == 0)
            return true;
    }
    return count == 0;
}

static int run_all(struct arena *a, char **names, int count)
{
    const struct attack *const tables[] = {session_attacks,   header_attacks, job_attacks, call_attacks,
                                           transport_attacks, load_attacks,   fuzz_attacks};
    unsigned number = 0, failed = 0;
    for (size_t t = 0; t < COUNT_OF(tables); t++) {
        for (const struct attack *attack = tables[t]; attack->name != NULL; attack++) {
            if (!is_wanted(attack, names, count))
                continue;
            int64_t began_ms = now_ms();
            bool ok = run_attack(a, attack);
            failed += !ok;
            if (!report(a, ok, ++number, began_ms)) {
                printf("Bail out! %s\n", a->why);
                return EXIT_FAILURE;
            }
        }
    }
    a->why[0] = '\0';
    a->attack = "all who broke the protocol are cut, and the daemon ends in good order";
    int64_t began_ms = now_ms();
    bool ok = arena_settle(a) && daemon_stop(a, &a->daemon);
    printf("%s %u - %s # %lld ms\n", ok ? "ok" : "not ok", ++number, a->attack,
           (long long)(now_ms() - began_ms));
    if (!ok) {
        failed++;
        printf("# %s\n", a->why);
        daemon_print_log(&a->daemon);
    }
    printf("1..%u\n", number);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    static struct arena arena;
    struct rlimit files;
    if (argc == 4 && strcmp(argv[1], "--role") == 0)
        return role_main(argv[2], argv[3]);
    if (argc < 2) {
        fprintf(stderr, "usage: hostile PMAPD [NAME…]\n");
        return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return EXIT_FAILURE;
    arena.program = argv[1];
    arena.self = "/proc/self/exe";
    if (!arena_open(&arena)) {
        printf("Bail out! %s\n", arena.why);
        daemon_print_log(&arena.daemon);
        arena_close(&arena);
        return EXIT_FAILURE;
    }
    int status = run_all(&arena, argv + 2, argc - 2);
    arena_close(&arena);
    return status;
}
