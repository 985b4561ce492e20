/*
 * The broker: one thread that owns every session and job. ZeroMQ in, the core decides, ZeroMQ out. It wakes
 * for messages, the monitor, signals and the next deadline, does everything that is due, and sleeps again; it
 * never blocks, never looks a name up and never runs a user's code.
 */
#ifndef PMAPD_BROKER_H
#define PMAPD_BROKER_H

#include "daemon/common/config.h"
#include "daemon/listen.h"

#include <stdbool.h>
#include <stdint.h>

struct broker;

struct broker_options {
    const struct config *config; /* borrowed for the broker's life; another may be in force later */
    bool private_pool;           /* serves only the effective uid */
    unsigned slots;              /* pool threads to start, at least 1 */
    bool slots_given,
        endpoints_given;  /* on the command line: what the configuration says of them is nothing */
    unsigned auto_slots;  /* when the configuration leaves it to us */
    unsigned cpus;        /* that may be used */
    int64_t idle_exit_ns; /* stop when nobody has been connected for that long; 0: never */
    int launcher;         /* the launcher's record socket (launcher/records.h); taken over by broker_new */
    int signal_fd;        /* a signalfd with the blocked TERM, INT and HUP; borrowed */
    const struct listening *listening; /* for each of the configuration's endpoints; borrowed */
};

/*
 * Makes the sockets, listens at the configuration's endpoints and starts the monitor and the pool's threads.
 * All signals must be blocked, and the C library's rand() seeded, since libzmq draws its routing ids from it.
 * What went wrong is logged. Returns 0 or a negative errno.
 */
int broker_new(const struct broker_options *options, struct broker **broker);

/* Serves until a signal or idleness ends it, in good order. Returns the program's exit status. */
int broker_run(struct broker *broker);

/* NULL is accepted. */
void broker_free(struct broker *broker);

#endif
