/*
 * The control group of items, where pmap-launcher lets us have one: beside our own, so that all that comes of
 * an item can be killed at one stroke, by the kernel as well when memory is out. This process runs one item
 * at a time, so one group serves them all.
 */
#ifndef PMAP_GROUP_H
#define PMAP_GROUP_H

#include <limits.h>
#include <stdbool.h>

struct group {
    int folder;  /* for clone3(2), or to move to; -1: there is none */
    bool killed; /* nothing more may be born into it: see group.c */
    char path[PATH_MAX];
};

/*
 * Takes one that no other of the worker's pmap-execs has, or makes it; if that may be. It stays when we end,
 * for the next one: what the kernel remembers of a group that was removed can be a lot.
 */
void group_take(struct group *group);

/*
 * Where it was killed, and all in it is gone, takes another. To be called before something is born. Returns
 * whether there is another now.
 */
bool group_renew(struct group *group);

/* Kills all that is in it. What is not: see tree.h. */
void group_kill(struct group *group);

#endif
