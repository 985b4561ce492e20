/*
 * pmapd: the order in which it starts and ends, and nothing else.
 */
#include "common/endpoint.h"
#include "daemon/broker.h"
#include "daemon/common/config.h"
#include "daemon/common/log.h"
#include "daemon/launcher/spawn.h"
#include "daemon/listen.h"
#include "daemon/options.h"
#include "daemon/sandbox/sandbox.h"
#include "daemon/service.h"
#include "daemon/start.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* The last two as in sysexits.h: to start it again would not help. */
enum { EXIT_USAGE = 2, EXIT_SERVED = 69 /* another one serves there */, EXIT_CONFIG = 78 };

/* What a start that has failed so, a negative errno, ends with: is there something that somebody has to put
 * right first? */
static int status_of(int error)
{
    switch (-error) {
    case ENOENT:
    case EACCES:
    case EPERM:
    case EEXIST:
    case EINVAL:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
    case EROFS:
    case ENOTSUP:
        return EXIT_CONFIG;
    default:
        return EXIT_FAILURE;
    }
}

/* Somebody else serves there. Where pmapc starts one, any one will do. */
static int status_served(bool private_pool, int64_t idle_exit_ns)
{
    return private_pool && idle_exit_ns > 0 ? EXIT_SUCCESS : EXIT_SERVED;
}

static int check_config(const struct options *options)
{
    char error[CONFIG_ERROR_MAX] = "out of memory";
    struct config config;
    const char *path = options->config_path ? options->config_path : CONFIG_FILE;
    int rc = config_read(path, &config, error);
    if (rc == -ENOENT && !options->config_path) {
        printf("%s: not there, the defaults hold\n", path);
        return EXIT_SUCCESS;
    }
    if (rc < 0) {
        fprintf(stderr, "%s\n", error);
        return EXIT_FAILURE;
    }
    config_free(&config);
    printf("%s: ok\n", path);
    return EXIT_SUCCESS;
}

/* The paths of the sockets, which a pool that stays who it is renames and removes when it leaves. */
static const char **socket_paths(char *const *endpoints)
{
    size_t count = 0;
    while (endpoints[count])
        count++;
    const char **paths = calloc(count + 1, sizeof *paths);
    for (size_t i = 0; paths && i < count; i++)
        paths[i] = endpoint_path(endpoints[i]);
    return paths;
}

/* Gives up what it takes to be more than a broker, in this order. */
static int give_up(const struct config *config, bool private_pool, const struct start_user *user)
{
    struct sandbox sandbox = {
        .notify = getenv("NOTIFY_SOCKET")}; /* NOLINT(concurrency-mt-unsafe): no threads yet */
    if (!private_pool) {
        int rc = sandbox_prepare(&sandbox);
        if (rc == 0)
            rc = start_drop(user);
        return rc < 0 ? rc : sandbox_enter(&sandbox);
    }
    const char **paths = socket_paths(config->endpoints);
    if (!paths) {
        log_error("out of memory");
        return -ENOMEM;
    }
    sandbox.sockets = paths;
    int rc = sandbox_enter(&sandbox);
    free(paths);
    return rc;
}

/* Listens with what privileges there are, gives them up, and then makes all that has to do with clients. */
static int serve(struct broker_options *options, const int *passed, const struct start_user *user)
{
    struct broker *broker = NULL;
    char **endpoints = options->config->endpoints;
    struct listening *listening = NULL;
    int status = EXIT_FAILURE;
    /* Where the kernel makes huge pages of whatever it can, each thread's stack becomes one, 2 MiB for a few
     * KiB. The launcher, whose children would inherit it, is a process of its own by now. */
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    /* One thread allocates what another one frees: with an arena for each, what the largest load took stays
     * in all of them. This one's free memory can be given back (rest.c). */
    mallopt(M_ARENA_MAX, 1);
    int rc = listen_open(endpoints, passed, !options->private_pool, &listening);
    const bool served = rc == -EBUSY;
    if (rc == 0)
        rc = give_up(options->config, options->private_pool, user);
    if (rc < 0) {
        status = served ? status_served(options->private_pool, options->idle_exit_ns) : status_of(rc);
        close(options->launcher); /* by which it learns that it is to end */
    }
    options->listening = listening;
    if (rc == 0 && broker_new(options, &broker) == 0) {
        for (char **endpoint = endpoints; *endpoint; endpoint++)
            log_info("listening at %s, slots: %u", *endpoint, options->slots);
        status = broker_run(broker);
        broker_free(broker);
    }
    listen_close(listening);
    return status;
}

static int run(const struct options *options)
{
    bool private_pool = options->private_pool || geteuid() != 0;
    struct config config;
    struct start_user user = {0};
    int signal_fd;

    if (start_process(private_pool, &signal_fd) < 0)
        return EXIT_FAILURE;
    int rc = start_config(options, private_pool, &config);
    if (rc < 0)
        return status_of(rc);
    int *passed = NULL;
    const bool autostart = private_pool && options->idle_exit_ns > 0;
    bool served = false;
    char *config_path = NULL;
    rc = start_config_path(options, &config_path);
    if (rc == 0)
        rc = start_passed(&config, &passed);
    if (rc == 0)
        rc = chdir("/"); /* holds no file system; paths from here on are absolute */
    if (rc == 0 && !private_pool)
        rc = start_user(&config, &user);
    if (rc == 0) {
        rc = start_places(options, &config, passed, private_pool, autostart);
        served = rc == -EBUSY;
    }
    /* Before there is a thread, a context of ZeroMQ or anything of a client's. */
    int launcher = -1;
    pid_t launcher_pid = 0;
    if (rc == 0)
        rc = launcher_spawn(private_pool, config_path, &launcher, &launcher_pid);

    int status = served ? EXIT_SERVED : rc < 0 ? status_of(rc) : EXIT_SUCCESS;
    if (rc == 0) {
        unsigned slots = start_slots(options, &config);
        struct broker_options broker = {
            .config = &config,
            .private_pool = private_pool,
            .slots = slots,
            .slots_given = options->slots > 0,
            .endpoints_given = options->endpoint_count > 0,
            .auto_slots = start_auto_slots(),
            .cpus = start_cpus(),
            .idle_exit_ns = options->idle_exit_ns,
            .launcher = launcher,
            .signal_fd = signal_fd,
        };
        status = serve(&broker, passed, &user);
        launcher_wait(launcher_pid); /* nothing that it has started outlives us */
    }
    free(config_path);
    free(passed);
    config_free(&config);
    close(signal_fd);
    return status;
}

int main(int argc, char **argv)
{
    struct options options;
    int rc = options_read(argc, argv, &options), status = rc < 0 ? EXIT_USAGE : EXIT_SUCCESS;
    if (rc == 0) {
        log_init("pmapd", LOG_INFO);
        status = options.check_config ? check_config(&options) : run(&options);
        options_free(&options);
    }
    if (status == EXIT_USAGE || status == EXIT_SERVED || status == EXIT_CONFIG)
        service_turn_away();
    return status;
}
