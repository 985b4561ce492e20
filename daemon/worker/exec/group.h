/*
 * The control group of items, where pmap-launcher lets us have one: beside our own, so that all that comes of
 * an item can be killed at one stroke, by the kernel as well when memory is out. This process runs one item
 * at a time, so one group serves them all.
 */
#ifndef PMAP_GROUP_H
#define PMAP_GROUP_H

#include <limits.h>

struct group {
    int folder; /* for clone3(2); -1: there is none */
    char path[PATH_MAX];
};

/* Makes it if that may be. */
void group_init(struct group *group);

/* Kills all that is in it. What is not: see tree.h. */
void group_kill(const struct group *group);

/* Removes it. */
void group_end(struct group *group);

#endif
