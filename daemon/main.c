/*
 * pmapd: the order in which it starts and ends, and nothing else.
 */
#include "daemon/broker.h"
#include "daemon/config.h"
#include "daemon/launcher/spawn.h"
#include "daemon/log.h"
#include "daemon/options.h"
#include "daemon/start.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_USAGE = 2 };

static int check_config(const struct options *options)
{
    char error[CONFIG_ERROR_MAX] = "out of memory";
    struct config config;
    const char *path = options->config_path ? options->config_path : START_CONFIG;
    if (config_read(path, &config, error) < 0) {
        fprintf(stderr, "%s\n", error);
        return EXIT_FAILURE;
    }
    config_free(&config);
    printf("%s: ok\n", path);
    return EXIT_SUCCESS;
}

/* Binds with what privileges there are, gives them up, serves. */
static int serve(const struct broker_options *options, const struct start_user *user)
{
    struct broker *broker = NULL;
    int status = EXIT_FAILURE;
    if (broker_new(options, &broker) < 0)
        return EXIT_FAILURE;
    if (options->private_pool || start_drop(user) == 0) {
        for (char **endpoint = options->config->endpoints; *endpoint; endpoint++)
            log_info("listening at %s, slots: %u", *endpoint, options->slots);
        status = broker_run(broker);
    }
    broker_free(broker);
    return status;
}

static int run(const struct options *options)
{
    bool private_pool = options->private_pool || geteuid() != 0;
    struct config config;
    struct start_user user = {0};
    int signal_fd;

    if (start_process(private_pool, &signal_fd) < 0 || start_config(options, private_pool, &config) < 0)
        return EXIT_FAILURE;
    char *config_path = options->config_path ? realpath(options->config_path, NULL) : NULL;
    int rc = options->config_path && !config_path ? -errno : 0;
    if (rc < 0)
        log_error("%s: %s", options->config_path, strerror(-rc));
    if (rc == 0)
        rc = chdir("/"); /* holds no file system; paths from here on are absolute */
    if (rc == 0 && !private_pool)
        rc = start_user(&config, &user);
    if (rc == 0)
        rc = start_places(options, &config, private_pool, private_pool && options->idle_exit_ns > 0);
    /* Before there is a thread, a context of ZeroMQ or anything of a client's. */
    int launcher = -1;
    pid_t launcher_pid = 0;
    if (rc == 0)
        rc = launcher_spawn(private_pool, config_path, &launcher, &launcher_pid);

    int status = rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    if (rc == 0) {
        unsigned slots = start_slots(options, &config);
        struct broker_options broker = {
            .config = &config,
            .private_pool = private_pool,
            .slots = slots,
            .threads = start_threads(slots),
            .idle_exit_ns = options->idle_exit_ns,
            .launcher = launcher,
            .signal_fd = signal_fd,
            .bind_open = !private_pool,
        };
        status = serve(&broker, &user);
        launcher_wait(launcher_pid); /* nothing that it has started outlives us */
    }
    free(config_path);
    config_free(&config);
    close(signal_fd);
    return status;
}

int main(int argc, char **argv)
{
    struct options options;
    int rc = options_read(argc, argv, &options);
    if (rc != 0)
        return rc > 0 ? EXIT_SUCCESS : EXIT_USAGE;
    log_init("pmapd", LOG_INFO);
    int status = options.check_config ? check_config(&options) : run(&options);
    options_free(&options);
    return status;
}
