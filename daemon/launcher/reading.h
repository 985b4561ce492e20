/*
 * Reading the configuration again. The launcher does it, because it may, and because it and the broker must
 * not come to different ends: the file is read once, by a child, where looking names up may take its time,
 * and both get what came of it, in numbers (config_pack.h). At the start both read the file by themselves.
 */
#ifndef PMAPD_READING_H
#define PMAPD_READING_H

#include "daemon/common/config.h"

#include <stdint.h>
#include <sys/types.h>

/* One that is under way. */
struct reading {
    pid_t pid; /* 0: none is */
    uint32_t token;
    int fd; /* what comes of it: a configuration, or a line that says what is wrong */
};

/* Forks a child that reads the file, as config_load does. It has a deadline. Returns 0 or a negative errno.
 */
int reading_start(struct reading *reading, const char *path, uint32_t token);

/*
 * The child has been waited for, with this status. Returns 0 and the new configuration; or a negative errno,
 * and the file has a line for people. config may be NULL: memory is short. The file stays the caller's;
 * reading is for the next one.
 */
int reading_end(struct reading *reading, int status, struct config *config);

#endif
