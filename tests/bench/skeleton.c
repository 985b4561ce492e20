/*
 * The bare ZeroMQ skeleton of pmapd's shape, the yardstick of the benchmarks: a client's DEALER over ipc to a
 * broker's ROUTER, over inproc to pool threads (or over ipc to worker processes) and back, frames passed on
 * as they are. No protocol, accounts, order or limits: what pmapd costs above this is its own. Every mode
 * prints one line of JSON.
 */
#include "tests/bench/skeleton.h"

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

enum { MAX_COUNT = 100 * 1000 * 1000 };

int failed(const char *what)
{
    int error = errno;
    fprintf(stderr, "skeleton: %s: %s\n", what, zmq_strerror(error));
    return error > 0 ? -error : -EIO;
}

void *open_socket(void *context, int type)
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

pid_t fork_bound(void)
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

/* No ZeroMQ in the process above both, so that every mode forks from a clean process. */
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
