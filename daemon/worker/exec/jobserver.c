/* A GNU make jobserver for an item; see jobserver.h. */
#include "daemon/worker/exec/jobserver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { AT_ONCE = 512 }; /* bytes */
#define DIGITS "0123456789"

/*** The environment ***/

static size_t word_length(const char *word)
{
    size_t len = 0;
    while (word[len] != '\0' && word[len] != ' ' && word[len] != '\t')
        len += word[len] == '\\' && word[len + 1] != '\0' ? 2 : 1;
    return len;
}

static bool begins_with(const char *word, size_t len, const char *start)
{
    size_t start_len = strlen(start);
    return len >= start_len && memcmp(word, start, start_len) == 0;
}

/*
 * How long is what begins here, if it says how many jobs there may be, or where another jobserver is? The
 * number may be a word of its own. 0: it does not.
 */
static size_t of_jobs(const char *word, size_t len)
{
    if (begins_with(word, len, "--jobserver"))
        return len;
    bool in_words = begins_with(word, len, "--jobs");
    size_t dash = len > 0 && word[0] == '-';
    if (!in_words && (len == dash || word[dash] != 'j' || dash + 1 + strspn(word + dash + 1, DIGITS) < len))
        return 0;
    const char *next = word + len + strspn(word + len, " \t");
    size_t digits = strspn(next, DIGITS);
    bool bare = in_words ? len == strlen("--jobs") : len == dash + 1;
    return bare && digits > 0 && word_length(next) == digits ? (size_t)(next - word) + digits : len;
}

/* The value of MAKEFLAGS: the submitter's without its own jobserver, with ours before definitions of
 * variables. NULL when memory is short. */
static char *make_flags(const char *old)
{
    size_t room = strlen(old) + 64, size = 0;
    char *flags = malloc(room);
    if (!flags)
        return NULL;
    while (*(old += strspn(old, " \t")) != '\0') {
        size_t len = word_length(old), jobs = of_jobs(old, len);
        if (len == 2 && memcmp(old, "--", 2) == 0)
            break;
        if (jobs == 0) {
            if (size > 0)
                flags[size++] = ' ';
            memcpy(flags + size, old, len);
            size += len;
        }
        old += jobs > 0 ? jobs : len;
    }
    snprintf(flags + size, room - size, " -j --jobserver-auth=%d,%d%s%s", JOBSERVER_IN, JOBSERVER_OUT,
             *old ? " " : "", old);
    return flags;
}

int jobserver_environment(char *settings[JOBSERVER_SETTINGS])
{
    const char *old = getenv("MAKEFLAGS");
    char *flags = make_flags(old ? old : "");
    settings[0] = settings[1] = NULL;
    if (!flags || asprintf(&settings[0], "MAKEFLAGS=%s", flags) < 0)
        settings[0] = NULL;
    /* Cargo looks here first, and hands it on under this name. */
    if (asprintf(&settings[1], "CARGO_MAKEFLAGS=-j --jobserver-fds=%d,%d --jobserver-auth=%d,%d",
                 JOBSERVER_IN, JOBSERVER_OUT, JOBSERVER_IN, JOBSERVER_OUT) < 0)
        settings[1] = NULL;
    free(flags);
    return settings[0] && settings[1] ? 0 : -ENOMEM;
}

/*** The pipes ***/

static void close_one(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void close_all(struct jobserver *js)
{
    close_one(&js->give);
    close_one(&js->left);
    close_one(&js->returned);
    close_one(&js->in);
    close_one(&js->out);
    js->open = false;
}

/* Moves an end out of the way of those numbers that it will have in the item's process. */
static int move_up(int *fd)
{
    int moved = fcntl(*fd, F_DUPFD_CLOEXEC, JOBSERVER_OUT + 1);
    if (moved < 0)
        return -errno;
    close(*fd);
    *fd = moved;
    return 0;
}

/* Opens the pipe behind an end anew: what is set for one of them then does not hold for the other. */
static int open_anew(int fd, int flags)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int opened = open(path, flags | O_CLOEXEC);
    return opened < 0 ? -errno : opened;
}

static int open_pipes(struct jobserver *js)
{
    int out[2], back[2];
    if (pipe2(out, O_CLOEXEC) < 0)
        return -errno;
    js->in = out[0];
    js->give = out[1];
    if (pipe2(back, O_CLOEXEC) < 0)
        return -errno;
    js->returned = back[0];
    js->out = back[1];
    int rc = move_up(&js->in);
    if (rc == 0)
        rc = move_up(&js->out);
    if (rc == 0) /* the item's end blocks, as old makes and scripts expect; ours must not */
        rc = js->left = open_anew(js->in, O_RDONLY | O_NONBLOCK);
    if (rc >= 0 && (fcntl(js->give, F_SETFL, O_NONBLOCK) < 0 || fcntl(js->returned, F_SETFL, O_NONBLOCK) < 0))
        rc = -errno;
    return rc < 0 ? rc : 0;
}

int jobserver_open(struct jobserver *js, struct link *link)
{
    js->give = js->left = js->returned = js->in = js->out = -1;
    link->tokens.given = 0;
    int rc = open_pipes(js);
    if (rc < 0) {
        close_all(js);
        return rc;
    }
    js->open = true;
    jobserver_step(js, link);
    return 0;
}

static uint32_t lesser(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Of what was given, how much lies there untouched? */
static uint32_t untouched(const struct jobserver *js, uint32_t given)
{
    int n = 0;
    return ioctl(js->left, FIONREAD, &n) == 0 && n > 0 ? lesser((uint32_t)n, given) : 0;
}

/* More cannot come back than was taken, whatever is written into the pipe. */
static void take_returned(struct jobserver *js, struct tokens *t)
{
    char bytes[AT_ONCE];
    ssize_t n = read(js->returned, bytes, sizeof bytes);
    if (n > 0)
        t->given -= lesser((uint32_t)n, t->given - untouched(js, t->given));
}

void jobserver_step(struct jobserver *js, struct link *link)
{
    struct tokens *t = &link->tokens;
    char bytes[AT_ONCE];
    if (!js->open)
        return;
    take_returned(js, t);
    uint32_t may = tokens_usable(t);
    if (t->given > may) {
        ssize_t n = read(js->left, bytes, lesser(t->given - may, sizeof bytes));
        t->given -= n > 0 ? (uint32_t)n : 0;
    } else if (t->given < may) {
        memset(bytes, '+', sizeof bytes);
        ssize_t n = write(js->give, bytes, lesser(may - t->given, sizeof bytes));
        t->given += n > 0 ? (uint32_t)n : 0;
    }
    link_return(link);
}

void jobserver_close(struct jobserver *js, struct link *link)
{
    if (!js->open)
        return;
    close_all(js);
    link->tokens.given = 0;
    link_return(link);
}
