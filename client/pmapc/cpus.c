/*
 * pmapc cpus: how many CPUs a program may really use here, and how many slots the pool has. Answers without a
 * daemon.
 */
#include "common/cpus.h"

#include "client/pmapc/connect.h"
#include "client/pmapc/json.h"
#include "client/pmapc/pmapc.h"
#include "client/pmapc/query.h"
#include "client/pmapc/tell.h"

#include <stdio.h>

enum { ANSWER_MS = 5000 };

static const char help[] = "Usage: pmapc cpus [--json]\n"
                           "Shows how many CPUs a program may really use here, and the pool's slots.\n"
                           "Starts no daemon and needs none.\n"
                           "\n"
                           "  online    CPUs that the kernel runs\n"
                           "  affinity  CPUs that this process may run on (taskset, a batch system)\n"
                           "  quota     CPUs' worth of time that the cgroup allows (a container's limit)\n"
                           "  usable    what is left of them: the tightest of the three\n"
                           "  slots     of the pool, when its daemon runs\n"
                           "\n"
                           "      --json  an object with these keys; null where there is none\n"
                           "      --help  show this\n"
                           "\n"
                           "  pmapc cpus\n"
                           "  make -j \"$(pmapc cpus --json | jq .usable)\"\n";

int command_cpus(const struct globals *globals, int argc, char **argv)
{
    bool json = false;
    int status = query_options(argc, argv, help, &json);
    if (status >= 0)
        return status;
    struct cpus cpus;
    cpus_read(&cpus);
    pmap *pool = NULL;
    status = connect_pool(globals, CONNECT_QUIET, &pool);
    if (status == STATUS_USAGE)
        return connect_pool(globals, CONNECT_ONLY, &pool); /* says what is wrong with the endpoint */
    /* A daemon that will not serve us says so only behind its WELCOME; its slots are none of ours. */
    bool connected = status == 0 && pmap_ping(pool, ANSWER_MS) >= 0;
    unsigned slots = connected ? pmap_get_info(pool)->slots : 0;
    status = 0;
    if (json) {
        json_t *object = json_object();
        json_object_set_new(object, "online", json_integer(cpus.online));
        json_object_set_new(object, "affinity", json_integer(cpus.affinity));
        json_object_set_new(object, "quota", cpus.quota > 0 ? json_real(cpus.quota) : json_null());
        json_object_set_new(object, "usable", json_integer(cpus.usable));
        json_object_set_new(object, "slots", connected ? json_integer(slots) : json_null());
        status = json_print(object, stdout, JSON_INDENT(2));
    } else {
        printf("online    %d\naffinity  %d\n", cpus.online, cpus.affinity);
        if (cpus.quota > 0)
            printf("quota     %.2f\n", cpus.quota);
        else
            printf("quota     none\n");
        printf("usable    %d\n", cpus.usable);
        if (connected)
            printf("slots     %u (daemon at %s)\n", slots, pmap_get_info(pool)->endpoint);
        else
            printf("slots     no daemon\n");
    }
    pmap_disconnect(pool);
    int finished = tell_finish();
    return status != 0 ? status : finished;
}
