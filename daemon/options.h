/*
 * pmapd's command line. Its own messages, on stdout for --help and --version, on stderr for what is wrong
 * with it.
 */
#ifndef PMAPD_OPTIONS_H
#define PMAPD_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct options {
    const char *config_path; /* -c; NULL: not given. All strings point into argv. */
    const char **endpoints;  /* -e, checked; owned */
    size_t endpoint_count;
    unsigned slots; /* -n; 0: not given */
    bool private_pool;
    int64_t idle_exit_ns; /* 0: not given */
    bool check_config;
};

/*
 * Returns 0 (go on), 1 (--help or --version: all is said), -EINVAL (a usage error, which was told) or
 * -ENOMEM. *options is set only with 0; give it to options_free then.
 */
int options_read(int argc, char **argv, struct options *options);

void options_free(struct options *options);

#endif
