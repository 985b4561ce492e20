/* What peers in processes of their own do: they say by one byte on standard output how far they are. */
#include "tests/cli/hostile.h"

#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void tell(char byte)
{
    if (write(STDOUT_FILENO, &byte, 1) != 1)
        _exit(1);
}

/* Opens a job of long duration and has its first result. */
static bool sleeper(struct arena *a)
{
    enum { ITEMS = 500 };
    struct frame items[ITEMS];
    struct peer *p = peer_new(a);
    for (unsigned i = 0; i < ITEMS; i++)
        items[i] = i == 0 ? FRAME("0") : FRAME("0.3");
    if (p == NULL || !say_open(p, 1, "sleep", 1 << 20, items, ITEMS, false) || !peer_await(p, MSG_RESULTS))
        return false;
    tell('r');
    for (;;)
        pause();
}

/* Has as much sent to it as it can, and reads none of it. */
static bool glutton(struct arena *a)
{
    struct peer *p = peer_new(a);
    uint64_t next = 0;
    if (p == NULL || !say_open(p, 1, "echo", PROTOCOL_COUNT_MAX, NULL, 0, false) ||
        !peer_await(p, MSG_OPENED))
        return false;
    for (int64_t credit = (int64_t)p->in.opened.credit; credit > 0; credit -= 500032) {
        if (!say_blanks(p, 1, next++, 1, 500000))
            return false;
    }
    tell('r');
    for (;;)
        pause();
}

/* As another user: WELCOME, and then ERROR REFUSED. */
static bool stranger(struct arena *a)
{
    enum { NOBODY = 65533 };
    if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
        setresuid(NOBODY, NOBODY, NOBODY) < 0)
        return false;
    struct peer *p = peer_connect(a, &a->daemon, NULL, 0);
    if (p == NULL || !say_hello(p) || peer_receive(p, PATIENCE_MS) <= 0)
        return false;
    bool welcome = p->in.type == MSG_WELCOME;
    tell(welcome && peer_await_error(p, NULL, PERR_REFUSED, "may not") ? 'y' : 'n');
    return true;
}

/* Goes on without waiting for its WELCOME, while the daemon has it found out about our account. */
static bool hasty(struct arena *a)
{
    struct peer *p = peer_connect(a, &a->daemon, NULL, 0);
    if (p == NULL)
        return false;
    bool ok = say_hello(p) && say_ping(p, 1) && peer_await(p, MSG_WELCOME) &&
              peer_await_error(p, NULL, PERR_PROTOCOL, "WELCOME must be waited for");
    peer_free(p);
    return ok;
}

int role_main(const char *role, const char *endpoint)
{
    static struct arena arena;
    static const struct {
        const char *name;
        bool (*run)(struct arena *a);
    } roles[] = {{"sleeper", sleeper}, {"glutton", glutton}, {"stranger", stranger}, {"hasty", hasty}};
    arena.attack = role;
    arena.context = zmq_ctx_new();
    /* The daemon is not this process's child: it is never seen to end, and has no log here. */
    arena.daemon = (struct daemon){.pid = getppid(), .log_fd = -1};
    snprintf(arena.daemon.endpoint, sizeof arena.daemon.endpoint, "%s", endpoint);
    for (size_t i = 0; arena.context != NULL && i < COUNT_OF(roles); i++) {
        if (strcmp(role, roles[i].name) == 0 && roles[i].run(&arena))
            return EXIT_SUCCESS;
    }
    fprintf(stderr, "%s: %s\n", role, arena.why);
    return EXIT_FAILURE;
}
