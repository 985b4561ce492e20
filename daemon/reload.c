/*
 * Reloading. The broker has no privileges, perhaps no view of the file, and must not wait for a name service:
 * so it asks the launcher, which reads the file and takes over what concerns it (launcher/reading.h), and
 * sends the same configuration, in numbers, for the broker to take over. What is wrong is told in one line,
 * and the old one stays in force with both. No job is dropped: new limits hold for what is begun from now on.
 */
#include "daemon/broker_state.h"
#include "daemon/common/config_pack.h"
#include "daemon/common/log.h"
#include "daemon/service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void reload_begin(struct broker *broker)
{
    struct reload *reload = &broker->reload;
    if (broker->stopping)
        return;
    accounts_forget(&broker->accounts); /* whatever comes of the file */
    if (reload->token != 0) {
        reload->again = true; /* the file may have changed since it was read */
        return;
    }
    service_reloading();
    struct record record = {.type = RECORD_RELOAD, .token = processes_token(&broker->processes)};
    int rc = record_send(broker->processes.launcher, &record, -1);
    if (rc == 0) {
        reload->token = record.token;
        return;
    }
    log_error("the configuration was not read again, since the launcher cannot be asked: %s", strerror(-rc));
    pulse_tell_ready(broker);
}

/*** Taking over ***/

/* What is only looked at when the daemon starts is told, and stays what it is. */
static void tell_fixed(const struct broker *broker, const struct config *fresh)
{
    const struct config *old = broker->options.config;
    bool same = broker->options.endpoints_given;
    for (size_t i = 0; !same && old->endpoints[i] && fresh->endpoints[i]; i++) {
        if (strcmp(old->endpoints[i], fresh->endpoints[i]) != 0)
            break;
        same = !old->endpoints[i + 1] && !fresh->endpoints[i + 1];
    }
    if (!same)
        log_notice("another 'endpoint' in [daemon] holds only after a restart");
    if (strcmp(old->user, fresh->user) != 0)
        log_notice("another 'user' in [daemon] holds only after a restart");
}

/* The endpoints that are listened at go over to the new configuration. Returns 0 or -ENOMEM. */
static int keep_endpoints(const struct broker *broker, struct config *fresh)
{
    char **old = broker->options.config->endpoints;
    size_t count = 0;
    while (old[count])
        count++;
    char **copy = calloc(count + 1, sizeof *copy);
    for (size_t i = 0; copy && i < count; i++) {
        if ((copy[i] = strdup(old[i])))
            continue;
        while (i > 0)
            free(copy[--i]);
        free(copy);
        copy = NULL;
    }
    if (!copy)
        return -ENOMEM;
    for (char **e = fresh->endpoints; *e; e++)
        free(*e);
    free(fresh->endpoints);
    fresh->endpoints = copy;
    return 0;
}

/* As many threads as there are slots now; those that are too many stay, asleep. */
static void add_threads(struct broker *broker)
{
    int rc = 0;
    while (broker->threads_started < broker->options.slots && (rc = pool_add(broker->pool)) == 0)
        broker->threads_started++;
    if (rc < 0)
        log_warning("only %u pool threads can be started, for %u slots: %s", broker->threads_started,
                    broker->options.slots, zmq_strerror(-rc));
}

/* Sessions of one user may differ by their groups, and the most that any of them has holds: the first time
 * forgets what held so far. */
static void set_limits(struct broker *broker)
{
    struct client *client, *next;
    for (int time = 0; time < 2; time++) {
        HASH_ITER (hh, broker->clients.table, client, next) {
            if (client->session == NULL)
                continue;
            struct owner_limits limits = clients_owner_limits(&broker->clients, client);
            if (time == 0)
                core_session_limits(broker->core, client->session, &limits);
            else
                core_session_raise(broker->core, client->session, &limits);
        }
    }
}

/* The configuration is in force from here on; it is the broker's. */
static void take_over(struct broker *broker, struct config *fresh, int64_t now_ns)
{
    struct broker_options *options = &broker->options;
    unsigned slots = fresh->slots > 0 ? (unsigned)fresh->slots : options->auto_slots;
    unsigned before = options->slots;
    struct config *old = broker->reload.config;
    options->config = fresh;
    options->slots = options->slots_given ? before : slots;
    broker->reload.config = fresh;
    monitor_configure(broker->monitor, fresh);
    clients_configure(&broker->clients, fresh);
    config_free(old);
    free(old);
    struct core_config config = broker_core_config(broker);
    core_configure(broker->core, &config, now_ns);
    set_limits(broker);
    add_threads(broker);
    log_info("the configuration was read again; slots: %u, before: %u", options->slots, before);
}

static int apply(struct broker *broker, int fd, int64_t now_ns)
{
    struct config *fresh = calloc(1, sizeof *fresh);
    int rc = fresh ? config_unpack(fd, fresh) : -ENOMEM;
    if (rc == 0) {
        tell_fixed(broker, fresh);
        if ((rc = keep_endpoints(broker, fresh)) == 0) {
            take_over(broker, fresh, now_ns);
            return 0;
        }
        config_free(fresh);
    }
    free(fresh);
    return rc;
}

/* What the launcher says is wrong with it. */
static void tell_wrong(const struct broker *broker, int fd)
{
    char text[CONFIG_ERROR_MAX] = "", status[CONFIG_ERROR_MAX + 80];
    if (fd < 0 || pread(fd, text, sizeof text - 1, 0) <= 0)
        snprintf(text, sizeof text, "the configuration could not be read again");
    log_error("%s (the old configuration stays in force)", text);
    snprintf(status, sizeof status, "slots: %u, by an old configuration; %s", broker->options.slots, text);
    service_ready(status);
}

void reload_take(struct broker *broker, const struct record *record, int fd, int64_t now_ns)
{
    struct reload *reload = &broker->reload;
    if (record->token != reload->token || reload->token == 0)
        return;
    reload->token = 0;
    if (record->error != 0) {
        tell_wrong(broker, fd);
    } else {
        /* The launcher goes by it already: a broker that cannot must not go on. */
        int rc = fd < 0 ? -EBADF : apply(broker, fd, now_ns);
        if (rc < 0) {
            log_error("the configuration that the launcher has read cannot be taken over: %s", strerror(-rc));
            broker->failed = true;
            return;
        }
        pulse_tell_ready(broker);
    }
    if (reload->again) {
        reload->again = false;
        reload_begin(broker);
    }
}
