/*
 * Ctrl-C and SIGTERM; see interrupt.h.
 */
#include "client/pmapc/interrupt.h"

#include "client/pmapc/pmapc.h"
#include "client/pmapc/progress.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t caught;  /* the signal that came first */
static volatile sig_atomic_t to_stop; /* SIGTSTP came */

/* Only what is async-signal-safe. */
static void leave(int number)
{
    progress_clear();
    if (number == SIGINT)
        _exit(STATUS_INTERRUPTED);
    sigset_t set;
    signal(number, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, number);
    raise(number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    _exit(128 + number);
}

static void on_signal(int number)
{
    if (caught)
        leave(caught);
    caught = number;
    /* A write that began after this signal's last check, to a reader that has stalled, would never return. */
    alarm(1);
}

static void on_alarm(int number)
{
    (void)number;
    leave(caught);
}

static void on_stop(int number)
{
    (void)number;
    to_stop = 1;
}

static void catch_stop(void)
{
    struct sigaction action = {.sa_handler = on_stop}, old;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGTSTP, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
        sigaction(SIGTSTP, &action, NULL);
}

void interrupt_install(void)
{
    static const int numbers[] = {SIGINT, SIGTERM};
    struct sigaction action = {.sa_handler = on_alarm}; /* no SA_RESTART: waits have to end */
    sigemptyset(&action.sa_mask);
    sigaction(SIGALRM, &action, NULL);
    action.sa_handler = on_signal;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct sigaction old;
        if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaction(numbers[i], &action, NULL);
    }
    catch_stop();
}

bool interrupt_stop_pending(void)
{
    return to_stop != 0;
}

void interrupt_stop(void)
{
    to_stop = 0;
    raise(SIGSTOP); /* which stops us also where there is no shell to go on with us, as SIGTSTP would not */
}

bool interrupt_pending(void)
{
    return caught != 0;
}

int interrupt_poll(struct pollfd *fds, unsigned count, int timeout_ms)
{
    struct timespec timeout = {.tv_sec = timeout_ms / 1000, .tv_nsec = timeout_ms % 1000 * 1000000L};
    sigset_t set, before;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGTSTP);
    sigprocmask(SIG_BLOCK, &set, &before);
    int rc = caught || to_stop ? -EINTR : ppoll(fds, count, timeout_ms < 0 ? NULL : &timeout, &before);
    if (rc == -1)
        rc = -errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    return rc;
}

int interrupt_status(void)
{
    if (caught == SIGTERM)
        leave(SIGTERM);
    return STATUS_INTERRUPTED;
}
