/*
 * Which pool pmapc talks to; see connect.h.
 */
#include "client/pmapc/connect.h"

#include "client/pmapc/start.h"
#include "client/pmapc/tell.h"
#include "common/clock.h"
#include "common/endpoint.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    PROBE_MS = 1000,   /* for a full backlog */
    CONNECT_MS = 5000, /* for WELCOME */
    LEAVE_MS = 10,     /* times the round: for a daemon that is leaving */
    ROUNDS = 12, /* a daemon that idles out between our look and our connect is looked for again, and one
                    that is flooded with connections may have room for ours a moment later */
    /* For one that is waited for. */
    LOOK_SOON = 10, /* between two looks in the first second */
    LOOK_LATER = 50,
    TELL_MS = 500, /* until it is told: most are back by then */
};

/* For how long a daemon is waited for that was there, as far as one can see, and does not serve us now. */
struct patience {
    int64_t most_ms;  /* 0: it is not */
    int64_t began_ms; /* when it was missed first; 0: not yet */
    bool quiet, told;
    bool seen;                   /* somebody has been there, or has left a socket */
    char endpoint[ENDPOINT_MAX]; /* where he is waited for; once told */
    int rounds, resets;
};

static int64_t now_ms(void)
{
    return now_ns() / 1000000;
}

static int64_t left_ms(const struct patience *p)
{
    return p->began_ms == 0 ? p->most_ms : p->began_ms + p->most_ms - now_ms();
}

static bool nobody(int error)
{
    return error == -ENOENT || error == -ECONNREFUSED || error == -ENOTDIR;
}

/* What the checks of endpoint_check say, in words. */
static const char *form_error(int error)
{
    switch (error) {
    case -EPROTONOSUPPORT:
        return "not an ipc:// endpoint";
    case -ENAMETOOLONG:
        return "the path is longer than 107 bytes";
    default:
        return "ipc:// needs an absolute path";
    }
}

static int fail(enum connect_mode mode, int status, const char *endpoint, const char *what)
{
    if (mode != CONNECT_QUIET)
        tell(status == STATUS_NO_POOL ? "no daemon at %s: %s" : "%s: %s", endpoint, what);
    return status;
}

/*
 * Is the folder of the user's own endpoint his? In /tmp anybody may have made it first, and then nothing in
 * it is to be trusted, whoever seems to listen there. Returns 0, -ENOENT, -EPERM or another error.
 */
static int own_folder(const char *endpoint)
{
    char folder[ENDPOINT_MAX];
    snprintf(folder, sizeof folder, "%s", endpoint_path(endpoint));
    *strrchr(folder, '/') = '\0';
    struct stat st;
    if (lstat(folder, &st) < 0)
        return -errno;
    return S_ISDIR(st.st_mode) && st.st_uid == geteuid() ? 0 : -EPERM;
}

/*
 * The endpoint to use where none was named; also the system's whose daemon is away, for as long as that is
 * waited for. Starts a daemon where none is found and mode allows it. Returns 0 or an exit status, having
 * told.
 */
static int choose(const struct globals *globals, enum connect_mode mode, const struct patience *patience,
                  char out[ENDPOINT_MAX], enum connect_origin *origin)
{
    bool may_start = mode == CONNECT_START && globals->autostart;
    *origin = CONNECT_FOUND;
    int rc = endpoint_probe(ENDPOINT_SYSTEM, PROBE_MS, NULL, NULL);
    if (rc == -EACCES)
        return fail(mode, STATUS_REFUSED, ENDPOINT_SYSTEM, tell_errno(rc));
    if (!nobody(rc) || (rc == -ECONNREFUSED && left_ms(patience) > 0)) {
        /* Somebody listens, or did; what else may be wrong, connecting will tell. */
        memcpy(out, ENDPOINT_SYSTEM, sizeof ENDPOINT_SYSTEM);
        return 0;
    }

    char own[ENDPOINT_MAX];
    rc = endpoint_private(own);
    if (rc < 0)
        return fail(mode, STATUS_NO_POOL, "$XDG_RUNTIME_DIR/pmapd/pmapd.sock", form_error(rc));
    rc = own_folder(own);
    if (rc == -EPERM)
        return fail(mode, STATUS_REFUSED, own, "its folder is not yours, so nothing in it is trusted");
    if (rc == 0)
        rc = endpoint_probe(own, PROBE_MS, NULL, NULL);
    if (nobody(rc)) {
        if (!may_start) {
            if (mode != CONNECT_QUIET)
                tell("no daemon at %s nor at %s", ENDPOINT_SYSTEM, own);
            return STATUS_NO_POOL;
        }
        int status = start_daemon(own);
        if (status != 0)
            return status;
        *origin = CONNECT_STARTED;
    } else if (may_start) {
        *origin = CONNECT_OWN;
    }
    memcpy(out, own, sizeof own);
    return 0;
}

/* Tells what libpmap said of a daemon. Some of its texts name the endpoint, and then stand for themselves. */
static void tell_said(const char *what, const char *endpoint, const char *said)
{
    if (strstr(said, endpoint))
        tell("%s", said);
    else
        tell("%s %s: %s", what, endpoint, said);
}

/* Tells why pmap_connect failed. pool may be NULL. */
static int refused(enum connect_mode mode, const char *endpoint, int64_t waited_ms, const pmap *pool,
                   int error)
{
    const char *said = pool && *pmap_error(pool) ? pmap_error(pool) : tell_errno(error);
    bool keep_out = error == -EACCES || error == -EPERM || error == -EDQUOT;
    if (nobody(error))
        return fail(mode, STATUS_NO_POOL, endpoint, tell_errno(error));
    if (mode == CONNECT_QUIET)
        return keep_out ? STATUS_REFUSED : STATUS_NO_POOL;
    if (keep_out) {
        tell_said("refused by the daemon at", endpoint, said);
        return STATUS_REFUSED;
    }
    if (error == -ECONNRESET)
        tell("the daemon at %s closed the connection %d times: have you too many open?", endpoint, ROUNDS);
    else if (error == -ETIMEDOUT)
        tell("no answer from the daemon at %s within %g s", endpoint, (double)waited_ms / 1e3);
    else
        tell_said("cannot use the daemon at", endpoint, said);
    return STATUS_NO_POOL;
}

/* Tells, once, that a daemon which is missed for this reason is waited for. */
static void tell_waiting(struct patience *p, const char *endpoint, int error)
{
    if (p->told || p->quiet || (error != -ETIMEDOUT && now_ms() - p->began_ms < TELL_MS))
        return;
    p->told = true;
    snprintf(p->endpoint, sizeof p->endpoint, "%s", endpoint);
    tell("the daemon at %s %s: waiting up to %g s for it to come back", endpoint,
         nobody(error)          ? "is gone"
         : error == -ESHUTDOWN  ? "is stopping"
         : error == -ECONNRESET ? "closed the connection"
                                : "does not answer",
         (double)p->most_ms / 1e3);
}

/* And that it is there, or who else is. */
static void tell_there(const struct patience *p, const char *endpoint)
{
    char took[TELL_ROOM];
    tell_duration((double)(now_ms() - p->began_ms) / 1e3, took);
    if (p->told && strcmp(p->endpoint, endpoint) != 0)
        tell("it is not back after %s: going on with the one at %s", took, endpoint);
    else if (p->told)
        tell("the daemon is back after %s: going on", took);
}

/*
 * pmap_connect has failed: is it to be tried again? If so, pauses. named: it is this endpoint or none; else
 * where nobody is the next choice may be another.
 */
static bool try_again(struct patience *p, const char *endpoint, bool named, int error)
{
    bool away = nobody(error), reset = error == -ECONNRESET;
    bool busy = error == -ESHUTDOWN || error == -ETIMEDOUT;
    p->seen = p->seen || !away || error == -ECONNREFUSED;
    p->resets = reset ? p->resets + 1 : 0;
    if (p->began_ms == 0)
        p->began_ms = now_ms();
    bool some = p->resets < ROUNDS;
    if (left_ms(p) > 0 && some && (reset || busy || (away && p->seen))) {
        tell_waiting(p, endpoint, error);
        bool soon = now_ms() - p->began_ms < 1000;
        poll(NULL, 0, reset ? LEAVE_MS * p->resets : soon ? LOOK_SOON : LOOK_LATER);
        return true;
    }
    if (++p->rounds >= ROUNDS)
        return false;
    /* One that was about to leave. It may need a moment for that; a new one is then found or started. */
    bool leaving = p->most_ms == 0 && (reset || error == -ESHUTDOWN);
    if (leaving)
        poll(NULL, 0, LEAVE_MS * p->rounds);
    return leaving || (away && !named);
}

/* How long one attempt may take: what is left for the daemon that is missed, and no less than ever for one
 * that was started in its place. */
static int attempt_ms(const struct patience *p, enum connect_origin origin)
{
    int64_t left = left_ms(p);
    bool missed = p->began_ms != 0 && left > 0 && origin != CONNECT_STARTED;
    return missed && left < CONNECT_MS ? (int)left : CONNECT_MS;
}

static int connect_as(const struct globals *globals, enum connect_mode mode, int reconnect_ms, bool quiet,
                      pmap **pool, enum connect_origin *origin)
{
    struct patience patience = {.most_ms = reconnect_ms, .quiet = quiet};
    struct pmap_options options = {.program = "pmapc", .reconnect_ms = reconnect_ms};
    char endpoint[ENDPOINT_MAX];
    *origin = CONNECT_FOUND;
    if (globals->endpoint) {
        int rc = endpoint_check(globals->endpoint);
        if (rc < 0) {
            if (mode != CONNECT_QUIET)
                tell("%s: '%s': %s", globals->endpoint_by, globals->endpoint, form_error(rc));
            return STATUS_USAGE;
        }
        memcpy(endpoint, globals->endpoint, strlen(globals->endpoint) + 1);
    }
    for (;;) {
        int status = globals->endpoint ? 0 : choose(globals, mode, &patience, endpoint, origin);
        if (status != 0)
            return status;
        pmap *made = NULL;
        options.connect_timeout_ms = attempt_ms(&patience, *origin);
        int rc = pmap_connect(endpoint, &options, &made);
        if (rc == 0) {
            tell_there(&patience, endpoint);
            *pool = made;
            return 0;
        }
        bool again = try_again(&patience, endpoint, globals->endpoint != NULL, rc);
        if (!again)
            status = refused(mode, endpoint, reconnect_ms > CONNECT_MS ? reconnect_ms : CONNECT_MS, made, rc);
        pmap_disconnect(made);
        if (!again)
            return status;
    }
}

int connect_pool(const struct globals *globals, enum connect_mode mode, pmap **pool)
{
    enum connect_origin origin;
    return connect_as(globals, mode, 0, true, pool, &origin);
}

int connect_lasting(const struct globals *globals, int reconnect_ms, bool quiet, pmap **pool,
                    enum connect_origin *origin)
{
    return connect_as(globals, CONNECT_START, reconnect_ms, quiet, pool, origin);
}

int connect_lost(const pmap *pool, int error)
{
    const char *said = *pmap_error(pool) ? pmap_error(pool) : tell_errno(error);
    bool refusal = error == -EACCES || error == -EDQUOT || error == -EPERM;
    tell_said(refusal ? "refused by the daemon at" : "lost the daemon at", pmap_get_info(pool)->endpoint,
              said);
    return refusal ? STATUS_REFUSED : STATUS_NO_POOL;
}
