/*
 * Programs that keep their output in a buffer when it is no terminal: the environment that talks most of them
 * out of it, and how to see of the others that they wait for more input while we wait for their answers.
 */
#ifndef PMAP_BUFFERING_H
#define PMAP_BUFFERING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BUFFERING_SETTINGS = 3 };

/*
 * Fills in NAME=VALUE strings, as `stdbuf -oL` sets them, and Python's. What the user has set stays in force.
 * Returns how many (their memory is the caller's), or -ENOMEM.
 */
int buffering_environment(char *settings[BUFFERING_SETTINGS]);

struct stall {
    int64_t look_ns;  /* when to look next */
    int64_t since_ns; /* since when it has made no progress; 0: was not looked at yet */
    uint64_t cpu_ns;
};

/* Something has happened; begin anew. */
void stall_reset(struct stall *s, int64_t now);

/*
 * To be asked at look_ns, where the filter has been written all there is: has it read everything, does it
 * make no progress, and does it wait for more? stdin_end: our end of its stdin.
 */
bool stall_look(struct stall *s, int stdin_end, int64_t now);

#endif
